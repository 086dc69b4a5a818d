//! A sink that says when it has written something, so that readers on every instance look again.

use std::sync::Arc;

use async_trait::async_trait;
use gateway::Changes;
use stream::log::Topic;
use stream::{LogId, Offset, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

/// See the module's header.
pub struct TellingSink {
    inner: Box<dyn Sink>,
    changes: Arc<Changes>,
}

impl TellingSink {
    pub fn over(inner: Box<dyn Sink>, changes: Arc<Changes>) -> Box<dyn Sink> {
        Box::new(TellingSink { inner, changes })
    }
}

#[async_trait]
impl Sink for TellingSink {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn topics(&self) -> Vec<Topic> {
        self.inner.topics()
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        self.inner.position(log, partition).await
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let written = self.inner.write(log, batches).await;
        // A position that has moved may be that of a write whose answer was lost.
        if matches!(&written, Ok(_) | Err(SinkError::PositionMoved { .. })) {
            self.changes.note();
        }
        written
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.inner.close().await
    }
}
