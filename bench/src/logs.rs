//! The real logs, opened for a run.

use std::path::Path;
use std::sync::Arc;

use sources::embedded::{EmbeddedLog, EmbeddedSettings};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::Log;

pub async fn embedded(folder: &Path) -> anyhow::Result<Arc<dyn Log>> {
    Ok(Arc::new(EmbeddedLog::open(folder, EmbeddedSettings::default()).await?))
}

/// Topics of their own on the broker, so that a run starts empty.
pub async fn kafka(servers: &str) -> anyhow::Result<Arc<dyn Log>> {
    kafka_named(servers, &format!("bench-{}.", uuid::Uuid::new_v4().simple())).await
}

/// The topics and groups behind `prefix`.
pub async fn kafka_named(servers: &str, prefix: &str) -> anyhow::Result<Arc<dyn Log>> {
    let settings = KafkaSettings {
        bootstrap_servers: servers.split(',').map(str::to_owned).collect(),
        topic_prefix: prefix.to_owned(),
        ..KafkaSettings::default()
    };
    Ok(KafkaLog::open_prefixed(settings).await?)
}
