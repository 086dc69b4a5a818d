//! A map whose entries lie in one vector, in order of insertion (a removal moves the last one into the gap), found through
//! a table of their positions.
//!
//! What sets it apart from any such map: a restore appends its entries and leaves them out of the table, and
//! [`Entries::complete`] makes the table at once, of its final size and region by region:
//!
//! ```text
//!   entries in their order        hashes, by the region of the table they fall into      the table
//!   k0 k1 k2 k3 k4 … ─────────►   │ h3 h7 … │ h0 h4 … │ h1 h2 … │  ───────────────────►  │ · · · │ · · · │ · · · │
//! ```
//!
//! Inserted one by one, ten million entries miss the cache ten million times, because each falls anywhere in a table of a
//! hundred megabytes; a region fits into the cache of a core.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::mem;

use hashbrown::HashTable;

#[derive(Clone, Debug)]
struct Bucket<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// See the module header. Hashes are seeded at random. Holds 2³² entries at most, which would take hundreds of gigabytes.
#[derive(Clone, Debug)]
pub(super) struct Entries<K, V> {
    buckets: Vec<Bucket<K, V>>,
    /// Positions of the first `indexed` buckets.
    table: HashTable<u32>,
    indexed: usize,
    hasher: RandomState,
}

/// Entries of one region of the table, when the table is made at once: positions and tags of so many lie in 256 KiB, which
/// every core's second cache holds. Larger, and it holds them no more; smaller, and there are more regions than it helps.
const REGION: usize = 1 << 15;

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Entries {
            buckets: Vec::new(),
            table: HashTable::new(),
            indexed: 0,
            hasher: RandomState::new(),
        }
    }
}

impl<K, V> Entries<K, V> {
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    pub fn get(&self, at: usize) -> Option<(&K, &V)> {
        self.buckets.get(at).map(|bucket| (&bucket.key, &bucket.value))
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut V> {
        self.buckets.get_mut(at).map(|bucket| &mut bucket.value)
    }

    /// The value at a position that [`Entries::find`] or [`Entries::push`] gave, with no removal in between.
    pub fn at_mut(&mut self, at: usize) -> &mut V {
        &mut self.buckets[at].value
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.buckets.iter().map(|bucket| (&bucket.key, &bucket.value))
    }

    pub fn into_iter(self) -> impl Iterator<Item = (K, V)> {
        self.buckets.into_iter().map(|bucket| (bucket.key, bucket.value))
    }

    /// Makes room in the vector; [`Entries::complete`] makes it in the table.
    pub fn reserve(&mut self, more: usize) {
        self.buckets.reserve(more);
    }
}

impl<K: Hash + Eq, V> Entries<K, V> {
    /// Where `key` lies.
    pub fn find<Q>(&self, key: &Q) -> Option<usize>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let same = |at: &u32| self.buckets[*at as usize].hash == hash && self.buckets[*at as usize].key.borrow() == key;
        let found = self.table.find(hash, same).map(|at| *at as usize);
        if self.indexed == self.buckets.len() {
            return found;
        }
        // Between two parts of a restore: nobody asks then, and whoever does gets the right answer.
        let rest = &self.buckets[self.indexed..];
        let newer = rest.iter().rposition(|bucket| bucket.key.borrow() == key);
        newer.map(|at| self.indexed + at).or(found)
    }

    /// Adds an entry whose key is not there; returns where it lies.
    pub fn push(&mut self, key: K, value: V) -> usize {
        self.complete();
        let hash = self.hasher.hash_one(&key);
        let at = self.buckets.len();
        self.buckets.push(Bucket { hash, key, value });
        self.table
            .insert_unique(hash, at as u32, |at| self.buckets[*at as usize].hash);
        self.indexed = self.buckets.len();
        at
    }

    /// Adds an entry without looking whether its key is there; if it is, this one replaces it when the table is made.
    pub fn append(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(&key);
        self.buckets.push(Bucket { hash, key, value });
    }

    /// Takes out the entry at `at`; the last one moves there.
    pub fn swap_remove(&mut self, at: usize) -> Option<(K, V)> {
        self.complete();
        let hash = self.buckets.get(at)?.hash;
        if let Ok(slot) = self.table.find_entry(hash, |found| *found as usize == at) {
            slot.remove();
        }
        Some(self.take(at))
    }

    /// Takes out a bucket that is not in the table (any more); the last one moves there.
    fn take(&mut self, at: usize) -> (K, V) {
        let last = self.buckets.len() - 1;
        if at != last
            && let Some(moved) = self
                .table
                .find_mut(self.buckets[last].hash, |found| *found as usize == last)
        {
            *moved = at as u32;
        }
        let bucket = self.buckets.swap_remove(at);
        self.indexed = self.buckets.len();
        (bucket.key, bucket.value)
    }

