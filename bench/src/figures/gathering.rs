//! A log that commits rarely: what a stage commits is gathered until it is large, and then committed once. The baseline
//! for what commits cost: the same outputs are written, without the price of a commit for each tenth of a second.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stream::log::{Bounds, Commit, CommitError, LogError, LogId, Member, MemberEvent, Reader, Topic};
use stream::{Log, NewRecord, Offset, TopicPartition, TopicSpec};

/// Outputs in one commit. Higher, and the broker's limit for a transaction's time comes near; lower, and it is no baseline.
const GATHERED_BYTES: usize = 64 << 20;

pub struct Gathering(pub Arc<dyn Log>);

struct GatheringMember {
    inner: Box<dyn Member>,
    waiting: Commit,
    bytes: usize,
}

impl GatheringMember {
    async fn send(&mut self) -> Result<(), CommitError> {
        self.bytes = 0;
        let commit = std::mem::take(&mut self.waiting);
        if commit.positions.is_empty() {
            return Ok(());
        }
        self.inner.commit(commit).await
    }
}

#[async_trait]
impl Member for GatheringMember {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        self.inner.next(max_wait).await
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        self.inner.seek(partition, to).await
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        self.bytes += commit
            .outputs
            .iter()
            .flat_map(|(_, records)| records)
            .map(NewRecord::size)
            .sum::<usize>();
        self.waiting.outputs.extend(commit.outputs);
        for (partition, offset) in commit.positions {
            self.waiting.positions.retain(|(known, _)| *known != partition);
            self.waiting.positions.push((partition, offset));
        }
        if self.bytes < GATHERED_BYTES {
            return Ok(());
        }
        self.send().await
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        self.send().await.map_err(|error| LogError::Fatal {
            doing: "committing what was gathered".to_owned(),
            cause: error.to_string(),
        })?;
        self.inner.leave().await
    }
}

#[async_trait]
impl Log for Gathering {
    fn id(&self) -> LogId {
        self.0.id()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.0.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.0.partitions(topic).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.0.append(to, records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(GatheringMember {
            inner: self.0.join(group, topics).await?,
            waiting: Commit::default(),
            bytes: 0,
        }))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.0.reader(partition, from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.0.bounds(partition).await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.0.sync().await
    }

    async fn close(&self) {
        self.0.close().await;
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.0.committed(group, partition).await
    }
}
