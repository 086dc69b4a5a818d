//! The simulated log: what is on disk, what is only visible, and what a power cut leaves of it.
//!
//! ```text
//!   append ───────────────────────────────► durable when it returns, and with it everything before it
//!   commit ──► visible, in the journal ──┬─ sync ──► durable
//!                                        └─ power cut ──► a prefix of the journal stays, the rest is undone
//! ```
//!
//! A log of the kind "broker" has no journal: its commits are durable at once, as on Kafka. Records below a
//! partition's start are not handed out any more but are kept here, so that a run can be examined from its beginning.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::dice::Dice;
use super::plan::Contents;
use crate::call::Answer;
use crate::invariants::{POSITIONS, Violation};
use crate::log::local::FetchLimit;
use crate::log::membership::{Groups, lock};
use crate::log::{Bounds, Commit, LogError, NewRecord, Offset, Record, Topic, TopicPartition};
use crate::progress::progress_of;
use crate::time::Instant;

/// The log's content. It outlives processes.
pub struct SimLog {
    state: Mutex<State>,
    pub groups: Groups,
    pub changed: Notify,
}

#[derive(Default)]
struct State {
    partitions: BTreeMap<TopicPartition, Partition>,
    positions: BTreeMap<Arc<str>, BTreeMap<TopicPartition, Offset>>,
    buffered: bool,
    /// Commits that a power cut can undo, oldest first.
    journal: Vec<Undo>,
}

#[derive(Default)]
struct Partition {
    start: u64,
    records: Vec<Record>,
}

/// How to take a commit back.
struct Undo {
    lengths: Vec<(TopicPartition, usize)>,
    group: Arc<str>,
    positions: Vec<(TopicPartition, Option<Offset>)>,
}

impl SimLog {
    /// `buffered`: commits are in a journal until synced.
    pub fn new(topics: &[(Topic, u32)], buffered: bool) -> Self {
        let mut state = State {
            buffered,
            ..State::default()
        };
        for (topic, count) in topics {
            for partition in 0..*count {
                let partition = TopicPartition::new(topic.clone(), partition);
                state.partitions.insert(partition, Partition::default());
            }
        }
        SimLog {
            state: Mutex::new(state),
            groups: Groups::default(),
            changed: Notify::new(),
        }
    }

    pub fn buffered(&self) -> bool {
        lock(&self.state).buffered
    }

    pub fn count(&self, topic: &str) -> Result<u32, LogError> {
        let state = lock(&self.state);
        match state.partitions.keys().filter(|p| &*p.topic == topic).count() {
            0 => Err(LogError::UnknownTopic(topic.into())),
            count => Ok(count as u32),
        }
    }

