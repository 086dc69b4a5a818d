//! Tumbling windows: of one width, side by side, each instant in exactly one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::tracked::Tracked;
use crate::state::{Cursor, Entry, Key, PART_BYTES, Scope, StateCell, StateError};
use crate::time::Instant;

/// Per tumbling window, a map from key to value.
#[derive(Clone, Debug)]
pub struct Windows<K, V> {
    width: Duration,
    open: BTreeMap<Instant, Tracked<K, V>>,
    /// Windows that were saved and are gone.
    closed: BTreeSet<Instant>,
    /// Those of them that were handed out and are not known to be stored.
    on_its_way: BTreeSet<Instant>,
}

impl<K: Key, V> Windows<K, V> {
    pub fn tumbling(width: Duration) -> Self {
        Windows {
            width,
            open: BTreeMap::new(),
            closed: BTreeSet::new(),
            on_its_way: BTreeSet::new(),
        }
    }

    /// End (exclusive) of the window that holds `at`. A window is closed once the watermark reaches its end.
    pub fn end_of(&self, at: Instant) -> Instant {
        at.window_start(self.width).saturating_add(self.width)
    }

    /// The slot of `key` in the window that holds `at`.
    pub fn slot(&mut self, at: Instant, key: K) -> Entry<'_, K, V> {
        Entry::new(self.open.entry(at.window_start(self.width)).or_default(), key)
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
        if !window.all_fresh() {
            self.closed.insert(start);
        }
        Some((start, window.into_sorted()))
    }
}

/// A part is a list of windows, oldest first: `start · length · entries` as a table writes them. No entries: the window is
/// gone. In a delta the windows that are gone come first, because late rows may have opened one anew.
impl<K: Key, V: Serialize + DeserializeOwned> StateCell for Windows<K, V> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        let windows: Vec<(Instant, Vec<(&K, &V)>)> = self
            .open
            .iter()
            .map(|(start, window)| (*start, window.sorted()))
            .collect();
        Ok(postcard::to_stdvec(&windows)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let windows: Vec<(Instant, Vec<(K, V)>)> = postcard::from_bytes(bytes)?;
        self.closed.clear();
        self.on_its_way.clear();
        self.open.clear();
        for (start, entries) in windows {
            self.open.entry(start).or_default().load_pairs(entries);
        }
        Ok(())
    }

    fn entries(&self) -> usize {
        self.open.values().map(Tracked::len).sum()
    }

    /// `outer` counts windows: those that are gone, then the open ones.
    fn save_part(&mut self, scope: Scope, from: Cursor, out: &mut Vec<u8>) -> Result<Option<Cursor>, StateError> {
        let limit = out.len() + PART_BYTES;
        let gone = match scope {
            Scope::Base => 0,
            Scope::Delta => self.closed.len(),
        };
        let mut at = from;
        for start in self.closed.iter().take(gone).skip(at.outer) {
            append(*start, &[], out)?;
            at.outer += 1;
        }
        for (start, window) in self.open.iter_mut().skip(at.outer - gone) {
            if out.len() >= limit {
                return Ok(Some(at));
            }
            let mut entries = Vec::new();
            let more = window.save_part(scope, at, &mut entries)?;
            if !entries.is_empty() {
                append(*start, &entries, out)?;
            }
            if more.is_some() {
                return Ok(more);
            }
            at = Cursor {
                outer: at.outer + 1,
                inner: 0,
            };
        }
        Ok(None)
    }

    fn load_part(&mut self, part: &[u8]) -> Result<(), StateError> {
        let mut rest = part;
        while !rest.is_empty() {
            let ((start, length), after) = postcard::take_from_bytes::<(Instant, u64)>(rest)?;
            let (entries, after) = after
                .split_at_checked(length as usize)
                .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
            if entries.is_empty() {
                self.open.remove(&start);
            } else {
                self.open.entry(start).or_default().load_part(entries)?;
            }
            rest = after;
        }
        Ok(())
    }

    fn hand_out(&mut self) {
        self.on_its_way.append(&mut self.closed);
        self.open.values_mut().for_each(Tracked::hand_out);
    }

    fn settle(&mut self) {
        self.on_its_way.clear();
        self.open.values_mut().for_each(Tracked::settle);
    }

    fn take_back(&mut self) {
        self.closed.append(&mut self.on_its_way);
        self.open.values_mut().for_each(Tracked::take_back);
    }

    fn changed(&self) -> bool {
        !self.closed.is_empty() || self.open.values().any(Tracked::changed)
    }
}

fn append(start: Instant, entries: &[u8], out: &mut Vec<u8>) -> Result<(), StateError> {
    *out = postcard::to_extend(&(start, entries.len() as u64), std::mem::take(out))?;
    out.extend_from_slice(entries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{check_deltas, reloaded};

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

    #[test]
    fn base_and_deltas_make_the_windows_again() {
        type Counts = Windows<String, u64>;
        let add = |at, key: &'static str| {
            move |windows: &mut Counts| *windows.slot(Instant(at), key.to_owned()).or_default() += 1
        };
        let close = |at| {
            move |windows: &mut Counts| {
                windows.pop_closed(Instant(at));
            }
        };
        check_deltas(
            || Counts::tumbling(Duration::from_micros(10)),
            &[
                &add(1, "a"),
                &add(11, "a"),
                &add(1, "b"),
                &close(10),
                // Late: the window is there again.
                &add(1, "c"),
                &|windows| {
                    add(25, "d")(windows);
                    close(10)(windows);
                },
                &|windows| {
                    close(20)(windows);
                    close(30)(windows);
                },
            ],
        );
    }
}
