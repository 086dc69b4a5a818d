//! Why a task stops.

use crate::accounting::Accounting;
use crate::log::{Offset, Topic};
use crate::operator::MigrateError;
use crate::state::StateError;

/// A defect, or state that cannot be used: the stage stops, nothing of the pending work is committed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{stage}/{partition}: {source}")]
    State {
        stage: &'static str,
        partition: u32,
        source: StateError,
    },
    #[error("{stage}/{partition}: snapshot misses state cell {cell}")]
    MissingCell {
        stage: &'static str,
        partition: u32,
        cell: String,
    },
    #[error("{stage}/{partition}: an object of the snapshot is none of ours, though its checksum is right")]
    Object { stage: &'static str, partition: u32 },
    #[error(
        "{stage}/{partition}: state of logic version {from} cannot be taken over by version {to}: {cause}; nothing was written: go on with the previous program, or use a release that migrates from it"
    )]
    Migrate {
        stage: &'static str,
        partition: u32,
        from: u32,
        to: u32,
        cause: MigrateError,
    },
    #[error("{stage}/{partition}: state cannot be divided among other partitions: {cause}")]
    Carry {
        stage: &'static str,
        partition: u32,
        cause: MigrateError,
    },
    #[error(
        "{stage}/{partition}: fed between the pieces of a snapshot, or asked for another while one is on its way to the store"
    )]
    Saving { stage: &'static str, partition: u32 },
    #[error("{stage}/{partition}: output cannot be encoded: {cause}")]
    Encode {
        stage: &'static str,
        partition: u32,
        cause: String,
    },
    #[error("{stage}/{partition}: topic {topic} is not part of the topology")]
    UnknownTopic {
        stage: &'static str,
        partition: u32,
        topic: Topic,
    },
    #[error("{stage}/{partition}: conservation broken between {from:?} and {to:?}: {counts:?}")]
    Conservation {
        stage: &'static str,
        partition: u32,
        from: Offset,
        to: Offset,
        counts: Box<Accounting>,
    },
    #[error("{stage}/{partition}: {event} while a commit is in flight")]
    Order {
        stage: &'static str,
        partition: u32,
        event: &'static str,
    },
}
