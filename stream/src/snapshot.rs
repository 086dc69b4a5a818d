//! Snapshots of a partition task: a base and deltas, listed in a manifest.
//!
//! ```text
//! STAGE/PARTITION/0000000007-00000.base     objects: state as of some offset, or what changed up to one
//!                 0000000008-00000.delta
//!                 0000000008.manifest        base 7 + delta 8: the state at one offset
//! ```
//!
//! It promises:
//!
//! * names are never used twice and nothing is written over: a manifest appears last and whole, or it does not count;
//! * a delta starts where the snapshot that it extends stands; a manifest whose objects do not join is refused;
//! * torn and foreign ones are refused with a log line and the next older one is used; what a *newer* program wrote is an
//!   error, before anything is written;
//! * state is restored only under the logic version and the settings that emitted what lies behind it. Where they differ,
//!   the snapshot must stand exactly at the committed offset, so that nothing is replayed under other rules ([`Plan`]);
//! * the two newest snapshots are kept, and the newest that shares no object with them: one bad object cannot take both.
//!   Retention may pass only what lies before that one ([`retention_floor`]).
//!
//! Not here: compression, encryption, and more than one writer per partition. A zombie may spoil a snapshot of its own
//! or make a commit fail; it cannot damage a committed one that is newer than its own listing.

mod buffers;
mod catalog;
pub mod conformance;
mod faulty;
mod format;
mod objects;
mod plan;
mod writer;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::Offset;

pub use catalog::{Generation, generations, read_object, retention_floor};
pub use faulty::{FaultySnapshots, StoreFault};
pub use format::{Frame, FrameWriter, frames};
pub use objects::{FolderSnapshots, MemorySnapshots};
pub use plan::{How, Plan, difference};
pub use writer::SnapshotWriter;

/// Version of the manifest's and the objects' layout. Format 1 was one file `OFFSET.snapshot` with everything in it; it is
/// still read.
pub const FORMAT: u8 = 2;

/// Whose state it is. All of it must be equal before state is restored and replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Which topology (stages, topics, partition counts).
    pub topology: String,
    pub stage: String,
    pub partition: u32,
    pub logic_version: u32,
    /// The settings that shape state, as JSON. `None`: the program did not record them (format 1).
    pub settings: Option<String>,
}

/// One snapshot: the state at `offset` (the next record to read) is that of its objects, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub identity: Identity,
    pub offset: Offset,
    pub sequence: u64,
    pub objects: Vec<Object>,
}

/// One object of a snapshot. All objects of one sequence belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub sequence: u64,
    pub number: u32,
    /// Where the delta starts; `None` for a part of a base.
    pub from: Option<Offset>,
    /// The offset at which the state stands once it is applied.
    pub to: Offset,
    pub bytes: u64,
    pub crc: u32,
}

/// How long a chain of deltas gets before a snapshot is a base again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainBound {
    pub max_deltas: u32,
}

/// Deltas upon one base. Higher: a restore opens more objects, and retention waits longer for the next base, because only
/// that is independent of the one before; lower: a large state is written whole more often.
pub const MAX_DELTAS: u32 = 64;

/// Deltas may grow to this many bytes even where the base is smaller. A small state is not worth counting.
const SMALL: u64 = 64 << 10;

impl Default for ChainBound {
    fn default() -> Self {
        ChainBound { max_deltas: MAX_DELTAS }
    }
}

impl Manifest {
    /// Whether one more delta may follow. Deltas together may be as large as their base: then a restore reads at most twice
    /// the state, and all bases together are no more work than all deltas.
    pub fn may_grow(&self, bound: ChainBound) -> bool {
        let base: u64 = self.objects.iter().filter(|o| o.from.is_none()).map(|o| o.bytes).sum();
        let deltas = || self.objects.iter().filter(|o| o.from.is_some());
        let bytes: u64 = deltas().map(|o| o.bytes).sum();
        let mut sequences: Vec<u64> = deltas().map(|o| o.sequence).collect();
        sequences.dedup();
        (sequences.len() as u64) < u64::from(bound.max_deltas) && bytes < base.max(SMALL)
    }

    /// The sequence of its base: snapshots of one base stand and fall together.
    pub fn base(&self) -> Option<u64> {
        self.objects.first().map(|object| object.sequence)
    }
}

/// One piece of a snapshot being taken, made by the task and written by the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub identity: Identity,
    pub offset: Offset,
    /// The snapshot that this one extends; `None`: it is a base.
    pub extends: Option<Arc<Manifest>>,
    pub bytes: Bytes,
    /// Ask for the next one with another [`crate::task::Event::Checkpoint`].
    pub last: bool,
}

/// Why a snapshot was not stored, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot store: {doing} {path}: {cause}")]
    Store {
        doing: &'static str,
        path: String,
        cause: String,
    },
    /// An object of this name is there already: somebody else writes snapshots of this partition, or the listing was stale.
    #[error("snapshot store: {path} is there already: does another process write snapshots of this partition?")]
    Exists { path: String },
    /// An object of a manifest is gone, cut or changed.
    #[error("snapshot object {path}: {problem}")]
    Torn { path: String, problem: String },
    #[error(
        "snapshot {path} has format {found}, this program knows formats up to {FORMAT}: it was written by a newer program; run that one"
    )]
    NewerFormat { path: String, found: u8 },
    #[error("snapshot of {stage}/{partition} cannot be encoded: {cause}")]
    Encode {
        stage: String,
        partition: u32,
        cause: postcard::Error,
    },
    #[error(
        "{stage}/{partition}: what was emitted last came from logic version {found}, this program has {wanted}, and the snapshot at offset {at} is not at the committed offset {committed}: start the previous program once more and stop it cleanly (SIGTERM: it drains, commits and snapshots), then start this one; `aegis upgrade --check` tells when it is ready",
        at = at.0, committed = committed.0
    )]
    LogicVersion {
        stage: String,
        partition: u32,
        found: u32,
        wanted: u32,
        at: Offset,
        committed: Offset,
    },
    #[error(
        "{stage}/{partition}: what was emitted last was emitted under other settings ({difference}), and the snapshot at offset {at} is not at the committed offset {committed}: start once more with the previous settings and stop cleanly (SIGTERM: it drains, commits and snapshots), then change them; `aegis upgrade --check` tells when it is ready",
        at = at.0, committed = committed.0
    )]
    Settings {
        stage: String,
        partition: u32,
        difference: String,
        at: Offset,
        committed: Offset,
    },
}

/// Keeps objects under names like `dedupe/3/0000000007.manifest`. It knows nothing of what is in them.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Names in `folder` (`dedupe/3`), without it, with their lengths. A folder that is not there is empty.
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError>;

    /// `None` when there is no such object.
    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError>;

    /// Stores a new object; on return it survives a power cut. Never writes over one: [`SnapshotError::Exists`].
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError>;

    /// Removes an object; one that is not there is no error.
    async fn delete(&self, path: &str) -> Result<(), SnapshotError>;

    /// How long chains get in this store.
    fn chain_bound(&self) -> ChainBound {
        ChainBound::default()
    }
}
