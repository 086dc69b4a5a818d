//! Tumbling windows: of one width, side by side, each instant in exactly one.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{Key, StateCell, StateError};
use crate::time::Instant;

/// Per tumbling window, a map from key to value.
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
    use crate::state::tests::reloaded;

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
