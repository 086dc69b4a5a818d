//! Counts by minute, hour and day on every store: always what a query over the rows gives, whatever came twice, late or changed.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/samples.rs"]
mod samples;

use std::collections::BTreeMap;

use databases::Database;
use model::remediation::RemediationFact;
use model::{Fact, Signal, SignalState, topics};
use samples::*;
use sinks::SqlSink;
use sinks::sql::{Fence, RetentionSettings, StoreError};
use stream::accounting::{Accounting, AccountingRecord};
use stream::human::HumanDuration;
use stream::{Instant, Offset, Record, Sink as _, SinkBatch};

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
    rollups_are_what_the_rows_say,
    a_lost_position_counts_no_row_twice,
    texts_that_no_index_takes_are_counted,
    rows_of_older_versions_get_their_columns_and_counts,
    views_divide_signals_by_kind,
    stages_are_summed_up_by_ten_seconds,
    nothing_is_forgotten_unless_it_was_said,
    what_is_too_old_is_forgotten,
    who_was_overtaken_forgets_nothing,
);

/// Name, table, time, keys, sums.
type Rollup = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ROLLUPS: [Rollup; 5] = [
    (
        "signals",
        "signals",
        "event_at",
        &["tenant", "environment", "source", "kind", "severity", "service"],
        &["COUNT(*)", "SUM(CASE WHEN state = 'firing' THEN 1 ELSE 0 END)"],
    ),
    (
        "incident_events",
        "incident_events",
        "at",
        &["tenant", "environment", "service", "severity", "fact"],
        &["COUNT(*)", "COALESCE(SUM(detect_ms), 0)", "COALESCE(SUM(open_ms), 0)"],
    ),
    (
        "executions",
        "agent_executions",
        "created_at",
        &["agent_name", "status"],
        &[
            "COUNT(*)",
            "COALESCE(SUM(tokens_used), 0)",
            "COALESCE(SUM(duration_ms), 0)",
        ],
    ),
    (
        "remediations",
        "remediations",
        "created_at",
        &["action_type", "namespace", "status"],
        &["COUNT(*)"],
    ),
    (
        "pipeline_metrics",
        "pipeline_metrics",
        "at",
        &["stage"],
        &[
            "SUM(commits)",
            "SUM(bodies)",
            "SUM(items)",
            "SUM(forwarded)",
            "SUM(merged)",
            "SUM(suppressed)",
            "SUM(late)",
            "SUM(dead_lettered)",
            "SUM(produced)",
        ],
    ),
];

const COLUMNS: [&[&str]; 5] = [
    &["signals", "firing"],
    &["events", "detect_ms", "open_ms"],
    &["runs", "tokens", "duration_ms"],
    &["remediations"],
    &[
        "commits",
        "bodies",
        "items",
        "forwarded",
        "merged",
        "suppressed",
        "late",
        "dead_lettered",
        "produced",
    ],
];

/// Every rollup as its rows stand, one text a row.
async fn kept(database: &Database) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for ((name, _, _, keys, _), columns) in ROLLUPS.into_iter().zip(COLUMNS) {
        for grain in ["minute", "hour", "day"] {
            let rollup = format!("{name}_by_{grain}");
            let cells = shown("bucket", keys, columns);
            let query = format!("SELECT {cells} FROM {rollup} ORDER BY 1");
            all.insert(rollup, database.texts(&query).await);
        }
    }
    all
}

/// The same, counted from the rows.
async fn counted(database: &Database) -> BTreeMap<String, Vec<String>> {
    let sqlite = database.url.starts_with("sqlite");
    let mut all = BTreeMap::new();
    for (name, table, time, keys, sums) in ROLLUPS {
        for (grain, cut, rest) in [
            ("minute", 16, ":00.000000Z"),
            ("hour", 13, ":00:00.000000Z"),
            ("day", 10, "T00:00:00.000000Z"),
        ] {
            let bucket = match sqlite {
                true => format!("substr({time}, 1, {cut}) || '{rest}'"),
                false => format!("date_trunc('{grain}', {time} AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"),
            };
            let cells = shown(&bucket, keys, sums);
            let keys = keys.join(", ");
            let query = format!("SELECT {cells} FROM {table} GROUP BY {bucket}, {keys} ORDER BY 1");
            all.insert(format!("{name}_by_{grain}"), database.texts(&query).await);
        }
    }
    all
}

fn shown(bucket: &str, keys: &[&str], sums: &[&str]) -> String {
    let text = |cell: &&str| format!("COALESCE(CAST({cell} AS TEXT), '(null)')");
    let cells = std::iter::once(&bucket).chain(keys).chain(sums).map(text);
    cells.collect::<Vec<_>>().join(" || '|' || ")
}

