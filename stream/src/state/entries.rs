//! A map whose entries lie in segments of one size, in order of insertion (a removal moves the last one into the gap), found
//! through a table of their positions.
//!
//! What sets it apart from any such map: a restore appends its entries and leaves them out of the table, and
//! [`Entries::complete`] makes the table at once, of its final size and region by region:
//!
//! ```text
//!   entries in their order        runs: places, by the region of the table they fall into      the table
//!   k0 k1 k2 k3 k4 … ─────────►   │ p3 … │ p0 p4 … │ p1 p2 … │  ──────┐
//!   k9 … ─────────────────────►   │ p9 … │ p12 …   │ p10 …   │  ──────┴──────────────────►  │ · · · │ · · · │ · · · │
//! ```
//!
//! Inserted one by one, ten million entries miss the cache ten million times, because each falls anywhere in a table of a
//! hundred megabytes; a region fits into the cache of a core. The table is several ([`SHARDS`]), by other bits of the hash: each
//! is made on a thread of its own, and one that grows moves a part of the places only.
//!
//! Segments may be filled elsewhere, by any thread ([`Filler`]), and are then taken in as they are ([`Entries::absorb`]): no
//! entry is moved. One that is taken in need not be full, so positions have holes. Nothing moves when a map grows, and the
//! table grows without a look at an entry, because a place says enough of its hash.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::{array, mem, thread};

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table;

/// Where an entry lies, and 32 bits of its key's hash: of ten million keys, one in 430 shares them with another.
#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    at: u32,
}

impl Place {
    /// What the table sorts by. It takes a slot from the low bits and a tag from the high ones; the factor (2⁶⁴ by the golden ratio) fills both.
    fn wide(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The table it belongs to, by bits between those two.
    fn shard(self) -> usize {
        (self.wide() >> 48) as usize % SHARDS
    }
}

/// See the module header. Hashes are seeded at random. Positions end at 2³², which would take hundreds of gigabytes.
#[derive(Clone, Debug)]
pub(super) struct Entries<K, V> {
    segments: Vec<Vec<(K, V)>>,
    len: usize,
    tables: [HashTable<Place>; SHARDS],
    /// Taken in, and not in the table yet: runs in the order in which they came,
    runs: Vec<Run>,
    /// and behind them what was appended one by one.
    pending: Vec<Place>,
    hasher: RandomState,
}

/// Places in the order of the shards, and of the regions of tables with so many slots; those of one region in the order in which they came.
#[derive(Clone, Debug)]
struct Run {
    places: Vec<Place>,
    slots: usize,
}

/// Entries of a segment, as a power of two. Larger: more room that the last one of what was filled elsewhere leaves empty; smaller: the list
/// of segments of a large map fits no more into a core's first cache, and every access asks it. Tests want several and holes.
const SEGMENT_BITS: u32 = if cfg!(test) { 3 } else { 14 };
const SEGMENT: usize = 1 << SEGMENT_BITS;

/// Tables of one map. More: more cores can make them; fewer: small maps take less.
const SHARDS: usize = 8;

/// Places of all tables from which on it is worth starting threads.
const SHARED_FROM: usize = if cfg!(test) { 1 << 6 } else { 1 << 17 };

/// Entries of one region of a table, when the table is made at once: places and tags of so many lie in 288 KiB, which
/// every core's second cache holds. Larger, and it holds them no more; smaller, and there are more regions than it helps.
const REGION: usize = if cfg!(test) { 1 << 4 } else { 1 << 15 };

/// Makes segments for one [`Entries`], on any thread.
#[derive(Debug)]
pub(super) struct Filler<K, V> {
    segments: Vec<Vec<(K, V)>>,
    /// Positions begin at 0.
    places: Vec<Place>,
    hasher: RandomState,
    /// How many entries the map will have, as far as is known.
    expected: usize,
}

/// What a [`Filler`] has made, ready to be taken in.
#[derive(Debug)]
pub(super) struct Filled<K, V> {
    segments: Vec<Vec<(K, V)>>,
    run: Run,
}

impl<K: Hash, V> Filler<K, V> {
    /// For the map that [`Entries::hasher`] is of. `expected`: how many entries it will have at the end; a wrong number costs speed or memory alone.
    pub fn new(hasher: RandomState, expected: usize) -> Self {
        Filler {
            segments: Vec::new(),
            places: Vec::new(),
            hasher,
            expected,
        }
    }

