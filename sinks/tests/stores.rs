//! One suite for all stores: every case runs on SQLite, on PostgreSQL and on TimescaleDB, each on a database of its own.

#[path = "support/databases.rs"]
mod databases;
#[path = "support/samples.rs"]
mod samples;

use std::task::Poll;

use databases::Database;
use model::{DeadLetter, Fact, IncidentId, Notification, Severity, Status, topics};
use samples::*;
use sinks::sql::{IncidentFilter, ResponseFilter, StoreError, Thread};
use sinks::{SqlSink, Store};
use stream::{LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};
use uuid::Uuid;

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
    migrations_go_up_and_down,
    each_migration_goes_down_alone_and_comes_back,
    rows_and_position_move_together,
    a_repeated_range_writes_nothing,
    a_position_that_is_gone_is_no_leave_to_go_on,
    a_foreign_log_is_refused,
    of_two_owners_one_writes,
    a_dropped_write_never_was,
    a_dropped_write_of_many_rows_never_was,
    an_incident_is_the_newest_revision,
    a_merge_moves_the_members,
    hostile_text_is_stored,
    years_beyond_the_calendar_are_moved_to_its_edge,
    unreadable_records_are_handed_back,
    a_row_that_the_store_refuses_stops_nothing_else,
    a_missing_table_needs_a_person,
    every_topic_has_rows,
    the_crew_and_the_gate_have_rows,
    what_was_told_is_remembered,
    what_is_sent_again_for_another_is_passed_by,
    large_batches,
);

/// A notification.
fn message() -> Notification {
    Notification {
        remediation: None,
        plan_hash: None,
        detail: None,
        schema: model::Notification::SCHEMA,
        id: model::ids::derived("n"),
        incident_id: incident_id("a"),
        revision: 1,
        event: "opened".into(),
        severity: Severity::Critical,
        status: Status::Open,
        title: "down".into(),
        service: None,
        tenant: "default".into(),
        environment: "prod".into(),
        at: at(0),
    }
}

fn signals(partition: u32) -> TopicPartition {
    TopicPartition::new(topics::SIGNALS, partition)
}

async fn position(sink: &mut SqlSink, partition: u32) -> Option<Offset> {
    sink.position(&log(), &signals(partition)).await.unwrap()
}

async fn migrations_go_up_and_down(database: Database) {
    let store = database.open().await;
    store.migrate().await.unwrap();
    assert_eq!(store.counts().await.unwrap().incidents, 0);
    store.migrate_down(0).await.unwrap();
    assert!(matches!(store.counts().await, Err(StoreError::Fatal { .. })));
    store.migrate().await.unwrap();
    assert_eq!(store.counts().await.unwrap().incidents, 0);
}

/// Of the crew (22), of notifications (25) and their attempts (29), of metrics (38), rollups (39) and fences (45), and the one before: what they do not touch stays.
async fn each_migration_goes_down_alone_and_comes_back(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    let records = vec![event_record(0, &opened), typed(1, &step_requested("a"))];
    let written = batch(topics::INCIDENTS, 0, 0, 2, records);
    assert_eq!(sink.write(&log(), &[written]).await.unwrap(), []);
    let whole = database.shape().await;
    let has = |shape: &[String], table: &str| shape.iter().any(|part| part.contains(table));
    for (version, gone, kept) in [
        (39, "fences", "signals_by_day"),
        (38, "signals_by_day", "pipeline_metrics"),
        (29, "pipeline_metrics", "notify_attempts"),
        (25, "notify_attempts", "notify_deliveries"),
        (22, "notify_deliveries", "decided_by"),
        (13, "decided_by", "dealt_at"),
        (1, "dealt_at", "incidents"),
    ] {
        store.migrate_down(version).await.unwrap();
        let lower = database.shape().await;
        assert!(has(&whole, gone) && !has(&lower, gone), "{version}: {gone}");
        assert!(has(&lower, kept), "{version}: {kept}");
        assert_eq!(
            store.counts().await.unwrap().incidents,
            1,
            "{version}: rows of others stay"
        );
        store.migrate().await.unwrap();
        assert_eq!(database.shape().await, whole, "{version}: up again");
    }
}

