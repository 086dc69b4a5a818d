//! Operator state: the only places where an operator may remember. The kernel saves, restores, counts and bounds them.
//!
//! None of them shows hash order: every walk is in key order, so outputs cannot depend on a seed.
//!
//! A cell knows what changed since it was last saved or restored, so that a snapshot costs what changed and not what is
//! there: an entry is encoded once per change, plus once per base (see [`crate::snapshot`]).

mod entries;
mod entry;
mod saved;
mod table;
mod timers;
mod tracked;
mod windows;

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use entry::Entry;
pub use saved::SavedCells;
pub use table::Table;
pub use timers::Timers;
pub use windows::{HoppingWindows, Placed, Session, SessionWindows, Taken, Windows};

/// Why saved state could not be read.
#[derive(Debug, thiserror::Error)]
#[error("state cell cannot be read: {0}")]
pub struct StateError(#[from] postcard::Error);

/// How much of a cell is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Base,
    /// What changed since [`StateCell::settle`] was last called.
    Delta,
}

/// Where saving in parts goes on. Starts as `Cursor::default()`; what the numbers mean is the cell's own business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub outer: usize,
    pub inner: usize,
}

/// What the kernel does with a piece of state.
///
/// Only the first three are required. The others have defaults that are right for any cell, and dear for a large one:
/// without them the whole cell is in every delta.
pub trait StateCell {
    /// Bytes from which [`StateCell::load`] makes an equal cell.
    fn save(&self) -> Result<Vec<u8>, StateError>;
    /// Replaces the content.
    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError>;
    /// Number of entries, for metrics and bounds.
    fn entries(&self) -> usize;

    /// Appends the next part of `scope` to `out`, about as long as [`PART_BYTES`] or shorter. Returns where the next one
    /// begins, `None` behind the last. Nothing changes the cell between the parts of one save. A part of no bytes is left
    /// out of the snapshot.
    fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        let _ = (scope, from);
        out.extend(self.save()?);
        Ok(None)
    }

    /// Takes in one part, on top of those before it, in the order in which they were saved.
    fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        self.load(part)
    }

    /// What is in the cell now is stored (or was just restored): from here on it remembers what changes.
    fn settle(&mut self) {}

    /// Whether anything changed since [`StateCell::settle`]. A cell that cannot tell says yes.
    fn changed(&self) -> bool {
        true
    }
}

/// Bytes of a part of a cell. Higher: more memory while a large state is saved and restored; lower: more objects.
pub const PART_BYTES: usize = 8 << 20;

/// Everything that may be a key.
pub trait Key: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned {}
impl<T: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned> Key for T {}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Cursor, Scope, StateCell};

    /// What a restart makes of `cell`, saved whole.
    pub fn reloaded<C: StateCell>(cell: &C, mut empty: C) -> C {
        empty.load(&cell.save().unwrap()).unwrap();
        empty
    }

    /// All parts of `scope`.
    pub fn parts<C: StateCell>(cell: &mut C, scope: Scope) -> Vec<Vec<u8>> {
        let (mut parts, mut at) = (Vec::new(), Some(Cursor::default()));
        while let Some(from) = at {
            let mut part = Vec::new();
            at = cell.save_part(scope, from, &mut part).unwrap();
            parts.extend((!part.is_empty()).then_some(part));
        }
        parts
    }

    /// Runs `steps` on one cell, saving a base before the first and a delta after each (every second save is lost, as when
    /// the disk is full); after each, base and deltas must make a cell that is saved as the first one is.
    pub fn check_deltas<C: StateCell>(make: impl Fn() -> C, steps: &[&dyn Fn(&mut C)]) {
        let mut cell = make();
        let mut kept = parts(&mut cell, Scope::Base);
        cell.settle();
        for (nth, step) in steps.iter().enumerate() {
            step(&mut cell);
            let delta = parts(&mut cell, Scope::Delta);
            let mut restored = make();
            for part in kept.iter().chain(&delta) {
                restored.load_part(part).unwrap();
            }
            restored.settle();
            assert!(!restored.changed(), "clean after restore");
            assert_eq!(restored.save().unwrap(), cell.save().unwrap(), "after step {nth}");
            assert!(parts(&mut restored, Scope::Delta).is_empty(), "after step {nth}");
            if nth % 2 == 0 {
                kept.extend(delta);
                cell.settle();
            }
        }
    }
}
