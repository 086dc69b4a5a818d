//! Event-time timers.

use std::collections::BTreeSet;

use super::tracked::Tracked;
use super::{Cursor, Key, PartReader, ReadPart, Scope, StateCell, StateError};
use crate::time::Instant;

/// Event-time timers: one per key at most.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    by_key: Tracked<K, Instant>,
    /// Parts were loaded since `due` was made.
    due_stale: bool,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            due: BTreeSet::new(),
            by_key: Tracked::default(),
            due_stale: false,
        }
    }
}

impl<K: Key> Timers<K> {
    /// Set (or move) the timer of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key) == Some(&at) {
            return;
        }
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

    fn rebuild_due(&mut self) {
        self.due_stale = false;
        self.due = self.by_key.iter().map(|(key, at)| (*at, key.clone())).collect();
    }
}

impl<K: Key> StateCell for Timers<K> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(&self.due)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let due: Vec<(Instant, K)> = postcard::from_bytes(bytes)?;
        self.by_key
            .load_pairs(due.into_iter().map(|(at, key)| (key, at)).collect());
        self.rebuild_due();
        Ok(())
    }

    fn entries(&self) -> usize {
        self.due.len()
    }

    fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        self.by_key.save_part(scope, from, out)
    }

    fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        self.due_stale = true;
        self.by_key.load_part(part)
    }

    fn reader(&self) -> Option<PartReader> {
        Some(self.by_key.reader())
    }

    fn load_read(&mut self, part: ReadPart) -> Result<(), StateError> {
        self.due_stale = true;
        self.by_key.load_read(part)
    }

    /// Also the end of a restore: the order of time is made once, not per part.
    fn settle(&mut self) {
        if self.due_stale {
            self.rebuild_due();
        }
        self.by_key.settle();
    }

    fn hand_out(&mut self) {
        self.by_key.hand_out();
    }

    fn take_back(&mut self) {
        self.by_key.take_back();
    }

    fn changed(&self) -> bool {
        self.by_key.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{check_deltas, reloaded};

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

    #[test]
    fn base_and_deltas_make_the_timers_again() {
        type Names = Timers<String>;
        let set = |key: &'static str, at| move |timers: &mut Names| timers.set(key.to_owned(), Instant(at));
        check_deltas(
            Names::default,
            &[
                &set("a", 5),
                &set("b", 3),
                &set("a", 1),
                &|timers| {
                    timers.pop_due(Instant(3));
                },
                &|timers| timers.cancel(&"b".to_owned()),
                &set("b", 3),
                &|timers| {
                    timers.pop_due(Instant(9));
                    set("c", 7)(timers);
                },
            ],
        );
    }
}
