//! A worker: reads records that ask for something, does it, and appends the answer to the log.
//!
//! It guarantees that every record is worked on at least once: answers are durable before the position moves. So work must be safe to
//! repeat: an answer carries a derived id, and what acts on the world looks first whether it has acted already.
//!
//! On overload the log holds what it has not got to; at most sixteen records are worked on at once. A record that it cannot read is
//! handed back and buried. Work itself never fails: what went wrong is part of its answer.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use stream::log::{NewRecord, Topic};
use stream::partition::partition_for;
use stream::{Log, LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

use crate::sql::Store;

/// Records worked on at once. More: neighbours are asked more at once; fewer: one slow neighbour holds the others longer.
const AT_ONCE: usize = 16;

/// An answer, and where it goes.
#[derive(Clone, Debug)]
pub struct Answer {
    pub topic: &'static str,
    pub key: String,
    pub record: NewRecord,
}

/// What a worker does.
#[async_trait]
pub trait Work: Send + Sync {
    /// Part of the stored positions and of the consumer group.
    fn name(&self) -> &str;

    fn topics(&self) -> Vec<Topic>;

    /// The word under which records that it hands back are buried.
    fn refusal(&self) -> &'static str {
        "undecodable"
    }

    /// Works on one record; appends what it must say before it acts through `say`. The error is a record that cannot be read.
    async fn work(&self, record: &Record, say: &Say) -> Result<Vec<Answer>, String>;
}

/// Appends, durably, in the middle of the work.
pub struct Say {
    log: Arc<dyn Log>,
}

impl Say {
    pub async fn append(&self, answers: Vec<Answer>) -> Result<(), String> {
        for answer in answers {
            let partitions = self.log.partitions(answer.topic).await.map_err(|e| e.to_string())?;
            let partition = partition_for(answer.key.as_bytes(), partitions);
            let record = NewRecord {
                key: Some(Bytes::from(answer.key)),
                ..answer.record
            };
            let to = TopicPartition::new(answer.topic, partition);
            self.log.append(&to, vec![record]).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Runs [`Work`] as a sink: the store keeps its position.
pub struct Worker<W> {
    work: W,
    store: Store,
    say: Say,
}

impl<W: Work> Worker<W> {
    pub fn new(work: W, store: Store, log: Arc<dyn Log>) -> Self {
        Worker {
            work,
            store,
            say: Say { log },
        }
    }

    async fn one(&self, from: &TopicPartition, record: &Record) -> Result<Option<SinkReject>, SinkError> {
        if !stream::progress::is_data_for(record, &format!("sink.{}", self.work.name())) {
            return Ok(None);
        }
        match self.work.work(record, &self.say).await {
            Ok(answers) => {
                let said = self.say.append(answers).await;
                said.map(|()| None).map_err(|cause| SinkError::Unavailable {
                    sink: self.work.name().to_owned(),
                    cause,
                })
            }
            Err(detail) => Ok(Some(SinkReject {
                partition: from.clone(),
                offset: record.offset,
                reason: self.work.refusal(),
                detail,
            })),
        }
    }
}

#[async_trait]
impl<W: Work> Sink for Worker<W> {
    fn name(&self) -> &str {
        self.work.name()
    }

    fn topics(&self) -> Vec<Topic> {
        self.work.topics()
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        self.store.worker_position(self.work.name(), log, partition).await
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let this = &*self;
        let mut all = Vec::new();
        for batch in batches {
            for record in &batch.records {
                all.push(this.one(&batch.partition, record).boxed());
            }
        }
        let done: Vec<_> = futures::stream::iter(all).buffered(AT_ONCE).collect().await;
        let mut rejects = Vec::new();
        for one in done {
            rejects.extend(one?);
        }
        if rejects.is_empty() {
            self.store.move_worker(self.work.name(), log, batches).await?;
        }
        Ok(rejects)
    }
}
