//! Is the pipeline keeping up? Fed by the pipeline, asked by `/readyz`.
//!
//! A partition fails when its lag passes a bound, when it has work and does not commit, or when nobody has reported on it
//! for too long. A stage fails until its first report, and when it stopped. Time is an argument, monotonic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// When a partition counts as failing.
#[derive(Clone, Copy, Debug)]
pub struct ReadinessBounds {
    /// Records that a partition may be behind.
    pub max_lag: u64,
    /// How long a partition with work may go without a commit.
    pub max_commit_age: Duration,
    /// How long a partition may go without a report.
    pub max_report_age: Duration,
}

impl Default for ReadinessBounds {
    fn default() -> Self {
        ReadinessBounds {
            max_lag: 100_000,
            max_commit_age: Duration::from_secs(30),
            max_report_age: Duration::from_secs(60),
        }
    }
}

/// The handle. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Readiness {
    bounds: ReadinessBounds,
    stages: Arc<Mutex<BTreeMap<String, Stage>>>,
    degraded: Arc<Mutex<BTreeMap<String, String>>>,
}

#[derive(Default)]
struct Stage {
    /// It has reported, or said that it owns nothing.
    heard: bool,
    stopped: Option<String>,
    waiting: Option<String>,
    partitions: BTreeMap<u32, Partition>,
}

struct Partition {
    lag: u64,
    reported_at: Instant,
    /// Since when there has been work without a commit.
    waiting_since: Option<Instant>,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    /// Partitions reported on.
    pub partitions: usize,
    pub failing: Vec<Failing>,
    /// What works less well than it should, by name; it makes nobody unready.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub degraded: BTreeMap<String, String>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failing {
    pub stage: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// `starting`, `stopped`, `waiting`, `lag`, `commit_age` or `silent`.
    pub reason: &'static str,
    pub detail: String,
}

impl Readiness {
    pub fn new(bounds: ReadinessBounds) -> Self {
        Readiness {
            bounds,
            ..Readiness::default()
        }
    }

    /// `stage` belongs to this process: not ready before it has been heard.
    pub fn expect(&self, stage: &str) {
        self.stages().entry(stage.to_owned()).or_default();
    }

    /// `stage` runs. Needed when it owns no partition here, which is no fault.
    pub fn running(&self, stage: &str) {
        let mut stages = self.stages();
        let stage = stages.entry(stage.to_owned()).or_default();
        (stage.heard, stage.stopped, stage.waiting) = (true, None, None);
    }

    /// `stage` has no partition to read and waits for `what`.
    pub fn waiting(&self, stage: &str, what: impl Into<String>) {
        let mut stages = self.stages();
        let stage = stages.entry(stage.to_owned()).or_default();
        (stage.heard, stage.waiting) = (true, Some(what.into()));
    }

    /// How many records `partition` of `stage` is behind. To be told at least every few seconds, also when nothing changes.
    pub fn lag(&self, stage: &str, partition: u32, lag: u64, now: Instant) {
        let mut stages = self.stages();
        let stage = stages.entry(stage.to_owned()).or_default();
        (stage.heard, stage.stopped) = (true, None);
        let known = stage.partitions.entry(partition);
        let partition = known.or_insert(Partition {
            lag,
            reported_at: now,
            waiting_since: None,
        });
        (partition.lag, partition.reported_at) = (lag, now);
        partition.waiting_since = if lag == 0 {
            None
        } else {
            partition.waiting_since.or(Some(now))
        };
    }

    /// `partition` of `stage` has committed.
    pub fn committed(&self, stage: &str, partition: u32, now: Instant) {
        let mut stages = self.stages();
        let partition = stages
            .get_mut(stage)
            .and_then(|stage| stage.partitions.get_mut(&partition));
        if let Some(partition) = partition {
            partition.waiting_since = partition.waiting_since.map(|_| now);
        }
    }

    /// `partition` of `stage` belongs to another process now.
    pub fn revoked(&self, stage: &str, partition: u32) {
        if let Some(stage) = self.stages().get_mut(stage) {
            stage.partitions.remove(&partition);
        }
    }

    /// `stage` ended; `why` is shown.
    pub fn stopped(&self, stage: &str, why: impl Into<String>) {
        let mut stages = self.stages();
        let stage = stages.entry(stage.to_owned()).or_default();
        stage.stopped = Some(why.into());
        stage.partitions.clear();
    }

    /// All that works less well than it should, and how: systems beside us that are away.
    pub fn degraded(&self, parts: BTreeMap<String, String>) {
        *self.degraded.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    }

