//! Looks, while everything runs, at what others may do to the topics of a broker: add partitions; and at the Redis that is shared.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use shared::Shared;
use stream::health::Health;
use stream::{Ingress, Log, LogError};
use tokio_util::sync::CancellationToken;

use crate::generations::{Layout, require_counts};

/// Between two looks. Higher: new partitions stay empty, and wrong ones unnoticed, for longer; lower: more small requests, one
/// per topic.
const EVERY: Duration = Duration::from_secs(5);

/// The group that reads `events.raw`.
const READER: &str = "aegis.normalize";

/// Lets `ingress` write to partitions that were added to its topic, until `stop`.
pub async fn ingress(ingress: Ingress, stop: CancellationToken) {
    while pause(&stop).await {
        if let Err(error) = ingress.look_for_partitions(READER).await {
            tracing::debug!(%error, "new partitions are looked for again later");
        }
    }
}

/// Ends with an error when a keyed topic has another number of partitions than the topology says: what others put into them would
/// be read by nobody, or by a stage that has no state for it.
pub async fn partitions(log: Arc<dyn Log>, layout: Layout, stop: CancellationToken) -> anyhow::Result<()> {
    while pause(&stop).await {
        match require_counts(log.as_ref(), &layout).await {
            Err(error @ LogError::PartitionCount { .. }) => {
                return Err(error).context("stopped: the partitions of a topic were changed");
            }
            Err(error) => tracing::debug!(%error, "the topics are looked at again later"),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Says under `degraded` of `/readyz` when Redis is away, until `stop`. Nobody is unready for it.
pub async fn redis(shared: Shared, health: Health, stop: CancellationToken) {
    loop {
        health.degraded("redis", shared.probe().await);
        if !pause(&stop).await {
            return;
        }
    }
}

/// False when it is time to stop.
async fn pause(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(EVERY) => true,
    }
}
