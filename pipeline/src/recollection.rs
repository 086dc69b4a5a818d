//! What the watch of Kubernetes has forgotten, the tables know: which of its alerts are open.

use async_trait::async_trait;
use model::kubernetes::KEY_PREFIX;
use sinks::sql::Store;
use sources::kubernetes::{NAME, Recollection, StillOpen};

/// Reads the tables.
pub struct StoreRecollection {
    pub store: Store,
}

#[async_trait]
impl Recollection for StoreRecollection {
    async fn open(&self, cluster: &str) -> Result<Vec<StillOpen>, String> {
        let prefix = format!("{KEY_PREFIX}:{cluster}:");
        let rows = self.store.open_signals(NAME, &prefix).await;
        let rows = rows.map_err(|error| error.to_string())?;
        let open = rows.into_iter().filter(|row| row.dedup_key.starts_with(&prefix));
        Ok(open
            .map(|row| StillOpen {
                since: row.starts_at.timestamp_micros(),
                namespace: row.namespace,
                labels: row.labels.to_string(),
                key: row.dedup_key,
            })
            .collect())
    }
}
