//! The log: topics of partitions of records, consumer groups, and atomic commits.
//!
//! Two implementations serve the product, [`Log`] over an embedded folder and over Apache Kafka; a third,
//! [`memory::MemoryLog`], is the twin for tests and benches. One suite, [`conformance`], holds all three to
//! the words on this page.
//!
//! Positions are always "the next offset to read". Offsets rise but may have holes (a broker's transaction
//! markers take offsets), so nobody may compute "offset + 1 = next record exists".

pub mod conformance;
pub mod local;
pub mod membership;
pub mod memory;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::health::Waits;
use crate::time::Instant;

/// A topic's name. Cheap to clone.
pub type Topic = Arc<str>;

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: Topic,
    pub partition: u32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Topic>, partition: u32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A place in a partition. As a position it means the next offset to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

/// Identity of a log's topic set: a Kafka cluster and topic generation, or the embedded folder's UUID. A sink
/// stores it beside its positions, so that positions of another log are never mistaken for this one's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogId(pub String);

/// A record to be appended. `timestamp` is event or receive time as the producer means it; the log keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Bytes>,
    pub value: Bytes,
    /// Ordered; names may repeat (as in Kafka).
    pub headers: Vec<(String, Bytes)>,
    pub timestamp: Instant,
}

impl NewRecord {
    /// Bytes that count against size limits: key, value and headers.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.len()
            + self
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
    }
}

/// A record as it stands in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub key: Option<Bytes>,
    pub value: Bytes,
    pub headers: Vec<(String, Bytes)>,
    pub timestamp: Instant,
}

impl Record {
    /// The last value of header `name` (Kafka's convention for repeated headers).
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.len()
            + self
                .headers
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
    }
}

/// How long a topic keeps its records. `None` is "without limit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    pub time: Option<Duration>,
    /// Bytes per partition.
    pub bytes: Option<u64>,
}

/// A topic that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: Topic,
    pub partitions: u32,
    pub retention: Retention,
}

/// First kept offset and next offset to be written (for Kafka: the last stable offset).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub start: Offset,
    pub end: Offset,
}

/// Why a log refused.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("topic {0} does not exist")]
    UnknownTopic(Topic),
    #[error("partition {0} does not exist")]
    UnknownPartition(TopicPartition),
    #[error(
        "topic {topic} has {found} partitions, the topology says {wanted}, and its key decides which partition a record is in: run `aegis repartition --partitions N`, which moves records and state"
    )]
    PartitionCount { topic: Topic, found: u32, wanted: u32 },
    #[error("record of {size} bytes is over the log's limit of {limit} bytes")]
    TooLarge { size: usize, limit: usize },
    #[error("{partition}: offset {offset:?} is gone, the log now starts at {start:?}")]
    OutOfRange {
        partition: TopicPartition,
        offset: Offset,
        start: Offset,
    },
    /// Nothing happened; trying again later may work.
    #[error("log unavailable while {doing}: {cause}")]
    Unavailable { doing: String, cause: String },
    /// It will not work again without a person: a broken folder, refused credentials, a foreign lock.
    #[error("log failed while {doing}: {cause}")]
    Fatal { doing: String, cause: String },
}

/// Why a commit did not (surely) happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing of it is visible. The same commit may be sent again for partitions still owned.
    #[error("commit aborted: {0}")]
    Aborted(String),
    /// Another member owns what this one owned. All uncommitted state must be discarded.
    #[error("commit fenced: {0}")]
    Fenced(String),
    /// The answer was lost. The committed position says whether it happened.
    #[error("commit outcome unknown: {0}")]
    Unknown(String),
}

/// Outputs and consumed positions that become visible together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Records to append, per partition, in order.
    pub outputs: Vec<(TopicPartition, Vec<NewRecord>)>,
    /// New positions of the group (next offset to read).
    pub positions: Vec<(TopicPartition, Offset)>,
}

