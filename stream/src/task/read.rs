//! Reading objects of a snapshot apart from the task that takes them in, so that several are read at a time.

use bytes::Bytes;

use super::Task;
use crate::operator::Operator;
use crate::snapshot::frames;
use crate::state::{PartReader, ReadPart};

/// Reads the objects of snapshots for one task, on any thread.
#[derive(Clone)]
pub struct ObjectReader {
    cells: Vec<(&'static str, PartReader)>,
}

/// An object, and what could be read of it beforehand.
pub struct ReadObject {
    pub(super) bytes: Bytes,
    /// For each frame. `None`: the task reads it itself, and says what is wrong with it.
    pub(super) parts: Vec<Option<ReadPart>>,
}

impl std::fmt::Debug for ReadObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ReadObject({} bytes, {} frames read)",
            self.bytes.len(),
            self.parts.len()
        )
    }
}

impl From<Bytes> for ReadObject {
    /// Nothing of it is read yet.
    fn from(bytes: Bytes) -> Self {
        ReadObject {
            bytes,
            parts: Vec::new(),
        }
    }
}

impl ObjectReader {
    /// Reads what can be read without the task.
    pub fn read(&self, bytes: Bytes) -> ReadObject {
        let found = frames(&bytes).unwrap_or_default();
        let parts = found.iter().map(|frame| {
            let (_, reader) = self.cells.iter().find(|(name, _)| *name == frame.cell)?;
            let readable = !frame.whole && !frame.bytes.is_empty();
            readable.then(|| reader.read(frame.bytes).ok()).flatten()
        });
        ReadObject {
            parts: parts.collect(),
            bytes,
        }
    }
}

impl<O: Operator> Task<O> {
    /// What reads objects for this task, and for no other.
    pub fn object_reader(&mut self) -> ObjectReader {
        let cells = self.operator.cells().into_iter();
        ObjectReader {
            cells: cells.filter_map(|(name, cell)| Some((name, cell.reader()?))).collect(),
        }
    }
}
