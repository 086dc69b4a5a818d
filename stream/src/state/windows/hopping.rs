//! Hopping windows: of one width, a new one every hop, so that an instant lies in several.
//!
//! ```text
//!   width 3, hop 1         at
//!   ──────────────[════════╪═)────────►     the windows of `at`: those that start in (at − width, at]
//!                   [══════╪═══)
//!                     [════╪═════)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{Key, StateCell, StateError};
use crate::time::{Instant, micros};

/// Per hopping window, a map from key to value. Costs `width / hop` entries for each key that is met.
#[derive(Clone, Debug)]
pub struct HoppingWindows<K, V> {
    width: Duration,
    hop: Duration,
    open: BTreeMap<Instant, HashMap<K, V>>,
}

/// In how many windows a row was taken, and how many of its windows were closed already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub open: usize,
    pub closed: usize,
}

impl Taken {
    /// Whether every window of the row is gone.
    pub fn late(&self) -> bool {
        self.open == 0 && self.closed > 0
    }
}

impl<K: Key, V> HoppingWindows<K, V> {
    /// Windows of `width` that start at every multiple of `hop` since the epoch. A hop longer than the width would leave
    /// instants without a window; it is taken as the width, which makes the windows tumbling ones.
    pub fn new(width: Duration, hop: Duration) -> Self {
        let width = width.max(Duration::from_micros(1));
        HoppingWindows {
            width,
            hop: hop.clamp(Duration::from_micros(1), width),
            open: BTreeMap::new(),
        }
    }

    /// The starts of the windows that hold `at`, oldest first.
    pub fn starts_of(&self, at: Instant) -> impl Iterator<Item = Instant> + use<K, V> {
        let (width, hop) = (micros(self.width), micros(self.hop));
        let newest = at.window_start(self.hop).0;
        let count = (width - at.0.saturating_sub(newest) - 1) / hop;
        (0..=count)
            .rev()
            .map(move |back| Instant(newest.saturating_sub(back.saturating_mul(hop))))
    }

    /// Shows `fold` the value of `key` in every window that holds `at` and is open at `watermark`; `first` makes it.
    pub fn fold(
        &mut self,
        at: Instant,
        watermark: Instant,
        key: &K,
        mut first: impl FnMut() -> V,
        mut fold: impl FnMut(&mut V),
    ) -> Taken {
        let mut taken = Taken::default();
        for start in self.starts_of(at) {
            if start.saturating_add(self.width) <= watermark {
                taken.closed += 1;
                continue;
            }
            taken.open += 1;
            let window = self.open.entry(start).or_default();
            match window.get_mut(key) {
                Some(value) => fold(value),
                None => fold(window.entry(key.clone()).or_insert_with(&mut first)),
            }
        }
        taken
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

impl<K: Key, V: Serialize + DeserializeOwned> StateCell for HoppingWindows<K, V> {
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

    fn hopping(width: u64, hop: u64) -> HoppingWindows<String, u32> {
        HoppingWindows::new(Duration::from_micros(width), Duration::from_micros(hop))
    }

    fn count(windows: &mut HoppingWindows<String, u32>, at: i64, watermark: i64, key: &str) -> Taken {
        windows.fold(Instant(at), Instant(watermark), &key.to_owned(), || 0, |n| *n += 1)
    }

    #[test]
    fn an_instant_lies_in_every_window_that_covers_it() {
        let check = |width, hop, at, starts: &[i64]| {
            let found: Vec<i64> = hopping(width, hop)
                .starts_of(Instant(at))
                .map(|start| start.0)
                .collect();
            assert_eq!(found, starts, "width {width}, hop {hop}, at {at}");
        };
        check(30, 10, 25, &[0, 10, 20]);
        check(30, 10, 30, &[10, 20, 30]);
        check(30, 10, 29, &[0, 10, 20]);
        check(30, 10, -1, &[-30, -20, -10]);
        // A width that is no multiple of the hop.
        check(25, 10, 24, &[0, 10, 20]);
        check(25, 10, 25, &[10, 20]);
        // Tumbling.
        check(10, 10, 25, &[20]);
        check(10, 99, 25, &[20]);
    }

    #[test]
    fn windows_close_by_the_watermark_alone_in_key_order() {
        let mut windows = hopping(20, 10);
        for (at, key) in [(15, "b"), (12, "a"), (25, "a")] {
            assert_eq!(count(&mut windows, at, 0, key), Taken { open: 2, closed: 0 });
        }
        assert_eq!((windows.earliest(), windows.entries()), (Some(Instant(0)), 5));
        // Stopped in the middle.
        assert_eq!(windows.pop_closed(Instant(19)), None);
        let mut windows = reloaded(&windows, hopping(20, 10));
        let entry = |key: &str, n| (key.to_owned(), n);
        assert_eq!(
            windows.pop_closed(Instant(30)),
            Some((Instant(0), vec![entry("a", 1), entry("b", 1)]))
        );
        assert_eq!(
            windows.pop_closed(Instant(30)),
            Some((Instant(10), vec![entry("a", 2), entry("b", 1)]))
        );
        assert_eq!(windows.pop_closed(Instant(30)), None);
        assert_eq!(
            windows.pop_closed(Instant(40)),
            Some((Instant(20), vec![entry("a", 1)]))
        );
        assert_eq!((windows.earliest(), windows.entries()), (None, 0));
    }

    #[test]
    fn a_row_behind_the_watermark_is_in_what_is_still_open() {
        let mut windows = hopping(20, 10);
        assert_eq!(count(&mut windows, 15, 20, "k"), Taken { open: 1, closed: 1 });
        let gone = count(&mut windows, 15, 30, "k");
        assert_eq!((gone, gone.late()), (Taken { open: 0, closed: 2 }, true));
    }

    #[test]
    fn any_time_that_fits() {
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let mut windows = hopping(30, 10);
            count(&mut windows, at, i64::MIN, "k");
            while windows.pop_closed(Instant::MAX).is_some() {}
            assert_eq!(windows.entries(), 0, "{at}");
        }
    }
}
