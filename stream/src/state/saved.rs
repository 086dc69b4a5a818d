//! Cells as another logic version saved them.

use super::{StateCell, StateError};

/// The parts of every cell of a snapshot, in order: what [`crate::Operator::migrate`] reads. All of it is in memory at once.
#[derive(Clone, Debug, Default)]
pub struct SavedCells {
    parts: Vec<(String, bool, Vec<u8>)>,
}

impl SavedCells {
    /// Takes one part in; `whole` as in [`crate::snapshot::Frame`].
    pub fn push(&mut self, cell: &str, whole: bool, bytes: &[u8]) {
        self.parts.push((cell.to_owned(), whole, bytes.to_vec()));
    }

    /// Whether the snapshot has a cell of this name. One that was empty all along may be missing.
    pub fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|(cell, _, _)| cell == name)
    }

    /// Reads the cell `name` into an empty `cell` of the type that it was saved from. A cell without parts stays empty.
    pub fn read(&self, name: &str, cell: &mut dyn StateCell) -> Result<(), StateError> {
        for (_, whole, bytes) in self.parts.iter().filter(|(cell, _, _)| cell == name) {
            if *whole {
                cell.load(bytes)?;
            } else {
                cell.load_part(bytes)?;
            }
        }
        cell.settle();
        Ok(())
    }
}
