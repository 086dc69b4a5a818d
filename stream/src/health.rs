//! What the drivers tell about themselves: lag, last commit, watermark, per stage and partition. Readiness and the
//! pipeline map read it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::time::Instant;

/// State of one partition of one stage or sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionHealth {
    /// Next offset to read.
    pub position: u64,
    /// Records between position and the end of the log.
    pub lag: u64,
    /// Wall clock of the last commit, or of the last time there was nothing to commit.
    pub caught_up_at: Instant,
    pub watermark: Instant,
}

/// What a group member waits for, as of now: asked whenever somebody wants to know, because a driver that stands in a
/// commit cannot tell.
#[derive(Clone)]
pub struct Waits(Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl Waits {
    /// `ask` answers `None` while the member reads, or the group has no partition for it, which is no fault.
    pub fn new(ask: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Waits(Arc::new(ask))
    }

    /// A member that never waits.
    pub fn never() -> Self {
        Waits::new(|| None)
    }

    pub fn now(&self) -> Option<String> {
        (self.0)()
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waits").field(&self.now()).finish()
    }
}

/// Shared by every driver of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    partitions: Arc<Mutex<BTreeMap<(String, String), PartitionHealth>>>,
    failed: Arc<Mutex<BTreeMap<String, String>>>,
    degraded: Arc<Mutex<BTreeMap<String, String>>>,
    members: Arc<Mutex<BTreeMap<String, Waits>>>,
}

impl Health {
    pub fn report(&self, stage: &str, partition: String, health: PartitionHealth) {
        lock(&self.partitions).insert((stage.to_owned(), partition), health);
    }

    /// The partition is no longer this process's.
    pub fn forget(&self, stage: &str, partition: &str) {
        lock(&self.partitions).remove(&(stage.to_owned(), partition.to_owned()));
    }

    /// The stage is in trouble (retrying, or stopped); `None` when it is well again.
    pub fn trouble(&self, stage: &str, problem: Option<String>) {
        let mut failed = lock(&self.failed);
        match problem {
            Some(problem) => failed.insert(stage.to_owned(), problem),
            None => failed.remove(stage),
        };
    }

    /// Something works less well than it should (a system beside us is away), and the rest goes on as if nothing were; `None` when it is
    /// well again.
    pub fn degraded(&self, part: &str, problem: Option<String>) {
        let mut degraded = lock(&self.degraded);
        match problem {
            Some(problem) => degraded.insert(part.to_owned(), problem),
            None => degraded.remove(part),
        };
    }

    /// part → problem.
    pub fn degradations(&self) -> BTreeMap<String, String> {
        lock(&self.degraded).clone()
    }

    /// The stage has a group member, or is about to have one.
    pub fn watch(&self, stage: &str, waits: Waits) {
        lock(&self.members).insert(stage.to_owned(), waits);
    }

    /// stage → what its member waits for, `None` when for nothing. Every stage and sink that has started is here.
    pub fn waiting(&self) -> BTreeMap<String, Option<String>> {
        let members = lock(&self.members).clone();
        let mut waiting = BTreeMap::new();
        for (stage, waits) in members {
            let what = waits.now();
            let gauge = metrics::gauge!("aegis_member_waiting", "stage" => stage.clone());
            gauge.set(if what.is_some() { 1.0 } else { 0.0 });
            waiting.insert(stage, what);
        }
        waiting
    }

    /// (stage, partition) → health.
    pub fn partitions(&self) -> BTreeMap<(String, String), PartitionHealth> {
        lock(&self.partitions).clone()
    }

    /// stage → problem.
    pub fn troubles(&self) -> BTreeMap<String, String> {
        lock(&self.failed).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
