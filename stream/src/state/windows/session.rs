//! Session windows: what follows each other closely belongs together, and silence ends it.
//!
//! ```text
//!   gap 5        first    last
//!   ───x─────────[x──x────x]────┊──────────►   closed when the watermark reaches last + gap
//!      └─ ≥ gap ─┘ └ < gap ┘    last + gap
//! ```
//!
//! Two instants of a key are of one session when less than the gap lies between them, or others bridge it. A row between two
//! sessions may make them one: their values are merged. The outcome does not depend on the order of rows if merging does not:
//! `merge` must be commutative and associative.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{Key, StateCell, StateError};
use crate::time::Instant;

/// Sessions of a key: first instant to last instant and value. They lie apart by the gap or more.
type Sessions<V> = BTreeMap<Instant, (Instant, V)>;

/// The open sessions of every key.
#[derive(Clone, Debug)]
pub struct SessionWindows<K, V> {
    gap: Duration,
    open: HashMap<K, Sessions<V>>,
    /// Last instant, key, first instant: who closes next.
    due: BTreeSet<(Instant, K, Instant)>,
    /// First instants, with how many sessions start there.
    starts: BTreeMap<Instant, usize>,
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session<K, V> {
    pub key: K,
    pub first: Instant,
    pub last: Instant,
    pub value: V,
}

/// Where a row went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It begins a session.
    Opened,
    /// It belongs to one session that was there.
    Joined,
    /// It bridges this many sessions, which are one now.
    Merged(usize),
    /// Its session would be over already, and no open one is in reach: nothing was taken.
    Late,
}