    /// What there is so far; for what is still to come, it is empty again.
    pub fn take(&mut self) -> Option<Filled<K, V>> {
        let (segments, places) = (mem::take(&mut self.segments), mem::take(&mut self.places));
        let run = Run::new(&places, slots_for(self.expected));
        (!segments.is_empty()).then_some(Filled { segments, run })
    }

    pub fn push(&mut self, key: K, value: V) {
        let hash = short(&self.hasher, &key);
        let at = match self.segments.last_mut().filter(|last| last.len() < SEGMENT) {
            Some(last) => {
                last.push((key, value));
                last.len() - 1
            }
            None => {
                let room = self.expected.saturating_sub(self.places.len()).min(SEGMENT);
                let mut next = Vec::with_capacity(room);
                next.push((key, value));
                self.segments.push(next);
                0
            }
        };
        let at = (((self.segments.len() - 1) << SEGMENT_BITS) + at) as u32;
        self.places.push(Place { hash, at });
    }
}

impl<K, V> Filled<K, V> {
    pub fn len(&self) -> usize {
        self.run.places.len()
    }

    pub fn into_iter(self) -> impl Iterator<Item = (K, V)> {
        self.segments.into_iter().flatten()
    }
}

impl Run {
    fn new(places: &[Place], slots: usize) -> Self {
        let region = |place: &Place| place.shard() * regions(slots) + region(place.wide(), slots);
        let mut next = vec![0usize; SHARDS * regions(slots) + 1];
        places.iter().for_each(|place| next[region(place) + 1] += 1);
        for nth in 1..next.len() {
            next[nth] += next[nth - 1];
        }
        let mut ordered = vec![Place { hash: 0, at: 0 }; places.len()];
        for place in places {
            let to = &mut next[region(place)];
            ordered[*to] = *place;
            *to += 1;
        }
        Run { places: ordered, slots }
    }

