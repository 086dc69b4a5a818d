//! The watch of a Kubernetes cluster: Events, pods, Deployments, ReplicaSets, StatefulSets and DaemonSets become records on `events.raw`.
//!
//! ```text
//!  list ──► watch from its resourceVersion ──► objects ──► memory: what is new about it? ──► desk: append, durable
//!   ▲         │ ended: watch on from the last version          ▲
//!   └─────────┴ 410 Gone: list again                           └ recollection: what the store says is still open
//! ```
//!
//! Guarantees
//! * A record is durable before its object counts as seen; what is seen twice (a relist, a restart, several instances) gives records
//!   with one delivery key, and signals with one id.
//! * What began is ended: also when the object went away while nobody watched ([`Recollection`]).
//! * Nothing here stops anything else. An API server that is away, hangs, refuses, or answers rubbish is asked again, each time later,
//!   at most `max_backoff_s`; what is wrong is said by [`stream::health::Health::degraded`], and is told in metrics.
//! * Nothing is asked but `list` and `watch` of what [`RULES`] names.
//!
//! Values of environment variables and the annotation with the last applied configuration are taken out before anything is stored.
//! Healthy pods are not stored: of pods and ReplicaSets only what is wrong is news, and that it is over; of StatefulSets and DaemonSets
//! their rollouts alone, as they have no conditions that would say what is wrong.
//!
//! Not here: Jobs, Nodes (their Events are), and anything that changes the cluster.

mod api;
mod backoff;
mod desk;
mod kind;
mod lines;
mod memory;
mod object;
mod settings;
mod standing;
mod watch;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use stream::health::Health;
use stream::time::{Clock, WallClock};
use stream::{Ingress, Source};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use desk::Desk;
use kind::Kind;
use watch::Watcher;

pub use api::Failure;
pub use kind::{RULES, Rule};
pub use settings::KubernetesWatchSettings;
pub use wire::{WatchReader, Word};

/// Name in metrics, health and records.
pub const NAME: &str = "kubernetes";

/// A trouble that was told and whose end was not, as far as the tables know: a firing member of an open incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillOpen {
    /// Its dedup key: see [`model::kubernetes::TroubleKey`].
    pub key: String,
    /// Microseconds since the epoch.
    pub since: i64,
    pub namespace: Option<String>,
    /// JSON object of strings: those of the signal.
    pub labels: String,
}

/// Remembers across restarts. Asked at the start and once a minute; it may lag behind the log, and it may be away.
#[async_trait]
pub trait Recollection: Send + Sync + 'static {
    /// Every open trouble of `cluster`.
    async fn open(&self, cluster: &str) -> Result<Vec<StillOpen>, String>;
}

/// The watch as a source, not yet connected.
pub struct KubernetesSource {
    settings: KubernetesWatchSettings,
    recollection: Arc<dyn Recollection>,
    health: Health,
    clock: Arc<dyn Clock>,
}

impl KubernetesSource {
    pub fn new(settings: KubernetesWatchSettings, recollection: Arc<dyn Recollection>, health: Health) -> Self {
        KubernetesSource {
            settings,
            recollection,
            health,
            clock: Arc::new(WallClock),
        }
    }

    /// Reads times from `clock`.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        KubernetesSource { clock, ..self }
    }
}

#[async_trait]
impl Source for KubernetesSource {
    fn name(&self) -> &str {
        NAME
    }

    async fn run(self: Box<Self>, ingress: Ingress, stop: CancellationToken) -> Result<(), String> {
        let mut watchers = JoinSet::new();
        for namespace in self.settings.scopes() {
            for kind in Kind::ALL {
                let watcher = Watcher {
                    kind,
                    namespace: namespace.clone(),
                    settings: self.settings.clone(),
                    recollection: self.recollection.clone(),
                    health: self.health.clone(),
                    desk: Desk {
                        cluster: self.settings.cluster.clone(),
                        environment: self.settings.environment.clone(),
                        ingress: ingress.clone(),
                        clock: self.clock.clone(),
                        stop: stop.clone(),
                    },
                };
                watchers.spawn(watcher.run(stop.clone()));
            }
        }
        while let Some(ended) = watchers.join_next().await {
            ended.map_err(|panic| format!("a watch of Kubernetes panicked: {panic}"))?;
        }
        Ok(())
    }
}