async fn agree(database: &Database, when: &str) {
    let (kept, counted) = (kept(database).await, counted(database).await);
    for (rollup, rows) in &counted {
        assert_eq!(&kept[rollup], rows, "{rollup} {when}");
    }
}

async fn write(sink: &mut SqlSink, batches: &[SinkBatch]) {
    assert_eq!(sink.write(&log(), batches).await.unwrap(), []);
}

fn signal_at(i: u64, minutes: i64) -> Signal {
    Signal {
        event_at: START + minutes * 60_000_000,
        service: (!i.is_multiple_of(3)).then(|| format!("service-{}", i % 2)),
        state: if i.is_multiple_of(5) {
            SignalState::Resolved
        } else {
            SignalState::Firing
        },
        ..signal(i)
    }
}

fn accounting(offset: u64, seconds: i64, stage: &str, partition: u32, items: u64) -> Record {
    let counts = Accounting {
        items_in: items,
        forwarded: items,
        suppressed: BTreeMap::from([("r".to_owned(), 1), ("s".to_owned(), 2)]),
        produced: BTreeMap::from([("timer".to_owned(), 4)]),
        ..Accounting::default()
    };
    let said = AccountingRecord {
        schema: 1,
        stage: stage.to_owned(),
        topic: topics::SIGNALS.to_owned(),
        partition,
        from: Offset(0),
        to: Offset(items),
        counts,
    };
    Record {
        timestamp: Instant(START + seconds * 1_000_000),
        ..record(offset, serde_json::to_vec(&said).unwrap())
    }
}

/// Two partitions of everything: all that a sink can be given.
fn first() -> Vec<SinkBatch> {
    // More than 64, which are copied on PostgreSQL.
    let signals: Vec<Signal> = (0..80).map(|i| signal_at(i, i as i64 * 7)).collect();
    let opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    let joined = event("a", 2, 2, Fact::SignalJoined { member: member("b") });
    let proposal = proposal("a");
    let proposed = RemediationFact::Proposed {
        proposal: Box::new(proposal.clone()),
    };
    let proposed = serde_json::to_vec(&remediation(&proposal, 0, proposed)).unwrap();
    vec![
        batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &signals)]),
        batch(
            topics::INCIDENTS,
            0,
            0,
            3,
            vec![
                event_record(0, &opened),
                event_record(1, &joined),
                typed(2, &step_requested("a")),
            ],
        ),
        batch(topics::REMEDIATIONS, 0, 0, 1, vec![record(0, proposed)]),
        batch(
            topics::ACCOUNTING,
            0,
            0,
            3,
            vec![
                accounting(0, 0, "dedupe", 0, 5),
                accounting(1, 1, "dedupe", 0, 7),
                accounting(2, 30, "dedupe", 1, 1),
            ],
        ),
    ]
}

/// What comes later: again what was there, from elsewhere; rows of old minutes; answers that change what stands.
fn second() -> Vec<SinkBatch> {
    let again: Vec<Signal> = (30..130).map(|i| signal_at(i, i as i64 * 7)).collect();
    let late = signal_at(160, -60 * 24 * 3);
    let twice = vec![signals_record(0, &again), signals_record(1, &[late.clone(), late])];
    let joined = event("a", 2, 2, Fact::SignalJoined { member: member("b") });
    let resolved = event("a", 3, 2, Fact::Resolved);
    let proposal = proposal("a");
    let state = proposal.target.clone();
    let fact = |n, fact| serde_json::to_vec(&remediation(&proposal, n, fact)).unwrap();
    let facts = [
        RemediationFact::Attempted { before: state.clone() },
        RemediationFact::Executed {
            before: state.clone(),
            note: "patched".into(),
        },
        RemediationFact::Verified {
            before: state.clone(),
            after: state,
        },
    ];
    let facts = facts.into_iter().enumerate();
    let facts: Vec<Record> = facts
        .map(|(n, one)| record(n as u64 + 1, fact(n as i64 + 1, one)))
        .collect();
    vec![
        batch(topics::SIGNALS, 1, 0, 2, twice),
        batch(
            topics::INCIDENTS,
            1,
            0,
            3,
            vec![
                event_record(0, &joined),
                event_record(1, &resolved),
                typed(2, &step_finished("a")),
            ],
        ),
        batch(topics::INCIDENTS, 0, 3, 4, vec![typed(3, &late_answer("a"))]),
        batch(topics::REMEDIATIONS, 0, 1, 4, facts),
        batch(topics::ACCOUNTING, 0, 3, 4, vec![accounting(3, 2, "dedupe", 0, 100)]),
    ]
}

