//! The memory twin of [`super::Log`]: for tests and benches, with faults on demand.
//!
//! Everything is kept until [`MemoryLog::trim`]; retention of a topic is noted, never applied. Nothing survives
//! the process. A commit takes the locks of all partitions it writes before it writes the first, so what it
//! writes becomes visible together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::local::{FetchLimit, LocalMember, LocalReader, Seat, Store};
use super::membership::{Groups, lock};
use super::{
    Bounds, Commit, CommitError, Log, LogError, LogId, Member, NewRecord, Offset, Reader, Record, Topic,
    TopicPartition, TopicSpec,
};

/// Largest record taken: that of the embedded log, so that the twin refuses what the product refuses.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// A log in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Inner>,
}

/// What the next commit of a group runs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Answers [`CommitError::Aborted`]; nothing is written.
    Aborted,
    /// Answers [`CommitError::Fenced`]; nothing is written and the member loses its partitions.
    Fenced,
    /// Answers [`CommitError::Unknown`] although all of it was written.
    UnknownWritten,
    /// Answers [`CommitError::Unknown`] and nothing was written.
    UnknownLost,
    /// As `UnknownLost`, and another member has moved the first of the commit's positions just there.
    UnknownOvertaken,
}

struct Inner {
    id: LogId,
    topics: RwLock<BTreeMap<Topic, TopicState>>,
    groups: Groups,
    faults: Mutex<BTreeMap<String, VecDeque<CommitFault>>>,
    changed: Notify,
}

struct TopicState {
    spec: TopicSpec,
    partitions: Vec<Arc<Mutex<PartitionState>>>,
}

#[derive(Default)]
struct PartitionState {
    /// Offset of the first kept record.
    start: u64,
    records: VecDeque<Record>,
}

impl MemoryLog {
    /// An empty log with an identity of its own.
    pub fn new() -> Self {
        Self::with_id(LogId(format!("memory-{}", Uuid::new_v4())))
    }

    pub fn with_id(id: LogId) -> Self {
        let inner = Inner {
            id,
            topics: RwLock::default(),
            groups: Groups::default(),
            faults: Mutex::default(),
            changed: Notify::new(),
        };
        MemoryLog { inner: Arc::new(inner) }
    }

    /// The next commit of `group` meets `fault`. Several wait in a queue.
    pub fn fail_next_commit(&self, group: &str, fault: CommitFault) {
        lock(&self.inner.faults)
            .entry(group.to_owned())
            .or_default()
            .push_back(fault);
    }

    /// All members of `group` lose their partitions without notice, are told so, and get partitions again.
    pub fn expire_sessions(&self, group: &str) {
        let group = self.inner.groups.group(group);
        {
            let mut group = lock(&group);
            for member in group.members() {
                group.expire(member);
            }
        }
        self.inner.changed.notify_waiters();
    }

    /// Drop what lies below `to`, as retention does.
    pub fn trim(&self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let state = self.inner.partition(partition)?;
        let mut state = lock(&state);
        let kept = to.0.clamp(state.start, state.end());
        let gone = (kept - state.start) as usize;
        state.records.drain(..gone);
        state.start = kept;
        Ok(())
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        MemoryLog::new()
    }
}

impl PartitionState {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn push(&mut self, records: Vec<NewRecord>) -> Offset {
        let first = self.end();
        let at = |(index, record): (usize, NewRecord)| Record {
            offset: Offset(first + index as u64),
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp,
        };
        self.records.extend(records.into_iter().enumerate().map(at));
        Offset(first)
    }
}

impl Inner {
    fn partition(&self, partition: &TopicPartition) -> Result<Arc<Mutex<PartitionState>>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let topic = topics
            .get(&partition.topic)
            .ok_or_else(|| LogError::UnknownTopic(partition.topic.clone()))?;
        let found = topic.partitions.get(partition.partition as usize);
        found
            .cloned()
            .ok_or_else(|| LogError::UnknownPartition(partition.clone()))
    }

    fn take_fault(&self, group: &str) -> Option<CommitFault> {
        lock(&self.faults).get_mut(group)?.pop_front()
    }

    /// Locks every partition of `outputs` (in one order for all, so that two commits cannot block each other),
    /// then writes.
    fn write(&self, outputs: Vec<(TopicPartition, Vec<NewRecord>)>) -> Result<(), LogError> {
        let mut states = BTreeMap::new();
        for (partition, records) in &outputs {
            check_sizes(records)?;
            if !states.contains_key(partition) {
                states.insert(partition.clone(), self.partition(partition)?);
            }
        }
        let mut locked: BTreeMap<&TopicPartition, MutexGuard<'_, PartitionState>> = states
            .iter()
            .map(|(partition, state)| (partition, lock(state)))
            .collect();
        for (partition, records) in outputs {
            if let Some(state) = locked.get_mut(&partition) {
                state.push(records);
            }
        }
        Ok(())
    }
}