impl<K: Key, V> SessionWindows<K, V> {
    /// `gap`: the silence that ends a session.
    pub fn new(gap: Duration) -> Self {
        SessionWindows {
            gap: gap.max(Duration::from_micros(1)),
            open: HashMap::new(),
            due: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    /// Adds a row of `key` at `at`. `merge` brings two values together; the first is of the earlier session, and a session's
    /// before the row's.
    ///
    /// A row behind the watermark may open a session beside one that is closed and that it would have been part of: whoever
    /// gives sessions out counts it as an amendment.
    pub fn add(
        &mut self,
        at: Instant,
        watermark: Instant,
        key: &K,
        value: V,
        mut merge: impl FnMut(&mut V, V),
    ) -> Placed {
        let reached: Vec<(Instant, Instant)> = self.reached(at, key);
        if reached.is_empty() && at.saturating_add(self.gap) <= watermark {
            return Placed::Late;
        }
        let (mut first, mut last) = (at, at);
        let mut merged: Option<V> = None;
        for (start, end) in &reached {
            (first, last) = (first.min(*start), last.max(*end));
            if let Some(session) = self.take(key, *start, *end) {
                match &mut merged {
                    None => merged = Some(session),
                    Some(earlier) => merge(earlier, session),
                }
            }
        }
        let value = match merged {
            None => value,
            Some(mut sessions) => {
                merge(&mut sessions, value);
                sessions
            }
        };
        self.put(key.clone(), first, last, value);
        match reached.len() {
            0 => Placed::Opened,
            1 => Placed::Joined,
            more => Placed::Merged(more),
        }
    }

    /// Start of the oldest open session.
    pub fn earliest(&self) -> Option<Instant> {
        self.starts.first_key_value().map(|(first, _)| *first)
    }

    /// Removes the session that ended longest ago, if it ended `gap` or more before `watermark`; then by key.
    pub fn pop_closed(&mut self, watermark: Instant) -> Option<Session<K, V>> {
        let (last, _, _) = self.due.first()?;
        if last.saturating_add(self.gap) > watermark {
            return None;
        }
        let (last, key, first) = self.due.pop_first()?;
        let value = self.take(&key, first, last)?;
        Some(Session {
            key,
            first,
            last,
            value,
        })
    }

    /// First and last instants of the open sessions of `key` that a row at `at` belongs to, oldest first. One before, one
    /// after, or one around it: sessions lie apart by the gap, so there are two at most.
    fn reached(&self, at: Instant, key: &K) -> Vec<(Instant, Instant)> {
        let Some(sessions) = self.open.get(key) else {
            return Vec::new();
        };
        let near = |from: Instant, to: Instant| to.since(from) < self.gap;
        let before = sessions
            .range(..=at)
            .next_back()
            .filter(|(_, (last, _))| near(*last, at));
        let after = sessions
            .range((std::ops::Bound::Excluded(at), std::ops::Bound::Unbounded))
            .next()
            .filter(|(first, _)| near(at, **first));
        before
            .into_iter()
            .chain(after)
            .map(|(first, (last, _))| (*first, *last))
            .collect()
    }

    fn put(&mut self, key: K, first: Instant, last: Instant, value: V) {
        self.due.insert((last, key.clone(), first));
        *self.starts.entry(first).or_default() += 1;
        self.open.entry(key).or_default().insert(first, (last, value));
    }

    fn take(&mut self, key: &K, first: Instant, last: Instant) -> Option<V> {
        self.due.remove(&(last, key.clone(), first));
        if let Some(count) = self.starts.get_mut(&first) {
            *count -= 1;
            if *count == 0 {
                self.starts.remove(&first);
            }
        }
        let sessions = self.open.get_mut(key)?;
        let (_, value) = sessions.remove(&first)?;
        if sessions.is_empty() {
            self.open.remove(key);
        }
        Some(value)
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> StateCell for SessionWindows<K, V> {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        let mut all: Vec<(&K, &Sessions<V>)> = self.open.iter().collect();
        all.sort_unstable_by(|a, b| a.0.cmp(b.0));
        Ok(postcard::to_stdvec(&all)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let all: Vec<(K, Sessions<V>)> = postcard::from_bytes(bytes)?;
        *self = SessionWindows::new(self.gap);
        for (key, sessions) in all {
            for (first, (last, value)) in sessions {
                self.put(key.clone(), first, last, value);
            }
        }
        Ok(())
    }

    fn entries(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::reloaded;

    type Tested = SessionWindows<String, Vec<i64>>;

    fn sessions() -> Tested {
        SessionWindows::new(Duration::from_micros(10))
    }

    fn add(windows: &mut Tested, key: &str, at: i64, watermark: i64) -> Placed {
        windows.add(
            Instant(at),
            Instant(watermark),
            &key.to_owned(),
            vec![at],
            |all, more| all.extend(more),
        )
    }

    /// Sessions closed by `watermark`: key, first, last, instants in order.
    fn closed(windows: &mut Tested, watermark: i64) -> Vec<(String, i64, i64, Vec<i64>)> {
        std::iter::from_fn(|| windows.pop_closed(Instant(watermark)))
            .map(|mut session| {
                session.value.sort_unstable();
                (session.key, session.first.0, session.last.0, session.value)
            })
            .collect()
    }

    #[test]
    fn silence_ends_a_session_without_a_later_row() {
        let mut windows = sessions();
        assert_eq!(add(&mut windows, "b", 100, 0), Placed::Opened);
        assert_eq!(add(&mut windows, "b", 109, 0), Placed::Joined);
        assert_eq!(add(&mut windows, "a", 100, 0), Placed::Opened);
        assert_eq!(add(&mut windows, "a", 109, 0), Placed::Joined);
        // The gap lies between: another session.
        assert_eq!(add(&mut windows, "b", 119, 0), Placed::Opened);
        assert_eq!((windows.earliest(), windows.entries()), (Some(Instant(100)), 3));
        assert_eq!(closed(&mut windows, 118), []);
        let over = |key: &str, all: &[i64]| (key.to_owned(), all[0], all[all.len() - 1], all.to_vec());
        assert_eq!(
            closed(&mut windows, 119),
            [over("a", &[100, 109]), over("b", &[100, 109])]
        );
        assert_eq!(windows.earliest(), Some(Instant(119)));
        assert_eq!(closed(&mut windows, i64::MAX), [over("b", &[119])]);
        assert_eq!((windows.earliest(), windows.entries()), (None, 0));
    }

    #[test]
    fn a_row_between_two_sessions_makes_them_one() {
        let mut windows = sessions();
        add(&mut windows, "k", 100, 0);
        add(&mut windows, "k", 118, 0);
        assert_eq!(windows.entries(), 2);
        // Stopped in the middle.
        let mut windows = reloaded(&windows, sessions());
        assert_eq!(add(&mut windows, "k", 109, 0), Placed::Merged(2));
        assert_eq!((windows.entries(), windows.earliest()), (1, Some(Instant(100))));
        assert_eq!(closed(&mut windows, 127), []);
        assert_eq!(
            closed(&mut windows, 128),
            [("k".to_owned(), 100, 118, vec![100, 109, 118])]
        );
    }

    #[test]
    fn a_row_inside_a_session_leaves_its_ends() {
        let mut windows = sessions();
        for at in [100, 105, 102] {
            add(&mut windows, "k", at, 0);
        }
        assert_eq!(
            closed(&mut windows, 115),
            [("k".to_owned(), 100, 105, vec![100, 102, 105])]
        );
    }

    #[test]
    fn late_rows() {
        let mut windows = sessions();
        add(&mut windows, "k", 100, 0);
        assert_eq!(closed(&mut windows, 110).len(), 1);
        assert_eq!(add(&mut windows, "k", 100, 110), Placed::Late);
        assert_eq!(windows.entries(), 0);
        // Not over yet: beside the one that is closed.
        assert_eq!(add(&mut windows, "k", 101, 110), Placed::Opened);
        // Its own time is over, but it reaches an open one.
        assert_eq!(add(&mut windows, "k", 95, 110), Placed::Joined);
        assert_eq!(closed(&mut windows, 111), [("k".to_owned(), 95, 101, vec![95, 101])]);
    }

    /// Every order of arrival, stopped and restored at every step.
    #[test]
    fn order_does_not_matter() {
        let at = [0, 9, 18, 40, 49, 70];
        let expected = [(0, 18), (40, 49), (70, 70)];
        let mut order: Vec<usize> = (0..at.len()).collect();
        let mut tried = 0;
        permute(&mut order, 0, &mut |order| {
            let mut windows = sessions();
            for index in order {
                add(&mut windows, "k", at[*index], -100);
                windows = reloaded(&windows, sessions());
            }
            let found: Vec<_> = closed(&mut windows, 80)
                .into_iter()
                .map(|(_, first, last, _)| (first, last))
                .collect();
            assert_eq!(found, expected, "{order:?}");
            tried += 1;
        });
        assert_eq!(tried, 720);
    }

    fn permute(items: &mut [usize], from: usize, each: &mut impl FnMut(&[usize])) {
        if from == items.len() {
            return each(items);
        }
        for i in from..items.len() {
            items.swap(from, i);
            permute(items, from + 1, each);
            items.swap(from, i);
        }
    }

    #[test]
    fn any_time_that_fits() {
        let mut windows = sessions();
        for at in [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1, i64::MAX] {
            add(&mut windows, "k", at, i64::MIN);
        }
        assert_eq!(windows.entries(), 3);
        assert_eq!(closed(&mut windows, i64::MAX).len(), 3);
    }
}
