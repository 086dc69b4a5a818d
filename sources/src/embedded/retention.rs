//! Dropping old segments, whole.

use stream::log::membership::lock;
use stream::{Instant, LogError, Offset, TopicPartition};

use super::core::describe;
use super::writer::Work;
use super::{EmbeddedLog, blocking};

/// What retention dropped from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub partition: TopicPartition,
    /// Where the partition starts now.
    pub start: Offset,
    pub segments: usize,
    pub bytes: u64,
}

impl EmbeddedLog {
    /// Drops segments that are past their topic's retention at `now`, oldest first.
    ///
    /// `floor` says, per partition, the offset that retention must not pass, whatever the bounds say (KERNEL 5: two
    /// valid snapshots must lie beyond what goes); `None` is no floor. A partition is over its size as long as it
    /// would still hold the bound without its oldest segment.
    pub async fn enforce_retention<F>(&self, now: Instant, floor: F) -> Result<Vec<Dropped>, LogError>
    where
        F: Fn(&TopicPartition) -> Option<Offset> + Send,
    {
        let mut all = Vec::new();
        for topic in self.store.core.topics() {
            for partition in &topic.partitions {
                let floor = floor(&partition.at).map_or(u64::MAX, |floor| floor.0);
                let expired = |appended_at: Instant| {
                    topic
                        .retention
                        .time
                        .is_some_and(|time| appended_at.saturating_add(time) < now)
                };
                // A segment that is written to cannot go; when all of it is old, a new one takes its place.
                let stale = {
                    let state = lock(&partition.state);
                    let last = state.segments.back();
                    last.is_some_and(|last| last.bytes > 0 && expired(last.appended_at)) && state.end <= floor
                };
                if stale {
                    let partition = partition.clone();
                    self.store.ask(0, |done| Work::Roll { partition, done }).await??;
                }
                let mut gone = Vec::new();
                let start = {
                    let mut state = lock(&partition.state);
                    let mut bytes: u64 = state.segments.iter().map(|segment| segment.bytes).sum();
                    while let (Some(oldest), Some(next)) = (state.segments.front(), state.segments.get(1)) {
                        let rest = bytes - oldest.bytes;
                        let too_many = topic.retention.bytes.is_some_and(|bound| rest >= bound);
                        if next.base > floor || !(expired(oldest.appended_at) || too_many) {
                            break;
                        }
                        bytes = rest;
                        gone.extend(state.drop_oldest());
                    }
                    Offset(state.start())
                };
                if gone.is_empty() {
                    continue;
                }
                let (segments, bytes) = (gone.len(), gone.iter().map(|segment| segment.bytes).sum());
                let core = self.store.core.clone();
                let at = partition.at.clone();
                blocking(move || {
                    for segment in gone {
                        let deleted = core.db.delete_keyspace(segment.keyspace);
                        let doing = || format!("dropping segment {} of {at}", segment.base);
                        deleted.map_err(|error| core.fatal(&doing(), describe(&error)))?;
                    }
                    Ok::<(), LogError>(())
                })
                .await??;
                all.push(Dropped {
                    partition: partition.at.clone(),
                    start,
                    segments,
                    bytes,
                });
            }
        }
        Ok(all)
    }
}