async fn rows_and_position_move_together(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    assert_eq!(position(&mut sink, 0).await, None);
    // A log's first kept offset need not be 0, and offsets have holes.
    let first = batch(
        topics::SIGNALS,
        0,
        10,
        15,
        vec![
            signals_record(10, &[signal(1), signal(2)]),
            progress(12),
            signals_record(14, &[signal(3)]),
        ],
    );
    let other = batch(topics::SIGNALS, 1, 0, 1, vec![progress(0)]);
    assert_eq!(sink.write(&log(), &[first, other]).await.unwrap(), []);
    assert_eq!(
        (position(&mut sink, 0).await, position(&mut sink, 1).await),
        (Some(Offset(15)), Some(Offset(1)))
    );
    let second = batch(topics::SIGNALS, 0, 15, 16, vec![signals_record(15, &[signal(4)])]);
    sink.write(&log(), &[second]).await.unwrap();
    assert_eq!(store.counts().await.unwrap().signals, 4);

    // Another process goes on where this one stopped.
    store.close().await;
    let mut sink = SqlSink::new(database.open().await);
    assert_eq!(position(&mut sink, 0).await, Some(Offset(16)));
}

async fn a_repeated_range_writes_nothing(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let range = batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &[signal(1)])]);
    sink.write(&log(), std::slice::from_ref(&range)).await.unwrap();
    // Rows that would be new, in a range that is not: the position decides, not the primary key.
    let again = batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &[signal(2)])]);
    let fresh = batch(topics::SIGNALS, 1, 0, 1, vec![signals_record(0, &[signal(3)])]);
    match sink.write(&log(), &[fresh, again]).await {
        Err(SinkError::PositionMoved {
            expected: Offset(0),
            stored: Some(Offset(1)),
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.counts().await.unwrap().signals, 1);
    assert_eq!(position(&mut sink, 1).await, None);
}

/// A database that lost its last transactions has lost the rows with the position: who goes on where he stood would skip them.
async fn a_position_that_is_gone_is_no_leave_to_go_on(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    assert_eq!(position(&mut sink, 0).await, None);
    // Retention took what was before; nothing stood there, so this is a beginning.
    let first = batch(topics::SIGNALS, 0, 3, 4, vec![signals_record(3, &[signal(1)])]);
    sink.write(&log(), &[first]).await.unwrap();
    database.execute("DELETE FROM sink_positions").await;
    let next = batch(topics::SIGNALS, 0, 4, 5, vec![signals_record(4, &[signal(2)])]);
    match sink.write(&log(), std::slice::from_ref(&next)).await {
        Err(SinkError::PositionMoved {
            expected: Offset(4),
            stored: None,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(store.counts().await.unwrap().signals, 1);
    assert_eq!(position(&mut sink, 0).await, None, "it begins anew");
}

async fn a_foreign_log_is_refused(database: Database) {
    let mut sink = SqlSink::new(database.open().await);
    sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 1, vec![])])
        .await
        .unwrap();
    let foreign = LogId("log-2".into());
    assert!(matches!(
        sink.position(&foreign, &signals(0)).await,
        Err(SinkError::ForeignPosition { .. })
    ));
    let write = sink.write(&foreign, &[batch(topics::SIGNALS, 0, 1, 2, vec![])]).await;
    assert!(matches!(write, Err(SinkError::ForeignPosition { .. })), "{write:?}");
    assert_eq!(position(&mut sink, 0).await, Some(Offset(1)));
}

async fn of_two_owners_one_writes(database: Database) {
    let store = database.open().await;
    for round in 0..10_u64 {
        let range = || {
            batch(
                topics::SIGNALS,
                0,
                round,
                round + 1,
                vec![signals_record(round, &[signal(round)])],
            )
        };
        let (mut one, mut two) = (SqlSink::new(store.clone()), SqlSink::new(database.open().await));
        let (id, ranges) = (log(), (vec![range()], vec![range()]));
        let (first, second) = tokio::join!(one.write(&id, &ranges.0), two.write(&id, &ranges.1));
        let written = [&first, &second].iter().filter(|result| result.is_ok()).count();
        let moved = [&first, &second]
            .iter()
            .filter(|result| matches!(result, Err(SinkError::PositionMoved { .. })))
            .count();
        assert_eq!((written, moved), (1, 1), "round {round}: {first:?} {second:?}");
    }
    assert_eq!(store.counts().await.unwrap().signals, 10);
}

/// A write that is cancelled at any await point leaves nothing or everything. (A commit that was under way may still
/// land a little later: the write after it then finds the position moved.)
async fn a_dropped_write_never_was(database: Database) {
    drop_writes(database, 1).await;
}

/// Enough to be copied, on PostgreSQL.
async fn a_dropped_write_of_many_rows_never_was(database: Database) {
    drop_writes(database, 3_000).await;
}

async fn drop_writes(database: Database, rows_each: u64) {
    const SNAPSHOT: &str = "SELECT CAST(next AS TEXT) || ' ' || CAST((SELECT COUNT(*) FROM signals) AS TEXT) \
        FROM sink_positions WHERE topic = 'signals' AND partition = 0";
    let store = database.open().await;
    let mut next = 0;
    for polls in (0..60).chain([usize::MAX]) {
        let mut sink = SqlSink::new(store.clone());
        let signals: Vec<_> = (next * rows_each..(next + 1) * rows_each).map(signal).collect();
        let record = signals_record(next, &signals);
        let (id, range) = (log(), [batch(topics::SIGNALS, 0, next, next + 1, vec![record])]);
        let mut write = sink.write(&id, &range);
        let mut left = polls;
        // Polled so many times, then dropped.
        let done = std::future::poll_fn(|context| match write.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        })
        .await;
        drop(write);
        let snapshot = database.texts(SNAPSHOT).await;
        let (stands, rows) = snapshot.first().map_or((0, 0), |row| {
            let (stands, rows) = row.split_once(' ').unwrap();
            (stands.parse().unwrap(), rows.parse().unwrap())
        });
        assert_eq!(stands * rows_each, rows, "rows and position agree after {polls} polls");
        match done {
            Some(Ok(_)) => assert_eq!(stands, next + 1),
            None | Some(Err(SinkError::PositionMoved { .. })) => assert!(stands == next || stands == next + 1),
            Some(Err(error)) => panic!("{error}"),
        }
        next = stands;
    }
    assert!(next > 0, "some write got through");
}

