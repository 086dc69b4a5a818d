//! Operator state: the only places where an operator may remember. The kernel saves, restores, counts and bounds them.
//!
//! None of them shows hash order: every walk is in key order, so outputs cannot depend on a seed.

mod table;
mod timers;
mod windows;

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use table::Table;
pub use timers::Timers;
pub use windows::{HoppingWindows, Placed, Session, SessionWindows, Taken, Windows};

/// Why saved state could not be read.
#[derive(Debug, thiserror::Error)]
#[error("state cell cannot be read: {0}")]
pub struct StateError(#[from] postcard::Error);

/// What the kernel does with a piece of state.
pub trait StateCell {
    /// Bytes from which [`StateCell::load`] makes an equal cell.
    fn save(&self) -> Result<Vec<u8>, StateError>;
    /// Replaces the content.
    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError>;
    /// Number of entries, for metrics and bounds.
    fn entries(&self) -> usize;
}

/// Everything that may be a key.
pub trait Key: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned {}
impl<T: Eq + Ord + Hash + Clone + Serialize + DeserializeOwned> Key for T {}

#[cfg(test)]
mod tests {
    use super::StateCell;

    /// What a restart makes of `cell`.
    pub fn reloaded<C: StateCell>(cell: &C, mut empty: C) -> C {
        empty.load(&cell.save().unwrap()).unwrap();
        empty
    }
}
