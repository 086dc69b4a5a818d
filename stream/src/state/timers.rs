//! Event-time timers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Key, StateCell, StateError};
use crate::time::Instant;

/// Event-time timers: one per key at most.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            due: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Key> Timers<K> {
    /// Set (or move) the timer of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.due.remove(&(before, key.clone()));
        }
        self.due.insert((at, key));
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.due.remove(&(at, key.clone()));
        }
    }

    /// The next timer at or before `watermark`, removed; in order of time, then key.
    pub fn pop_due(&mut self, watermark: Instant) -> Option<(Instant, K)> {
        if self.due.first()?.0 > watermark {
            return None;
        }
        let (at, key) = self.due.pop_first()?;
        self.by_key.remove(&key);
        Some((at, key))
    }

    /// The earliest timer's time: what the operator may still act on.
    pub fn earliest(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub fn len(&self) -> usize {
        self.due.len()
    }

    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

impl<K: Key> StateCell for Timers<K> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(&self.due)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.due = postcard::from_bytes(bytes)?;
        self.by_key = self.due.iter().map(|(at, key)| (key.clone(), *at)).collect();
        Ok(())
    }

    fn entries(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::reloaded;

    #[test]
    fn timers_fire_in_time_then_key_order_once() {
        let mut timers = Timers::default();
        timers.set("b".to_owned(), Instant(5));
        timers.set("a".to_owned(), Instant(5));
        timers.set("c".to_owned(), Instant(1));
        timers.set("c".to_owned(), Instant(9));
        timers.cancel(&"b".to_owned());
        let mut timers = reloaded(&timers, Timers::default());
        assert_eq!(timers.earliest(), Some(Instant(5)));
        assert_eq!(timers.pop_due(Instant(8)), Some((Instant(5), "a".to_owned())));
        assert_eq!(timers.pop_due(Instant(8)), None);
        assert_eq!(timers.pop_due(Instant(9)), Some((Instant(9), "c".to_owned())));
    }
}
