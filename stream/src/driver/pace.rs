//! How long an output waits for its commit while input keeps coming.
//!
//! A commit costs about the same for one record and for a thousand. So whoever keeps up with its input commits often, and the
//! wait follows what the last commit took: on a log or in a store that answers fast a record is not held up, on a slow one
//! commits stay a bounded share of the time. Whoever is behind commits seldom: its records have waited already.

use std::time::Duration;

use super::LINGER;

/// The wait in durations of the last commit: commits take at most half of the time of who keeps up. Higher: fewer, larger
/// transactions; lower: less latency.
const TIMES: u32 = 1;

/// The shortest wait. Lower: a log that answers at once would be given each handful of records apart.
const SHORTEST: Duration = Duration::from_millis(10);

/// The wait of one stage or sink. It starts with the longest one, [`LINGER`], as nothing has been measured.
#[derive(Debug)]
pub(super) struct Pace {
    wait: Duration,
    /// Monotonic: since when the oldest output waits.
    since: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            wait: LINGER,
            since: None,
        }
    }
}

impl Pace {
    /// An output waits from `now` (monotonic) on, unless an older one does.
    pub fn waits(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// Nothing waits any more.
    pub fn rest(&mut self) {
        self.since = None;
    }

    /// A commit was answered after `took`.
    pub fn took(&mut self, took: Duration) {
        self.wait = took.saturating_mul(TIMES).clamp(SHORTEST, LINGER);
    }

    /// How long more input may be waited for. Zero: only what is there already is taken before the commit.
    pub fn left(&self, now: Duration) -> Duration {
        self.since
            .map_or(LINGER, |since| (since + self.wait).saturating_sub(now))
    }

    /// Whether it is time to commit. `behind`: there was input at once when it was last asked for.
    pub fn due(&self, now: Duration, behind: bool) -> bool {
        let longest = if behind { LINGER } else { self.wait };
        self.since.is_some_and(|since| since + longest <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_wait_follows_what_the_last_commit_took_within_its_bounds() {
        let mut pace = Pace::default();
        pace.waits(ms(0));
        assert_eq!(pace.left(ms(0)), LINGER, "nothing measured");
        for (took, wait) in [(60, 60), (1, 10), (5_000, 100)] {
            pace.took(ms(took));
            assert_eq!(pace.left(ms(0)), ms(wait), "after {took} ms");
        }
    }

    #[test]
    fn who_is_behind_its_input_commits_as_seldom_as_allowed() {
        let mut pace = Pace::default();
        pace.took(ms(30));
        assert!(!pace.due(ms(0), false), "nothing waits");
        pace.waits(ms(0));
        assert_eq!((pace.due(ms(29), false), pace.due(ms(30), false)), (false, true));
        assert_eq!((pace.due(ms(99), true), pace.due(ms(100), true)), (false, true));
    }

    #[test]
    fn the_oldest_output_decides_when_a_commit_is_due() {
        let mut pace = Pace::default();
        pace.took(ms(30));
        assert_eq!(pace.left(ms(500)), LINGER, "nothing waits");
        pace.waits(ms(500));
        pace.waits(ms(520));
        assert_eq!(pace.left(ms(525)), ms(5));
        assert_eq!(pace.left(ms(530)), ms(0));
        pace.rest();
        assert_eq!(pace.left(ms(900)), LINGER);
    }
}
