//! What the process tells of itself beside its stages: when it began, room on the disk, and approvals that wait for a person.

use std::path::Path;
use std::time::Duration;

use sinks::sql::Store;
use stream::Clock;
use tokio_util::sync::CancellationToken;

/// How often it looks. More often: more questions to the store; less: alerts come later.
const EVERY: Duration = Duration::from_secs(10);

/// Keeps the gauges until `stop`. What cannot be learned keeps its last value.
pub async fn tell(store: Option<Store>, data_dir: &Path, clock: &dyn Clock, stop: CancellationToken) {
    metrics::gauge!("aegis_started_at_seconds").set(clock.now().0 as f64 / 1e6);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Ok(disk) = fs4::statvfs(data_dir) {
            metrics::gauge!("aegis_data_disk_free_bytes").set(disk.available_space() as f64);
            metrics::gauge!("aegis_data_disk_bytes").set(disk.total_space() as f64);
        }
        let Some(store) = &store else { continue };
        match store.waiting().await {
            Ok((count, oldest)) => {
                let now = clock.now().to_datetime();
                let age = oldest.map_or(0, |oldest| (now - oldest).num_milliseconds().max(0));
                metrics::gauge!("aegis_approvals_waiting").set(count as f64);
                metrics::gauge!("aegis_approvals_oldest_seconds").set(age as f64 / 1e3);
            }
            Err(error) => tracing::debug!(%error, "approvals cannot be counted"),
        }
    }
}
