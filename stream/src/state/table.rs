//! A map from key to value.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Key, StateCell, StateError};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::reloaded;

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
}
