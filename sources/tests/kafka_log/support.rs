//! The broker under test, and what most tests do with it.

use std::future::Future;
use std::time::Duration;

use sources::kafka::{KafkaLog, KafkaSettings};
use stream::log::{
    Commit, CommitError, Log, Member, MemberEvent, NewRecord, Offset, Record, Retention, Topic, TopicPartition,
    TopicSpec,
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// For anything that a healthy broker does in seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A variable of the test broker; `None` says why on stderr, unless the tests are required.
pub fn variable(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(_) if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|required| required == "1") => {
            panic!("{name} is not set: start the test services and export what they print");
        }
        Err(_) => {
            eprintln!("not run: {name} is not set");
            None
        }
    }
}

/// The broker that asks for nothing.
pub fn plain() -> Option<KafkaSettings> {
    Some(KafkaSettings {
        bootstrap_servers: vec![variable("AEGIS_TEST_KAFKA")?],
        ..KafkaSettings::default()
    })
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {PATIENCE:?}"))
}

pub async fn open(settings: KafkaSettings) -> KafkaLog {
    KafkaLog::open(settings).await.unwrap()
}

/// A topic that no other test uses.
pub async fn topic(log: &KafkaLog, partitions: u32) -> Topic {
    let name: Topic = format!("test-{}", Uuid::new_v4()).into();
    log.ensure_topics(&[TopicSpec {
        name: name.clone(),
        partitions,
        retention: Retention::default(),
    }])
    .await
    .unwrap();
    name
}

pub fn group() -> String {
    format!("test-{}", Uuid::new_v4())
}

pub fn record(value: impl AsRef<str>) -> NewRecord {
    NewRecord {
        value: value.as_ref().to_owned().into(),
        timestamp: stream::Instant::from_millis(1_700_000_000_000),
        ..NewRecord::default()
    }
}

pub fn value(record: &Record) -> String {
    String::from_utf8(record.value.to_vec()).unwrap()
}

/// All visible records of a partition.
pub async fn read_all(log: &KafkaLog, partition: &TopicPartition) -> Vec<Record> {
    let bounds = log.bounds(partition).await.unwrap();
    let mut reader = log.reader(partition, bounds.start).await.unwrap();
    let (mut records, mut position) = (Vec::new(), bounds.start);
    let deadline = Instant::now() + PATIENCE;
    while position < bounds.end {
        assert!(Instant::now() < deadline, "{partition}: at {position:?} of {bounds:?}");
        let (some, next) = reader.read(10_000, Duration::from_millis(200)).await.unwrap();
        records.extend(some);
        position = next;
    }
    records
}

/// The visible values of a partition, once there are `count` of them: a transaction becomes visible a moment after
/// its commit was answered.
pub async fn values(log: &KafkaLog, partition: &TopicPartition, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let records = read_all(log, partition).await;
        if records.len() >= count {
            return records.iter().map(value).collect();
        }
        assert!(
            Instant::now() < deadline,
            "{partition}: {} of {count} records",
            records.len()
        );
    }
}

/// The member's events up to one that `wanted` accepts, that one included.
pub async fn until(member: &mut Box<dyn Member>, wanted: impl Fn(&MemberEvent) -> bool) -> Vec<MemberEvent> {
    let mut events = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "got only {events:?}");
        if let Some(event) = member.next(Duration::from_millis(200)).await.unwrap() {
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }
}

/// Waits for the member's first partitions.
pub async fn assigned(member: &mut Box<dyn Member>) -> Vec<(TopicPartition, Option<Offset>)> {
    let mut events = until(member, |event| matches!(event, MemberEvent::Assigned(_))).await;
    match events.pop() {
        Some(MemberEvent::Assigned(partitions)) => partitions,
        other => panic!("{other:?}"),
    }
}

pub fn commit(outputs: &[(&TopicPartition, &[&str])], positions: &[(&TopicPartition, u64)]) -> Commit {
    Commit {
        outputs: outputs
            .iter()
            .map(|(to, values)| ((*to).clone(), values.iter().map(record).collect()))
            .collect(),
        positions: positions
            .iter()
            .map(|(partition, offset)| ((*partition).clone(), Offset(*offset)))
            .collect(),
    }
}

#[track_caller]
pub fn assert_fenced(outcome: Result<(), CommitError>) {
    assert!(matches!(outcome, Err(CommitError::Fenced(_))), "{outcome:?}");
}