    /// The places of one shard.
    fn of(&self, shard: usize) -> &[Place] {
        let from = self.places.partition_point(|place| place.shard() < shard);
        let to = self.places.partition_point(|place| place.shard() <= shard);
        &self.places[from..to]
    }
}

/// Slots of each table of a map with so many entries.
fn slots_for(entries: usize) -> usize {
    slots_of(entries.div_ceil(SHARDS))
}

/// Slots of a table that holds so many entries. That a table places an entry by the low bits of its hash, and has so many slots, makes a
/// restore fast; nothing else relies on it.
fn slots_of(entries: usize) -> usize {
    (entries.clamp(1, 1 << 32) * 8 / 7).next_power_of_two()
}

/// Puts the places of `shard` into its table, region by region. Returned are those of whose hash one is there already: their keys must be looked at.
fn fill(table: &mut HashTable<Place>, runs: &[Run], shard: usize) -> Vec<Place> {
    let more = runs.iter().map(|run| run.of(shard).len()).sum();
    table.reserve(more, |place| place.wide());
    let slots = slots_of(table.capacity());
    let otherwise: Vec<Option<Run>> = runs
        .iter()
        .map(|run| (run.slots != slots).then(|| Run::new(run.of(shard), slots)))
        .collect();
    let mut places: Vec<_> = runs
        .iter()
        .zip(&otherwise)
        .map(|(run, otherwise)| otherwise.as_ref().unwrap_or(run).of(shard).iter().copied().peekable())
        .collect();
    let mut doubtful = Vec::new();
    for nth in 0..regions(slots) {
        for run in &mut places {
            while let Some(place) = run.next_if(|place| region(place.wide(), slots) == nth) {
                match table.entry(place.wide(), |found| found.hash == place.hash, |place| place.wide()) {
                    hash_table::Entry::Vacant(slot) => {
                        slot.insert(place);
                    }
                    hash_table::Entry::Occupied(_) => doubtful.push(place),
                }
            }
        }
    }
    doubtful
}

fn regions(slots: usize) -> usize {
    (slots / REGION).max(1)
}

fn region(hash: u64, slots: usize) -> usize {
    let inside = (slots / regions(slots)).trailing_zeros();
    (hash as usize & (slots - 1)) >> inside
}

fn short<Q: Hash + ?Sized>(hasher: &RandomState, key: &Q) -> u32 {
    (hasher.hash_one(key) >> 32) as u32
}

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Entries {
            segments: Vec::new(),
            len: 0,
            tables: array::from_fn(|_| HashTable::new()),
            runs: Vec::new(),
            pending: Vec::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<K, V> Entries<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    pub fn get(&self, at: usize) -> Option<(&K, &V)> {
        let (key, value) = self.segments.get(at >> SEGMENT_BITS)?.get(at % SEGMENT)?;
        Some((key, value))
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut V> {
        let (_, value) = self.segments.get_mut(at >> SEGMENT_BITS)?.get_mut(at % SEGMENT)?;
        Some(value)
    }

    /// The value at a position that [`Entries::find`] or [`Entries::push`] gave, with no removal in between.
    pub fn at_mut(&mut self, at: usize) -> &mut V {
        &mut self.segments[at >> SEGMENT_BITS][at % SEGMENT].1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.segments.iter().flatten().map(|(key, value)| (key, value))
    }

    /// Entries at position `from` or behind it, with their positions, in order.
    pub fn from(&self, from: usize) -> impl Iterator<Item = (usize, &K, &V)> {
        let (first, inside) = (from >> SEGMENT_BITS, from % SEGMENT);
        let segments = self.segments.iter().enumerate().skip(first);
        segments.flat_map(move |(nth, segment)| {
            let skipped = if nth == first { inside } else { 0 };
            let entries = segment.iter().enumerate().skip(skipped);
            entries.map(move |(at, (key, value))| ((nth << SEGMENT_BITS) + at, key, value))
        })
    }

    pub fn into_iter(self) -> impl Iterator<Item = (K, V)> {
        self.segments.into_iter().flatten()
    }

    /// Takes everything out. The seed stays.
    pub fn clear(&mut self) {
        *self = Entries {
            hasher: self.hasher.clone(),
            ..Entries::default()
        };
    }

    /// The position behind the last entry.
    fn end(&self) -> usize {
        match self.segments.last() {
            Some(last) if last.len() < SEGMENT => ((self.segments.len() - 1) << SEGMENT_BITS) + last.len(),
            _ => self.segments.len() << SEGMENT_BITS,
        }
    }

    /// Puts an entry behind the last; returns where it lies.
    fn lay(&mut self, key: K, value: V) -> usize {
        let at = self.end();
        match self.segments.last_mut().filter(|last| last.len() < SEGMENT) {
            Some(last) => last.push((key, value)),
            None => {
                // Most maps are small; the room of a large one is made at once.
                let mut next = Vec::with_capacity(if self.segments.is_empty() { 0 } else { SEGMENT });
                next.push((key, value));
                self.segments.push(next);
            }
        }
        self.len += 1;
        at
    }
}

impl<K: Hash + Eq, V> Entries<K, V> {
    /// Where `key` lies.
    pub fn find<Q>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let wanted = Place {
            hash: short(&self.hasher, key),
            at: 0,
        };
        let same = |place: &Place| {
            let there = || {
                self.get(place.at as usize)
                    .is_some_and(|(found, _)| found.borrow() == key)
            };
            place.hash == wanted.hash && there()
        };
        // Between two parts of a restore nobody asks; whoever does gets the right answer.
        let newer = self.runs.iter().flat_map(|run| &run.places).chain(&self.pending);
        if let Some(newer) = newer.filter(|place| same(place)).map(|place| place.at).max() {
            return Some(newer as usize);
        }
        self.tables[wanted.shard()]
            .find(wanted.wide(), same)
            .map(|place| place.at as usize)
    }

    /// Adds an entry whose key is not there; returns where it lies.
    pub fn push(&mut self, key: K, value: V) -> usize {
        self.complete();
        let hash = short(&self.hasher, &key);
        let at = self.lay(key, value);
        let place = Place { hash, at: at as u32 };
        self.tables[place.shard()].insert_unique(place.wide(), place, |place| place.wide());
        at
    }

    /// Adds an entry without looking whether its key is there; if it is, this one replaces it when the table is made.
    pub fn append(&mut self, key: K, value: V) {
        let hash = short(&self.hasher, &key);
        let at = self.lay(key, value);
        self.pending.push(Place { hash, at: at as u32 });
    }

    /// Appends what was filled elsewhere, for this map.
    pub fn absorb(&mut self, filled: Filled<K, V>) {
        let before = self.appended();
        self.runs.extend(before);
        let Filled { segments, mut run } = filled;
        let first = (self.segments.len() << SEGMENT_BITS) as u32;
        run.places.iter_mut().for_each(|place| place.at += first);
        self.len += run.places.len();
        self.segments.extend(segments);
        self.runs.push(run);
    }

    /// What was appended one by one, as a run.
    fn appended(&mut self) -> Option<Run> {
        let pending = mem::take(&mut self.pending);
        (!pending.is_empty()).then(|| Run::new(&pending, slots_for(self.len)))
    }

    /// Makes room for what will be appended.
    pub fn expect(&mut self, more: usize) {
        self.pending.reserve(more);
    }

    /// Takes out the entry at `at`; the last one moves there.
    pub fn swap_remove(&mut self, at: usize) -> Option<(K, V)> {
        self.complete();
        let wanted = Place {
            hash: short(&self.hasher, self.get(at)?.0),
            at: at as u32,
        };
        if let Ok(slot) = self.tables[wanted.shard()].find_entry(wanted.wide(), |found| found.at == wanted.at) {
            slot.remove();
        }
        self.take(at)
    }

    /// Takes out an entry that is not in the table (any more); the last one moves there.
    fn take(&mut self, at: usize) -> Option<(K, V)> {
        let (last, behind) = (self.end().checked_sub(1)?, self.segments.last_mut()?);
        let moved = behind.pop()?;
        if behind.is_empty() {
            self.segments.pop();
        }
        self.len -= 1;
        if at == last {
            return Some(moved);
        }
        let from = Place {
            hash: short(&self.hasher, &moved.0),
            at: last as u32,
        };
        if let Some(place) = self.tables[from.shard()].find_mut(from.wide(), |found| found.at == from.at) {
            place.at = at as u32;
        }
        let gap = self.segments.get_mut(at >> SEGMENT_BITS)?.get_mut(at % SEGMENT)?;
        Some(mem::replace(gap, moved))
    }

    /// Puts into the table what is not in it yet.
    pub fn complete(&mut self) {
        if self.pending.is_empty() && self.runs.is_empty() {
            return;
        }
        let last = self.appended();
        let mut runs = mem::take(&mut self.runs);
        runs.extend(last);
        let runs = runs;
        let more: usize = runs.iter().map(|run| run.places.len()).sum();
        let threads = match more {
            SHARED_FROM.. => thread::available_parallelism().map_or(1, usize::from).min(SHARDS),
            _ => 1,
        };
        // Each thread has the shards of some residue.
        let fill_all = |tables: Vec<(usize, &mut HashTable<Place>)>| -> Vec<Place> {
            let filled = tables.into_iter().map(|(shard, table)| fill(table, &runs, shard));
            filled.flatten().collect()
        };
        let mut shares: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
        for (shard, table) in self.tables.iter_mut().enumerate() {
            shares[shard % threads].push((shard, table));
        }
        let mut doubtful: Vec<Place> = thread::scope(|scope| {
            let last = shares.pop().unwrap_or_default();
            let others: Vec<_> = shares
                .into_iter()
                .map(|share| scope.spawn(|| fill_all(share)))
                .collect();
            let ours = fill_all(last);
            let theirs = others
                .into_iter()
                .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            theirs.chain(ours).collect()
        });
        doubtful.sort_unstable_by_key(|place| place.at);
        let segments = &self.segments;
        let key = |place: &Place| &segments[place.at as usize >> SEGMENT_BITS][place.at as usize % SEGMENT].0;
        // Later ones of a key that was there, with the first: only what was not written by a save has them.
        let mut again: Vec<(usize, usize)> = Vec::new();
        for place in doubtful {
            let same = |found: &Place| found.hash == place.hash && key(found) == key(&place);
            match self.tables[place.shard()].entry(place.wide(), same, |place| place.wide()) {
                hash_table::Entry::Vacant(slot) => {
                    slot.insert(place);
                }
                hash_table::Entry::Occupied(slot) => again.push((place.at as usize, slot.get().at as usize)),
            }
        }
        // From the end, so that the last of a key wins and what moves into a gap is never one that must go itself.
        again.sort_unstable();
        let mut replaced = BTreeSet::new();
        for (later, first) in again.into_iter().rev() {
            if let Some((_, value)) = self.take(later)
                && replaced.insert(first)
            {
                *self.at_mut(first) = value;
            }
        }
    }
}

#[cfg(test)]
mod tests;
