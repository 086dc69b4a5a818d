//! Queries over what the sinks wrote, on both stores.

#[path = "../../sinks/tests/support/databases.rs"]
mod databases;
#[path = "../../sinks/tests/support/samples.rs"]
mod samples;

use std::path::Path;

use arrow::util::pretty::pretty_format_batches;
use databases::Database;
use model::{Fact, Level, topics};
use samples::*;
use sinks::{ArchiveSettings, ArchiveSink, SqlSink};
use sql::logs::LogQuery;
use sql::{Engine, EngineOptions, SqlError, SqlSourceConfig};
use stream::{Sink, SinkBatch};

macro_rules! on_both_stores {
    ($($case:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $case() { super::$case(super::Database::sqlite()).await; })+ }
        mod postgres { $(#[tokio::test] async fn $case() {
            if let Some(database) = super::Database::postgres().await { super::$case(database).await; }
        })+ }
    };
}

on_both_stores!(
    incidents_by_severity,
    every_table_and_column_can_be_read,
    conditions_answer_alike_with_and_without_the_store,
    signals_come_from_archive_and_store_once,
    log_lines_are_found,
    only_queries,
    only_what_can_be_opened,
    wrong_sql_is_explained,
    bounds,
);

async fn engine(database: &Database, archive: Option<&Path>) -> Engine {
    let source = SqlSourceConfig {
        url: database.url.clone(),
        password: None,
    };
    Engine::open(source, archive.map(Path::to_owned)).await.unwrap()
}

/// The answer as a table, without the frame.
async fn ask(engine: &Engine, sql: &str) -> Vec<Vec<String>> {
    let (_, batches) = engine.query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let text = pretty_format_batches(&batches).unwrap().to_string();
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
    lines
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        })
        .collect()
}

async fn one(engine: &Engine, sql: &str) -> String {
    ask(engine, sql).await.remove(0).join(" ")
}

async fn with_incidents(database: &Database) -> SqlSink {
    let mut sink = SqlSink::new(database.open().await);
    let mut records = Vec::new();
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        records.push(event_record(
            i as u64,
            &event(name, 1, 1, Fact::Opened { member: member(name) }),
        ));
    }
    records.push(event_record(3, &event("c", 2, 1, Fact::Resolved)));
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 0, 4, records)])
        .await
        .unwrap();
    sink
}

fn signals(partition: u32, start: u64, next: u64) -> SinkBatch {
    let record = |i: u64| {
        let mut signal = signal(i);
        signal.origin.partition = partition;
        signals_record(i, &[signal])
    };
    batch(
        topics::SIGNALS,
        partition,
        start,
        next,
        (start..next).map(record).collect(),
    )
}

async fn incidents_by_severity(database: Database) {
    with_incidents(&database).await;
    let engine = engine(&database, None).await;
    assert_eq!(
        ask(&engine, "select severity, count(*) from incidents group by 1").await,
        [["warning", "3"]]
    );
    let sql =
        "SELECT i.status, m.dedup_key FROM incidents i JOIN incident_members m ON m.incident_id = i.id ORDER BY 2";
    assert_eq!(
        ask(&engine, sql).await,
        [["open", "a"], ["open", "b"], ["resolved", "c"]]
    );
    let sql = "SELECT arrow_typeof(max(resolved_at) - min(created_at)) FROM incidents";
    assert!(one(&engine, sql).await.contains("Duration"), "times are times");
    assert_eq!(one(&engine, "WITH x AS (SELECT 1 AS n) SELECT n FROM x").await, "1");
}

