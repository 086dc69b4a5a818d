//! Tables made anew beside those in use: the same rows, byte for byte, whatever somebody did to the old ones.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/samples.rs"]
mod samples;

use databases::Database;
use model::remediation::RemediationFact;
use model::{Fact, topics};
use samples::*;
use sinks::SqlSink;
use sinks::sql::{Shadow, StoreError};
use stream::accounting::{Accounting, AccountingRecord};
use stream::{Offset, Sink as _, SinkBatch};

macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $case() { super::$case(super::Database::sqlite()).await; })+ }
        mod postgres { $(#[tokio::test] async fn $case() {
            if let Some(database) = super::Database::postgres().await { super::$case(database).await; }
        })+ }
        mod timescale { $(#[tokio::test] async fn $case() {
            if let Some(database) = super::Database::timescale().await { super::$case(database).await; }
        })+ }
    };
}

on_every_store!(
    rows_come_back_byte_for_byte,
    a_sink_that_moves_meanwhile_keeps_its_tables,
    what_is_abandoned_or_left_over_harms_nobody,
);

/// The log, as the sink is given it.
fn records() -> Vec<SinkBatch> {
    let signals: Vec<_> = (0..500).map(signal).collect();
    let proposal = proposal("a");
    let proposed = RemediationFact::Proposed {
        proposal: Box::new(proposal.clone()),
    };
    let attempted = RemediationFact::Attempted {
        before: proposal.target.clone(),
    };
    let fact = |n, fact| serde_json::to_vec(&remediation(&proposal, n, fact)).unwrap();
    let accounts = AccountingRecord {
        schema: 1,
        stage: "dedupe".into(),
        topic: "signals".into(),
        partition: 0,
        from: Offset(0),
        to: Offset(1),
        counts: Accounting {
            items_in: 500,
            forwarded: 500,
            ..Accounting::default()
        },
    };
    let accounts = serde_json::to_vec(&accounts).unwrap();
    vec![
        batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &signals)]),
        batch(
            topics::INCIDENTS,
            0,
            0,
            5,
            vec![
                event_record(0, &event("a", 1, 1, Fact::Opened { member: member("a") })),
                event_record(1, &event("a", 2, 2, Fact::SignalJoined { member: member("b") })),
                typed(2, &step_requested("a")),
                typed(3, &step_finished("a")),
                event_record(4, &event("a", 3, 2, Fact::Resolved)),
            ],
        ),
        batch(
            topics::REMEDIATIONS,
            0,
            0,
            2,
            vec![record(0, fact(0, proposed)), record(1, fact(1, attempted))],
        ),
        batch(
            topics::ACCOUNTING,
            0,
            0,
            2,
            vec![record(0, accounts.clone()), record(1, accounts)],
        ),
    ]
}

async fn fill(sink: &mut SqlSink) {
    for batch in records() {
        sink.position(&log(), &batch.partition).await.unwrap();
        assert_eq!(sink.write(&log(), &[batch]).await.unwrap(), []);
    }
}

const TABLES: [&str; 16] = [
    "incidents",
    "incident_events",
    "incident_members",
    "agent_executions",
    "remediations",
    "signals",
    "dead_letters",
    "notifications",
    "pipeline_metrics",
    "signals_by_minute",
    "signals_by_day",
    "incident_events_by_hour",
    "executions_by_minute",
    "remediations_by_day",
    "pipeline_metrics_by_hour",
    "sink_positions",
];

/// Every row of every table, as text.
async fn contents(database: &Database) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for table in TABLES {
        let query = match database.url.starts_with("sqlite") {
            true => {
                let columns = format!("SELECT name FROM pragma_table_info('{table}')");
                let columns = database.texts(&columns).await;
                let cells: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
                format!("SELECT {} FROM {table} ORDER BY 1", cells.join(" || '|' || "))
            }
            false => format!("SELECT CAST({table} AS TEXT) FROM {table} ORDER BY 1"),
        };
        all.push((table.to_owned(), database.texts(&query).await));
    }
    all
}

async fn rows_come_back_byte_for_byte(database: Database) {
    let store = database.open().await;
    fill(&mut SqlSink::new(store.clone())).await;
    database
        .execute("UPDATE incidents SET metadata = '{\"ticket\": 7}'")
        .await;
    let before = contents(&database).await;
    assert!(
        before.iter().filter(|(_, rows)| rows.is_empty()).count() <= 2,
        "{before:?}"
    );

    for damage in [
        "DELETE FROM signals WHERE raw_offset < 300",
        "UPDATE incident_events SET open_ms = -1",
        "DELETE FROM incident_members",
        "DELETE FROM agent_executions",
        "UPDATE remediations SET status = 'verified'",
        "UPDATE pipeline_metrics SET items = 7",
    ] {
        database.execute(damage).await;
    }
    if !database.aggregates().await {
        database.execute("DELETE FROM signals_by_day").await;
        database.execute("UPDATE executions_by_minute SET runs = 99").await;
    }
    assert_ne!(contents(&database).await, before);

    let shadow = Shadow::begin(&store).await.unwrap();
    fill(&mut SqlSink::new(shadow.store().clone())).await;
    shadow.swap().await.unwrap();
    for ((table, rows), (_, expected)) in contents(&database).await.into_iter().zip(before) {
        assert_eq!(rows, expected, "{table}");
    }

    // It goes on from there.
    let mut sink = SqlSink::new(store.clone());
    let partition = stream::TopicPartition::new(topics::SIGNALS, 0);
    assert_eq!(sink.position(&log(), &partition).await.unwrap(), Some(Offset(1)));
    let next = batch(topics::SIGNALS, 0, 1, 2, vec![signals_record(1, &[signal(900)])]);
    assert_eq!(sink.write(&log(), &[next]).await.unwrap(), []);
    if database.aggregates().await {
        // The swap has materialised the minute that the row falls into.
        database
            .execute("CALL refresh_continuous_aggregate('signals_by_minute', NULL, NULL)")
            .await;
    }
    let sum = "SELECT CAST(SUM(signals) AS TEXT) FROM signals_by_minute";
    assert_eq!(database.texts(sum).await, ["501"]);
}

async fn a_sink_that_moves_meanwhile_keeps_its_tables(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    fill(&mut sink).await;
    let shadow = Shadow::begin(&store).await.unwrap();
    fill(&mut SqlSink::new(shadow.store().clone())).await;
    let next = batch(topics::SIGNALS, 0, 1, 2, vec![signals_record(1, &[signal(900)])]);
    assert_eq!(sink.write(&log(), &[next]).await.unwrap(), []);
    let before = contents(&database).await;
    let refused = shadow.swap().await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(contents(&database).await, before);
}

async fn what_is_abandoned_or_left_over_harms_nobody(database: Database) {
    let store = database.open().await;
    fill(&mut SqlSink::new(store.clone())).await;
    let before = contents(&database).await;
    let first = Shadow::begin(&store).await.unwrap();
    fill(&mut SqlSink::new(first.store().clone())).await;
    // As if it were killed here: nothing is closed, nothing is cleared away.
    std::mem::forget(first);
    assert_eq!(contents(&database).await, before);
    let second = Shadow::begin(&store).await.unwrap();
    second.abandon().await.unwrap();
    assert_eq!(contents(&database).await, before);
    let third = Shadow::begin(&store).await.unwrap();
    fill(&mut SqlSink::new(third.store().clone())).await;
    third.swap().await.unwrap();
    assert_eq!(contents(&database).await, before);
}
