//! What a task is told and what it answers: its interface, in words that a driver and a simulator share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{DeadLetters, ReadObject};
use crate::log::{NewRecord, Offset, Record, Topic, TopicPartition};
use crate::operator::CallRequest;
use crate::progress::IngressPolicy;
use crate::snapshot::{ChainBound, Manifest, Piece};
use crate::time::Instant;

/// Where a stage gets event time from.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// The first stage: senders and the wall clock.
    Ingress(IngressPolicy),
    /// Every other stage: Progress records of a fixed number of upstream partitions.
    Downstream { upstream_partitions: u32 },
    /// The same, where two stages write to the input, with so many tasks each. The first may get more under way.
    Confluence {
        stages: [&'static str; 2],
        partitions: [u32; 2],
    },
}

/// What a task needs to know about the topology around it.
#[derive(Clone)]
pub struct TaskSettings {
    /// Hash of the topology; names snapshots.
    pub topology: String,
    pub role: Role,
    /// Main output and its partition count.
    pub output: (Topic, u32),
    /// Partition counts of every topic a record may be sent to on the side, dead letters and accounting included.
    pub sides: Vec<(Topic, u32)>,
    pub accounting: Topic,
    pub dead_letters: DeadLetters,
    /// Event time must have moved this far before Progress alone is worth a commit.
    pub progress_step: Duration,
}

/// What happened, as told by the driver.
#[derive(Debug)]
pub enum Event {
    /// One object of the snapshot to start from, before `Assigned`.
    Load(Bytes),
    /// The same, read by [`super::Task::object_reader`].
    LoadRead(ReadObject),
    /// All objects of a snapshot of logic version `from`, before `Assigned`: the operator migrates them.
    Migrate {
        from: u32,
        objects: Vec<Bytes>,
    },
    /// Before `Assigned`: the objects of one snapshot for each partition of another partitioning of the same input, of which this
    /// task has `partitions` now. What belongs to the keys of its own partition is taken over.
    Carry {
        from: Vec<Vec<Bytes>>,
        partitions: u32,
    },
    /// The partition is this task's. `start` is the first offset the log still has.
    Assigned {
        committed: Option<Offset>,
        start: Offset,
        snapshot: Option<Restored>,
    },
    /// The next records, in order.
    Fetched(Vec<Record>),
    /// The wall clock (ingress only acts on it); `drained`: everything visible has been fetched.
    Tick {
        now: Instant,
        drained: bool,
    },
    /// Nothing more will come on this replay clock. With `past`, event time goes this far past the newest event.
    End {
        past: Option<Duration>,
    },
    /// Commit what is pending.
    Flush,
    Committed,
    /// Nothing of the commit happened; send it again.
    Aborted,
    /// Everything visible has been fetched: what another life asked, and whose answer was not met, may be asked again.
    CaughtUp,
    /// Take a snapshot now (nothing may be pending), or give the next piece of the one being taken. Up to the last piece nothing
    /// else is fed in; behind it the task goes on, and no other snapshot begins before [`Event::Snapshotted`].
    Checkpoint(ChainBound),
    /// What was given out is stored under this manifest, or `None`: it could not be stored, or not all of it was asked for.
    Snapshotted(Option<Arc<Manifest>>),
}

/// The snapshot that was loaded.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where its state stands.
    pub offset: Offset,
    /// What the next delta may extend; `None`: the next snapshot is a base.
    pub chain: Option<Arc<Manifest>>,
}

/// Outputs and position of one partition, to be committed in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionCommit {
    pub outputs: Vec<(TopicPartition, Vec<NewRecord>)>,
    /// New position (next offset to read); `None` if only Progress goes out.
    pub position: Option<Offset>,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Seek(Offset),
    Commit(PartitionCommit),
    Snapshot(Piece),
    /// Ask the outside, when what is committed is synced, and append the answer to the task's input. With `again` an earlier
    /// attempt may have happened.
    Call {
        request: CallRequest,
        again: bool,
    },
}
