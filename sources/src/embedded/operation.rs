//! What the writer is asked to do.

use std::sync::Arc;

use bytes::Bytes;
use stream::log::local::Seat;
use stream::{CommitError, LogError, Offset};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::{Encoded, Header};
use super::catalog::PartKey;
use super::core::Partition;

/// Something to do, with who waits for it. The permit bounds what is queued.
pub struct Operation {
    pub work: Work,
    pub bytes: usize,
    pub permit: OwnedSemaphorePermit,
}

pub enum Work {
    Append {
        target: Target,
        done: Appended,
    },
    Commit {
        seat: Seat,
        outputs: Vec<Target>,
        positions: Vec<(Arc<Partition>, Offset)>,
        done: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Everything before is durable when this is answered.
    Sync {
        done: oneshot::Sender<Result<(), LogError>>,
    },
    /// Seal the file, so that what it holds can be dropped.
    Roll {
        done: oneshot::Sender<Result<(), LogError>>,
    },
    /// Write copies of batches whose file is about to go. They count once the move is settled.
    Copy {
        partition: Arc<Partition>,
        original: PartKey,
        batches: Vec<(Header, Bytes)>,
        done: oneshot::Sender<Result<(), LogError>>,
    },
    /// All of `original` has been copied: the copies take its place.
    Settle {
        partition: Arc<Partition>,
        original: PartKey,
        done: oneshot::Sender<Result<(), LogError>>,
    },
}

/// Who appended, and waits for the offset of the first record.
pub type Appended = oneshot::Sender<Result<Offset, LogError>>;

pub struct Target {
    pub partition: Arc<Partition>,
    pub batches: Vec<Encoded>,
}
