//! How often a template was seen: in windows of event time, against what was usual before.
//!
//! The newest two windows are open, so that lines that come out of order around the edge still count. A window that is left is
//! averaged into the baseline: the mean of the first [`MEMORY`] windows, from then on a moving one, in which a window weighs
//! an eighth. Windows without a line count as zero. All in integers, so that the same lines give the same baseline anywhere.
//!
//! A window spikes when it holds at least `least` lines and at least `factor` times the baseline.

use serde::{Deserialize, Serialize};

/// Windows that the baseline remembers, about.
const MEMORY: i64 = 8;
/// The baseline counts in this part of a line.
const PART: i64 = 256;
/// Empty windows after which a baseline is as good as zero.
const FORGOTTEN: i64 = 128;

/// What makes a spike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spike {
    pub least: u64,
    pub factor: u64,
}

/// An open window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub count: u64,
    /// Its count when it was last told; 0: never.
    told: u64,
    spiked: bool,
}

/// Counts of one template. Windows are numbered: event time divided by their width.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u64,
    /// Number of the newest window.
    newest: i64,
    /// The newest, and the one before.
    open: [Window; 2],
    baseline: i64,
    /// Windows averaged.
    averaged: i64,
}

/// What is worth telling of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    pub window: i64,
    pub count: u64,
    /// Lines per window before, in hundredths.
    pub usual: u64,
    pub spike: bool,
}

/// What became of a line's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Quiet,
    News(News),
    /// Its window is closed: it counts in the total only.
    Late,
}

impl Counts {
    /// One line in `window`. `judge`: whether enough is known of the service to call anything a spike; `tell`: tell the line even if
    /// it is none.
    ///
    /// A window is told when it first spikes, and again whenever its count has grown tenfold since.
    pub fn add(&mut self, window: i64, judge: bool, tell: bool, spike: &Spike) -> Counted {
        if self.total == 0 {
            self.newest = window;
        }
        self.total += 1;
        self.advance(window);
        let (place, baseline) = match self.newest - window {
            0 => (0, self.with(self.open[1].count, self.averaged + 1)),
            1 => (1, self.baseline),
            _ => return Counted::Late,
        };
        // The window before the first one that held a line says nothing about what is usual.
        let baseline = if self.averaged == 0 && self.open[1].count == 0 {
            0
        } else {
            baseline
        };
        let open = &mut self.open[place];
        open.count += 1;
        let many = open.count >= spike.least
            && (open.count as i64).saturating_mul(PART) >= (spike.factor as i64).saturating_mul(baseline);
        let spikes = judge && many && !open.spiked;
        let grown = open.told > 0 && open.count >= open.told.saturating_mul(10);
        if !spikes && !grown && !tell {
            return Counted::Quiet;
        }
        open.spiked |= judge && many;
        open.told = open.count;
        Counted::News(News {
            window,
            count: open.count,
            usual: u64::try_from(baseline * 100 / PART).unwrap_or(0),
            spike: open.spiked,
        })
    }

    fn advance(&mut self, window: i64) {
        let steps = window.saturating_sub(self.newest);
        if steps <= 0 {
            return;
        }
        let [newest, before] = self.open;
        let leaving = |counts: &mut Counts, count: u64| {
            counts.baseline = counts.with(count, counts.averaged + 1);
            counts.averaged += 1;
        };
        // Before the first window nothing is known.
        if self.averaged > 0 || before.count > 0 {
            leaving(self, before.count);
        }
        if steps == 1 {
            self.open = [Window::default(), newest];
        } else {
            leaving(self, newest.count);
            for _ in 0..(steps - 2).min(FORGOTTEN) {
                leaving(self, 0);
            }
            self.open = [Window::default(); 2];
        }
        self.newest = window;
    }

    /// The baseline with one more window of `count` lines.
    fn with(&self, count: u64, averaged: i64) -> i64 {
        let count = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(PART);
        self.baseline + (count.saturating_sub(self.baseline)) / averaged.clamp(1, MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPIKE: Spike = Spike { least: 5, factor: 3 };

    /// Adds `count` lines to each window; the news as `window:count/usual`.
    fn told(windows: &[(i64, u64)]) -> Vec<String> {
        let mut counts = Counts::default();
        let mut told = Vec::new();
        for (window, count) in windows {
            for _ in 0..*count {
                if let Counted::News(news) = counts.add(*window, true, false, &SPIKE) {
                    told.push(format!("{}:{}/{}", news.window, news.count, news.usual));
                }
            }
        }
        told
    }

    #[test]
    fn spikes() {
        let check = |windows: &[(i64, u64)], expected: &[&str]| assert_eq!(told(windows), expected, "{windows:?}");
        check(&[(1, 4)], &[]);
        check(&[(1, 49)], &["1:5/0"]);
        check(&[(1, 50)], &["1:5/0", "1:50/0"]);
        // Four a window are usual: twelve are three times as many.
        check(&[(1, 4), (2, 4), (3, 11)], &[]);
        check(&[(1, 4), (2, 4), (3, 12)], &["3:12/400"]);
        // What was usual is forgotten in silence.
        check(&[(1, 4), (2, 4), (200, 5)], &["200:5/2"]);
        // Half of the windows were empty.
        check(&[(1, 4), (3, 4), (5, 6)], &["5:6/200"]);
    }

    #[test]
    fn around_the_edge_of_a_window_order_does_not_matter() {
        let check = |windows: &[i64]| {
            let mut counts = Counts::default();
            windows.iter().for_each(|window| {
                counts.add(*window, true, false, &SPIKE);
            });
            counts.add(9, true, false, &SPIKE);
            counts
        };
        assert_eq!(check(&[1, 2, 1, 2, 2]), check(&[1, 1, 2, 2, 2]));
        let mut counts = Counts::default();
        counts.add(9, true, false, &SPIKE);
        assert_eq!(counts.add(7, true, false, &SPIKE), Counted::Late);
        assert_eq!(counts.total, 2);
    }

    #[test]
    fn a_service_that_is_not_known_yet_has_no_spikes_and_what_is_new_is_told_anyway() {
        let mut counts = Counts::default();
        let news = counts.add(1, false, true, &SPIKE);
        assert!(
            matches!(
                news,
                Counted::News(News {
                    count: 1,
                    spike: false,
                    ..
                })
            ),
            "{news:?}"
        );
        for count in 2..10 {
            assert_eq!(counts.add(1, false, false, &SPIKE), Counted::Quiet, "{count}");
        }
        let news = counts.add(1, false, false, &SPIKE);
        assert!(
            matches!(
                news,
                Counted::News(News {
                    count: 10,
                    spike: false,
                    ..
                })
            ),
            "{news:?}"
        );
    }
}
