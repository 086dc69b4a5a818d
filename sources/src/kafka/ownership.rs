//! Which partitions a member may commit for, in step with the group's generation.
//!
//! A broker accepts a position from any member of the current generation, whoever holds the partition. So the
//! generation is read under the same lock under which partitions are given up, and giving one up comes before the
//! client may join the next generation: a claim can only name a generation in which the partition was this member's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{Offset, TopicPartition};

use super::context::MemberContext;
use super::convert::{partition_number, raw_offset};
use super::lock;
use super::transaction::Positions;

pub(super) struct Ownership(Mutex<State>);

struct State {
    /// Gone when the member left.
    consumer: Option<Arc<BaseConsumer<MemberContext>>>,
    /// Held partitions and their committed positions.
    held: BTreeMap<TopicPartition, Option<Offset>>,
    /// A loss of which the driver has not heard yet: what it would commit may build on what is lost.
    untold: Option<TopicPartition>,
}

/// Positions to commit, and the generation in which that is allowed.
pub(super) struct Claim {
    pub positions: Vec<(TopicPartition, Offset)>,
    /// The same in the client's form.
    pub sent: Arc<Positions>,
}

impl Ownership {
    pub fn new(consumer: Arc<BaseConsumer<MemberContext>>) -> Self {
        Ownership(Mutex::new(State {
            consumer: Some(consumer),
            held: BTreeMap::new(),
            untold: None,
        }))
    }

    pub fn take(&self, partitions: &[(TopicPartition, Option<Offset>)]) {
        lock(&self.0).held.extend(partitions.iter().cloned());
    }

    pub fn give_up(&self, partitions: &[TopicPartition]) {
        lock(&self.0)
            .held
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// As [`Ownership::give_up`], and nothing is allowed until the driver was told.
    pub fn lose(&self, partitions: &[TopicPartition]) {
        self.give_up(partitions);
        lock(&self.0).untold = partitions.first().cloned();
    }

    pub fn told(&self) {
        lock(&self.0).untold = None;
    }

    pub fn close(&self) {
        let mut state = lock(&self.0);
        state.consumer = None;
        state.held.clear();
    }

    /// Whether `positions` may be committed now. Without positions, a committed one of a held partition is repeated,
    /// so that the broker checks the generation of commits that only have outputs, too.
    pub fn claim(&self, positions: &[(TopicPartition, Offset)]) -> Result<Claim, String> {
        let state = lock(&self.0);
        let Some(consumer) = &state.consumer else {
            return Err("the member has left its group".to_owned());
        };
        if let Some(partition) = &state.untold {
            return Err(format!("the member lost {partition}"));
        }
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        let mut add = |partition: &TopicPartition, offset: Offset| -> Result<(), String> {
            let number = partition_number(partition).map_err(|error| error.to_string())?;
            let added = offsets.add_partition_offset(&partition.topic, number, RawOffset::Offset(raw_offset(offset)));
            added.map_err(|error| error.to_string())
        };
        if let Some((partition, _)) = positions
            .iter()
            .find(|(partition, _)| !state.held.contains_key(partition))
        {
            return Err(format!("{partition} is not this member's"));
        }
        let mut positions = positions.to_vec();
        if positions.is_empty() {
            positions.extend(state.held.iter().find_map(|(p, offset)| Some((p.clone(), (*offset)?))));
        }
        for (partition, offset) in &positions {
            add(partition, *offset)?;
        }
        let metadata = consumer.group_metadata().ok_or("the client has no group")?;
        let sent = Arc::new(Positions { offsets, metadata });
        Ok(Claim { positions, sent })
    }

    /// Tells the group `positions` without waiting for its answer and without any promise: for those who only look.
    pub fn tell(&self, positions: &[(TopicPartition, Offset)]) {
        let state = lock(&self.0);
        let Some(consumer) = &state.consumer else { return };
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions.iter().filter(|(p, _)| state.held.contains_key(p)) {
            let Ok(number) = partition_number(partition) else {
                continue;
            };
            let _ = offsets.add_partition_offset(&partition.topic, number, RawOffset::Offset(raw_offset(*offset)));
        }
        if let Err(error) = consumer.commit(&offsets, CommitMode::Async) {
            tracing::debug!(%error, "the group was not told");
        }
    }

    pub fn committed(&self, positions: &[(TopicPartition, Offset)]) {
        let mut state = lock(&self.0);
        for (partition, offset) in positions {
            if let Some(held) = state.held.get_mut(partition) {
                *held = Some(*offset);
            }
        }
    }
}
