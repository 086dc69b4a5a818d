//! Conformance suite of [`super::Log`]: what every implementation must do, as cases against a running log.
//!
//! Each case makes topics and groups under names of its own, so the suite runs against a shared broker and may be
//! run again. A case panics, naming itself, when the log does otherwise. Waiting is always for a state, with
//! [`PATIENCE`] as the deadline. The suite assumes nothing about offsets but that they rise.
//!
//! [`retention`] stands apart because only the log's own test knows how to make old records go.

mod groups;
mod records;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use uuid::Uuid;

use super::{
    Commit, Log, LogError, Member, MemberEvent, NewRecord, Offset, Reader, Record, Retention, Topic, TopicPartition,
    TopicSpec,
};
use crate::time::Instant;

/// How long a case waits for a state before it fails: a broker's rebalance of a busy machine fits well within.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// One wait within that patience.
const PULSE: Duration = Duration::from_millis(200);

/// Runs every case against `log`, one after another, and returns how many there were.
///
/// # Panics
/// When a case finds the log wrong; the case's name is printed before.
pub async fn run_all(log: Arc<dyn Log>) -> usize {
    let mut count = 0;
    macro_rules! run {
        ($($module:ident :: $case:ident),* $(,)?) => {$(
            let world = World::new(&log, stringify!($case));
            let outcome = std::panic::AssertUnwindSafe($module::$case(world)).catch_unwind().await;
            if let Err(cause) = outcome {
                eprintln!("conformance case {} failed", stringify!($case));
                std::panic::resume_unwind(cause);
            }
            count += 1;
        )*};
    }
    run![
        records::ensure_topics_is_idempotent_and_refuses_another_count,
        records::unknown_topics_and_partitions_are_named,
        records::appended_records_come_back_in_order,
        records::keys_headers_times_and_empty_values_are_kept,
        records::many_small_appends_stand_where_they_were_told,
        records::concurrent_appends_keep_each_call_together,
        records::a_large_batch_arrives_whole,
        records::a_record_over_the_limit_is_refused,
        records::a_reader_starts_where_it_is_told_and_follows,
        records::bounds_of_an_empty_and_a_filled_partition,
        groups::a_member_reads_everything_then_drains,
        groups::drained_comes_only_at_the_end,
        groups::positions_resume,
        groups::a_commit_of_positions_only,
        groups::an_empty_commit_is_harmless,
        groups::outputs_over_several_topics_appear_with_their_position,
        groups::outputs_without_positions,
        groups::a_refused_commit_leaves_nothing,
        groups::groups_are_independent,
        groups::seek_moves_the_fetch_position,
        groups::two_members_share_and_leaving_hands_over,
        groups::a_commit_after_the_partition_moved_is_fenced,
        groups::nothing_is_lost_or_doubled_while_members_come_and_go,
        groups::a_dropped_next_loses_nothing,
    ];
    count
}

