//! A map from key to value.

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tracked::Tracked;
use super::{Cursor, Entry, Key, Scope, StateCell, StateError};

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

impl<K: Key, V: Serialize + DeserializeOwned> StateCell for Table<K, V> {
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

    fn settle(&mut self) {
        self.map.settle();
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
        // Per step: operations on a few keys, then whether the delta is stored.
        let step = || (prop::collection::vec((0u8..12, 0u8..3), 0..8), any::<bool>());
        proptest!(|(steps in prop::collection::vec(step(), 1..30))| {
            let mut table = Table::<u8, u32>::default();
            let mut kept = parts(&mut table, Scope::Base);
            table.settle();
            for (operations, stored) in steps {
                for (key, operation) in operations {
                    match operation {
                        0 => { table.insert(key, u32::from(key)); }
                        1 => { table.remove(&key); }
                        _ => *table.entry(key).or_default() += 1,
                    }
                }
                let delta = parts(&mut table, Scope::Delta);
                let mut restored = Table::<u8, u32>::default();
                for part in kept.iter().chain(&delta) {
                    restored.load_part(part).unwrap();
                }
                prop_assert_eq!(restored.sorted(), table.sorted());
                if stored {
                    kept.extend(delta);
                    table.settle();
                    prop_assert!(!table.changed());
                }
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
