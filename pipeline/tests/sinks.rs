//! `aegis sinks`: tables that somebody broke are made anew from the log, and answer every query as before, byte for byte.

mod support;

use std::path::PathBuf;

use serde_json::Value;
use stream::failpoint::REBUILD_PLACES;
use support::{Aegis, required};

/// What is asked of the tables; the answers are compared as text.
const QUERIES: &[&str] = &[
    "select * from incidents order by id",
    "select * from incident_members order by incident_id, episode",
    "select * from incident_events order by incident_id, revision",
    // From the store alone: `signals` is read from the archive as well.
    "select * from alerts order by event_at, raw_partition, raw_offset, raw_index",
    "select * from dead_letters order by log_partition, log_offset",
    "select * from notifications order by id",
    "select * from pipeline_metrics order by at, stage, input, partition",
    "select * from signals_by_minute order by bucket, source, kind, severity, service",
    "select * from incident_events_by_hour order by bucket, service, severity, fact",
    "select * from pipeline_metrics_by_day order by bucket, stage",
];

fn recordings() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../operators/tests/fixtures/alertmanager");
    let entries = std::fs::read_dir(folder).expect("fixtures").flatten();
    let files = entries.map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
    let mut files: Vec<String> = files.map(|path| path.display().to_string()).collect();
    files.sort();
    files
}

fn answers(aegis: &Aegis) -> Vec<String> {
    let ask = |query: &&str| {
        let (code, out, err) = aegis.run(&["sql", query, "--json"]);
        assert_eq!(code, 0, "{query}: {err}");
        out
    };
    QUERIES.iter().map(ask).collect()
}

fn agree(aegis: &Aegis, before: &[String], when: &str) {
    for ((query, now), before) in QUERIES.iter().zip(answers(aegis)).zip(before) {
        assert_eq!(&now, before, "{when}: {query}");
    }
}

/// Runs statements beside aegis, as a person with a client would.
fn execute(url: &str, statements: &[&str]) {
    use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for statement in statements {
            let statement = AssertSqlSafe((*statement).to_owned());
            if url.starts_with("sqlite") {
                let mut connection = SqliteConnection::connect(url).await.unwrap();
                connection.execute(statement).await.unwrap();
            } else {
                let mut connection = PgConnection::connect(url).await.unwrap();
                connection.execute(statement).await.unwrap();
            }
        }
    });
}

fn check(settings: &str, url: impl Fn(&Aegis) -> String) {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), settings);
    let (code, _, err) = aegis.run(&["sinks", "list"]);
    assert_eq!(code, 4, "nothing ran yet: {err}");
    let mut arguments = vec!["ingest".to_owned(), "--json".to_owned()];
    arguments.extend(recordings());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (code, out, err) = aegis.run(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    let before = answers(&aegis);
    assert!(before[..4].iter().all(|answer| !answer.is_empty()), "{before:?}");
    assert!(before[6..].iter().all(|answer| !answer.is_empty()), "{before:?}");

    let (code, out, err) = aegis.run(&["sinks", "list", "--json"]);
    assert_eq!(code, 0, "{err}");
    let stand: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_tables = |one: &&Value| one["sink"] == "sql";
    assert!(stand.iter().filter(of_tables).count() >= 6, "{out}");
    assert!(stand.iter().all(|one| one["lag"] == 0 && one["lost"] == 0), "{out}");
    assert!(stand.iter().any(|one| one["sink"] == "archive"), "{out}");

    let url = url(&aegis);
    execute(
        &url,
        &[
            "DELETE FROM signals",
            "DELETE FROM incident_members",
            "UPDATE incidents SET title = 'broken'",
            "DELETE FROM signals_by_minute",
            "UPDATE pipeline_metrics SET items = 0",
        ],
    );
    let broken = answers(&aegis);
    assert_ne!(broken, before);
    // Killed anywhere: the tables are as they were before.
    for (place, _) in REBUILD_PLACES {
        aegis.set_env("AEGIS_TEST_FAILPOINT", Some(&format!("{place}:1")));
        let (code, out, err) = aegis.run(&["sinks", "rebuild", "sql"]);
        assert_eq!(code, -1, "it dies at {place}: {out}{err}");
        aegis.set_env("AEGIS_TEST_FAILPOINT", None);
        agree(&aegis, &broken, place);
    }
    let (code, out, err) = aegis.run(&["sinks", "rebuild", "sql", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&summary["refused"], &summary["missing"]),
        (&0.into(), &serde_json::json!([]))
    );
    agree(&aegis, &before, "rebuilt");

    for (name, said, expected) in [("archive", "the only copy", 2), ("nagios", "no sink", 4)] {
        let (code, _, err) = aegis.run(&["sinks", "rebuild", name]);
        assert_eq!(code, expected, "{err}");
        assert!(err.contains(said), "{err}");
    }
    // While aegis runs the tables are its own; where it stands it tells.
    aegis.start();
    let (code, _, err) = aegis.run(&["sinks", "rebuild", "sql"]);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("stop it first"), "{err}");
    let (code, out, err) = aegis.run(&["sinks", "list"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("sql") && out.contains("signals/0"), "{out}");
}

#[test]
fn broken_tables_are_made_anew_on_sqlite() {
    check("[topics]\npartitions = 2\n", |aegis| {
        format!("sqlite://{}", aegis.folder.join("data/aegis.db").display())
    });
}

#[test]
fn broken_tables_are_made_anew_on_postgres() {
    let Some(server) = required("AEGIS_TEST_POSTGRES") else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(support::database(&server, "aegis_rebuild"));
    let settings = format!("[topics]\npartitions = 2\n\n[store]\nurl = \"{url}\"\n");
    check(&settings, |_| url.clone());
}