/// Retention: `drop_below` must make records below the given offset of the partition go (as much as the log's
/// granularity allows, at least one record, none at or above the offset). The topic has one partition and holds
/// `records` records of 1,000 bytes, each appended by a call of its own; the offset lies in the middle.
///
/// # Panics
/// When the log is wrong.
pub async fn retention<F>(log: Arc<dyn Log>, records: usize, retention: Retention, drop_below: F)
where
    F: AsyncFn(TopicPartition, Offset),
{
    let world = World::new(&log, "retention");
    let topic = world.topic_with("t", 1, retention).await;
    let partition = TopicPartition::new(topic, 0);
    let mut offsets = Vec::new();
    for index in 0..records {
        offsets.push(
            world
                .log
                .append(&partition, vec![record(&format!("{index:01000}"))])
                .await
                .expect("append"),
        );
    }
    let middle = offsets[records / 2];
    drop_below(partition.clone(), middle).await;

    let bounds = world.log.bounds(&partition).await.expect("bounds");
    assert!(
        bounds.start > offsets[0] && bounds.start <= middle,
        "start is {:?}, asked for {middle:?}",
        bounds.start
    );
    assert!(bounds.end > offsets[records - 1], "the end stays");
    let refused = match world.log.reader(&partition, offsets[0]).await {
        Ok(mut reader) => reader.read(1, PATIENCE).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match refused {
        Err(LogError::OutOfRange { start, offset, .. }) => assert_eq!((start, offset), (bounds.start, offsets[0])),
        other => panic!("reading below the start must be OutOfRange, is {other:?}"),
    }
    let kept = offsets.iter().filter(|offset| **offset >= bounds.start).count();
    let rest = world.read(&partition, bounds.start, kept).await;
    assert_eq!(text(&rest[kept - 1]), format!("{:01000}", records - 1));
    let next = world
        .log
        .append(&partition, vec![record("next")])
        .await
        .expect("append after retention");
    assert!(next >= bounds.end, "offsets go on");
}

/// What a case works with: the log, and names of its own.
struct World {
    log: Arc<dyn Log>,
    prefix: String,
}

impl World {
    fn new(log: &Arc<dyn Log>, case: &str) -> Self {
        let unique = Uuid::new_v4().simple().to_string();
        let case: String = case.chars().take(24).collect();
        World {
            log: log.clone(),
            prefix: format!("{case}-{}", &unique[..12]),
        }
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    async fn topic(&self, name: &str, partitions: u32) -> Topic {
        self.topic_with(name, partitions, Retention::default()).await
    }

    async fn topic_with(&self, name: &str, partitions: u32, retention: Retention) -> Topic {
        let name: Topic = self.name(name).into();
        let spec = TopicSpec {
            name: name.clone(),
            partitions,
            retention,
        };
        self.log.ensure_topics(&[spec]).await.expect("ensure_topics");
        name
    }

    async fn append(&self, partition: &TopicPartition, values: &[&str]) -> Offset {
        let records = values.iter().copied().map(record).collect();
        self.log.append(partition, records).await.expect("append")
    }

    async fn join(&self, group: &str, topics: &[&Topic]) -> Box<dyn Member> {
        let topics: Vec<Topic> = topics.iter().copied().cloned().collect();
        self.log.join(&self.name(group), &topics).await.expect("join")
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Option<Offset> {
        self.log
            .committed(&self.name(group), partition)
            .await
            .expect("committed")
    }

    /// Exactly `count` records from `from`, then nothing more for one pulse.
    async fn read(&self, partition: &TopicPartition, from: Offset, count: usize) -> Vec<Record> {
        let mut reader = self.log.reader(partition, from).await.expect("reader");
        let records = read_from(reader.as_mut(), count).await;
        let (more, _) = reader.read(1, PULSE).await.expect("read at the end");
        assert!(more.is_empty(), "{partition} holds more than {count} records: {more:?}");
        records
    }
}

async fn read_from(reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    within("the reader to see all records", async {
        while records.len() < count {
            let (more, position) = reader.read(count - records.len(), PULSE).await.expect("read");
            assert!(
                more.iter().all(|r: &Record| r.offset < position),
                "the position lies after what was read"
            );
            records.extend(more);
        }
    })
    .await;
    records
}

/// What a member was told and given, gathered until a state is reached.
#[derive(Default)]
struct Seen {
    assigned: BTreeMap<TopicPartition, Option<Offset>>,
    records: Vec<(TopicPartition, Record)>,
    revoked: Vec<TopicPartition>,
    drained: usize,
}

impl Seen {
    /// Asks `member` until `reached`.
    async fn until(&mut self, member: &mut dyn Member, what: &str, reached: impl Fn(&Seen) -> bool) {
        within(what, async {
            while !reached(self) {
                self.once(member).await;
            }
        })
        .await;
    }

    async fn once(&mut self, member: &mut dyn Member) {
        let event = member.next(PULSE).await.expect("next");
        self.take(event);
    }

    fn take(&mut self, event: Option<MemberEvent>) {
        match event {
            Some(MemberEvent::Assigned(partitions)) => self.assigned.extend(partitions),
            Some(MemberEvent::Revoked(gone) | MemberEvent::Lost(gone)) => {
                for partition in &gone {
                    assert!(
                        self.assigned.remove(partition).is_some(),
                        "{partition} was never assigned"
                    );
                }
                self.revoked.extend(gone);
            }
            Some(MemberEvent::Fetched { partition, records }) => {
                assert!(self.assigned.contains_key(&partition), "{partition} is not assigned");
                assert!(!records.is_empty(), "an empty fetch says nothing");
                self.records
                    .extend(records.into_iter().map(|record| (partition.clone(), record)));
            }
            Some(MemberEvent::Drained) => self.drained += 1,
            None => {}
        }
    }

    fn values(&self) -> Vec<String> {
        self.records.iter().map(|(_, record)| text(record)).collect()
    }

    /// Where the group would go on: after the last record seen of each partition.
    fn positions(&self) -> Vec<(TopicPartition, Offset)> {
        let next: BTreeMap<_, _> = self
            .records
            .iter()
            .map(|(partition, record)| (partition.clone(), Offset(record.offset.0 + 1)))
            .collect();
        next.into_iter().collect()
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

fn record(value: &str) -> NewRecord {
    NewRecord {
        value: Bytes::copy_from_slice(value.as_bytes()),
        timestamp: Instant::from_millis(1),
        ..NewRecord::default()
    }
}

fn outputs(partition: &TopicPartition, values: &[&str]) -> (TopicPartition, Vec<NewRecord>) {
    (partition.clone(), values.iter().copied().map(record).collect())
}

fn commit(outputs: Vec<(TopicPartition, Vec<NewRecord>)>, positions: Vec<(TopicPartition, Offset)>) -> Commit {
    Commit { outputs, positions }
}

fn text(record: &Record) -> String {
    String::from_utf8_lossy(&record.value).into_owned()
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryLog;
    use super::*;

    #[tokio::test]
    async fn the_memory_log_conforms() {
        assert_eq!(run_all(Arc::new(MemoryLog::new())).await, 24);
    }

    #[tokio::test]
    async fn the_memory_log_trims() {
        let log = MemoryLog::new();
        let trim = async |partition, offset| log.trim(&partition, offset).expect("trim");
        retention(Arc::new(log.clone()), 10, Retention::default(), trim).await;
    }
}
