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

use std::any::Any;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use entry::Entry;
pub use saved::SavedCells;
pub use table::Table;
pub use timers::Timers;
pub use windows::{HoppingWindows, Placed, Session, SessionWindows, Taken, Windows};

/// Why saved state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("state cell cannot be read: {0}")]
    Encoding(#[from] postcard::Error),
    #[error("a part of saved state was read for another cell than it was given to")]
    OtherCell,
}

/// How much of a cell is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Base,
    /// What changed since the last snapshot that is stored.
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

    /// What reads parts of this cell, on any thread; `None`: it can only do so itself. What is read is for this very cell.
    fn reader(&self) -> Option<PartReader> {
        None
    }

    /// Takes in a part that [`StateCell::reader`] has read, as [`StateCell::load_part`] does.
    fn load_read(&mut self, part: ReadPart) -> Result<(), StateError> {
        let _ = part;
        Err(StateError::OtherCell)
    }

    /// Every part of a save was given out and is on its way to the store: what changes from here on is of the next one.
    fn hand_out(&mut self) {}

    /// What was handed out last is stored. Also the end of a restore: no more parts will come.
    fn settle(&mut self) {}

    /// What was handed out last could not be stored: it belongs to the next save again.
    fn take_back(&mut self) {}

    /// Whether anything changed since the last snapshot that is stored. A cell that cannot tell says yes.
    fn changed(&self) -> bool {
        true
    }
}

/// A part of a cell that was read and not yet taken in. What it is, is the cell's own business.
pub type ReadPart = Box<dyn Any + Send>;

/// Reads parts of one cell: the dear half of a restore, which needs nothing of what the cell holds.
#[derive(Clone)]
pub struct PartReader(Arc<ReadFn>);

type ReadFn = dyn Fn(&[u8]) -> Result<ReadPart, StateError> + Send + Sync;

impl PartReader {
    pub fn new(read: impl Fn(&[u8]) -> Result<ReadPart, StateError> + Send + Sync + 'static) -> Self {
        PartReader(Arc::new(read))
    }

    pub fn read(&self, part: &[u8]) -> Result<ReadPart, StateError> {
        (self.0)(part)
    }
}

/// Bytes of a part of a cell. Higher: more memory while a large state is saved and restored; lower: more objects.
pub const PART_BYTES: usize = 8 << 20;

/// Everything that may be a key.
pub trait Key: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned + Send + 'static {}
impl<T: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned + Send + 'static> Key for T {}

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
    /// the disk is full); after each, base and deltas must make a cell that is saved as the first one is. What became of a save
    /// is known before the next step, or behind it.
    pub fn check_deltas<C: StateCell>(make: impl Fn() -> C, steps: &[&dyn Fn(&mut C)]) {
        check(&make, steps, false);
        check(&make, steps, true);
    }

    fn check<C: StateCell>(make: &impl Fn() -> C, steps: &[&dyn Fn(&mut C)], meanwhile: bool) {
        let mut cell = make();
        let mut kept = Vec::new();
        let mut on_its_way = parts(&mut cell, Scope::Base);
        let answered = |nth: usize, cell: &mut C, kept: &mut Vec<Vec<u8>>, on_its_way: &mut Vec<Vec<u8>>| {
            if nth.is_multiple_of(2) {
                kept.append(on_its_way);
                cell.settle();
            } else {
                cell.take_back();
            }
        };
        cell.hand_out();
        for (nth, step) in steps.iter().enumerate() {
            if meanwhile {
                step(&mut cell);
            }
            answered(nth, &mut cell, &mut kept, &mut on_its_way);
            if !meanwhile {
                step(&mut cell);
            }
            on_its_way = parts(&mut cell, Scope::Delta);
            let mut restored = make();
            for part in kept.iter().chain(&on_its_way) {
                match restored.reader() {
                    Some(reader) if nth % 4 < 2 => restored.load_read(reader.read(part).unwrap()).unwrap(),
                    _ => restored.load_part(part).unwrap(),
                }
            }
            restored.settle();
            assert!(!restored.changed(), "clean after restore");
            assert_eq!(
                restored.save().unwrap(),
                cell.save().unwrap(),
                "after step {nth}, {meanwhile}"
            );
            assert!(
                parts(&mut restored, Scope::Delta).is_empty(),
                "after step {nth}, {meanwhile}"
            );
            cell.hand_out();
        }
    }
}
