//! A hash map that knows what changed since it was last saved: the inside of tables, windows and timers.
//!
//! Entries lie in segments ([`Entries`]). So a base is written by walking them, without sorting and without hash order, and a change costs one
//! mark beside its entry; no key is copied.
//!
//! A snapshot is stored while the map changes on. Hence time is cut into spans: one ends whenever a snapshot has been handed out.
//! An entry says in which span it was added and in which it changed last; what is to be saved is what changed behind the last span that is stored:
//!
//! ```text
//!   spans       1 │ 2 │ 3 │ 4 …       stored: 2     handed out and on its way: 3     now: 4
//!   changed in      c   a,b  b        in the next delta: b      should 3 not be stored: a and b
//! ```

use std::hash::Hash;

use ahash::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entries::{Entries, Filled, Filler};
use super::{Cursor, Key, PART_BYTES, PartReader, ReadPart, Scope, StateError};

/// Number of a span. Span 0 is what was restored.
type Span = u32;

#[derive(Clone, Debug)]
struct Slot<V> {
    value: V,
    /// In this span it came under its key. No snapshot that ended before knows it: its removal needs no mention there.
    added: Span,
    changed: Span,
}

/// Since some snapshot.
#[derive(Clone, Debug)]
struct Changes<K> {
    /// Positions of changed entries; may name some twice, or others, because removals move entries.
    dirty: Vec<usize>,
    /// Saved keys that are gone.
    removed: Vec<K>,
}

/// See the module header.
#[derive(Clone, Debug)]
pub struct Tracked<K, V> {
    map: Entries<K, Slot<V>>,
    now: Span,
    /// What changed up to here is stored.
    stored: Span,
    /// Not handed out yet.
    changes: Changes<K>,
    /// Handed out in the span before this one, and not known to be stored.
    on_its_way: Option<Changes<K>>,
    /// While the first scope of a restore comes in: how many entries it has. None of them is there twice.
    restoring: usize,
}

/// Stale positions tolerated before [`Changes::dirty`] is tidied. It bounds the list under churn between two saves.
const SLACK: usize = 1024;

/// Entries for which a restore makes room at once, so that it does not grow step by step. A hint beyond it is no more believed.
const MOST_RESERVED: usize = 1 << 26;

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Changes {
            dirty: Vec::new(),
            removed: Vec::new(),
        }
    }
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Tracked {
            map: Entries::default(),
            now: 1,
            stored: 0,
            changes: Changes::default(),
            on_its_way: None,
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
        touch(slot, at, self.now, &mut self.changes.dirty);
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
        touch(slot, at, self.now, &mut self.changes.dirty);
        &mut slot.value
    }

    fn add(&mut self, key: K, value: V) -> usize {
        let slot = Slot {
            value,
            added: self.now,
            changed: self.now,
        };
        let at = self.map.push(key, slot);
        self.changes.dirty.push(at);
        at
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let at = self.map.find(key)?;
        let (key, slot) = self.map.swap_remove(at)?;
        if slot.added != self.now {
            self.changes.removed.push(key);
        }
        let moved = self.map.get(at).map(|(_, moved)| moved.changed);
        if let Some(changed) = moved.filter(|changed| *changed > self.stored) {
            let most = 2 * self.map.len() + SLACK;
            match &mut self.on_its_way {
                Some(handed_out) if changed < self.now => {
                    handed_out.dirty.push(at);
                    if handed_out.dirty.len() > most {
                        tidy(&mut handed_out.dirty, &self.map, self.stored);
                    }
                }
                _ => self.changes.dirty.push(at),
            }
        }
        if self.changes.dirty.len() > 2 * self.map.len() + SLACK {
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
        let Changes { dirty, removed } = &self.changes;
        !removed.is_empty() || dirty.iter().any(|at| unsaved(&self.map, *at, self.stored))
    }

    /// Whether every key here is unknown to every snapshot that was handed out.
    pub fn all_fresh(&self) -> bool {
        let none = |changes: &Changes<K>| changes.removed.is_empty();
        none(&self.changes)
            && self.on_its_way.as_ref().is_none_or(none)
            && self.map.iter().all(|(_, slot)| slot.added == self.now)
    }

    /// Like [`super::StateCell::hand_out`].
    pub fn hand_out(&mut self) {
        self.take_back();
        self.on_its_way = Some(std::mem::take(&mut self.changes));
        self.now += 1;
    }

    /// Like [`super::StateCell::settle`].
    pub fn settle(&mut self) {
        self.restored();
        if self.on_its_way.take().is_some() {
            self.stored = self.now - 1;
        }
    }

    /// Like [`super::StateCell::take_back`].
    pub fn take_back(&mut self) {
        if let Some(mut handed_out) = self.on_its_way.take() {
            handed_out.dirty.append(&mut self.changes.dirty);
            handed_out.removed.append(&mut self.changes.removed);
            self.changes = handed_out;
            if self.changes.dirty.len() > 2 * self.map.len() + SLACK {
                self.tidy();
            }
        }
    }

    /// What comes from here on may be there already.
    fn restored(&mut self) {
        self.restoring = 0;
        self.map.complete();
    }

    fn tidy(&mut self) {
        tidy(&mut self.changes.dirty, &self.map, self.stored);
    }
}

/// Each position that is not saved, once, in order.
fn tidy<K, V>(dirty: &mut Vec<usize>, map: &Entries<K, Slot<V>>, stored: Span) {
    dirty.sort_unstable();
    dirty.dedup();
    dirty.retain(|at| unsaved(map, *at, stored));
}

fn unsaved<K, V>(map: &Entries<K, Slot<V>>, at: usize, stored: Span) -> bool {
    map.get(at).is_some_and(|(_, slot)| slot.changed > stored)
}

