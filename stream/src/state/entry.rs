//! A place in a table or window that may be empty yet.

use super::Key;
use super::tracked::Tracked;

/// What [`super::Table::entry`] and [`super::Windows::slot`] give. Getting a value out of it counts as a change.
#[derive(Debug)]
pub struct Entry<'a, K, V> {
    map: &'a mut Tracked<K, V>,
    key: K,
}

impl<'a, K: Key, V> Entry<'a, K, V> {
    pub(super) fn new(map: &'a mut Tracked<K, V>, key: K) -> Self {
        Entry { map, key }
    }

    pub fn key(&self) -> &K {
        &self.key
    }

    /// Changes the value if there is one.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        if let Some(value) = self.map.get_mut(&self.key) {
            change(value);
        }
        self
    }

    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        self.map.get_or_insert_with(self.key, make)
    }

    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}
