//! The real logs, opened for a run.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use sources::embedded::{EmbeddedLog, EmbeddedSettings};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::Log;

pub async fn embedded(folder: &Path) -> anyhow::Result<Arc<dyn Log>> {
    Ok(Arc::new(EmbeddedLog::open(folder, EmbeddedSettings::default()).await?))
}

/// Brokers and prefixes of this run.
static MADE: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Topics of their own on the broker, so that a run starts empty.
pub async fn kafka(servers: &str) -> anyhow::Result<Arc<dyn Log>> {
    kafka_named(servers, &own_prefix(servers)).await
}

/// A prefix that nobody has; [`forget`] deletes what it comes to name.
pub fn own_prefix(servers: &str) -> String {
    let prefix = format!("bench-{}.", uuid::Uuid::new_v4().simple());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.push((servers.to_owned(), prefix.clone()));
    prefix
}

/// Deletes the topics of this run: some runs leave gigabytes. A broker that is away keeps them.
pub async fn forget() {
    let made = std::mem::take(&mut *MADE.lock().unwrap_or_else(PoisonError::into_inner));
    for (servers, prefix) in made {
        if let Err(error) = delete(&servers, &prefix).await {
            eprintln!("topics {prefix}* are left behind: {error:#}");
        }
    }
}

async fn delete(servers: &str, prefix: &str) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", servers).create()?;
    let known = admin.inner().fetch_metadata(None, Duration::from_secs(10))?;
    let topics = known.topics().iter().map(|topic| topic.name());
    let ours: Vec<&str> = topics.filter(|name| name.starts_with(prefix)).collect();
    if !ours.is_empty() {
        admin.delete_topics(&ours, &AdminOptions::new()).await?;
    }
    Ok(())
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