fn check_sizes(records: &[NewRecord]) -> Result<(), LogError> {
    match records.iter().map(NewRecord::size).max() {
        Some(size) if size > MAX_RECORD_BYTES => Err(LogError::TooLarge {
            size,
            limit: MAX_RECORD_BYTES,
        }),
        _ => Ok(()),
    }
}

#[async_trait]
impl Store for Inner {
    async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Vec<Record>, LogError> {
        let state = self.partition(partition)?;
        let state = lock(&state);
        if from.0 < state.start {
            return Err(LogError::OutOfRange {
                partition: partition.clone(),
                offset: from,
                start: Offset(state.start),
            });
        }
        let skip = usize::try_from(from.0 - state.start)
            .unwrap_or(usize::MAX)
            .min(state.records.len());
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.size().max(1);
            first || bytes <= limit.bytes
        };
        Ok(state
            .records
            .range(skip..)
            .take(limit.records)
            .take_while(fits)
            .cloned()
            .collect())
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        let state = self.partition(partition)?;
        let state = lock(&state);
        Ok(Bounds {
            start: Offset(state.start),
            end: Offset(state.end()),
        })
    }

    async fn commit(&self, seat: &Seat, commit: Commit) -> Result<(), CommitError> {
        let fault = self.take_fault(&seat.group_name);
        {
            let mut group = lock(&seat.group);
            group
                .may_commit(seat.member, &commit.positions)
                .map_err(CommitError::Fenced)?;
            match fault {
                Some(CommitFault::Aborted) => return Err(CommitError::Aborted("fault on demand".to_owned())),
                Some(CommitFault::UnknownLost) => return Err(CommitError::Unknown("fault on demand".to_owned())),
                Some(CommitFault::UnknownOvertaken) => {
                    group.set_positions(commit.positions.into_iter().take(1));
                    return Err(CommitError::Unknown("fault on demand".to_owned()));
                }
                Some(CommitFault::Fenced) => group.expire(seat.member),
                Some(CommitFault::UnknownWritten) | None => {
                    self.write(commit.outputs)
                        .map_err(|error| CommitError::Aborted(error.to_string()))?;
                    group.set_positions(commit.positions);
                }
            }
        }
        self.changed.notify_waiters();
        match fault {
            Some(CommitFault::Fenced) => Err(CommitError::Fenced("fault on demand".to_owned())),
            Some(CommitFault::UnknownWritten) => Err(CommitError::Unknown("fault on demand".to_owned())),
            _ => Ok(()),
        }
    }

    fn changed(&self) -> &Notify {
        &self.changed
    }
}

#[async_trait]
impl Log for MemoryLog {
    fn id(&self) -> LogId {
        self.inner.id.clone()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let mut existing = self.inner.topics.write().unwrap_or_else(PoisonError::into_inner);
        for wanted in topics {
            if let Some(topic) = existing.get(&wanted.name)
                && topic.spec.partitions != wanted.partitions
            {
                let (found, wanted_count) = (topic.spec.partitions, wanted.partitions);
                return Err(LogError::PartitionCount {
                    topic: wanted.name.clone(),
                    found,
                    wanted: wanted_count,
                });
            }
        }
        for wanted in topics {
            let topic = existing.entry(wanted.name.clone()).or_insert_with(|| TopicState {
                spec: wanted.clone(),
                partitions: (0..wanted.partitions).map(|_| Arc::default()).collect(),
            });
            topic.spec.retention = wanted.retention;
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let topics = self.inner.topics.read().unwrap_or_else(PoisonError::into_inner);
        let found = topics.get(topic).map(|topic| topic.spec.partitions);
        found.ok_or_else(|| LogError::UnknownTopic(topic.into()))
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        check_sizes(&records)?;
        let state = self.inner.partition(to)?;
        let first = lock(&state).push(records);
        self.inner.changed.notify_waiters();
        Ok(first)
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let mut wants = Vec::new();
        for topic in topics {
            let count = self.partitions(topic).await?;
            wants.extend((0..count).map(|partition| TopicPartition::new(topic.clone(), partition)));
        }
        let members = self.inner.groups.group(group);
        Ok(Box::new(LocalMember::join(self.inner.clone(), group, members, wants)))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(LocalReader::open(self.inner.clone(), partition, from)?))
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(partition)
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.inner.partition(partition)?;
        let group = self.inner.groups.group(group);
        let position = lock(&group).position(partition);
        Ok(position)
    }
}
