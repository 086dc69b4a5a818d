//! What TimescaleDB adds, on the server that `AEGIS_TEST_TIMESCALE` names. The store's own promises are in `stores.rs`.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/samples.rs"]
mod samples;

use databases::Database;
use model::{Fact, Signal, topics};
use samples::*;
use sinks::{SqlSink, Store};
use stream::Sink as _;

const HYPERTABLES: &str = "SELECT hypertable_name || ' on ' || primary_dimension FROM timescaledb_information.hypertables \
    WHERE hypertable_schema = current_schema() ORDER BY 1";
const POLICIES: &str = "SELECT hypertable_name || ' ' || (config ->> 'compress_after') FROM timescaledb_information.jobs \
    WHERE hypertable_schema = current_schema() AND proc_name = 'policy_compression' AND scheduled ORDER BY 1";
/// Continuous aggregates that count what is not refreshed yet as well.
const AGGREGATES: &str = "SELECT view_name::text FROM timescaledb_information.continuous_aggregates \
    WHERE view_schema = current_schema() AND NOT materialized_only ORDER BY 1";
const REFRESHES: &str = "SELECT count(*)::text FROM timescaledb_information.jobs \
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND hypertable_schema = current_schema() AND scheduled";
const CHUNKS: &str = "SELECT CAST(is_compressed AS TEXT) FROM timescaledb_information.chunks \
    WHERE hypertable_schema = current_schema() AND hypertable_name = 'signals' ORDER BY range_start";

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
    assert_eq!(
        database.texts(HYPERTABLES).await,
        [
            "agent_executions on created_at",
            "incident_events on at",
            "pipeline_metrics on at",
            "remediations on created_at",
            "signals on event_at"
        ]
    );
    let policies = database.texts(POLICIES).await;
    let expected = [
        "agent_executions 60 days",
        "incident_events 60 days",
        "pipeline_metrics 7 days",
        "remediations 60 days",
        "signals 7 days",
    ];
    assert_eq!(policies, expected);
    assert_eq!(database.texts(AGGREGATES).await.len(), 15);
    let refreshed = database.texts(REFRESHES).await;
    assert_eq!(refreshed, ["15"]);
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
    assert_eq!(database.texts(AGGREGATES).await, none);

    store.migrate().await.unwrap();
    is_set_up(&database).await;
    write(&store, 0, &[signal(1)]).await;
    assert_eq!(store.counts().await.unwrap().signals, 1);
}

/// As if the extension had been installed after the first weeks: tables of every kind, with rows, and rollups as tables.
#[tokio::test]
async fn tables_with_rows_become_hypertables_and_aggregates() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    write(&store, 0, &[signal_after(1, 0), signal_after(2, 24 * 30)]).await;
    let opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    let facts = vec![event_record(0, &opened), typed(1, &step_requested("a"))];
    let facts = batch(topics::INCIDENTS, 0, 0, 2, facts);
    SqlSink::new(store.clone()).write(&log(), &[facts]).await.unwrap();

    store.migrate_down(38).await.unwrap();
    for (table, key) in [
        ("signals", "event_at, raw_partition, raw_offset, raw_index"),
        ("incident_events", "incident_id, revision"),
        ("agent_executions", "id"),
    ] {
        for statement in [
            format!("CREATE TABLE plain (LIKE {table} INCLUDING DEFAULTS)"),
            format!("INSERT INTO plain SELECT * FROM {table}"),
            format!("DROP TABLE {table} CASCADE"),
            format!("ALTER TABLE plain RENAME TO {table}"),
            format!("ALTER TABLE {table} ADD PRIMARY KEY ({key})"),
        ] {
            database.execute(&statement).await;
        }
    }
    for view in [
        "alerts AS SELECT * FROM signals WHERE kind = 'alert'",
        "changes AS SELECT * FROM signals WHERE kind = 'change'",
        "executions AS SELECT * FROM agent_executions",
    ] {
        database.execute(&format!("CREATE VIEW {view}")).await;
    }
    store.migrate().await.unwrap();
    is_set_up(&database).await;
    assert_eq!(store.counts().await.unwrap().signals, 2);
    assert_eq!(database.texts(CHUNKS).await, ["false", "false"]);
    let days = "SELECT CAST(signals AS TEXT) FROM signals_by_day ORDER BY bucket";
    assert_eq!(database.texts(days).await, ["1", "1"]);
    let steps = "SELECT status || ' ' || CAST(runs AS TEXT) FROM executions_by_day";
    assert_eq!(database.texts(steps).await, ["running 1"]);

    // Upserts as before.
    let answered = vec![typed(2, &step_finished("a")), event_record(3, &opened)];
    let answered = batch(topics::INCIDENTS, 0, 2, 4, answered);
    SqlSink::new(store.clone()).write(&log(), &[answered]).await.unwrap();
    assert_eq!(database.texts(steps).await, ["success 1"]);
    assert_eq!(
        database
            .texts("SELECT CAST(COUNT(*) AS TEXT) FROM incident_events")
            .await,
        ["1"]
    );
}

/// Refreshed, then written to again: what is older than the refresh and what is newer both count.
#[tokio::test]
async fn aggregates_count_late_rows_after_the_next_refresh() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    write(&store, 0, &[signal_after(1, 0), signal_after(2, 1)]).await;
    let jobs = "SELECT CAST(job_id AS TEXT) FROM timescaledb_information.jobs \
        WHERE hypertable_name = 'signals_by_hour' AND hypertable_schema = current_schema()";
    let job = database.texts(jobs).await.remove(0);
    database.execute(&format!("CALL run_job({job})")).await;
    let hours = "SELECT CAST(signals AS TEXT) FROM signals_by_hour ORDER BY bucket";
    assert_eq!(database.texts(hours).await, ["1", "1"]);
    write(&store, 1, &[signal_after(3, 0), signal_after(4, 24 * 400)]).await;
    database.execute(&format!("CALL run_job({job})")).await;
    assert_eq!(database.texts(hours).await, ["2", "1", "1"]);
}

/// Another process has turned the tables into aggregates, and back: the next write looks.
#[tokio::test]
async fn rollups_that_are_gone_are_made_again() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    write(&store, 0, &[signal_after(1, 0)]).await;
    database.execute("DROP MATERIALIZED VIEW signals_by_minute").await;
    write(&store, 1, &[signal_after(2, 0)]).await;
    store.migrate().await.unwrap();
    is_set_up(&database).await;
    let minutes = "SELECT CAST(signals AS TEXT) FROM signals_by_minute";
    assert_eq!(database.texts(minutes).await, ["2"]);
}

#[tokio::test]
async fn what_a_person_changed_stays() {
    let Some(database) = Database::timescale().await else {
        return;
    };
    let store = database.open().await;
    database.execute("SELECT remove_compression_policy('signals')").await;
    database
        .execute("SELECT remove_continuous_aggregate_policy('signals_by_hour')")
        .await;
    store.migrate().await.unwrap();
    assert_eq!(database.texts(POLICIES).await.len(), 4);
    assert_eq!(database.texts(REFRESHES).await, ["14"]);
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

    let jobs = "SELECT CAST(job_id AS TEXT) FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema() \
         AND hypertable_name = 'signals' AND proc_name = 'policy_compression'";
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
