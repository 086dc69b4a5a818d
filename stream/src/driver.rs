//! The thin drivers: they carry out a task's effects on a real log, and feed sinks.
//!
//! One driver per stage and process: one member of the stage's consumer group, one task per assigned partition. All
//! partitions of a stage commit together, in one transaction, when the input is drained or after
//! the wait that the module `pace` sets.

mod asking;
mod carry;
mod ends;
mod pace;
mod saving;
mod sink;
mod snapshots;
mod stage;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use carry::{CarryFrom, carry};
pub use sink::{IDENTITY_HEADER, SinkDriverError, run_sink};
pub use snapshots::{RestoreCheck, Standing, check_restore};
pub use stage::{Stage, StageError, run_stage};

use crate::health::{Health, Waits};
use crate::log::{Bounds, Log, LogError, Member, Offset, TopicPartition};
use crate::snapshot::SnapshotStore;
use crate::time::Clock;

/// Longest wait for input, and longest time an output waits for its commit while input keeps coming (module `pace`). Higher: fewer,
/// larger transactions and more latency on a log that answers slowly; lower: transaction overhead dominates there.
pub const LINGER: Duration = Duration::from_millis(100);

/// Outputs of all partitions of a stage that force a commit. Bounds the heap and the size of a transaction.
pub const MAX_PENDING_BYTES: usize = 8 << 20;

/// How often the wall clock is told to the ingress tasks, and health is reported.
pub const TICK: Duration = Duration::from_millis(500);

/// What every driver of a process shares.
#[derive(Clone)]
pub struct Runtime {
    pub log: Arc<dyn Log>,
    pub snapshots: Arc<dyn SnapshotStore>,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    /// How often a task's state is saved.
    pub snapshot_every: Duration,
}

impl Runtime {
    /// Waits before try number `attempt` (from 0), or until stopped.
    async fn pause(&self, attempt: u32, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.clock.sleep(backoff(attempt)) => {}
        }
    }

    /// Asks the log until it answers: `Unavailable` says that nothing happened, so asking again is safe. When stopped,
    /// the refusal is the answer.
    async fn patiently<'a, T>(
        &self,
        stage: &str,
        stop: &CancellationToken,
        ask: impl Fn() -> BoxFuture<'a, Result<T, LogError>>,
    ) -> Result<T, LogError> {
        let mut attempt = 0;
        loop {
            match ask().await {
                Err(error @ LogError::Unavailable { .. }) if !stop.is_cancelled() => {
                    tracing::warn!(stage, %error, attempt, "log unavailable, trying again");
                    self.health.trouble(stage, Some(error.to_string()));
                    self.pause(attempt, stop).await;
                    attempt += 1;
                }
                answer => {
                    if attempt > 0 && answer.is_ok() {
                        self.health.trouble(stage, None);
                    }
                    return answer;
                }
            }
        }
    }
}

/// How long a driver runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until stopped; the wall clock ticks.
    Live,
    /// Until the input is drained; time comes from the input alone. With `past`, event time ends this far past the newest
    /// event, so that what waits for it (windows, parked resolves) is settled.
    ToEnd { past: Option<Duration> },
}

/// Records between `position` and the end.
fn lag(member: &dyn Member, partition: &TopicPartition, position: Offset, bounds: Bounds) -> u64 {
    if member.at_end(partition) {
        return 0;
    }
    bounds.end.0.saturating_sub(position.0)
}

/// Sets where an assigned partition is read from. False when the member cannot say any more: restoring its state took so long
/// that the group gave it to somebody else, or the thread that reads does not answer. Whoever is told so joins anew, as then
/// nothing is certain about any of its partitions.
async fn sought(member: &mut dyn Member, partition: &TopicPartition, to: Offset) -> Result<bool, LogError> {
    match member.seek(partition, to).await {
        Ok(()) => Ok(true),
        Err(error @ LogError::Unavailable { .. }) => {
            tracing::warn!(%partition, %error, "an assigned partition cannot be read: joining as a new member");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Before the log has answered.
fn joining() -> Waits {
    Waits::new(|| Some("joins its group".to_owned()))
}

/// Pause before try number `attempt` (from 0) of something that is away: 100 ms doubling to 5 s.
fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(100u64.saturating_mul(1 << attempt.min(10))).min(Duration::from_secs(5))
}