async fn an_incident_is_the_newest_revision(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    let joined = event("a", 2, 2, Fact::SignalJoined { member: member("b") });
    let mut ended = member("b");
    ended.ends_at = Some(at(30));
    let changed = event("a", 3, 2, Fact::MemberChanged { member: ended });
    let resolved = event("a", 4, 2, Fact::Resolved);
    let records = vec![event_record(0, &opened), event_record(1, &joined)];
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 0, 2, records)])
        .await
        .unwrap();
    database
        .execute("UPDATE incidents SET metadata = '{\"ticket\": 7}'")
        .await;
    let records = vec![event_record(2, &changed), event_record(3, &resolved)];
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 2, 4, records)])
        .await
        .unwrap();
    // From another partition, an old revision comes again: it is history already, and undoes nothing.
    sink.write(
        &log(),
        &[batch(topics::INCIDENTS, 1, 0, 1, vec![event_record(0, &joined)])],
    )
    .await
    .unwrap();

    let detail = store.incident(incident_id("a").0).await.unwrap().unwrap();
    let row = &detail.incident;
    assert_eq!(
        (row.status.as_str(), row.revision, row.members, row.firing),
        ("resolved", 4, 2, 0)
    );
    assert_eq!((row.resolved_at, row.updated_at), (Some(at(60)), at(5)));
    assert_eq!(row.metadata["ticket"], 7, "what people write stays");
    assert!(!row.auto_resolved);
    let members: Vec<_> = detail
        .members
        .iter()
        .map(|m| (m.dedup_key.as_str(), m.ends_at))
        .collect();
    assert!(
        members.contains(&("a", None)) && members.contains(&("b", Some(at(30)))),
        "{members:?}"
    );
    let facts: Vec<&str> = detail.events.iter().map(|e| e.fact.as_str()).collect();
    assert_eq!(facts, ["opened", "signal_joined", "member_changed", "resolved"]);
    assert_eq!(detail.events[0].payload, serde_json::to_value(&opened).unwrap());
    assert_eq!(store.incident(incident_id("nobody").0).await.unwrap(), None);
}

