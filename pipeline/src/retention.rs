//! Retention of the embedded log and of the tables.
//!
//! The log: old segments go, but never what somebody still needs.
//!
//! A partition's floor is the least of the positions of everybody who reads it in this process (stages, sinks) and, for the
//! input of a stage, the newest snapshot that shares no object with the newest one (KERNEL rule 5): if anything of the newest
//! is spoilt, that one and the log behind it still make the state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sinks::sql::{RetentionSettings, Store, StoreError};
use sources::embedded::EmbeddedLog;
use stream::driver::Runtime;
use stream::snapshot::retention_floor;
use stream::{Clock, Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::duty::Duty;
use crate::generations::Layout;
use crate::topology::STAGES;

/// How often old segments are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Enforces retention until `stop`.
pub async fn keep(log: EmbeddedLog, runtime: Runtime, layout: Layout, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let floors = floors(&runtime, &layout).await;
        let floor = |partition: &TopicPartition| floors.get(&partition.to_string()).copied();
        match log.enforce_retention(runtime.clock.now(), floor).await {
            Ok(dropped) if dropped.is_empty() => {}
            Ok(dropped) => tracing::info!(segments = dropped.len(), "retention dropped segments"),
            Err(error) => tracing::error!(%error, "retention failed; the log keeps growing until it works again"),
        }
    }
}

/// How often rows that are too old are looked for. Lower: more queries that find nothing; higher: more to delete at once.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// Deletes rows of the store that are older than its settings say, whenever it is this instance's turn, until `stop`.
pub async fn forget_rows(
    store: Store,
    settings: RetentionSettings,
    clock: Arc<dyn Clock>,
    duty: Duty,
    stop: CancellationToken,
) {
    loop {
        let forgotten = tokio::select! {
            () = stop.cancelled() => return,
            forgotten = async {
                let fence = duty.mine().await;
                store.forget_behind(&settings, clock.now().to_datetime(), fence.as_ref()).await
            } => forgotten,
        };
        match forgotten {
            Ok(forgotten) => {
                for one in forgotten {
                    tracing::info!(table = one.table, count = one.count, "retention forgot rows or chunks");
                }
            }
            Err(error @ StoreError::Overtaken { .. }) => tracing::info!(%error, "retention is left to it"),
            Err(error) => tracing::warn!(%error, "rows that are too old stay until the next attempt"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FORGET_EVERY) => {}
        }
    }
}

/// Per `topic/partition`, by the names of the log, what retention must not pass.
async fn floors(runtime: &Runtime, layout: &Layout) -> BTreeMap<String, Offset> {
    let mut floors: BTreeMap<String, Offset> = BTreeMap::new();
    for ((stage, partition), health) in runtime.health.partitions() {
        let mut needed = Offset(health.position);
        if let Some(entry) = STAGES.iter().find(|entry| entry.name == stage) {
            let number = partition.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let floor = retention_floor(runtime.snapshots.as_ref(), entry.name, number).await;
            let floor = floor.unwrap_or_else(|error| {
                tracing::warn!(stage, number, %error, "snapshots cannot be listed: retention waits");
                None
            });
            needed = needed.min(floor.unwrap_or_default());
        }
        let named = partition
            .rsplit_once('/')
            .map(|(topic, number)| format!("{}/{number}", layout.name(topic)));
        let floor = floors.entry(named.unwrap_or(partition)).or_insert(needed);
        *floor = (*floor).min(needed);
    }
    floors
}
