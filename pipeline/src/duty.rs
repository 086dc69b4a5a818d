//! Jobs that one of several instances does: whoever has the job's lock, and only behind the fence of the store.
//!
//! ```text
//!   fence(job) in the store ─► acquire(job, above it) ─► raise the fence to the token ─► mine, while the lease runs ─► renew …
//! ```
//!
//! The lock says whose turn it is, so that the work is done once. The fence is what makes it safe: a holder that stood still past its lease
//! finds a greater token in the row, and its transaction is refused (`sinks::sql::Fence`). Where Redis or the store is away nobody has a
//! duty, and the job waits. Without `[shared] redis_url` every instance does every job, as one alone must; the jobs can bear that.

use std::sync::Arc;
use std::time::Duration;

use shared::{Held, Locks, Shared, Token};
use sinks::sql::{Fence, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a holder that is gone keeps the others waiting. Shorter: a holder that is slow for a moment loses its turn.
const LEASE: Duration = Duration::from_secs(15);
/// Between two renewals, and between two attempts of those that wait.
const STEP: Duration = Duration::from_secs(5);
/// After a renewal that nobody answered.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether it is this instance's turn. Cheap to clone.
#[derive(Clone)]
pub struct Duty {
    /// `None`: nobody else could have it.
    shared: Option<(Store, watch::Receiver<Option<Held>>)>,
}

impl Duty {
    /// The duty of `job`, and what keeps it until `stop`, to be run beside.
    pub fn of(
        job: &str,
        shared: &Shared,
        store: &Store,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (standing, seen) = watch::channel(None);
        let keeper = Keeper {
            job: job.to_owned(),
            locks: shared.locks.clone(),
            store: store.clone(),
            standing,
        };
        let others = shared.spans_instances();
        let duty = Duty {
            shared: others.then(|| (store.clone(), seen)),
        };
        let keeping = async move {
            match others {
                true => keeper.keep(stop).await,
                false => stop.cancelled().await,
            }
        };
        (duty, keeping)
    }

    /// Waits for its turn; the fence to work behind.
    pub async fn mine(&self) -> Option<Fence> {
        let Some((_, standing)) = &self.shared else { return None };
        let mut standing = standing.clone();
        loop {
            let held = standing.wait_for(|held| held.as_ref().is_some_and(Held::good)).await;
            match held.ok().map(|held| held.clone()) {
                Some(Some(held)) => return Some(fence(&held)),
                Some(None) => {}
                // The keeper has ended: it is nobody's turn any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Whether it still is its turn as far as lock and store know: asked just before something that no transaction fences.
    pub async fn confirmed(&self) -> bool {
        let Some((store, standing)) = &self.shared else {
            return true;
        };
        let held = standing.borrow().clone();
        match held.filter(Held::good) {
            Some(held) => store.raise_fence(&fence(&held)).await.unwrap_or(false),
            None => false,
        }
    }
}

fn fence(held: &Held) -> Fence {
    Fence {
        name: held.name.clone(),
        token: held.token.0,
    }
}

struct Keeper {
    job: String,
    locks: Arc<dyn Locks>,
    store: Store,
    standing: watch::Sender<Option<Held>>,
}

impl Keeper {
    async fn keep(self, stop: CancellationToken) {
        let gauge = metrics::gauge!("aegis_duty_held", "job" => self.job.clone());
        loop {
            gauge.set(0.0);
            match self.take().await {
                Ok(Some(held)) => {
                    tracing::info!(job = self.job, token = held.token.0, "it is this instance's turn");
                    metrics::counter!("aegis_duty_taken_total", "job" => self.job.clone()).increment(1);
                    gauge.set(1.0);
                    self.standing.send_replace(Some(held.clone()));
                    let last = self.hold(held, &stop).await;
                    self.standing.send_replace(None);
                    if stop.is_cancelled() {
                        // The next need not wait for the lease; where Redis is away it does.
                        let _ = self.locks.release(&last).await;
                        gauge.set(0.0);
                        return;
                    }
                    tracing::info!(job = self.job, "it is no longer this instance's turn");
                }
                Ok(None) => {}
                Err(cause) => tracing::debug!(job = self.job, cause, "nobody knows whose turn it is"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(STEP) => {}
            }
        }
    }

    async fn take(&self) -> Result<Option<Held>, String> {
        let above = self.store.fence(&self.job).await.map_err(|e| e.to_string())?;
        let held = self.locks.acquire(&self.job, LEASE, Token(above)).await;
        let Some(held) = held.map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        match self.store.raise_fence(&fence(&held)).await {
            Ok(true) => Ok(Some(held)),
            raised => {
                let _ = self.locks.release(&held).await;
                raised.map(|_| None).map_err(|e| e.to_string())
            }
        }
    }

    /// Until it is lost, or `stop`; as it was held last.
    async fn hold(&self, mut held: Held, stop: &CancellationToken) -> Held {
        let mut pause = STEP;
        loop {
            tokio::select! {
                () = stop.cancelled() => return held,
                () = tokio::time::sleep(pause) => {}
            }
            match self.locks.renew(&held, LEASE).await {
                Ok(Some(renewed)) => {
                    held = renewed;
                    self.standing.send_replace(Some(held.clone()));
                    pause = STEP;
                }
                Ok(None) => return held,
                Err(_) if held.good() => pause = AGAIN,
                Err(_) => return held,
            }
        }
    }
}