/// What a group member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// These partitions are this member's from now on. `committed` is the group's position, `None` if it has none.
    /// Reading starts at `committed`, or at the partition's start, unless [`Member::seek`] says otherwise before the next call.
    Assigned(Vec<(TopicPartition, Option<Offset>)>),
    /// These partitions are about to go. A commit that covers them is still accepted until the next call of [`Member::next`].
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone already (session lost): nothing may be committed for them.
    Lost(Vec<TopicPartition>),
    /// Records of one partition, in order.
    Fetched {
        partition: TopicPartition,
        records: Vec<Record>,
    },
    /// Everything visible in every assigned partition has been handed out: the fetch position of each is its
    /// end (the last stable offset). Sent at most once until something new arrives or `max_wait` passes again.
    Drained,
}

/// The log.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Stable identity, stored by sinks beside their positions.
    fn id(&self) -> LogId;

    /// Create what is missing. A topic that exists with another partition count is [`LogError::PartitionCount`].
    /// A changed retention is applied.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError>;

    /// Number of partitions of `topic`.
    async fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Append, durably (synced to disk, or acknowledged by all in-sync replicas) before returning the offset of the
    /// first record. Records of one call stay together and in order.
    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError>;

    /// Join consumer group `group` over `topics`. One member per stage and process.
    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError>;

    /// As [`Log::join`], for who keeps its positions elsewhere (a sink, in its store): nobody asks where the group stands,
    /// `Assigned` carries no position, and the member appends nothing with a commit. What keeps the group's positions from
    /// being told therefore does not keep a follower from its work.
    async fn follow(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        self.join(group, topics).await
    }

    /// Read one partition from `from`, outside any group (committed records only).
    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError>;

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError>;

    /// Next offset to be written, also behind what commits have written that have no end yet: beyond the end of
    /// [`bounds`](Self::bounds) while one is open.
    async fn written(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        Ok(self.bounds(partition).await?.end)
    }

    /// After this returns, every commit that returned before it was called is durable. Whoever acts outside the log
    /// (a sink, a notification) calls it first, so that a power cut cannot undo what the outside has already seen.
    async fn sync(&self) -> Result<(), LogError> {
        Ok(())
    }

    /// Call last, before the process ends: what the log still does in the background for this process is done when it returns,
    /// or given up after a bounded time, with a warning that says what that leaves.
    async fn close(&self) {}

    /// The committed position of `group`, `None` if it never committed.
    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError>;

    /// Members of `group` in other processes, as far as there can be any: a log that belongs to one process has none.
    async fn strangers(&self, group: &str) -> Result<usize, LogError> {
        let _ = group;
        Ok(0)
    }
}

/// One member of a consumer group, with transactional output. Not shared: one driver owns it.
#[async_trait]
pub trait Member: Send {
    /// The next event; waits at most `max_wait`, then answers `Drained` (if nothing is left) or an empty wait by `None`.
    /// Cancel safe: dropping the future loses no event.
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError>;

    /// Move the fetch position of an assigned partition.
    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError>;

    /// Append outputs and move positions atomically. Not necessarily synced to disk (embedded), always atomic and
    /// ordered after earlier commits and appends.
    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError>;

    /// Tell the group where a follower stands, for lag tools alone: best effort, without waiting.
    async fn tell(&mut self, positions: Vec<(TopicPartition, Offset)>) {
        let outputs = Vec::new();
        if let Err(error) = self.commit(Commit { outputs, positions }).await {
            tracing::debug!(%error, "group position not moved");
        }
    }

    /// Whether everything visible in this assigned partition has been handed out. The end alone does not tell: behind the
    /// last record a broker may have offsets that are never handed out. False when it is not known.
    fn at_end(&self, partition: &TopicPartition) -> bool {
        let _ = partition;
        false
    }

    /// Whether this member will find its way back no more, and only a new one can: to be left, and joined again.
    fn stranded(&self) -> bool {
        false
    }

    /// Tells at any time what the member waits for while it can read nothing.
    fn waits(&self) -> Waits {
        Waits::never()
    }

    /// Leave the group at once (its partitions go to others without waiting for a session timeout).
    async fn leave(&mut self) -> Result<(), LogError>;
}

/// Reads one partition in order.
#[async_trait]
pub trait Reader: Send {
    /// Up to `max_records` records; empty after `max_wait` without any, or at once when the position moved over offsets
    /// that are never handed out (transaction markers). Also returns the position after them.
    async fn read(&mut self, max_records: usize, max_wait: Duration) -> Result<(Vec<Record>, Offset), LogError>;
}
