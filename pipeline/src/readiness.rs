//! Feeds the gateway's readiness from what the drivers report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway::Readiness;
use stream::health::Health;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tells `readiness` once a second, until `stop`.
pub async fn watch_health(health: Health, readiness: Readiness, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    // Position at the last look, per stage with topic and partition; a position that moved was a commit.
    let mut known: BTreeMap<(String, u32), u64> = BTreeMap::new();
    let mut troubled: BTreeSet<String> = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        let mut current = BTreeMap::new();
        for ((stage, partition), state) in health.partitions() {
            let Some((topic, number)) = partition.rsplit_once('/') else {
                continue;
            };
            // A sink reads several topics: each is a line of its own.
            let name = format!("{stage} {topic}");
            let number = number.parse().unwrap_or(0);
            readiness.lag(&name, number, state.lag, now);
            if known.get(&(name.clone(), number)) != Some(&state.position) {
                readiness.committed(&name, number, now);
            }
            current.insert((name, number), state.position);
        }
        for (stage, partition) in known.keys().filter(|key| !current.contains_key(*key)) {
            readiness.revoked(stage, *partition);
        }
        // Also those that have no partition: of these nothing else is heard.
        for (stage, waits) in health.waiting() {
            match waits {
                Some(what) => readiness.waiting(&stage, what),
                None => readiness.running(&stage),
            }
        }
        let troubles = health.troubles();
        for stage in troubled.iter().filter(|stage| !troubles.contains_key(*stage)) {
            readiness.running(stage);
        }
        troubled = troubles.keys().cloned().collect();
        for (stage, problem) in troubles {
            readiness.stopped(&stage, problem);
        }
        readiness.degraded(health.degradations());
        known = current;
    }
}