async fn a_merge_moves_the_members(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let facts = [
        event("a", 1, 1, Fact::Opened { member: member("a") }),
        event("b", 1, 1, Fact::Opened { member: member("b") }),
        event("b", 2, 2, Fact::SignalJoined { member: member("c") }),
        event("b", 3, 2, Fact::Merged { into: incident_id("a") }),
        event(
            "a",
            2,
            3,
            Fact::Absorbed {
                other: incident_id("b"),
                members: vec![member("b"), member("c")],
            },
        ),
    ];
    // Once in one transaction and once over several must be the same; here the cut is after the first two facts.
    let records: Vec<_> = facts
        .iter()
        .enumerate()
        .map(|(i, fact)| event_record(i as u64, fact))
        .collect();
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 0, 2, records[..2].to_vec())])
        .await
        .unwrap();
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 2, 5, records[2..].to_vec())])
        .await
        .unwrap();

    let survivor = store.incident(incident_id("a").0).await.unwrap().unwrap();
    assert_eq!((survivor.members.len(), survivor.incident.status.as_str()), (3, "open"));
    let merged = store.incident(incident_id("b").0).await.unwrap().unwrap();
    assert_eq!((merged.members.len(), merged.incident.status.as_str()), (0, "resolved"));
    assert_eq!(merged.incident.merged_into, Some(incident_id("a").0));
    assert_eq!(merged.events.len(), 3);

    let list = async |filter: IncidentFilter| store.incidents(&filter, 10, 0).await.unwrap().len();
    assert_eq!(list(IncidentFilter::default()).await, 1);
    assert_eq!(
        list(IncidentFilter {
            merged: true,
            ..Default::default()
        })
        .await,
        2
    );
    assert_eq!(
        list(IncidentFilter {
            status: Some(Status::Resolved),
            merged: true,
            ..Default::default()
        })
        .await,
        1
    );
    assert_eq!(
        list(IncidentFilter {
            severity: Some(Severity::Critical),
            ..Default::default()
        })
        .await,
        0
    );
    assert_eq!(
        list(IncidentFilter {
            service: Some("checkout".into()),
            ..Default::default()
        })
        .await,
        1
    );
    let title = &survivor.incident.title;
    let began = survivor.incident.created_at;
    let holding = |text: &str| IncidentFilter {
        text: Some(text.to_owned()),
        ..Default::default()
    };
    for (text, found) in [
        (title.to_uppercase().as_str(), 1),
        ("CHECKOUT", 1),
        (&format!("Checkout  {}", title.chars().take(4).collect::<String>()), 1),
        ("checkout nowhere", 0),
        ("%", 0),
        ("_", 0),
        ("!", 0),
        ("nothing of the kind", 0),
    ] {
        assert_eq!(list(holding(text)).await, found, "{text:?} in {title:?}");
    }
    let span = |since, until| IncidentFilter {
        since,
        until,
        ..Default::default()
    };
    assert_eq!(list(span(Some(began), None)).await, 1);
    assert_eq!(list(span(None, Some(began))).await, 0);
    let counts = store.counts().await.unwrap();
    assert_eq!(
        (
            counts.incidents,
            counts.open,
            counts.resolved,
            counts.merged,
            counts.members
        ),
        (1, 1, 0, 1, 3)
    );
}

