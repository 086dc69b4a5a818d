//! Retention of the embedded log: old segments go, but never what somebody still needs.
//!
//! A partition's floor is the least of the positions of everybody who reads it in this process (stages, sinks) and, for the
//! input of a stateful stage, the older of its two newest snapshots (KERNEL rule 5).

use std::collections::BTreeMap;
use std::time::Duration;

use sources::embedded::EmbeddedLog;
use stream::driver::Runtime;
use stream::snapshot::FolderSnapshots;
use stream::{Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::topology::STAGES;

/// How often old segments are looked for.
const EVERY: Duration = Duration::from_secs(60);

/// Enforces retention until `stop`.
pub async fn keep(log: EmbeddedLog, runtime: Runtime, snapshots: FolderSnapshots, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let floors = floors(&runtime, &snapshots);
        let floor = |partition: &TopicPartition| floors.get(&partition.to_string()).copied();
        match log.enforce_retention(runtime.clock.now(), floor).await {
            Ok(dropped) if dropped.is_empty() => {}
            Ok(dropped) => tracing::info!(segments = dropped.len(), "retention dropped segments"),
            Err(error) => tracing::error!(%error, "retention failed; the log keeps growing until it works again"),
        }
    }
}

/// Per `topic/partition`, what retention must not pass.
fn floors(runtime: &Runtime, snapshots: &FolderSnapshots) -> BTreeMap<String, Offset> {
    let mut floors: BTreeMap<String, Offset> = BTreeMap::new();
    for ((stage, partition), health) in runtime.health.partitions() {
        let mut needed = Offset(health.position);
        if let Some(entry) = STAGES.iter().find(|entry| entry.name == stage) {
            let number = partition.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            needed = needed.min(snapshots.second_newest(entry.name, number).unwrap_or_default());
        }
        let floor = floors.entry(partition).or_insert(needed);
        *floor = (*floor).min(needed);
    }
    floors
}