async fn every_table_and_column_can_be_read(database: Database) {
    let mut sink = with_incidents(&database).await;
    sink.write(&log(), &[signals(0, 0, 2)]).await.unwrap();
    let id = incident_id("a");
    database
        .execute(&format!(
            "INSERT INTO agent_executions (id, incident_id, agent_name, tool_calls, tokens_used, status, created_at, run_id, \
        attempt) VALUES ('{id}', '{id}', 'triage', '[]', 7, 'success', '2025-10-09T00:00:00.000000Z', '{id}', 1)"
        ))
        .await;
    database
        .execute(&format!(
            "INSERT INTO remediations (id, incident_id, action_type, target, status, created_at, cluster, \
        plan_hash, reason, proposed_by, expires_at, updated_at) VALUES ('{id}', '{id}', 'restart', 'checkout', 'done', \
        '2025-10-09T00:00:00.000000Z', 'default', 'h', 'r', 'agent:fixer', '2025-10-09T00:15:00.000000Z', \
        '2025-10-09T00:00:00.000000Z')"
        ))
        .await;
    let engine = engine(&database, None).await;
    for table in sql::table_names() {
        // Names every column that this crate believes in; a missing one fails here.
        engine
            .query(&format!("SELECT * FROM {table}"))
            .await
            .unwrap_or_else(|e| panic!("{table}: {e}"));
        // Log lines are in the archive alone.
        if table == "logs" {
            continue;
        }
        // And there is no column in the store that it does not know of.
        let columns = if database.url.starts_with("sqlite") {
            format!("SELECT name FROM pragma_table_info('{table}')")
        } else {
            format!(
                "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'"
            )
        };
        let mut stored = database.texts(&columns).await;
        let mut known: Vec<String> = ask(
            &engine,
            &format!("SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"),
        )
        .await
        .into_iter()
        .flatten()
        .collect();
        stored.sort();
        known.sort();
        assert_eq!(stored, known, "{table}");
    }
    assert_eq!(
        one(&engine, "SELECT tokens_used, created_at FROM agent_executions").await,
        "7 2025-10-09T00:00:00Z"
    );
    assert_eq!(one(&engine, "SELECT count(*) FROM signals").await, "2");
    assert!(
        ask(&engine, "SHOW TABLES")
            .await
            .iter()
            .any(|row| row.contains(&"signals".to_owned()))
    );
    assert!(!ask(&engine, "DESCRIBE incidents").await.is_empty());
    assert!(!ask(&engine, "EXPLAIN SELECT 1").await.is_empty());
}