    /// Puts into the table what was appended.
    pub fn complete(&mut self) {
        if self.indexed == self.buckets.len() {
            return;
        }
        let from = self.indexed;
        self.indexed = self.buckets.len();
        let buckets = &self.buckets;
        self.table
            .reserve(buckets.len() - from, |at| buckets[*at as usize].hash);
        // Later ones of a key that was there, with the earlier ones: only what was not written by a save has them.
        let mut again: Vec<(usize, usize)> = Vec::new();
        for (hash, at) in by_region(
            buckets.iter().skip(from).map(|bucket| bucket.hash),
            from,
            self.table.capacity(),
        ) {
            let this = &buckets[at as usize];
            let same = |found: &u32| buckets[*found as usize].hash == hash && buckets[*found as usize].key == this.key;
            match self.table.entry(hash, same, |found| buckets[*found as usize].hash) {
                hashbrown::hash_table::Entry::Vacant(slot) => {
                    slot.insert(at);
                }
                hashbrown::hash_table::Entry::Occupied(slot) => again.push((at as usize, *slot.get() as usize)),
            }
        }
        // The last of a key wins: taken in order, each replaces the one before it.
        again.sort_unstable();
        for (later, earlier) in &again {
            let (before, behind) = self.buckets.split_at_mut(*later);
            mem::swap(&mut before[*earlier].value, &mut behind[0].value);
        }
        // From the end, so that what moves into a gap is never one that must go itself.
        for (later, _) in again.iter().rev() {
            self.take(*later);
        }
    }
}

/// Hashes with their positions (from `first` on), those of one region of a table of `capacity` together, in their order
/// within it. That a table places an entry by the low bits of its hash makes this fast; nothing else relies on it.
fn by_region(
    hashes: impl ExactSizeIterator<Item = u64> + Clone,
    first: usize,
    capacity: usize,
) -> impl Iterator<Item = (u64, u32)> {
    let slots = (capacity.max(1) * 8 / 7).next_power_of_two();
    let regions = (slots / REGION).next_power_of_two().max(1);
    let width = slots / regions.min(slots);
    let region = |hash: u64| (hash as usize & (slots - 1)) / width;
    let mut next = vec![0usize; regions + 1];
    hashes.clone().for_each(|hash| next[region(hash) + 1] += 1);
    for nth in 1..next.len() {
        next[nth] += next[nth - 1];
    }
    let mut ordered = vec![(0u64, 0u32); hashes.len()];
    for (nth, hash) in hashes.enumerate() {
        let to = &mut next[region(hash)];
        ordered[*to] = (hash, (first + nth) as u32);
        *to += 1;
    }
    ordered.into_iter()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn contents(entries: &Entries<u16, u32>) -> BTreeMap<u16, u32> {
        entries.iter().map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn appended_entries_are_found_before_the_table_is_made_and_after() {
        let mut entries = Entries::default();
        for key in 0..100_000u32 {
            entries.append(key, key + 1);
        }
        assert_eq!(entries.find(&99_999), Some(99_999));
        entries.complete();
        assert_eq!(entries.len(), 100_000);
        for key in 0..100_000u32 {
            assert_eq!(entries.find(&key), Some(key as usize));
        }
        assert_eq!(entries.find(&100_000), None);
    }

    /// Against a plain map: pushes, removals, appends with keys twice, tables made in between.
    #[test]
    fn random_histories() {
        let operation = (0u8..5, 0u16..40, any::<u32>());
        proptest!(|(operations in prop::collection::vec(operation, 0..200))| {
            let mut entries = Entries::<u16, u32>::default();
            let mut plain = BTreeMap::new();
            for (kind, key, value) in operations {
                match kind {
                    0 => entries.complete(),
                    1 => {
                        entries.complete();
                        let removed = entries.find(&key).and_then(|at| entries.swap_remove(at));
                        prop_assert_eq!(removed, plain.remove(&key).map(|value| (key, value)));
                    }
                    2 => {
                        entries.complete();
                        match entries.find(&key) {
                            Some(at) => *entries.get_mut(at).unwrap() = value,
                            None => { entries.push(key, value); }
                        }
                        plain.insert(key, value);
                    }
                    _ => {
                        entries.append(key, value);
                        plain.insert(key, value);
                    }
                }
                for key in 0..40 {
                    let found = entries.find(&key).and_then(|at| entries.get(at)).map(|(_, value)| *value);
                    prop_assert_eq!(found, plain.get(&key).copied());
                }
            }
            entries.complete();
            prop_assert_eq!(entries.len(), plain.len());
            prop_assert_eq!(contents(&entries), plain);
        });
    }
}
