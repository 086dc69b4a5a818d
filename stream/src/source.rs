//! A source: anything that brings raw records in (webhooks, watches, files). It appends through an [`Ingress`], which
//! is durable before it answers and refuses early when the pipeline is behind.

mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::failpoint;
use crate::health::Waits;
use crate::log::{Log, LogError, NewRecord, Offset, Topic, TopicPartition};
use crate::partition::partition_for;
use refusals::Refusals;

/// Why a record was not taken. In every case nothing was appended, or its append is not known to be durable:
/// the sender must be told to send again.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// Too much is waiting. Try again after the given number of seconds.
    #[error("the pipeline is behind: try again in {retry_after_s} s")]
    Busy { retry_after_s: u32 },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Durable entry to one topic. Cheap to clone. At most `limit` bytes wait for their sync at any time.
#[derive(Clone)]
pub struct Ingress {
    log: Arc<dyn Log>,
    topic: Topic,
    /// Those that are written to; shared by all clones.
    partitions: Arc<AtomicU32>,
    waiting: Arc<tokio::sync::Semaphore>,
    limit: usize,
    refusals: Refusals,
}

impl Ingress {
    /// `limit`: bytes that may wait for their sync; more is [`IngressError::Busy`].
    pub async fn open(log: Arc<dyn Log>, topic: &str, limit: usize) -> Result<Self, LogError> {
        let partitions = log.partitions(topic).await?;
        let limit = limit.clamp(1, tokio::sync::Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Ok(Ingress {
            log,
            topic: topic.into(),
            partitions: Arc::new(AtomicU32::new(partitions)),
            waiting: Arc::new(tokio::sync::Semaphore::new(limit)),
            limit,
            refusals: Refusals::default(),
        })
    }

    /// For [`crate::health::Health::watch`]: since when the log has taken nothing, and why, while senders still ask.
    pub fn waits(&self) -> Waits {
        let refusals = self.refusals.clone();
        Waits::new(move || refusals.now())
    }

    /// Looks for partitions that were added to the topic, and writes to them as well from now on, each as soon as `reader`
    /// (the group that reads the topic) has a position in it: then later stages wait for it, and nothing in it is late for
    /// having been found late. Returns the number of partitions that are written to.
    pub async fn look_for_partitions(&self, reader: &str) -> Result<u32, LogError> {
        let there = self.log.partitions(&self.topic).await?;
        let mut used = self.partitions.load(Ordering::Relaxed);
        while used < there {
            let next = TopicPartition::new(self.topic.clone(), used);
            if self.log.committed(reader, &next).await?.is_none() {
                break;
            }
            used += 1;
            self.partitions.store(used, Ordering::Relaxed);
            tracing::info!(partition = %next, "a new partition is written to");
        }
        Ok(used)
    }

    /// Append one record, durably. `spread` picks the partition of an unkeyed record (equal values meet in one partition).
    pub async fn append(&self, spread: &[u8], record: NewRecord) -> Result<(TopicPartition, Offset), IngressError> {
        let weight = record.size().clamp(1, self.limit) as u32;
        let Ok(_permit) = self.waiting.try_acquire_many(weight) else {
            return Err(IngressError::Busy { retry_after_s: 1 });
        };
        let key = record.key.as_deref().unwrap_or(spread);
        let partitions = self.partitions.load(Ordering::Relaxed);
        let to = TopicPartition::new(self.topic.clone(), partition_for(key, partitions));
        failpoint::hit("ingress.before");
        let attempt = self.refusals.attempt();
        let offset = match self.log.append(&to, vec![record]).await {
            Ok(offset) => offset,
            Err(error) => {
                attempt.failed(&error);
                return Err(error.into());
            }
        };
        attempt.stored();
        failpoint::hit("ingress.after");
        Ok((to, offset))
    }
}

/// Brings records in until told to stop.
#[async_trait]
pub trait Source: Send {
    fn name(&self) -> &str;

    /// Runs until `stop` is cancelled; finishes what it has answered for, then returns. An error ends the process:
    /// what a source can mend itself (a lost connection) it mends.
    async fn run(self: Box<Self>, ingress: Ingress, stop: CancellationToken) -> Result<(), String>;
}
