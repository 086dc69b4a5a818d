//! What TimescaleDB adds, on the server that `AEGIS_TEST_TIMESCALE` names. The store's own promises are in `stores.rs`.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/samples.rs"]
mod samples;

use databases::Database;
use model::{Signal, topics};
use samples::*;
use sinks::{SqlSink, Store};
use stream::Sink as _;

const HYPERTABLES: &str = "SELECT hypertable_name || ' on ' || primary_dimension FROM timescaledb_information.hypertables \
    WHERE hypertable_schema = current_schema()";
const POLICIES: &str = "SELECT proc_name || ' ' || (config ->> 'compress_after') FROM timescaledb_information.jobs \
    WHERE hypertable_schema = current_schema() AND scheduled";
const CHUNKS: &str = "SELECT CAST(is_compressed AS TEXT) FROM timescaledb_information.chunks \
    WHERE hypertable_schema = current_schema() ORDER BY range_start";

const HOUR: i64 = 3_600_000_000;

/// Signal `i`, `hours` after the start.
fn signal_after(i: u64, hours: i64) -> Signal {
    Signal {
        event_at: START + hours * HOUR,
        ..signal(i)
    }
}

async fn write(store: &Store, start: u64, signals: &[Signal]) {
    let range = batch(
        topics::SIGNALS,
        0,
        start,
        start + 1,
        vec![signals_record(start, signals)],
    );
    let rejects = SqlSink::new(store.clone()).write(&log(), &[range]).await.unwrap();
    assert_eq!(rejects, []);
}

async fn is_set_up(database: &Database) {
    assert_eq!(database.texts(HYPERTABLES).await, ["signals on event_at"]);
    let policies = database.texts(POLICIES).await;
    assert_eq!(policies.len(), 1, "{policies:?}");
    assert!(
        policies[0].starts_with("policy_compression ") && policies[0].ends_with("7 days"),
        "{policies:?}"
    );
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    is_set_up(&database).await;
    // At every start.
    store.migrate().await.unwrap();
    is_set_up(&database).await;
    write(&store, 0, &[signal(1)]).await;

    store.migrate_down(0).await.unwrap();
    let none: [&str; 0] = [];
    assert_eq!(database.texts(HYPERTABLES).await, none);
    assert_eq!(database.texts(POLICIES).await, none);

    store.migrate().await.unwrap();
    is_set_up(&database).await;
    write(&store, 0, &[signal(1)]).await;
    assert_eq!(store.counts().await.unwrap().signals, 1);
}

/// As if the extension had been installed after the first weeks.
#[tokio::test]
async fn a_table_with_rows_becomes_a_hypertable() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    write(&store, 0, &[signal_after(1, 0), signal_after(2, 24 * 30)]).await;
    for statement in [
        "CREATE TABLE plain (LIKE signals INCLUDING ALL)",
        "INSERT INTO plain SELECT * FROM signals",
        "DROP TABLE signals",
        "ALTER TABLE plain RENAME TO signals",
    ] {
        database.execute(statement).await;
    }
    store.migrate().await.unwrap();
    is_set_up(&database).await;
    assert_eq!(store.counts().await.unwrap().signals, 2);
    assert_eq!(database.texts(CHUNKS).await, ["false", "false"]);
}

#[tokio::test]
async fn what_a_person_changed_stays() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    database.execute("SELECT remove_compression_policy('signals')").await;
    store.migrate().await.unwrap();
    let none: [&str; 0] = [];
    assert_eq!(database.texts(POLICIES).await, none);
}

#[tokio::test]
async fn time_buckets() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    // START is 2025-10-09 08:53:20 UTC.
    let signals = [(1, 0), (2, 0), (3, 1), (4, 30)].map(|(i, hours)| signal_after(i, hours));
    write(&store, 0, &signals).await;
    let buckets = "SELECT to_char(time_bucket('1 hour', event_at) AT TIME ZONE 'UTC', 'MM-DD HH24') || ' ' || count(*) \
        FROM signals GROUP BY time_bucket('1 hour', event_at) ORDER BY time_bucket('1 hour', event_at)";
    assert_eq!(
        database.texts(buckets).await,
        ["10-09 08 2", "10-09 09 1", "10-10 14 1"]
    );
}

/// The policy's job compresses the weeks of 2025; what is written there afterwards is written once.
#[tokio::test]
async fn compressed_chunks_take_late_rows_once() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    let signals: Vec<Signal> = (0..500).map(|i| signal_after(i, i as i64)).collect();
    write(&store, 0, &signals).await;
    let chunks = database.texts(CHUNKS).await;
    assert!(
        chunks.len() >= 3 && chunks.iter().all(|chunk| chunk == "false"),
        "{chunks:?}"
    );

    let jobs =
        "SELECT CAST(job_id AS TEXT) FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()";
    let job = database.texts(jobs).await.remove(0);
    database.execute(&format!("CALL run_job({job})")).await;
    let chunks = database.texts(CHUNKS).await;
    assert!(chunks.iter().all(|chunk| chunk == "true"), "{chunks:?}");

    // All of them again, and five hundred more in between.
    let late = (500..1_000).map(|i| signal_after(i, i as i64 - 500));
    let again: Vec<Signal> = signals.into_iter().chain(late).collect();
    write(&store, 1, &again).await;
    assert_eq!(store.counts().await.unwrap().signals, 1_000);
    let titles = "SELECT title FROM signals WHERE service = 'checkout' AND raw_offset IN (7, 507) ORDER BY title";
    assert_eq!(database.texts(titles).await, ["alert 507", "alert 7"]);
}

/// One statement of 8 MB: its message crosses every buffer between here and the server in pieces.
#[tokio::test]
async fn a_message_of_megabytes() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    let signals: Vec<Signal> = (0..16)
        .map(|i| Signal {
            description: Some(char::from(b'a' + i as u8).to_string().repeat(500_000)),
            ..signal(i)
        })
        .collect();
    write(&store, 0, &signals).await;
    let kept = database
        .texts("SELECT left(description, 1) || length(description) FROM signals ORDER BY raw_offset")
        .await;
    let expected: Vec<String> = (b'a'..b'a' + 16)
        .map(|first| format!("{}500000", char::from(first)))
        .collect();
    assert_eq!(kept, expected);
}