async fn hostile_text_is_stored(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let mut hostile = signal(1);
    hostile.title = "'; DROP TABLE signals; -- \"\0\u{1f4a5}\\ \u{feff}".into();
    hostile.service = Some("s".repeat(5_000));
    hostile.labels = format!(
        r#"{{"nul\u0000":"a\u0000b","big":"{}","quote":"\"'"}}"#,
        "x".repeat(1 << 20)
    );
    hostile.annotations = "not json".into();
    hostile.extra = Some(r#"{"n":1e999999,"s":"\ud800"}"#.into());
    hostile.dedup_key = "k".repeat(100_000);
    let mut opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    opened.incident.alert_id = "\u{1f4a5}".repeat(300);
    opened.incident.source = "s".repeat(51);
    opened.incident.title = "nul \0 in title".into();
    opened.incident.service = Some("\0".repeat(300));
    let rejects = sink
        .write(
            &log(),
            &[
                batch(topics::SIGNALS, 0, 0, 1, vec![signals_record(0, &[hostile])]),
                batch(topics::INCIDENTS, 0, 0, 1, vec![event_record(0, &opened)]),
            ],
        )
        .await
        .unwrap();
    assert_eq!(rejects, []);
    assert_eq!(
        database.texts("SELECT title FROM signals").await,
        ["'; DROP TABLE signals; -- \"\u{fffd}\u{1f4a5}\\ \u{feff}"]
    );
    let labels: serde_json::Value =
        serde_json::from_str(&database.texts("SELECT CAST(labels AS TEXT) FROM signals").await[0]).unwrap();
    assert_eq!(labels["nul\u{fffd}"], "a\u{fffd}b");
    assert_eq!(labels["big"].as_str().map(str::len), Some(1 << 20));
    assert_eq!(
        database.texts("SELECT CAST(annotations AS TEXT) FROM signals").await,
        ["\"not json\""]
    );
    let row = store.incident(incident_id("a").0).await.unwrap().unwrap().incident;
    assert_eq!((row.alert_id.chars().count(), row.source.len()), (255, 50));
    assert_eq!(row.title, "nul \u{fffd} in title");
}

async fn years_beyond_the_calendar_are_moved_to_its_edge(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let timed = |i: u64, event_at: i64| {
        let mut signal = signal(i);
        (signal.event_at, signal.ends_at) = (event_at, Some(event_at));
        signal
    };
    let batch_of_times = [
        timed(1, i64::MIN),
        timed(2, i64::MAX),
        timed(3, 253_402_300_799_999_999),
        timed(4, -1),
    ];
    let rejects = sink
        .write(
            &log(),
            &[batch(
                topics::SIGNALS,
                0,
                0,
                1,
                vec![signals_record(0, &batch_of_times)],
            )],
        )
        .await
        .unwrap();
    assert_eq!(rejects, []);
    let mut opened = event("a", 1, 1, Fact::Opened { member: member("a") });
    opened.incident.created_at = chrono::DateTime::<chrono::Utc>::MAX_UTC;
    opened.incident.resolved_at = Some(chrono::DateTime::<chrono::Utc>::MIN_UTC);
    sink.write(
        &log(),
        &[batch(topics::INCIDENTS, 0, 0, 1, vec![event_record(0, &opened)])],
    )
    .await
    .unwrap();
    let row = store.incident(incident_id("a").0).await.unwrap().unwrap().incident;
    assert_eq!(row.created_at.to_rfc3339(), "9999-12-31T23:59:59.999999+00:00");
    assert_eq!(row.resolved_at.unwrap().to_rfc3339(), "0001-01-01T00:00:00+00:00");
    let titles = database
        .texts("SELECT title FROM signals ORDER BY event_at, raw_offset")
        .await;
    assert_eq!(titles, ["alert 1", "alert 4", "alert 2", "alert 3"]);
}

/// As the driver writes: what is refused is taken out (it has been buried), and the rest is written.
async fn write_without_refused(sink: &mut impl Sink, batches: &[SinkBatch]) -> Vec<SinkReject> {
    let rejects = sink.write(&log(), batches).await.unwrap();
    let mut rest = batches.to_vec();
    for batch in &mut rest {
        let refused = |offset| {
            rejects
                .iter()
                .any(|reject| (&reject.partition, reject.offset) == (&batch.partition, offset))
        };
        batch.records = std::mem::take(&mut batch.records)
            .into_iter()
            .filter(|record| !refused(record.offset))
            .collect();
    }
    assert_eq!(sink.write(&log(), &rest).await.unwrap(), []);
    rejects
}

async fn unreadable_records_are_handed_back(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let mut future = event("a", 1, 1, Fact::Opened { member: member("a") });
    future.schema = 99;
    let rejects = write_without_refused(
        &mut sink,
        &[
            batch(
                topics::SIGNALS,
                0,
                0,
                2,
                vec![record(0, &b"{}"[..]), signals_record(1, &[signal(1)])],
            ),
            batch(
                topics::INCIDENTS,
                2,
                0,
                3,
                vec![
                    record(0, &b"\xff\xfe"[..]),
                    record(1, &b"[]"[..]),
                    event_record(2, &future),
                ],
            ),
        ],
    )
    .await;
    let found: Vec<_> = rejects
        .iter()
        .map(|r| (r.partition.to_string(), r.offset.0, r.reason))
        .collect();
    let expected = [
        ("signals/0", 0, "undecodable"),
        ("incidents/2", 0, "undecodable"),
        ("incidents/2", 1, "undecodable"),
        ("incidents/2", 2, "unknown_schema"),
    ];
    assert_eq!(found, expected.map(|(p, o, r)| (p.to_owned(), o, r)));
    assert_eq!(store.counts().await.unwrap().signals, 1);
    assert_eq!(
        position(&mut sink, 0).await,
        Some(Offset(2)),
        "the position passes them"
    );
}

async fn a_row_that_the_store_refuses_stops_nothing_else(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    // A constraint of somebody else's: nothing that this program knows of.
    let twin = |i: u64| {
        let mut signal = signal(i);
        signal.title = "twin".into();
        signal
    };
    let refuse = if database.url.starts_with("sqlite") {
        "CREATE TRIGGER refuse BEFORE INSERT ON signals WHEN NEW.title = 'twin' BEGIN SELECT RAISE(ABORT, 'no twins'); END"
    } else {
        "ALTER TABLE signals ADD CONSTRAINT no_twins CHECK (title <> 'twin')"
    };
    database.execute(refuse).await;
    let records = vec![
        signals_record(0, &[signal(0)]),
        signals_record(1, &[signal(1), twin(2)]),
        signals_record(2, &[signal(3)]),
    ];
    let rejects = write_without_refused(&mut sink, &[batch(topics::SIGNALS, 0, 0, 3, records)]).await;
    let found: Vec<_> = rejects.iter().map(|r| (r.offset.0, r.reason)).collect();
    assert_eq!(found, [(1, "refused_by_store")]);
    assert_eq!(
        database.texts("SELECT title FROM signals ORDER BY title").await,
        ["alert 0", "alert 3"]
    );
    assert_eq!(position(&mut sink, 0).await, Some(Offset(3)));
}

async fn a_missing_table_needs_a_person(database: Database) {
    let mut sink = SqlSink::new(Store::open(&database.url).await.unwrap());
    let write = sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 1, vec![])]).await;
    assert!(matches!(write, Err(SinkError::Fatal { .. })), "{write:?}");
}