/// A part is `number of entries in the scope (a hint for the restore)`, then entries, each behind its kind: a removed key,
/// or a pair of key and value.
impl<K: Key, V: Serialize + DeserializeOwned> Tracked<K, V> {
    /// Entries of the map as a postcard sequence of pairs in key order: the form of format 1.
    pub fn load_pairs(&mut self, pairs: Vec<(K, V)>) {
        self.map.clear();
        self.map.expect(pairs.len());
        pairs
            .into_iter()
            .for_each(|(key, value)| self.map.append(key, clean(value)));
        self.restored();
        self.changes = Changes::default();
        self.on_its_way = None;
    }

    /// Like [`super::StateCell::save_part`]; only `from.inner` counts: of what is removed, then positions in a base, changed
    /// entries in a delta.
    pub fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        if scope == Scope::Delta && from.inner == 0 {
            self.tidy();
        }
        let Changes { dirty, removed } = &self.changes;
        let (removed, changed) = match scope {
            Scope::Base => (&[][..], self.map.len()),
            Scope::Delta => (&removed[..], dirty.len()),
        };
        if removed.len() + changed == 0 {
            return Ok(None);
        }
        let limit = out.len() + PART_BYTES;
        append(&(changed as u64), out)?;
        let mut at = from.inner;
        for key in removed.iter().skip(at) {
            if out.len() >= limit {
                return Ok(Some(Cursor { inner: at, ..from }));
            }
            out.push(REMOVED);
            append(key, out)?;
            at += 1;
        }
        match scope {
            Scope::Base => {
                for (position, key, slot) in self.map.from(at) {
                    if out.len() >= limit {
                        return Ok(Some(Cursor {
                            inner: position,
                            ..from
                        }));
                    }
                    put(key, slot, out)?;
                }
            }
            Scope::Delta => {
                for position in dirty.iter().skip(at - removed.len()) {
                    if out.len() >= limit {
                        return Ok(Some(Cursor { inner: at, ..from }));
                    }
                    if let Some((key, slot)) = self.map.get(*position) {
                        put(key, slot, out)?;
                    }
                    at += 1;
                }
            }
        }
        Ok(None)
    }

    /// Like [`super::StateCell::load_part`].
    pub fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        self.take_in(read(part, self.map.hasher())?);
        Ok(())
    }

    fn take_in(&mut self, read: Read<K, V>) {
        if self.map.is_empty() {
            self.restoring = read.hint.min(MOST_RESERVED);
        }
        for step in read.steps {
            match step {
                Step::Removed(key) => {
                    if let Some(at) = self.map.find(&key) {
                        self.map.swap_remove(at);
                    }
                }
                Step::Changed(entries) if self.map.len() + entries.len() <= self.restoring => self.map.absorb(entries),
                Step::Changed(entries) => {
                    self.restored();
                    for (key, slot) in entries.into_iter() {
                        match self.map.find(&key).and_then(|at| self.map.get_mut(at)) {
                            Some(there) => *there = slot,
                            None => {
                                self.map.push(key, slot);
                            }
                        }
                    }
                }
            }
        }
        if self.map.len() >= self.restoring {
            self.restored();
        }
    }
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + 'static> Tracked<K, V> {
    /// Like [`super::StateCell::reader`].
    pub fn reader(&self) -> PartReader {
        let hasher = self.map.hasher().clone();
        PartReader::new(move |part| Ok(Box::new(read::<K, V>(part, &hasher)?)))
    }

    /// Like [`super::StateCell::load_read`].
    pub fn load_read(&mut self, part: ReadPart) -> Result<(), StateError> {
        let read = part.downcast::<Read<K, V>>().map_err(|_| StateError::OtherCell)?;
        self.take_in(*read);
        Ok(())
    }
}

/// A part, read and not yet taken in.
struct Read<K, V> {
    /// Entries of the whole scope.
    hint: usize,
    /// In their order.
    steps: Vec<Step<K, V>>,
}

enum Step<K, V> {
    Removed(K),
    Changed(Filled<K, Slot<V>>),
}

/// Reads a part for the map that `hasher` is of.
fn read<K: Key, V: DeserializeOwned>(part: &[u8], hasher: &RandomState) -> Result<Read<K, V>, StateError> {
    let (hint, mut rest) = postcard::take_from_bytes::<u64>(part)?;
    let (mut steps, mut entries) = (Vec::new(), Filler::new(hasher.clone(), hint as usize));
    while let Some((kind, after)) = rest.split_first() {
        if *kind == REMOVED {
            let (key, after) = postcard::take_from_bytes::<K>(after)?;
            steps.extend(entries.take().map(Step::Changed));
            steps.push(Step::Removed(key));
            rest = after;
        } else {
            let ((key, value), after) = postcard::take_from_bytes::<(K, V)>(after)?;
            entries.push(key, clean(value));
            rest = after;
        }
    }
    steps.extend(entries.take().map(Step::Changed));
    Ok(Read {
        hint: hint as usize,
        steps,
    })
}

fn put<K: Serialize, V: Serialize>(key: &K, slot: &Slot<V>, out: &mut Vec<u8>) -> Result<(), StateError> {
    out.push(CHANGED);
    append(&(key, &slot.value), out)
}

/// Kinds of entries in a part.
const CHANGED: u8 = 0;
const REMOVED: u8 = 1;

fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), StateError> {
    *out = postcard::to_extend(value, std::mem::take(out))?;
    Ok(())
}

fn touch<V>(slot: &mut Slot<V>, at: usize, now: Span, dirty: &mut Vec<usize>) {
    if slot.changed != now {
        slot.changed = now;
        dirty.push(at);
    }
}

fn clean<V>(value: V) -> Slot<V> {
    Slot {
        value,
        added: 0,
        changed: 0,
    }
}
