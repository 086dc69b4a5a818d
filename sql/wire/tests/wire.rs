//! The server as clients see it: psql, sqlx, what Grafana asks, and people who mean no good.

#[path = "../../../sinks/tests/support/databases.rs"]
mod databases;
#[path = "../../../sinks/tests/support/samples.rs"]
mod samples;
mod support;

use std::time::Duration;

use model::topics;
use samples::*;
use sinks::SqlSink;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use stream::Sink as _;
use support::{PASSWORD, Site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::SqlServerSettings;

async fn site() -> Site {
    Site::open(|_| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlx_asks_with_parameters_and_gets_typed_rows() {
    let site = site().await;
    let mut client = site.client().await;
    let rows = sqlx::query(
        "SELECT title, members, created_at, auto_resolved FROM incidents WHERE severity = $1 ORDER BY title",
    )
    .bind("warning")
    .fetch_all(&mut client)
    .await
    .unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].get::<i64, _>("members"), 1);
    assert!(!rows[0].get::<bool, _>("auto_resolved"));
    let at: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> = rows[0].get("created_at");
    assert!(at.timestamp() > 0);
    let none: Vec<_> = sqlx::query("SELECT 1 FROM incidents WHERE severity = $1")
        .bind("x")
        .fetch_all(&mut client)
        .await
        .unwrap();
    assert!(none.is_empty());
    // Columns of JSON are text whose fields can be asked for.
    let tenant: String = sqlx::query_scalar("SELECT payload->>'fact' FROM incident_events LIMIT 1")
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert!(!tenant.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_asks_and_reads_cursors() {
    let site = site().await;
    if !site.has_psql() {
        return;
    }
    let (code, out, err) = site.psql("\\d");
    assert_eq!(code, 0, "{err}");
    for table in ["incidents", "signals", "remediations", "logs"] {
        assert!(out.contains(table), "{out}");
    }
    let (code, out, err) = site.psql("\\d incidents");
    assert!(
        code == 0 && out.contains("canonical_key") && out.contains("timestamp"),
        "{out}{err}"
    );
    let cursor = "BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 1000000000) AS t(n); FETCH 3 FROM c; \
        FETCH FORWARD 2 FROM c; CLOSE c; COMMIT;";
    let (code, out, err) = site.psql(cursor);
    assert_eq!(code, 0, "{err}");
    let numbers: Vec<&str> = out.lines().filter(|line| line.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"], "{out}");
    let (code, out, _) =
        site.psql("SELECT count(*) FROM incidents; SHOW server_version; SELECT current_setting('server_version_num')");
    assert!(code == 0 && out.contains('3') && out.contains("160006"), "{out}");
    let (code, _, err) = site.psql("SELECT * FROM incidnts");
    assert!(code != 0 && err.contains("did you mean incidents?"), "{err}");
    let (_, _, err) = site.psql("SELEC 1");
    assert!(err.contains("ERROR"), "{err}");
}

/// What Grafana's PostgreSQL plugin asks of a data source, and how its panels ask.
#[tokio::test(flavor = "multi_thread")]
async fn grafanas_questions_are_answered() {
    let site = site().await;
    let mut client = site.client().await;
    for (question, rows) in [
        ("SELECT current_setting('server_version_num')::int/100 as version", 1),
        ("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'", 0),
        (
            "SELECT quote_ident(table_name) as \"table\" FROM information_schema.tables \
             WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache') \
             AND quote_ident(table_name) = 'incidents'",
            1,
        ),
        (
            "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns \
             WHERE quote_ident(table_name) = 'incidents'",
            22,
        ),
        (
            "SELECT date_bin(INTERVAL '1 hour', created_at, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS time, severity, count(*) AS n \
             FROM public.incidents WHERE created_at BETWEEN '2020-01-01T00:00:00Z' AND '2040-01-01T00:00:00Z' GROUP BY 1, 2 ORDER BY 1",
            1,
        ),
        (
            "SELECT time_bucket(INTERVAL '1 day', created_at) AS time, count(*) FROM incidents GROUP BY 1",
            1,
        ),
    ] {
        // Grafana sends plain text without parameters.
        let answer = sqlx::raw_sql(sqlx::AssertSqlSafe(question))
            .fetch_all(&mut client)
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{question}: {error}"));
        assert_eq!(answer.len(), rows, "{question}");
    }
}

/// Both protocols: what writes, reaches files or changes the engine is refused, and nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_reading() {
    let site = site().await;
    let target = site.folder.path().join("out.csv");
    let file = target.display();
    let statements = [
        "DELETE FROM incidents".to_owned(),
        "INSERT INTO incidents (title) VALUES ('x')".to_owned(),
        "UPDATE incidents SET title = 'x'".to_owned(),
        "TRUNCATE incidents".to_owned(),
        "DROP TABLE incidents".to_owned(),
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "SELECT * INTO x FROM incidents".to_owned(),
        "CREATE VIEW x AS SELECT 1".to_owned(),
        format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{file}'"),
        format!("COPY incidents TO '{file}'"),
        format!("COPY (SELECT 1) TO '{file}'"),
        "COPY incidents FROM STDIN".to_owned(),
        "WITH gone AS (DELETE FROM incidents RETURNING *) SELECT * FROM gone".to_owned(),
        "EXPLAIN ANALYZE DELETE FROM incidents".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SET datafusion.runtime.memory_limit = '100G'".to_owned(),
        "SET SESSION datafusion.runtime.memory_limit = '100G'".to_owned(),
        "CREATE FUNCTION f() RETURNS INT AS 'x'".to_owned(),
        "PREPARE p AS DELETE FROM incidents".to_owned(),
        "DECLARE c CURSOR FOR DELETE FROM incidents".to_owned(),
        "GRANT ALL ON incidents TO aegis".to_owned(),
        "DO $$ BEGIN END $$".to_owned(),
        "ATTACH DATABASE 'x' AS y".to_owned(),
    ];
    let mut client = site.client().await;
    for statement in &statements {
        let simple = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.as_str()))
            .execute(&mut client)
            .await;
        let refused = simple.expect_err(statement);
        let code = refused
            .as_database_error()
            .and_then(|error| error.code())
            .unwrap_or_default()
            .into_owned();
        assert!(
            ["25006", "42501", "42601", "XX000"].contains(&code.as_str()),
            "{statement}: {code} {refused}"
        );
        let extended = sqlx::query(sqlx::AssertSqlSafe(statement.as_str()))
            .execute(&mut client)
            .await;
        extended.expect_err(statement);
    }
    assert!(!target.exists());
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM incidents")
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(left, 3);
    assert_eq!(
        site.engine_setting("datafusion.execution.batch_size", &mut client)
            .await,
        "8192"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_knows_the_password_gets_in() {
    let site = site().await;
    for (user, password) in [("aegis", "wrong"), ("aegis", ""), ("nobody", PASSWORD)] {
        let refused = PgConnection::connect_with(&site.options().username(user).password(password)).await;
        let code = refused
            .map(|_| ())
            .expect_err(user)
            .as_database_error()
            .and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("28P01"), "{user} {password:?}");
    }
    // A query before the login is not answered.
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    socket.write_all(&startup()).await.unwrap();
    socket.write_all(&query("SELECT 1")).await.unwrap();
    let answer = rest_of(&mut socket).await;
    assert!(!answer.windows(4).any(|four| four == b"SELE"), "{answer:?}");
    assert!(answer.contains(&b'E'), "{answer:?}");
    site.client().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_statements_end() {
    let site = Site::open(|settings| settings.statement_timeout = "2s".parse().unwrap()).await;
    let mut client = site.client().await;
    let forever =
        "SELECT count(*) FROM generate_series(1, 1000000000000) a(n), generate_series(1, 1000000) b(m) WHERE n + m = 0";
    for _ in 0..2 {
        let refused = client.execute(forever).await.expect_err("no time");
        assert!(refused.to_string().contains("statement timeout"), "{refused}");
    }
    let refused = sqlx::raw_sql(forever).execute(&mut client).await.expect_err("no time");
    assert!(refused.to_string().contains("statement timeout"), "{refused}");
    // A client may want less, never more.
    client.execute("SET statement_timeout = '200ms'").await.unwrap();
    let refused = client.execute(forever).await.expect_err("no time");
    assert!(refused.to_string().contains("200ms"), "{refused}");
    client.execute("SET statement_timeout = 0").await.unwrap();
    client.execute(forever).await.expect_err("no time");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_answers_end_with_an_error() {
    let site = Site::open(|settings| settings.max_rows = 100_000).await;
    let mut client = site.client().await;
    let all = "SELECT n FROM generate_series(1, 1000000000000) t(n)";
    for refused in [
        client.execute(all).await.map(|_| ()),
        sqlx::raw_sql(all).execute(&mut client).await.map(|_| ()),
    ] {
        let refused = refused.expect_err("too many");
        assert!(refused.to_string().contains("more than 100000 rows"), "{refused}");
    }
    sqlx::raw_sql("BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 1000000000000) t(n)")
        .execute(&mut client)
        .await
        .unwrap();
    let refused = sqlx::raw_sql("FETCH ALL FROM c")
        .execute(&mut client)
        .await
        .expect_err("too many");
    assert!(refused.to_string().contains("more than 100000 rows"), "{refused}");
    sqlx::raw_sql("ROLLBACK").execute(&mut client).await.unwrap();
    let fits: Vec<_> = client
        .fetch_all("SELECT n FROM generate_series(1, 100000) t(n)")
        .await
        .unwrap();
    assert_eq!(fits.len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_before_they_go_off() {
    let site = Site::open(|settings| settings.memory = "16MiB".parse().unwrap()).await;
    let mut client = site.client().await;
    let before = resident();
    for bomb in [
        "SELECT repeat('x', 2000000000)",
        "SELECT length(repeat(repeat('x', 60000000), 60000000))",
        "SELECT lpad('x', 2000000000, 'y')",
        "SELECT rpad('x', n * 100000) FROM generate_series(1, 8192) t(n)",
        "SELECT replace(repeat('a', 10000000), 'a', repeat('b', 10000000))",
        "SELECT regexp_replace(repeat('a', 10000000), 'a', repeat('b', 10000000), 'g')",
        "SELECT array_repeat(1, 2000000000)",
        "SELECT range(1, 2000000000)",
        "SELECT a || a || a || a || a FROM (SELECT x || x || x || x AS a FROM (SELECT repeat('y', 30000000) AS x))",
        "SELECT concat(x, x, x) FROM (SELECT repeat('x', 60000000) AS x)",
        "SELECT n FROM generate_series(1, 100000000) t(n) ORDER BY n * 7919 % 1000003 DESC, n",
        "SELECT array_agg(n) FROM generate_series(1, 100000000) t(n)",
        "SELECT string_agg(repeat('x', 1000), '') FROM generate_series(1, 10000000) t(n)",
    ] {
        let refused = client.execute(bomb).await;
        let refused = refused.map(|_| ()).expect_err(bomb).to_string();
        assert!(refused.len() < 2_000, "{bomb}: {refused}");
        let one: i64 = sqlx::query_scalar("SELECT 1::bigint")
            .fetch_one(&mut client)
            .await
            .unwrap();
        assert_eq!(one, 1);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 1_500 << 20, "{} MiB more", grown >> 20);
}

/// A client may have the server keep so many statements, hears when it is enough, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_without_end() {
    let site = site().await;
    let options = site.options().statement_cache_capacity(1_000);
    let mut client = PgConnection::connect_with(&options).await.unwrap();
    let mut refused = None;
    for n in 0..400 {
        let asked = sqlx::AssertSqlSafe(format!("SELECT $1::bigint + {n}"));
        if let Err(error) = sqlx::query(asked).bind(1_i64).fetch_one(&mut client).await {
            refused = Some((n, error.to_string()));
            break;
        }
    }
    let (at, error) = refused.expect("400 statements were kept");
    assert!(
        at >= 200 && error.contains("prepared statements: close some"),
        "{at}: {error}"
    );
    let one = sqlx::query("SELECT 1::bigint")
        .persistent(false)
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(one.get::<i64, _>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_called_off_by_another_connection() {
    let site = site().await;
    if !site.has_psql() {
        return;
    }
    // psql sends the cancel request on SIGINT, once its statement is under way; before that it just ends.
    let mut output = String::new();
    for pause in [2, 5, 10] {
        let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) a(n) WHERE n < 0";
        let child = site.psql_command(endless).spawn().unwrap();
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.unwrap().success());
        output = tokio::task::spawn_blocking(move || support::said(child)).await.unwrap();
        if output.contains("cancel") {
            return;
        }
    }
    panic!("{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_it_is_full_is_told() {
    let site = Site::open(|settings| settings.max_connections = 2).await;
    let (one, two) = (site.client().await, site.client().await);
    let refused = PgConnection::connect_with(&site.options())
        .await
        .map(|_| ())
        .expect_err("full");
    assert!(refused.to_string().contains("there are 2 clients already"), "{refused}");
    one.close().await.unwrap();
    two.close().await.unwrap();
    for _ in 0..100 {
        if PgConnection::connect_with(&site.options()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("places are not given back");
}

/// They cost their sockets and some memory each; who comes then is told why, and those who are in are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections() {
    let site = Site::open(|settings| settings.max_connections = 500).await;
    let mut inside = site.client().await;
    let before = resident();
    let mut idle = Vec::new();
    for n in 0..1_000 {
        let mut socket = TcpStream::connect(site.address).await.unwrap();
        // Some say nothing at all, some stop within their login.
        if n % 2 == 0 {
            socket.write_all(&startup()).await.unwrap();
        }
        idle.push(socket);
    }
    let refused = PgConnection::connect_with(&site.options()).await;
    let refused = refused.map(|_| ()).expect_err("full").to_string();
    assert!(refused.contains("there are 500 clients already"), "{refused}");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM incidents")
        .fetch_one(&mut inside)
        .await
        .unwrap();
    assert_eq!(count, 3);
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB more", grown >> 20);
    drop(idle);
    for _ in 0..100 {
        if PgConnection::connect_with(&site.options()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("places are not given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_ends_its_own_connection_only() {
    let site = site().await;
    let mut client = site.client().await;
    let long = [&startup()[..], b"Q\x7f\xff\xff\xff"].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0; 64],
        &[0xff; 64],
        &[0, 0, 0, 3],
        &long,
        &[&startup()[..], b"p\0\0\0\x03"].concat(),
        &[&startup()[..], &[b'p', 0, 0, 0, 20], b"SCRAM-SHA-256\0\0\0\0"].concat(),
    ] {
        let mut socket = TcpStream::connect(site.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let _ = socket.shutdown().await;
        rest_of(&mut socket).await;
    }
    let one: i64 = sqlx::query_scalar("SELECT 1::bigint")
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(one, 1);
}

/// What is on the log is answered before any table has it, and once when it has.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_signals_are_answered_once() {
    let site = site().await;
    let mut client = site.client().await;
    let count = "SELECT count(*) FROM signals";
    let counted =
        async |client: &mut PgConnection| sqlx::query_scalar::<_, i64>(count).fetch_one(client).await.unwrap();
    assert_eq!(counted(&mut client).await, 0);
    for n in 0..10_u64 {
        let record = signals_record(n, &[signal(n)]);
        let rows = sinks::archive::columns::signals(0, &record).unwrap();
        site.recent.push(0, n, n + 1, Some(rows));
    }
    assert_eq!(counted(&mut client).await, 10);
    let mut sink = SqlSink::new(site.database.open().await);
    let records = (0..12).map(|n| signals_record(n, &[signal(n)])).collect();
    sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 12, records)])
        .await
        .unwrap();
    // Two are in the tables that memory has not seen: it is behind, and what it has not seen is not shown yet or shown from the table.
    site.recent.push(0, 10, 12, None);
    assert_eq!(counted(&mut client).await, 10);
    site.recent.forget(0);
    assert_eq!(counted(&mut client).await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_certificate() {
    let Some(site) = Site::with_certificate().await else {
        return;
    };
    use sqlx::postgres::PgSslMode;
    let trusted = site
        .options()
        .ssl_mode(PgSslMode::VerifyFull)
        .ssl_root_cert(site.folder.path().join("cert.pem"))
        .host("localhost");
    let mut client = PgConnection::connect_with(&trusted).await.unwrap();
    let one: i64 = sqlx::query_scalar("SELECT 1::bigint")
        .fetch_one(&mut client)
        .await
        .unwrap();
    assert_eq!(one, 1);
    if site.has_psql() {
        let (code, out, err) = site.psql("\\conninfo");
        assert!(code == 0 && out.contains("SSL connection"), "{out}{err}");
    }
}

#[test]
fn settings_have_defaults() {
    assert!(SqlServerSettings::default().faults().is_empty());
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0aegis\0database\0aegis\0\0";
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

fn query(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 5).unwrap();
    [b"Q", &length.to_be_bytes()[..], text.as_bytes(), b"\0"].concat()
}

async fn rest_of(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut all)).await;
    assert!(read.is_ok(), "the server does not end the connection");
    all
}

/// Bytes that this process has in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