async fn every_topic_has_rows(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let letter = DeadLetter {
        schema: DeadLetter::SCHEMA,
        stage: "normalize".into(),
        reason: "malformed_json".into(),
        detail: "line 1".into(),
        field: None,
        topic: topics::EVENTS_RAW.into(),
        partition: 3,
        offset: 17,
        index: Some(2),
        received_at: at(0),
        attempt: 1,
        headers: vec![("content-type".into(), "application/json".into())],
        body_base64: DeadLetter::encode_body(b"\0{"),
    };
    let message = message();
    let fact = |letter, done| model::LetterFact {
        schema: model::LetterFact::SCHEMA,
        letter,
        done,
        at: at(60),
    };
    let about = |offset, fact: &model::LetterFact| Record {
        headers: vec![("aegis-kind".to_owned(), model::LetterFact::KIND.into())],
        ..record(offset, serde_json::to_vec(fact).unwrap())
    };
    let replayed = model::LetterDone::Replayed {
        topic: topics::EVENTS_RAW.into(),
        partition: 3,
        attempt: 2,
    };
    let dropped = model::LetterDone::Dropped {
        because: "a test".into(),
    };
    let batches = [
        batch(
            topics::DEAD_LETTER,
            0,
            0,
            5,
            vec![
                record(0, serde_json::to_vec(&letter).unwrap()),
                record(1, serde_json::to_vec(&letter).unwrap()),
                about(2, &fact(0, replayed)),
                about(3, &fact(0, dropped)),
                // About a letter that is not here.
                about(4, &fact(99, model::LetterDone::Dropped { because: "x".into() })),
            ],
        ),
        batch(
            topics::NOTIFICATIONS,
            0,
            0,
            1,
            vec![record(0, serde_json::to_vec(&message).unwrap())],
        ),
    ];
    let topics_of_sink = sink.topics();
    assert!(
        batches
            .iter()
            .all(|batch| topics_of_sink.contains(&batch.partition.topic))
    );
    assert_eq!(sink.write(&log(), &batches).await.unwrap(), []);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.dead_letters, counts.notifications), (2, 1));
    let letters = "SELECT body_base64 || ' ' || status || ' ' || COALESCE(because, '-') FROM dead_letters \
                   WHERE item = 2 AND source_offset = 17 ORDER BY log_offset";
    assert_eq!(database.texts(letters).await, ["AHs= dropped a test", "AHs= open -"]);
}

