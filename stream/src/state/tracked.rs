//! A hash map that knows what changed since it was last saved: the inside of tables, windows and timers.
//!
//! Entries lie in one vector ([`Entries`]). So a base is written by walking that vector, without sorting and without hash order, and a change costs one
//! mark beside its entry; no key is copied.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entries::Entries;
use super::{Cursor, Key, PART_BYTES, Scope, StateError};

/// What is known of an entry since the last save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// As it was saved.
    Clean,
    /// Saved before, changed since.
    Changed,
    /// Never saved under this key: its removal needs no mention.
    Fresh,
}

#[derive(Clone, Debug)]
struct Slot<V> {
    value: V,
    mark: Mark,
}

/// See the module header.
#[derive(Clone, Debug)]
pub struct Tracked<K, V> {
    map: Entries<K, Slot<V>>,
    /// Positions of entries that are not clean; may name some twice, or clean ones, because removals move entries.
    dirty: Vec<usize>,
    /// Saved keys that are gone.
    removed: Vec<K>,
    /// While the first scope of a restore comes in: how many entries it has. None of them is there twice.
    restoring: usize,
}

/// Stale positions tolerated before [`Tracked::dirty`] is tidied. It bounds the list under churn between two saves.
const SLACK: usize = 1024;

/// Entries for which a restore makes room at once, so that it does not grow step by step. A hint beyond it is no more believed.
const MOST_RESERVED: usize = 1 << 26;

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Tracked {
            map: Entries::default(),
            dirty: Vec::new(),
            removed: Vec::new(),
            restoring: 0,
        }
    }
}

impl<K: Key, V> Tracked<K, V> {
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (_, slot) = self.map.get(self.map.find(key)?)?;
        Some(&slot.value)
    }

    /// Counts as a change.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let at = self.map.find(key)?;
        let slot = self.map.get_mut(at)?;
        touch(slot, at, &mut self.dirty);
        Some(&mut slot.value)
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.get_mut(&key) {
            Some(there) => Some(std::mem::replace(there, value)),
            None => {
                self.add(key, value);
                None
            }
        }
    }

    /// The value of `key`, made by `make` where there is none. Counts as a change.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.map.find(&key) {
            Some(at) => at,
            None => self.add(key, make()),
        };
        let slot = self.map.at_mut(at);
        touch(slot, at, &mut self.dirty);
        &mut slot.value
    }

    fn add(&mut self, key: K, value: V) -> usize {
        let mark = Mark::Fresh;
        let at = self.map.push(key, Slot { value, mark });
        self.dirty.push(at);
        at
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let at = self.map.find(key)?;
        let (key, slot) = self.map.swap_remove(at)?;
        if slot.mark != Mark::Fresh {
            self.removed.push(key);
        }
        if self.map.get(at).is_some_and(|(_, moved)| moved.mark != Mark::Clean) {
            self.dirty.push(at);
        }
        if self.dirty.len() > 2 * self.map.len() + SLACK {
            self.tidy();
        }
        Some(slot.value)
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter().map(|(key, slot)| (key, &slot.value))
    }

    pub fn into_sorted(self) -> Vec<(K, V)> {
        let mut entries: Vec<_> = self.map.into_iter().map(|(key, slot)| (key, slot.value)).collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    pub fn sorted(&self) -> Vec<(&K, &V)> {
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
        entries
    }

    pub fn changed(&self) -> bool {
        !self.removed.is_empty() || self.dirty.iter().any(|at| self.unsaved(*at))
    }

    /// Whether every key here is unknown to the last save.
    pub fn all_fresh(&self) -> bool {
        self.removed.is_empty() && self.map.iter().all(|(_, slot)| slot.mark == Mark::Fresh)
    }

    pub fn settle(&mut self) {
        self.restored();
        for at in self.dirty.drain(..) {
            if let Some(slot) = self.map.get_mut(at) {
                slot.mark = Mark::Clean;
            }
        }
        self.removed = Vec::new();
    }

    /// What comes from here on may be there already.
    fn restored(&mut self) {
        self.restoring = 0;
        self.map.complete();
    }

    /// Each position that is not clean, once, in order.
    fn tidy(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty.retain(|at| self.unsaved(*at));
        self.dirty = dirty;
    }

    fn unsaved(&self, at: usize) -> bool {
        self.map.get(at).is_some_and(|(_, slot)| slot.mark != Mark::Clean)
    }
}

