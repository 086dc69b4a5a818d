//! Dropping what is past its topic's retention: whole parts, never single records.

use stream::log::membership::lock;
use stream::{Instant, LogError, Offset, TopicPartition};

use super::core::TopicState;
use super::operation::Work;
use super::partition::{Part, PartitionState};
use super::{EmbeddedLog, blocking};

/// What retention dropped from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub partition: TopicPartition,
    /// Where the partition starts now.
    pub start: Offset,
    /// Segment files in which it lay.
    pub segments: usize,
    pub bytes: u64,
}

impl EmbeddedLog {
    /// Drops what is past its topic's retention at `now`, oldest first, and gives the disk back.
    ///
    /// `floor` says, per partition, the offset that retention must not pass, whatever the bounds say (KERNEL 5: two
    /// valid snapshots must lie beyond what goes); `None` is no floor. A partition is over its size as long as it
    /// would still hold the bound without its oldest part.
    pub async fn enforce_retention<F>(&self, now: Instant, floor: F) -> Result<Vec<Dropped>, LogError>
    where
        F: Fn(&TopicPartition) -> Option<Offset> + Send,
    {
        let _one = self.store.retaining.lock().await;
        let floor = |at: &TopicPartition| floor(at).map_or(u64::MAX, |floor| floor.0);
        let topics = self.store.core.topics();
        // What is written to cannot go; when all of it is old, another file takes over.
        let stale = topics.iter().any(|topic| {
            topic.partitions.iter().any(|partition| {
                let state = lock(&partition.state);
                let last = state.last_part();
                last.is_some_and(|last| expired(topic, last, now)) && state.end <= floor(&partition.at)
            })
        });
        if stale {
            self.store.ask(0, |done| Work::Roll { done }).await??;
        }
        let (mut all, mut keys, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for topic in &topics {
            for partition in &topic.partitions {
                let mut state = lock(&partition.state);
                let gone = drop_parts(&mut state, topic, now, floor(&partition.at));
                if gone.is_empty() {
                    continue;
                }
                let number = partition.at.partition;
                keys.extend(gone.iter().map(|part| part.key(partition.topic, number)));
                starts.push(((partition.topic, number), state.start()));
                all.push(Dropped {
                    partition: partition.at.clone(),
                    start: Offset(state.start()),
                    segments: gone.len(),
                    bytes: gone.iter().map(|part| part.bytes).sum(),
                });
            }
        }
        if !keys.is_empty() {
            let core = self.store.core.clone();
            blocking(move || {
                let forgotten = core.catalog.forget(&keys, &starts);
                forgotten.map_err(|error| core.fatal("dropping old records", error))
            })
            .await??;
        }
        self.reclaim().await?;
        Ok(all)
    }
}

fn expired(topic: &TopicState, part: &Part, now: Instant) -> bool {
    let bound = topic.retention.time;
    bound.is_some_and(|time| part.appended_at.saturating_add(time) < now)
}

fn drop_parts(state: &mut PartitionState, topic: &TopicState, now: Instant, floor: u64) -> Vec<Part> {
    let mut bytes: u64 = state.parts().map(|part| part.bytes).sum();
    let mut gone = Vec::new();
    loop {
        let goes = state.parts().next().is_some_and(|oldest| {
            let rest = bytes - oldest.bytes;
            let too_many = topic.retention.bytes.is_some_and(|bound| rest >= bound);
            oldest.end <= floor && (expired(topic, oldest, now) || too_many)
        });
        let Some(part) = goes.then(|| state.drop_oldest()).flatten() else {
            return gone;
        };
        bytes -= part.bytes;
        gone.push(part);
    }
}