/// Messages, deliveries and buttons: a second saving changes the first, and each button opens once.
async fn what_was_told_is_remembered(database: Database) {
    let store = database.open().await;
    let at = chrono::DateTime::from_timestamp(1_760_000_000, 0).unwrap();
    let (incident, told) = (IncidentId::default(), message());
    assert_eq!(store.thread("ops", incident).await.unwrap(), None);
    for revision in [1, 2] {
        let thread = Thread {
            channel: "C1".into(),
            ts: "1.000001".into(),
            card: serde_json::json!({ "revision": revision, "title": "a \"quoted\" one" }),
        };
        store.save_thread("ops", incident, &thread, at).await.unwrap();
        assert_eq!(store.thread("ops", incident).await.unwrap(), Some(thread));
    }
    assert_eq!(store.thread("other", incident).await.unwrap(), None);

    // A message that was begun is known until its delivery is, also to the next one of its incident.
    let (begun, later) = (told.id, Uuid::from_u128(77));
    let begin = async |id, at| store.begin_message("ops", incident, id, at).await.unwrap();
    let second = at + chrono::TimeDelta::seconds(9);
    assert_eq!(begin(begun, at).await, (None, false));
    assert_eq!(begin(later, second).await, (Some(at), false));
    assert_eq!(begin(begun, second).await, (Some(at), true));
    assert_eq!(
        store.begin_message("other", incident, begun, at).await.unwrap(),
        (None, false)
    );

    assert_eq!(store.delivery("ops", told.id).await.unwrap(), None);
    store.save_delivery("ops", &told, "held", "a line", at).await.unwrap();
    assert_eq!(
        begin(later, second).await,
        (Some(second), true),
        "the ended one is forgotten"
    );
    let held = store.held("ops").await.unwrap();
    assert_eq!(held.iter().map(|one| one.line.as_str()).collect::<Vec<_>>(), ["a line"]);
    store.summarised("ops", &held).await.unwrap();
    assert_eq!(
        store.delivery("ops", told.id).await.unwrap().as_deref(),
        Some("summarised")
    );
    assert_eq!(store.held("ops").await.unwrap(), []);

    let (remediation, fresh, other) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    for nonce in [fresh, other] {
        let made = store.button_for("ops", remediation, "hash", nonce, at).await.unwrap();
        assert_eq!(made, fresh, "the first one stays");
    }
    assert!(store.use_button(fresh, "ada", at).await.unwrap());
    assert!(!store.use_button(fresh, "eve", at).await.unwrap());
    assert!(store.button(fresh).await.unwrap().unwrap().used);
    store.free_button(fresh).await.unwrap();
    assert!(store.use_button(fresh, "eve", at).await.unwrap());
    assert_eq!(store.button(other).await.unwrap(), None);
}