/// A part is `number of entries in the scope (a hint for the restore)`, then entries, each behind its kind: a removed key,
/// or a pair of key and value.
impl<K: Key, V: Serialize + DeserializeOwned> Tracked<K, V> {
    /// Entries of the map as a postcard sequence of pairs in key order: the form of format 1.
    pub fn load_pairs(&mut self, pairs: Vec<(K, V)>) {
        self.map = Entries::default();
        self.map.reserve(pairs.len());
        pairs
            .into_iter()
            .for_each(|(key, value)| self.map.append(key, clean(value)));
        self.restored();
        self.dirty.clear();
        self.removed.clear();
    }

    /// Like [`super::StateCell::save_part`]; only `from.inner` counts.
    pub fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        if scope == Scope::Delta && from.inner == 0 {
            self.tidy();
        }
        let (removed, changed) = match scope {
            Scope::Base => (0, self.map.len()),
            Scope::Delta => (self.removed.len(), self.dirty.len()),
        };
        if removed + changed == 0 {
            return Ok(None);
        }
        let limit = out.len() + PART_BYTES;
        append(&(changed as u64), out)?;
        let mut at = from.inner;
        while at < removed + changed && out.len() < limit {
            if let Some(key) = self.removed.get(at).filter(|_| at < removed) {
                out.push(REMOVED);
                append(key, out)?;
            } else {
                let nth = at - removed;
                let index = match scope {
                    Scope::Base => nth,
                    Scope::Delta => self.dirty.get(nth).copied().unwrap_or(usize::MAX),
                };
                if let Some((key, slot)) = self.map.get(index) {
                    out.push(CHANGED);
                    append(&(key, &slot.value), out)?;
                }
            }
            at += 1;
        }
        Ok((at < removed + changed).then_some(Cursor { inner: at, ..from }))
    }

    /// Like [`super::StateCell::load_part`].
    pub fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        let (hint, mut rest) = postcard::take_from_bytes::<u64>(part)?;
        if self.map.is_empty() {
            self.restoring = (hint as usize).min(MOST_RESERVED);
            self.map.reserve(self.restoring);
        }
        while let Some((kind, after)) = rest.split_first() {
            if *kind == REMOVED {
                let (key, after) = postcard::take_from_bytes::<K>(after)?;
                if let Some(at) = self.map.find(&key) {
                    self.map.swap_remove(at);
                }
                rest = after;
            } else {
                let ((key, value), after) = postcard::take_from_bytes::<(K, V)>(after)?;
                if self.map.len() < self.restoring {
                    self.map.append(key, clean(value));
                } else {
                    self.restored();
                    match self.map.find(&key).and_then(|at| self.map.get_mut(at)) {
                        Some(slot) => *slot = clean(value),
                        None => {
                            self.map.push(key, clean(value));
                        }
                    }
                }
                rest = after;
            }
        }
        if self.map.len() >= self.restoring {
            self.restored();
        }
        Ok(())
    }
}

/// Kinds of entries in a part.
const CHANGED: u8 = 0;
const REMOVED: u8 = 1;

fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), StateError> {
    *out = postcard::to_extend(value, std::mem::take(out))?;
    Ok(())
}

fn touch<V>(slot: &mut Slot<V>, at: usize, dirty: &mut Vec<usize>) {
    if slot.mark == Mark::Clean {
        slot.mark = Mark::Changed;
        dirty.push(at);
    }
}

fn clean<V>(value: V) -> Slot<V> {
    Slot {
        value,
        mark: Mark::Clean,
    }
}
