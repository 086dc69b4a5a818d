//! A map from key to value.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tracked::Tracked;
use super::{Cursor, Entry, Key, PartReader, ReadPart, Scope, StateCell, StateError};

/// A map from key to value. Hashing is seeded at random (a stranger chooses the keys); walks are sorted.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    map: Tracked<K, V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table {
            map: Tracked::default(),
        }
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

    /// Counts as a change, so that the entry is in the next snapshot: to look only, use [`Table::get`].
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
        self.map.get(key).is_some()
    }

    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.map.insert(key, value)
    }

    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry::new(&mut self.map, key)
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

    /// All entries in key order. Costs a sort: for rare walks, not for the hot path.
    pub fn sorted(&self) -> Vec<(&K, &V)> {
        self.map.sorted()
    }
}

impl<K: Key, V: Serialize + DeserializeOwned + Send + 'static> StateCell for Table<K, V> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(&self.sorted())?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.map.load_pairs(postcard::from_bytes(bytes)?);
        Ok(())
    }

    fn entries(&self) -> usize {
        self.map.len()
    }

    fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        self.map.save_part(scope, from, out)
    }

    fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        self.map.load_part(part)
    }

    fn reader(&self) -> Option<PartReader> {
        Some(self.map.reader())
    }

    fn load_read(&mut self, part: ReadPart) -> Result<(), StateError> {
        self.map.load_read(part)
    }

    fn settle(&mut self) {
        self.map.settle();
    }

    fn hand_out(&mut self) {
        self.map.hand_out();
    }

    fn take_back(&mut self) {
        self.map.take_back();
    }

    fn changed(&self) -> bool {
        self.map.changed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{check_deltas, parts, reloaded};

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
    fn base_and_deltas_make_the_table_again() {
        type Counts = Table<String, u64>;
        let add = |key: &'static str| move |table: &mut Counts| *table.entry(key.to_owned()).or_default() += 1;
        let remove = |key: &'static str| {
            move |table: &mut Counts| {
                table.remove(key);
            }
        };
        check_deltas(
            Counts::default,
            &[
                &add("a"),
                &add("b"),
                &add("c"),
                // The last entry moves into the gap, changed or not.
                &remove("a"),
                &|table| {
                    add("b")(table);
                    remove("c")(table);
                },
                // Gone and back within one delta, and back and gone.
                &|table| {
                    remove("b")(table);
                    add("b")(table);
                },
                &|table| {
                    add("d")(table);
                    remove("d")(table);
                },
                &|table| {
                    add("d")(table);
                    add("e")(table);
                    remove("b")(table);
                    add("d")(table);
                },
                &remove("e"),
                &remove("d"),
                &|_| {},
            ],
        );
    }

    #[test]
    fn random_histories() {
        use proptest::prelude::*;
        // Per step: operations while the last delta is on its way, whether that is stored, and operations before the next.
        let operations = || prop::collection::vec((0u8..12, 0u8..3), 0..8);
        let step = || (operations(), any::<bool>(), operations());
        let apply = |table: &mut Table<u8, u32>, operations: Vec<(u8, u8)>| {
            for (key, operation) in operations {
                match operation {
                    0 => drop(table.insert(key, u32::from(key))),
                    1 => drop(table.remove(&key)),
                    _ => *table.entry(key).or_default() += 1,
                }
            }
        };
        proptest!(|(steps in prop::collection::vec(step(), 1..30))| {
            let mut table = Table::<u8, u32>::default();
            let mut kept = Vec::new();
            let mut on_its_way = parts(&mut table, Scope::Base);
            table.hand_out();
            for (nth, (meanwhile, stored, then)) in steps.into_iter().enumerate() {
                let idle = meanwhile.is_empty();
                apply(&mut table, meanwhile);
                if stored || nth == 0 {
                    kept.append(&mut on_its_way);
                    table.settle();
                    prop_assert!(!(idle && table.changed()));
                } else {
                    table.take_back();
                }
                apply(&mut table, then);
                on_its_way = parts(&mut table, Scope::Delta);
                prop_assert!(table.changed() || on_its_way.is_empty());
                let mut restored = Table::<u8, u32>::default();
                for part in kept.iter().chain(&on_its_way) {
                    restored.load_part(part).unwrap();
                }
                prop_assert_eq!(restored.sorted(), table.sorted());
                table.hand_out();
            }
        });
    }

    #[test]
    fn a_delta_holds_what_changed_and_nothing_else() {
        let mut table = Table::default();
        for key in 0..10_000u32 {
            table.insert(key, [7u8; 32]);
        }
        let whole: usize = parts(&mut table, Scope::Base).iter().map(Vec::len).sum();
        table.hand_out();
        table.settle();
        assert!(parts(&mut table, Scope::Delta).is_empty());
        for key in 0..100 {
            table.get_mut(&key).unwrap()[0] += 1;
            assert!(table.get(&(key + 5000)).is_some());
        }
        let delta: usize = parts(&mut table, Scope::Delta).iter().map(Vec::len).sum();
        assert!(delta * 90 < whole, "{delta} of {whole}");
    }

    #[test]
    fn churn_between_two_saves_is_bounded() {
        let mut table = Table::default();
        for key in 0..100_000u32 {
            table.insert(key, ());
            table.remove(&key);
        }
        assert!(!table.changed());
        assert!(parts(&mut table, Scope::Delta).is_empty());
    }
}