async fn the_crew_and_the_gate_have_rows(database: Database) {
    use model::remediation::RemediationFact as F;
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let (asked, answered) = (step_requested("a"), step_finished("a"));
    let late = late_answer("a");
    let proposal = proposal("b");
    let fact = |n, fact| serde_json::to_vec(&remediation(&proposal, n, fact)).unwrap();
    let state = proposal.target.clone();
    let facts = [
        F::Proposed {
            proposal: Box::new(proposal.clone()),
        },
        F::Approve {
            by: "human:ada".into(),
            plan_hash: proposal.plan_hash.clone(),
        },
        F::Granted {
            grant: grant(&proposal),
            proposal: Box::new(proposal.clone()),
        },
        F::Attempted { before: state.clone() },
        F::Executed {
            before: state.clone(),
            note: "patched".into(),
        },
        F::Verified {
            before: state.clone(),
            after: state,
        },
    ];
    let facts = facts.into_iter().enumerate();
    let facts = facts.map(|(n, one)| record(n as u64, fact(n as i64, one))).collect();
    let batches = [
        batch(
            topics::INCIDENTS,
            0,
            0,
            3,
            vec![typed(0, &asked), typed(1, &answered), typed(2, &late)],
        ),
        batch(topics::REMEDIATIONS, 0, 0, 6, facts),
    ];
    assert_eq!(sink.write(&log(), &batches).await.unwrap(), []);
    let steps = store.executions(&ResponseFilter::default(), 10, 0).await.unwrap();
    let shown: Vec<_> = steps
        .iter()
        .map(|s| (s.agent_name.as_str(), s.status.as_str(), s.duration_ms))
        .collect();
    assert_eq!(shown, [("triage", "success", Some(12))], "the first answer stays");
    let of_b = ResponseFilter {
        incident: Some(incident_id("b").0),
        status: Some("verified".into()),
    };
    let rows = store.remediations(&of_b, 10, 0).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].target.as_str(), rows[0].decided_by.as_deref()),
        ("deployment/api-server", Some("human:ada"))
    );
    assert_eq!(
        (&rows[0].before_state["uid"], &rows[0].after_state["uid"]),
        (&"uid-1".into(), &"uid-1".into())
    );
    // The incidents come behind their children: until then they are there by name only.
    assert_eq!(store.counts().await.unwrap().incidents, 0);
    let opened = vec![event_record(3, &event("a", 1, 1, Fact::Opened { member: member("a") }))];
    sink.write(&log(), &[batch(topics::INCIDENTS, 0, 3, 4, opened)])
        .await
        .unwrap();
    let incident = store.incident(incident_id("a").0).await.unwrap().unwrap().incident;
    assert_eq!((incident.environment.as_str(), incident.revision), ("prod", 1));
}

async fn what_is_sent_again_for_another_is_passed_by(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    let records = vec![
        redriven(signals_record(0, &[signal(0)]), "dedupe"),
        redriven(signals_record(1, &[signal(1)]), SqlSink::STAGE),
        redriven(signals_record(2, &[signal(2)]), "sink.archive"),
    ];
    sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 3, records)])
        .await
        .unwrap();
    assert_eq!(database.texts("SELECT title FROM signals").await, ["alert 1"]);
}

async fn large_batches(database: Database) {
    let store = database.open().await;
    let mut sink = SqlSink::new(store.clone());
    // Over the rows of one statement in both dialects, and no multiple of them.
    let records = (0..10)
        .map(|r| signals_record(r, &(0..1_001).map(|i| signal(r * 1_001 + i)).collect::<Vec<_>>()))
        .collect();
    let started = std::time::Instant::now();
    sink.write(&log(), &[batch(topics::SIGNALS, 0, 0, 10, records)])
        .await
        .unwrap();
    eprintln!("10,010 signals in {:?}", started.elapsed());
    assert_eq!(store.counts().await.unwrap().signals, 10_010);
}
