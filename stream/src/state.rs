//! Operator state: the only places where an operator may remember. The kernel saves, restores, counts and bounds them.
//!
//! None of them shows hash order: every walk is in key order, so outputs cannot depend on a seed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::time::Instant;

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

/// A map from key to value. Hashing is seeded at random (a stranger chooses the keys); walks are sorted.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    map: HashMap<K, V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table { map: HashMap::new() }
    }
}

impl<K: Key, V> Table<K, V> {
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.get(key)
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.get_mut(key)
    }

    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.contains_key(key)
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.map.insert(key, value)
    }

    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        self.map.entry(key)
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.remove(key)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// All entries in key order. Costs a sort: for snapshots and rare walks, not for the hot path.
    pub fn sorted(&self) -> Vec<(&K, &V)> {
        let mut entries: Vec<_> = self.map.iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        entries
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> StateCell for Table<K, V> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(&self.sorted())?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let entries: Vec<(K, V)> = postcard::from_bytes(bytes)?;
        self.map = entries.into_iter().collect();
        Ok(())
    }

    fn entries(&self) -> usize {
        self.map.len()
    }
}

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

/// Tumbling event-time windows: per window, a map from key to value.
#[derive(Clone, Debug)]
pub struct Windows<K, V> {
    width: Duration,
    open: BTreeMap<Instant, HashMap<K, V>>,
}

impl<K: Key, V> Windows<K, V> {
    pub fn tumbling(width: Duration) -> Self {
        Windows {
            width,
            open: BTreeMap::new(),
        }
    }

    /// End (exclusive) of the window that holds `at`. A window is closed once the watermark reaches its end.
    pub fn end_of(&self, at: Instant) -> Instant {
        at.window_start(self.width).saturating_add(self.width)
    }

    /// The slot of `key` in the window that holds `at`.
    pub fn slot(&mut self, at: Instant, key: K) -> Entry<'_, K, V> {
        self.open.entry(at.window_start(self.width)).or_default().entry(key)
    }

    /// The value of `key` in the window that holds `at`, without making the window.
    pub fn get_mut<Q>(&mut self, at: Instant, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.open.get_mut(&at.window_start(self.width))?.get_mut(key)
    }

    /// Start of the oldest open window.
    pub fn earliest(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(start, _)| *start)
    }

    /// Removes the oldest window that ended at or before `watermark`; entries in key order.
    pub fn pop_closed(&mut self, watermark: Instant) -> Option<(Instant, Vec<(K, V)>)> {
        let start = *self.open.first_key_value()?.0;
        if start.saturating_add(self.width) > watermark {
            return None;
        }
        let (start, window) = self.open.pop_first()?;
        let mut entries: Vec<_> = window.into_iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Some((start, entries))
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> StateCell for Windows<K, V> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        let windows: Vec<(Instant, Vec<(&K, &V)>)> = self
            .open
            .iter()
            .map(|(start, window)| {
                let mut entries: Vec<_> = window.iter().collect();
                entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
                (*start, entries)
            })
            .collect();
        Ok(postcard::to_stdvec(&windows)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let windows: Vec<(Instant, Vec<(K, V)>)> = postcard::from_bytes(bytes)?;
        self.open = windows
            .into_iter()
            .map(|(start, entries)| (start, entries.into_iter().collect()))
            .collect();
        Ok(())
    }

    fn entries(&self) -> usize {
        self.open.values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reloaded<C: StateCell>(cell: &C, mut empty: C) -> C {
        empty.load(&cell.save().unwrap()).unwrap();
        empty
    }

    #[test]
    fn table_saves_in_key_order() {
        let mut table = Table::default();
        for key in ["b", "a", "c"] {
            table.insert(key.to_owned(), key.len());
        }
        let back = reloaded(&table, Table::default());
        assert_eq!(back.sorted(), table.sorted());
        assert_eq!(table.sorted()[0].0, "a");
    }

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
    fn windows_close_when_the_watermark_reaches_their_end() {
        let mut windows = Windows::tumbling(Duration::from_micros(10));
        windows.slot(Instant(19), "k".to_owned()).or_insert(1);
        windows
            .slot(Instant(10), "k".to_owned())
            .and_modify(|v| *v += 1)
            .or_insert(9);
        windows.slot(Instant(-1), "j".to_owned()).or_insert(7);
        let mut windows = reloaded(&windows, Windows::tumbling(Duration::from_micros(10)));
        assert_eq!(windows.pop_closed(Instant(-1)), None);
        assert_eq!(
            windows.pop_closed(Instant(0)),
            Some((Instant(-10), vec![("j".to_owned(), 7)]))
        );
        assert_eq!(windows.pop_closed(Instant(19)), None);
        assert_eq!(
            windows.pop_closed(Instant(20)),
            Some((Instant(10), vec![("k".to_owned(), 2)]))
        );
    }
}
