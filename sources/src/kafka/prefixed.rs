//! Several installations on one cluster: a prefix before every topic and group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stream::health::Waits;
use stream::log::{
    Bounds, Commit, CommitError, Log, LogError, LogId, Member, MemberEvent, NewRecord, Offset, Reader, Topic,
    TopicPartition, TopicSpec,
};

/// A log whose topics and groups stand under a prefix in another one.
pub struct PrefixedLog {
    inner: Arc<dyn Log>,
    prefix: String,
}

impl PrefixedLog {
    pub fn new(inner: Arc<dyn Log>, prefix: &str) -> Self {
        PrefixedLog {
            inner,
            prefix: prefix.to_owned(),
        }
    }

    fn topic(&self, topic: &str) -> Topic {
        format!("{}{topic}", self.prefix).into()
    }

    fn partition(&self, partition: &TopicPartition) -> TopicPartition {
        TopicPartition::new(self.topic(&partition.topic), partition.partition)
    }
}

#[async_trait]
impl Log for PrefixedLog {
    /// Positions of another prefix are another log's.
    fn id(&self) -> LogId {
        LogId(format!("{}/{}", self.inner.id().0, self.prefix))
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let named: Vec<TopicSpec> = topics
            .iter()
            .map(|spec| TopicSpec {
                name: self.topic(&spec.name),
                ..spec.clone()
            })
            .collect();
        self.inner.ensure_topics(&named).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(&self.topic(topic)).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.inner.append(&self.partition(to), records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let topics: Vec<Topic> = topics.iter().map(|topic| self.topic(topic)).collect();
        let inner = self.inner.join(&self.topic(group), &topics).await?;
        Ok(Box::new(PrefixedMember {
            inner,
            prefix: self.prefix.clone(),
        }))
    }

    async fn follow(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let topics: Vec<Topic> = topics.iter().map(|topic| self.topic(topic)).collect();
        let inner = self.inner.follow(&self.topic(group), &topics).await?;
        Ok(Box::new(PrefixedMember {
            inner,
            prefix: self.prefix.clone(),
        }))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(&self.partition(partition), from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(&self.partition(partition)).await
    }

    async fn written(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        self.inner.written(&self.partition(partition)).await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.inner
            .committed(&self.topic(group), &self.partition(partition))
            .await
    }

    async fn strangers(&self, group: &str) -> Result<usize, LogError> {
        self.inner.strangers(&self.topic(group)).await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.inner.sync().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct PrefixedMember {
    inner: Box<dyn Member>,
    prefix: String,
}

impl PrefixedMember {
    fn outer(&self, partition: TopicPartition) -> TopicPartition {
        match partition.topic.strip_prefix(self.prefix.as_str()) {
            Some(topic) => TopicPartition::new(topic, partition.partition),
            None => partition,
        }
    }

    fn inner(&self, partition: TopicPartition) -> TopicPartition {
        TopicPartition::new(format!("{}{}", self.prefix, partition.topic), partition.partition)
    }
}

#[async_trait]
impl Member for PrefixedMember {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        let Some(event) = self.inner.next(max_wait).await? else {
            return Ok(None);
        };
        let all = |partitions: Vec<TopicPartition>| partitions.into_iter().map(|p| self.outer(p)).collect();
        Ok(Some(match event {
            MemberEvent::Assigned(partitions) => {
                MemberEvent::Assigned(partitions.into_iter().map(|(p, at)| (self.outer(p), at)).collect())
            }
            MemberEvent::Revoked(partitions) => MemberEvent::Revoked(all(partitions)),
            MemberEvent::Lost(partitions) => MemberEvent::Lost(all(partitions)),
            MemberEvent::Fetched { partition, records } => MemberEvent::Fetched {
                partition: self.outer(partition),
                records,
            },
            MemberEvent::Drained => MemberEvent::Drained,
        }))
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let partition = self.inner(partition.clone());
        self.inner.seek(&partition, to).await
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let commit = Commit {
            outputs: commit
                .outputs
                .into_iter()
                .map(|(p, records)| (self.inner(p), records))
                .collect(),
            positions: commit
                .positions
                .into_iter()
                .map(|(p, at)| (self.inner(p), at))
                .collect(),
        };
        self.inner.commit(commit).await
    }

    async fn tell(&mut self, positions: Vec<(TopicPartition, Offset)>) {
        let positions = positions.into_iter().map(|(p, at)| (self.inner(p), at)).collect();
        self.inner.tell(positions).await;
    }

    fn at_end(&self, partition: &TopicPartition) -> bool {
        self.inner.at_end(&self.inner(partition.clone()))
    }

    fn stranded(&self) -> bool {
        self.inner.stranded()
    }

    fn waits(&self) -> Waits {
        self.inner.waits()
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        self.inner.leave().await
    }
}