    /// Everything that fails, by stage and partition. Nobody expected and nobody heard is not ready either.
    pub fn check(&self, now: Instant) -> Report {
        let stages = self.stages();
        let mut failing = Vec::new();
        if stages.is_empty() {
            failing.push(Failing::of("pipeline", None, "starting", "no stage has started yet"));
        }
        for (name, stage) in stages.iter() {
            if let Some(why) = &stage.stopped {
                failing.push(Failing::of(name, None, "stopped", why));
            } else if !stage.heard {
                failing.push(Failing::of(name, None, "starting", "nothing reported yet"));
            }
            if let Some(what) = &stage.waiting {
                failing.push(Failing::of(name, None, "waiting", what));
            }
            for (number, partition) in &stage.partitions {
                let faults = partition.faults(&self.bounds, now);
                failing.extend(
                    faults
                        .into_iter()
                        .map(|(reason, detail)| Failing::of(name, Some(*number), reason, detail)),
                );
            }
        }
        let partitions = stages.values().map(|stage| stage.partitions.len()).sum();
        Report {
            ready: failing.is_empty(),
            partitions,
            failing,
            degraded: self.degraded.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn stages(&self) -> MutexGuard<'_, BTreeMap<String, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition {
    fn faults(&self, bounds: &ReadinessBounds, now: Instant) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let silent = now.saturating_duration_since(self.reported_at);
        if silent > bounds.max_report_age {
            faults.push((
                "silent",
                format!(
                    "no report for {} s, the bound is {} s",
                    silent.as_secs(),
                    bounds.max_report_age.as_secs()
                ),
            ));
        }
        if self.lag > bounds.max_lag {
            faults.push((
                "lag",
                format!("{} records behind, the bound is {}", self.lag, bounds.max_lag),
            ));
        }
        let waiting = self
            .waiting_since
            .map(|since| now.saturating_duration_since(since))
            .unwrap_or_default();
        if waiting > bounds.max_commit_age {
            let (lag, age, bound) = (self.lag, waiting.as_secs(), bounds.max_commit_age.as_secs());
            faults.push((
                "commit_age",
                format!("{lag} records waiting and no commit for {age} s, the bound is {bound} s"),
            ));
        }
        faults
    }
}

impl Failing {
    fn of(stage: &str, partition: Option<u32>, reason: &'static str, detail: impl Into<String>) -> Self {
        Failing {
            stage: stage.to_owned(),
            partition,
            reason,
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `feed` with a clock that counts seconds from the start, then checks at second `at`.
    #[track_caller]
    fn check(feed: impl FnOnce(&Readiness, &dyn Fn(u64) -> Instant), at: u64, expected: &[(&str, Option<u32>, &str)]) {
        let start = Instant::now();
        let second = |seconds| start + Duration::from_secs(seconds);
        let readiness = Readiness::new(ReadinessBounds {
            max_lag: 100,
            max_commit_age: Duration::from_secs(10),
            max_report_age: Duration::from_secs(60),
        });
        feed(&readiness, &second);
        let report = readiness.check(second(at));
        let found: Vec<_> = report
            .failing
            .iter()
            .map(|f| (f.stage.as_str(), f.partition, f.reason))
            .collect();
        assert_eq!(
            (found.as_slice(), report.ready),
            (expected, expected.is_empty()),
            "{report:?}"
        );
    }

    #[test]
    fn stages() {
        check(|_, _| (), 0, &[("pipeline", None, "starting")]);
        check(|r, _| r.expect("dedupe"), 0, &[("dedupe", None, "starting")]);
        check(|r, _| r.running("dedupe"), 1000, &[]);
        check(|r, s| (r.expect("dedupe"), r.lag("dedupe", 0, 0, s(0))).1, 0, &[]);
        check(
            |r, s| (r.lag("dedupe", 0, 5, s(0)), r.stopped("dedupe", "disk full")).1,
            99,
            &[("dedupe", None, "stopped")],
        );
        check(|r, _| (r.stopped("dedupe", "fenced"), r.running("dedupe")).1, 0, &[]);
        check(
            |r, _| r.waiting("dedupe", "its positions"),
            0,
            &[("dedupe", None, "waiting")],
        );
        check(
            |r, _| (r.waiting("dedupe", "partitions"), r.running("dedupe")).1,
            0,
            &[],
        );
    }

    #[test]
    fn what_is_degraded_is_ready_and_said() {
        let readiness = Readiness::default();
        readiness.running("dedupe");
        let parts = BTreeMap::from([("kubernetes pods".to_owned(), "away".to_owned())]);
        readiness.degraded(parts.clone());
        let report = readiness.check(Instant::now());
        assert_eq!((report.ready, report.degraded), (true, parts));
        readiness.degraded(BTreeMap::new());
        assert!(readiness.check(Instant::now()).degraded.is_empty());
    }

    #[test]
    fn partitions() {
        check(|r, s| r.lag("a", 3, 101, s(0)), 0, &[("a", Some(3), "lag")]);
        check(|r, s| r.lag("a", 3, 0, s(0)), 61, &[("a", Some(3), "silent")]);
        check(|r, s| (r.lag("a", 3, 0, s(0)), r.revoked("a", 3)).1, 61, &[]);
        check(
            |r, s| (0..20).for_each(|t| r.lag("a", 0, 1, s(t))),
            20,
            &[("a", Some(0), "commit_age")],
        );
        check(
            |r, s| (0..20).for_each(|t| (r.lag("a", 0, 1, s(t)), r.committed("a", 0, s(t))).1),
            20,
            &[],
        );
        // Idle for an hour, then work: the age counts from the work, not from the last commit.
        check(
            |r, s| {
                [(0, 1), (1, 0), (3600, 1)]
                    .iter()
                    .for_each(|&(t, lag)| r.lag("a", 0, lag, s(t)))
            },
            3605,
            &[],
        );
        check(
            |r, s| (r.lag("a", 0, 200, s(0)), r.lag("b", 1, 0, s(0))).1,
            61,
            &[
                ("a", Some(0), "silent"),
                ("a", Some(0), "lag"),
                ("a", Some(0), "commit_age"),
                ("b", Some(1), "silent"),
            ],
        );
    }
}
