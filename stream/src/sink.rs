//! A sink: a materialised output of the log, in a store of its own.
//!
//! The store's position rules. On assignment the runner asks the sink where it stands and seeks there; the group
//! position in the log is moved afterwards, for lag tools only, and never read. A sink therefore writes rows and
//! position in one transaction of its store, guarded so that a second owner cannot write the same range.

use async_trait::async_trait;

use crate::log::{LogId, Offset, Record, Topic, TopicPartition};

/// Records of one partition, in order. `start` is where the sink stood, `next` is where it stands after them.
#[derive(Clone, Debug)]
pub struct SinkBatch {
    pub partition: TopicPartition,
    pub start: Offset,
    pub next: Offset,
    pub records: Vec<Record>,
}

/// A record that the sink will never be able to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkReject {
    pub partition: TopicPartition,
    pub offset: Offset,
    pub reason: &'static str,
    pub detail: String,
}

/// Why nothing was written. Rejected records are not an error: they are returned by [`Sink::write`].
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store is away, slow or busy. The same batch is sent again after a pause.
    #[error("sink {sink} unavailable: {cause}")]
    Unavailable { sink: String, cause: String },
    /// The stored position is not `start`: somebody else owns the partition, or an answer was lost. Drop the batch, ask again for the position.
    #[error("sink {sink}: {partition} stands at {stored:?}, not at {expected:?}")]
    PositionMoved {
        sink: String,
        partition: TopicPartition,
        expected: Offset,
        stored: Option<Offset>,
    },
    /// The stored positions belong to another log, or lie beyond this one's end. A person must decide.
    #[error("sink {sink}: {problem}; if the log was replaced on purpose, run `aegis sinks rebuild {sink}`")]
    ForeignPosition { sink: String, problem: String },
    /// It will not work again without a person (schema missing, no permission).
    #[error("sink {sink} failed: {cause}")]
    Fatal { sink: String, cause: String },
}

/// A materialised output.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Stable name: part of the stored positions and of the consumer group `aegis.sink.NAME`.
    fn name(&self) -> &str;

    /// The topics it reads.
    fn topics(&self) -> Vec<Topic>;

    /// Where this sink stands in `partition` of `log`; `None` if it has never written from it.
    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError>;

    /// Write the batches and their positions in one transaction. Returns what can never be written; if there is any, then
    /// nothing of the call was written and no position moved: the driver buries those records durably, takes them out and
    /// calls again, and the position passes them then. A batch may be left without records; its position moves all the
    /// same. Safe to repeat: a repeated range is [`SinkError::PositionMoved`].
    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError>;

    /// Finish what is buffered (files), before shutdown.
    async fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
