//! A log as one generation sees it: plain names outside, the generation's names inside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stream::log::{Bounds, Commit, CommitError, Member, MemberEvent, NewRecord, Reader, Topic};
use stream::{Log, LogError, LogId, Offset, TopicPartition, TopicSpec};

use super::Layout;

/// See the module's header. Groups keep their names: a position belongs to a group and a topic.
pub struct GenerationLog {
    inner: Arc<dyn Log>,
    names: Arc<Names>,
}

impl GenerationLog {
    /// `inner` itself where no topic was ever renamed.
    pub fn over(inner: Arc<dyn Log>, layout: &Layout) -> Arc<dyn Log> {
        let names = Names::of(layout);
        if names.inner.is_empty() {
            return inner;
        }
        Arc::new(GenerationLog {
            inner,
            names: Arc::new(names),
        })
    }
}

/// Those that differ, both ways.
struct Names {
    inner: BTreeMap<String, Topic>,
    outer: BTreeMap<Topic, Topic>,
}

impl Names {
    fn of(layout: &Layout) -> Self {
        let renamed = || {
            let names = layout.topics.keys().map(|topic| (topic, layout.name(topic)));
            names.filter(|(topic, name)| ***topic != **name)
        };
        Names {
            inner: renamed().map(|(topic, name)| (topic.clone(), name)).collect(),
            outer: renamed()
                .map(|(topic, name)| (name, Topic::from(topic.as_str())))
                .collect(),
        }
    }

    fn topic(&self, topic: &str) -> Topic {
        self.inner.get(topic).cloned().unwrap_or_else(|| topic.into())
    }

    fn inside(&self, partition: &TopicPartition) -> TopicPartition {
        TopicPartition::new(self.topic(&partition.topic), partition.partition)
    }

    fn outside(&self, partition: TopicPartition) -> TopicPartition {
        match self.outer.get(&partition.topic) {
            Some(topic) => TopicPartition::new(topic.clone(), partition.partition),
            None => partition,
        }
    }
}

#[async_trait]
impl Log for GenerationLog {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let named: Vec<TopicSpec> = topics
            .iter()
            .map(|spec| TopicSpec {
                name: self.names.topic(&spec.name),
                ..spec.clone()
            })
            .collect();
        self.inner.ensure_topics(&named).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(&self.names.topic(topic)).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.inner.append(&self.names.inside(to), records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let topics: Vec<Topic> = topics.iter().map(|topic| self.names.topic(topic)).collect();
        Ok(Box::new(GenerationMember {
            inner: self.inner.join(group, &topics).await?,
            names: self.names.clone(),
        }))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(&self.names.inside(partition), from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(&self.names.inside(partition)).await
    }

    async fn written(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        self.inner.written(&self.names.inside(partition)).await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.inner.sync().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.inner.committed(group, &self.names.inside(partition)).await
    }

    async fn strangers(&self, group: &str) -> Result<usize, LogError> {
        self.inner.strangers(group).await
    }
}

struct GenerationMember {
    inner: Box<dyn Member>,
    names: Arc<Names>,
}

#[async_trait]
impl Member for GenerationMember {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        let Some(event) = self.inner.next(max_wait).await? else {
            return Ok(None);
        };
        let names = &self.names;
        let all = |partitions: Vec<TopicPartition>| partitions.into_iter().map(|p| names.outside(p)).collect();
        Ok(Some(match event {
            MemberEvent::Assigned(partitions) => {
                MemberEvent::Assigned(partitions.into_iter().map(|(p, at)| (names.outside(p), at)).collect())
            }
            MemberEvent::Revoked(partitions) => MemberEvent::Revoked(all(partitions)),
            MemberEvent::Lost(partitions) => MemberEvent::Lost(all(partitions)),
            MemberEvent::Fetched { partition, records } => MemberEvent::Fetched {
                partition: names.outside(partition),
                records,
            },
            MemberEvent::Drained => MemberEvent::Drained,
        }))
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        self.inner.seek(&self.names.inside(partition), to).await
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let commit = Commit {
            outputs: commit
                .outputs
                .into_iter()
                .map(|(p, records)| (self.names.inside(&p), records))
                .collect(),
            positions: commit
                .positions
                .into_iter()
                .map(|(p, at)| (self.names.inside(&p), at))
                .collect(),
        };
        self.inner.commit(commit).await
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        self.inner.leave().await
    }
}
