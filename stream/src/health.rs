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

/// Shared by every driver of a process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    partitions: Arc<Mutex<BTreeMap<(String, String), PartitionHealth>>>,
    failed: Arc<Mutex<BTreeMap<String, String>>>,
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