async fn log_lines_are_found(database: Database) {
    with_incidents(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let empty = engine(&database, Some(folder.path())).await;
    let all = || LogQuery {
        limit: 10,
        ..LogQuery::default()
    };
    assert_eq!(
        empty.logs(&all()).await.unwrap().rows.len(),
        0,
        "nothing is archived yet"
    );
    let mut archive = ArchiveSink::open(folder.path(), ArchiveSettings::default()).unwrap();
    let line = |n: u64, service: &str, level: &str, text: &str| {
        let body = serde_json::json!({
            "schema": 1, "tenant": "t", "environment": "prod", "service": service, "observed_at": START,
            "lines": [{"at": START + n as i64 * 1_000_000, "level": level, "text": text, "template": 0}],
            "templates": [{"id": format!("id-{service}"), "text": format!("{text}{n}")}],
        });
        record(n, body.to_string().into_bytes())
    };
    let records = vec![
        line(0, "a", "info", "it's up"),
        line(1, "a", "error", "Out of Memory"),
        line(2, "b", "fatal", "gone"),
        line(3, "a", "warn", "100% _full_"),
    ];
    archive
        .write(&log(), &[batch(topics::LINES, 0, 0, 4, records)])
        .await
        .unwrap();
    archive.close().await.unwrap();
    let engine = engine(&database, Some(folder.path())).await;
    let check = async |query: LogQuery, expected: &[&str]| {
        let found = engine.logs(&query).await.unwrap();
        let texts: Vec<&str> = found.rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(texts, expected, "{query:?}");
        found.more
    };
    assert!(!check(all(), &["it's up", "Out of Memory", "gone", "100% _full_"]).await);
    assert!(
        check(LogQuery { limit: 2, ..all() }, &["gone", "100% _full_"]).await,
        "there is more"
    );
    let text = |text: &str| LogQuery {
        text: Some(text.into()),
        ..all()
    };
    check(text("IT'S"), &["it's up"]).await;
    check(text("of memory"), &["Out of Memory"]).await;
    check(text("% _"), &["100% _full_"]).await;
    check(text("' OR 1=1 --"), &[]).await;
    let level = |level| LogQuery {
        level: Some(level),
        ..all()
    };
    check(level(Level::Error), &["Out of Memory", "gone"]).await;
    check(level(Level::Warn), &["Out of Memory", "gone", "100% _full_"]).await;
    let service = LogQuery {
        service: Some("a".into()),
        from: Some(START + 1_000_000),
        until: Some(START + 3_000_000),
        ..all()
    };
    check(service, &["Out of Memory"]).await;
    let template = LogQuery {
        template: Some("id-b".into()),
        ..all()
    };
    check(template, &["gone"]).await;
    let templates = engine.templates(&all()).await.unwrap().rows;
    let shown: Vec<_> = templates
        .iter()
        .map(|row| {
            (
                row.template.as_str(),
                row.lines,
                row.pattern.as_str(),
                row.level.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("id-a", 3, "100% _full_3", "warn"), ("id-b", 1, "gone2", "fatal")],
        "text and level of the newest line"
    );
    assert_eq!(one(&engine, "SELECT count(*) FROM logs WHERE service = 'a'").await, "3");
}

async fn conditions_answer_alike_with_and_without_the_store(database: Database) {
    let mut sink = with_incidents(&database).await;
    sink.write(&log(), &[signals(0, 0, 10)]).await.unwrap();
    let engine = engine(&database, None).await;
    let id = incident_id("b");
    for (condition, expected) in [
        ("title = 'alert 3'", "1"),
        ("raw_offset >= 7", "3"),
        ("7 > raw_offset AND severity = 'critical'", "7"),
        ("event_at > TIMESTAMP '2025-10-09T08:53:20.000004Z'", "5"),
        ("event_at < TIMESTAMP '2025-10-09T08:53:20.000004Z'", "4"),
        ("service = 'checkout' AND cluster IS NULL", "10"),
        ("title < 'alert 3'", "3"),
        ("title = 'a\0b'", "0"),
        ("labels LIKE '%alertname%'", "10"),
    ] {
        assert_eq!(
            one(&engine, &format!("SELECT count(*) FROM signals WHERE {condition}")).await,
            expected,
            "{condition}"
        );
    }
    assert_eq!(
        one(&engine, &format!("SELECT alert_id FROM incidents WHERE id = '{id}'")).await,
        "b"
    );
    assert_eq!(
        one(&engine, "SELECT count(*) FROM incidents WHERE id = 'no uuid'").await,
        "0"
    );
    assert_eq!(
        one(
            &engine,
            "SELECT count(*) FROM incidents WHERE auto_resolved = false AND members = 1"
        )
        .await,
        "3"
    );
    assert_eq!(ask(&engine, "SELECT title FROM signals LIMIT 3").await.len(), 3);
    assert_eq!(
        ask(&engine, "SELECT title FROM signals WHERE title = 'alert 9' LIMIT 3")
            .await
            .len(),
        1
    );
}

async fn signals_come_from_archive_and_store_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqlSink::new(database.open().await);
    let engine = engine(&database, Some(folder.path())).await;
    let mut archive = ArchiveSink::open(
        folder.path(),
        ArchiveSettings {
            roll_rows: 4,
            ..ArchiveSettings::default()
        },
    )
    .unwrap();
    const COUNTS: &str =
        "SELECT count(*), count(DISTINCT raw_offset), max(raw_offset) FROM signals WHERE log_partition = 0";

    // No archive yet.
    store
        .write(&log(), &[signals(0, 0, 6), signals(1, 0, 3)])
        .await
        .unwrap();
    assert_eq!(one(&engine, COUNTS).await, "6 6 5");
    // The archive has [2, 8) of partition 0 (it was switched on later, and is ahead of the store); rows wait in its memory.
    archive.write(&log(), &[signals(0, 2, 6)]).await.unwrap();
    archive.write(&log(), &[signals(0, 6, 8)]).await.unwrap();
    assert_eq!(
        one(&engine, COUNTS).await,
        "6 6 5",
        "0 and 1 from the store, 2..6 from the archive"
    );
    archive.close().await.unwrap();
    assert_eq!(one(&engine, COUNTS).await, "8 8 7");
    // The store catches up and passes.
    store.write(&log(), &[signals(0, 6, 12)]).await.unwrap();
    assert_eq!(one(&engine, COUNTS).await, "12 12 11");
    assert_eq!(
        one(&engine, "SELECT count(*) FROM signals").await,
        "15",
        "partition 1 is not archived at all"
    );
    // Rows that retention took from the store are still there.
    database
        .execute("DELETE FROM signals WHERE log_partition = 0 AND log_offset < 8")
        .await;
    assert_eq!(one(&engine, COUNTS).await, "10 10 11");
    // Both halves have the same columns: a row of each, whole.
    let rows = ask(
        &engine,
        "SELECT * FROM signals WHERE log_partition = 0 AND log_offset IN (7, 8) ORDER BY log_offset",
    )
    .await;
    let varying = [
        "event_at",
        "raw_offset",
        "id",
        "dedup_key",
        "effective_at",
        "title",
        "log_offset",
    ];
    let columns = ask(
        &engine,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'signals'",
    )
    .await;
    for (index, column) in columns.iter().flatten().enumerate() {
        let alike = varying.contains(&column.as_str()) || column == "labels" || rows[0][index] == rows[1][index];
        assert!(alike, "{column}: archive {} store {}", rows[0][index], rows[1][index]);
    }
}

async fn only_queries(database: Database) {
    with_incidents(&database).await;
    let engine = engine(&database, None).await;
    let path = std::env::temp_dir().join("aegis-sql-test-must-not-exist.csv");
    for statement in [
        "DELETE FROM incidents",
        "INSERT INTO incidents (id) VALUES ('x')",
        "UPDATE incidents SET title = ''",
        "DROP TABLE incidents",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        &format!("COPY incidents TO '{}'", path.display()),
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "EXPLAIN ANALYZE DELETE FROM incidents",
        "TRUNCATE incidents",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE incidents",
        "PREPARE p AS SELECT 1",
        "SELECT * INTO t FROM incidents",
        "",
    ] {
        let refused = engine.query(statement).await;
        assert!(
            matches!(refused, Err(SqlError::NotAQuery { .. } | SqlError::Invalid(_))),
            "{statement}: {refused:?}"
        );
    }
    let refused = engine.query("delete from incidents").await.unwrap_err().to_string();
    assert!(
        refused.starts_with("DELETE is not allowed here: only queries are"),
        "{refused}"
    );
    assert!(!path.exists());
    assert!(engine.query("SELECT * FROM '/etc/passwd'").await.is_err());
    assert_eq!(one(&engine, "SELECT count(*) FROM incidents").await, "3");
}

async fn only_what_can_be_opened(database: Database) {
    let opened = async |url: String| {
        Engine::open(SqlSourceConfig { url, password: None }, None)
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    if database.url.starts_with("sqlite") {
        // Opening creates nothing.
        let refused = opened(database.url.clone()).await.unwrap_err();
        assert!(refused.contains("there is no database"), "{refused}");
    }
    let refused = opened("mysql://localhost/x".into()).await.unwrap_err();
    assert!(refused.contains("sqlite:// or postgres://"), "{refused}");
    let refused = opened("postgres://user:hunter2@host:notaport/x".into())
        .await
        .unwrap_err();
    assert!(!refused.contains("hunter2"), "{refused}");
}

async fn wrong_sql_is_explained(database: Database) {
    with_incidents(&database).await;
    let engine = engine(&database, None).await;
    for (sql, expected) in [
        ("SELECT * FROM incident", "did you mean incidents?"),
        ("SELECT * FROM zzzzzzzzzzzzzz", "tables: incidents, incident_members"),
        ("SELECT sevrity FROM incidents", "severity"),
        ("SELEC 1", "Expected"),
        ("SELECT count( FROM incidents", "Expected"),
        ("SELECT no_such_function(1)", "no_such_function"),
    ] {
        let error = engine.query(sql).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{sql}: {error}");
    }
}

async fn bounds(database: Database) {
    with_incidents(&database).await;
    let source = SqlSourceConfig {
        url: database.url.clone(),
        password: None,
    };
    let options = EngineOptions {
        max_rows: 2,
        memory_bytes: 8 << 20,
        ..EngineOptions::default()
    };
    let engine = Engine::open_with(source, None, options).await.unwrap();
    assert!(matches!(
        engine.query("SELECT * FROM incidents").await,
        Err(SqlError::TooManyRows { limit: 2 })
    ));
    assert_eq!(ask(&engine, "SELECT id FROM incidents LIMIT 2").await.len(), 2);
    assert_eq!(one(&engine, "SELECT count(*) FROM generate_series(1, 10)").await, "10");
    // A join's hash table cannot go to disk.
    let heavy = "SELECT count(*) FROM generate_series(1, 3000000) a(x) JOIN generate_series(1, 3000000) b(y) ON x = y";
    let refused = engine.query(heavy).await;
    assert!(matches!(refused, Err(SqlError::OutOfMemory { .. })), "{refused:?}");
}