    /// Durable at once, and with it every commit before it.
    pub fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        let mut state = lock(&self.state);
        let partition = state
            .partitions
            .get_mut(to)
            .ok_or_else(|| LogError::UnknownPartition(to.clone()))?;
        let first = partition.push(records);
        state.journal.clear();
        drop(state);
        self.changed.notify_waiters();
        Ok(first)
    }

    pub fn sync(&self) {
        lock(&self.state).journal.clear();
    }

    /// All of it or nothing. The group has allowed it.
    pub fn commit(&self, group: &Arc<str>, commit: Commit) -> Result<Option<Violation>, LogError> {
        let mut state = lock(&self.state);
        if let Some((unknown, _)) = commit
            .outputs
            .iter()
            .find(|(partition, _)| !state.partitions.contains_key(partition))
        {
            return Err(LogError::UnknownPartition(unknown.clone()));
        }
        let mut lengths = Vec::new();
        for (to, records) in commit.outputs {
            if let Some(partition) = state.partitions.get_mut(&to) {
                lengths.push((to, partition.records.len()));
                partition.push(records);
            }
        }
        let stored = state.positions.entry(group.clone()).or_default();
        let (mut before, mut broken) = (Vec::new(), None);
        for (partition, offset) in commit.positions {
            let was = stored.insert(partition.clone(), offset);
            if was.is_some_and(|was| was > offset) {
                broken = Some(POSITIONS.broken(format!("{group} at {partition}: from {was:?} back to {offset:?}")));
            }
            before.push((partition, was));
        }
        if state.buffered {
            state.journal.push(Undo {
                lengths,
                group: group.clone(),
                positions: before,
            });
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(broken)
    }

    /// What is not synced is lost, but for a prefix that happened to reach the disk. Returns how many commits are gone.
    /// Every member has left.
    pub fn power_cut(&self, dice: &mut Dice) -> usize {
        let mut state = lock(&self.state);
        let kept = dice.below(state.journal.len() + 1);
        let lost = state.journal.split_off(kept);
        state.journal.clear();
        let gone = lost.len();
        for undo in lost.into_iter().rev() {
            for (partition, length) in undo.lengths.into_iter().rev() {
                if let Some(partition) = state.partitions.get_mut(&partition) {
                    partition.records.truncate(length);
                }
            }
            let stored = state.positions.entry(undo.group).or_default();
            for (partition, was) in undo.positions {
                match was {
                    Some(was) => stored.insert(partition, was),
                    None => stored.remove(&partition),
                };
            }
        }
        for (name, group) in self.groups.all() {
            let positions = state.positions.get(name.as_str()).cloned().unwrap_or_default();
            lock(&group).reset_positions(positions);
        }
        gone
    }

    /// Drops what lies below `to`, as retention does.
    pub fn trim(&self, partition: &TopicPartition, to: Offset) {
        if let Some(partition) = lock(&self.state).partitions.get_mut(partition) {
            partition.start = partition.start.max(to.0.min(partition.records.len() as u64));
        }
    }

    pub fn fetch(&self, partition: &TopicPartition, from: Offset, limit: FetchLimit) -> Result<Vec<Record>, LogError> {
        let state = lock(&self.state);
        let found = state
            .partitions
            .get(partition)
            .ok_or_else(|| LogError::UnknownPartition(partition.clone()))?;
        if from.0 < found.start {
            return Err(LogError::OutOfRange {
                partition: partition.clone(),
                offset: from,
                start: Offset(found.start),
            });
        }
        let records = found.records.iter().skip(from.0 as usize).take(limit.records);
        Ok(records.cloned().collect())
    }

    pub fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        let state = lock(&self.state);
        let found = state
            .partitions
            .get(partition)
            .ok_or_else(|| LogError::UnknownPartition(partition.clone()))?;
        Ok(Bounds {
            start: Offset(found.start),
            end: Offset(found.records.len() as u64),
        })
    }

    pub fn end(&self, partition: &TopicPartition) -> Offset {
        self.bounds(partition).map_or(Offset(0), |bounds| bounds.end)
    }

    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<Offset> {
        lock(&self.state).positions.get(group)?.get(partition).copied()
    }

    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        let state = lock(&self.state);
        state
            .partitions
            .keys()
            .filter(|p| &*p.topic == topic)
            .cloned()
            .collect()
    }

    /// The event time that all `writers` have told in `partition`, by the last word of each; [`Instant::MIN`] while one of
    /// them has not spoken.
    pub fn told(&self, partition: &TopicPartition, writers: usize) -> Instant {
        let state = lock(&self.state);
        let mut last: Vec<Option<Instant>> = vec![None; writers];
        let records = state.partitions.get(partition).map_or(&[][..], |found| &found.records);
        for word in records.iter().rev().filter_map(progress_of) {
            if let Some(slot) = last.get_mut(word.partition as usize) {
                slot.get_or_insert(word.watermark);
            }
            if last.iter().all(Option::is_some) {
                break;
            }
        }
        let least = last.into_iter().map(|word| word.unwrap_or(Instant::MIN)).min();
        least.unwrap_or(Instant::MAX)
    }

    /// Whether an answer to the question `key` stands anywhere.
    pub fn answered(&self, key: &str) -> bool {
        let state = lock(&self.state);
        let mut records = state.partitions.values().flat_map(|found| &found.records);
        records.any(|record| Answer::key_of(record) == Some(key))
    }

    /// Records `[from, to)` of a partition, trimmed or not.
    pub fn range(&self, partition: &TopicPartition, from: Offset, to: Offset) -> Vec<Record> {
        let state = lock(&self.state);
        let Some(found) = state.partitions.get(partition) else {
            return Vec::new();
        };
        let to = (to.0 as usize).min(found.records.len());
        found.records.get(from.0 as usize..to).unwrap_or_default().to_vec()
    }

    /// Everything that ever stood and stayed.
    pub fn contents(&self) -> Contents {
        let state = lock(&self.state);
        state
            .partitions
            .iter()
            .map(|(partition, found)| (partition.clone(), found.records.clone()))
            .collect()
    }
}

impl Partition {
    fn push(&mut self, records: Vec<NewRecord>) -> Offset {
        let first = self.records.len() as u64;
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