async fn rollups_are_what_the_rows_say(database: Database) {
    let mut sink = SqlSink::new(database.open().await);
    write(&mut sink, &first()).await;
    agree(&database, "at first").await;
    let kept = kept(&database).await;
    assert_eq!(kept["executions_by_day"].len(), 1);
    assert!(kept["executions_by_day"][0].ends_with("|triage|running|1|0|0"));
    assert!(kept["signals_by_minute"].len() == 80 && kept["signals_by_hour"].len() >= 5);

    write(&mut sink, &second()).await;
    agree(&database, "after repeats, late rows and changes").await;
    let kept = self::kept(&database).await;
    assert_eq!(kept["executions_by_day"].len(), 1, "{:?}", kept["executions_by_day"]);
    assert!(kept["executions_by_day"][0].ends_with("|triage|success|1|0|12"));
    assert_eq!(kept["remediations_by_day"].len(), 1);
    assert!(kept["remediations_by_day"][0].ends_with("|restart|production|verified|1"));
    // The fact at +1 s of an alert of +0 s, seen a second later.
    let opened = kept["incident_events_by_day"]
        .iter()
        .find(|row| row.contains("|opened|"));
    assert!(opened.unwrap().ends_with("|opened|1|2000|1000"), "{opened:?}");
}

/// The store forgot where the sink stands, but not the rows: it reads everything once more.
async fn a_lost_position_counts_no_row_twice(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let batches: Vec<SinkBatch> = first()
        .into_iter()
        // Sums have no rows of their own to tell what they hold: `aegis sinks rebuild` is for that.
        .filter(|batch| *batch.partition.topic != *topics::ACCOUNTING)
        .collect();
    write(&mut sink, &batches).await;
    let before = kept(&database).await;
    database.execute("DELETE FROM sink_positions").await;
    let mut sink = SqlSink::new(store);
    for batch in &batches {
        sink.position(&log(), &batch.partition).await.unwrap();
    }
    write(&mut sink, &batches).await;
    assert_eq!(kept(&database).await, before);
    agree(&database, "read twice").await;
}

async fn texts_that_no_index_takes_are_counted(database: Database) {
    let mut sink = SqlSink::new(database.open().await);
    let long = |i: u64, tenant: &str, environment: &str, service: Option<&str>| Signal {
        tenant: tenant.into(),
        environment: environment.into(),
        service: service.map(str::to_owned),
        ..signal(i)
    };
    let huge: String = (0..20_000_u32)
        .map(|i| char::from_u32(0x4e00 + i * 7 % 20_000).unwrap())
        .collect();
    let signals = [
        long(1, &huge, "prod", None),
        long(2, &huge, "prod", None),
        long(3, "ab", "c", None),
        long(4, "a", "bc", None),
        // No service, and a service without a name.
        long(5, "a", "bc", Some("")),
        long(6, "a", "bc", Some("-")),
    ];
    write(
        &mut sink,
        &[batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &signals)])],
    )
    .await;
    agree(&database, "with long texts").await;
    assert_eq!(kept(&database).await["signals_by_day"].len(), 5);
}

async fn rows_of_older_versions_get_their_columns_and_counts(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    write(&mut sink, &first()).await;
    write(&mut sink, &second()).await;
    let events = "SELECT CAST(revision AS TEXT) || tenant || environment || service || severity || CAST(open_ms AS TEXT) || \
                  COALESCE(CAST(detect_ms AS TEXT), '-') FROM incident_events ORDER BY revision";
    let (columns, mut rollups) = (database.texts(events).await, kept(&database).await);
    assert_eq!(columns.len(), 3);
    store.migrate_down(29).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(database.texts(events).await, columns);
    // The log still has the accounts: the sink reads them again, as any topic that is new to it.
    rollups.retain(|name, _| !name.starts_with("pipeline_metrics"));
    let again = kept(&database).await;
    for (name, rows) in &rollups {
        assert_eq!(&again[name], rows, "{name}");
    }
    agree(&database, "up again").await;
}

async fn views_divide_signals_by_kind(database: Database) {
    let mut sink = SqlSink::new(database.open().await);
    let change = Signal {
        kind: model::SignalKind::Change,
        ..signal(2)
    };
    let record = signals_record(0, &[signal(1), change]);
    write(&mut sink, &[batch(topics::SIGNALS, 0, 0, 1, vec![record])]).await;
    let asked = typed(0, &step_requested("a"));
    write(&mut sink, &[batch(topics::INCIDENTS, 0, 0, 1, vec![asked])]).await;
    assert_eq!(database.texts("SELECT title FROM alerts").await, ["alert 1"]);
    assert_eq!(database.texts("SELECT title FROM changes").await, ["alert 2"]);
    assert_eq!(database.texts("SELECT agent_name FROM executions").await, ["triage"]);
}

async fn stages_are_summed_up_by_ten_seconds(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store);
    write(&mut sink, &first()).await;
    let again = accounting(0, 0, "dedupe", 0, 5);
    let moved = sink
        .write(&log(), &[batch(topics::ACCOUNTING, 0, 0, 1, vec![again])])
        .await;
    assert!(
        matches!(moved, Err(stream::SinkError::PositionMoved { .. })),
        "{moved:?}"
    );
    let rows = "SELECT stage || ' ' || input || '/' || CAST(partition AS TEXT) || ' ' || CAST(commits AS TEXT) || ' ' || \
        CAST(items AS TEXT) || ' ' || CAST(forwarded AS TEXT) || ' ' || CAST(suppressed AS TEXT) || ' ' || CAST(produced AS TEXT) \
        FROM pipeline_metrics ORDER BY at, partition";
    assert_eq!(
        database.texts(rows).await,
        ["dedupe signals/0 2 12 12 6 8", "dedupe signals/1 1 1 1 3 4"]
    );
}

async fn nothing_is_forgotten_unless_it_was_said(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    write(&mut sink, &first()).await;
    let before = kept(&database).await;
    let later = at(10 * 365 * 86_400);
    assert_eq!(store.forget(&RetentionSettings::default(), later).await.unwrap(), []);
    assert_eq!(kept(&database).await, before);
    agree(&database, "ten years later").await;
}

async fn what_is_too_old_is_forgotten(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    write(&mut sink, &first()).await;
    // Forty days later, one more.
    let newer = signals_record(1, &[signal_at(100, 40 * 24 * 60)]);
    write(&mut sink, &[batch(topics::SIGNALS, 0, 1, 2, vec![newer])]).await;
    let hours = kept(&database).await["signals_by_hour"].clone();
    let settings = RetentionSettings {
        signals: Some(HumanDuration::from_secs(30 * 86_400)),
        by_minute: Some(HumanDuration::from_secs(30 * 86_400)),
        ..RetentionSettings::default()
    };
    refreshed(&database).await;
    let forgotten = store.forget(&settings, at(41 * 86_400)).await.unwrap();
    assert!(forgotten.iter().any(|one| one.table == "signals"), "{forgotten:?}");
    assert_eq!(store.counts().await.unwrap().signals, 1);
    let after = kept(&database).await;
    assert_eq!(after["signals_by_minute"].len(), 1);
    assert_eq!(after["signals_by_hour"], hours, "what was counted stays counted");
    assert!(!after["incident_events_by_hour"].is_empty(), "other rows stay");
    assert_eq!(store.forget(&settings, at(41 * 86_400)).await.unwrap(), [], "once");
}

/// A holder that stood still and wakes up behind its successor: whatever it still believes, it deletes no row.
async fn who_was_overtaken_forgets_nothing(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    write(&mut sink, &first()).await;
    let newer = signals_record(1, &[signal_at(100, 40 * 24 * 60)]);
    write(&mut sink, &[batch(topics::SIGNALS, 0, 1, 2, vec![newer])]).await;
    let settings = RetentionSettings {
        signals: Some(HumanDuration::from_secs(30 * 86_400)),
        ..RetentionSettings::default()
    };
    let before = store.counts().await.unwrap().signals;
    let fence = |token: i64| Fence {
        name: "retention".into(),
        token,
    };
    let (paused, successor) = (fence(1_795_423_707_000_000), fence(1_795_423_707_000_001));
    assert_eq!(store.fence("retention").await.unwrap(), 0);
    assert!(store.raise_fence(&paused).await.unwrap());
    assert!(store.raise_fence(&successor).await.unwrap());
    assert!(!store.raise_fence(&paused).await.unwrap());
    assert!(store.raise_fence(&successor).await.unwrap(), "again and again");
    assert_eq!(store.fence("retention").await.unwrap(), successor.token);
    let other = Fence {
        name: "another".into(),
        token: 1,
    };
    assert!(store.raise_fence(&other).await.unwrap(), "each job by itself");

    let now = at(41 * 86_400);
    let late = store.forget_behind(&settings, now, Some(&paused)).await;
    assert!(
        matches!(&late, Err(StoreError::Overtaken { job }) if job == "retention"),
        "{late:?}"
    );
    assert_eq!(store.counts().await.unwrap().signals, before, "nothing is gone");
    let forgotten = store.forget_behind(&settings, now, Some(&successor)).await.unwrap();
    assert!(forgotten.iter().any(|one| one.table == "signals"), "{forgotten:?}");
    assert_eq!(store.counts().await.unwrap().signals, 1);
}

/// What the policies would do in time; nothing where the rollups are tables.
async fn refreshed(database: &Database) {
    if database.aggregates().await {
        for (name, ..) in ROLLUPS {
            for grain in ["minute", "hour", "day"] {
                database
                    .execute(&format!(
                        "CALL refresh_continuous_aggregate('{name}_by_{grain}', NULL, NULL)"
                    ))
                    .await;
            }
        }
    }
}
