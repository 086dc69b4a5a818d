//! Creating topics and applying their retention.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode as Code;
use stream::log::{LogError, Retention, TopicSpec};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::catalog::ASK;
use super::context::Watch;
use super::error::{code_error, log_error};
use super::{blocking, settings::KafkaSettings};

/// How long a created topic may take to be seen with leaders.
const APPEAR: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn ensure(inner: &std::sync::Arc<Inner>, topics: &[TopicSpec]) -> Result<(), LogError> {
    let (mut missing, mut existing) = (Vec::new(), Vec::new());
    for wanted in topics {
        let (inner, name) = (inner.clone(), wanted.name.clone());
        match blocking(move || inner.catalog.lookup(&name)).await? {
            None => missing.push(wanted),
            Some(found) => {
                check_count(wanted, found)?;
                existing.push(wanted);
            }
        }
    }
    let settings = &inner.settings;
    let admin: AdminClient<Watch> = settings
        .client_config("admin")
        .create_with_context(Watch::default())
        .map_err(|error| log_error("making a Kafka admin client", &error))?;
    for wanted in missing {
        create(&admin, settings, wanted).await?;
        let found = wait_for(inner, wanted).await?;
        check_count(wanted, found)?;
    }
    for wanted in existing {
        apply_retention(&admin, wanted).await?;
    }
    Ok(())
}

fn check_count(wanted: &TopicSpec, found: u32) -> Result<(), LogError> {
    if found == wanted.partitions {
        return Ok(());
    }
    Err(LogError::PartitionCount {
        topic: wanted.name.clone(),
        found,
        wanted: wanted.partitions,
    })
}

async fn create(admin: &AdminClient<Watch>, settings: &KafkaSettings, wanted: &TopicSpec) -> Result<(), LogError> {
    let doing = || format!("creating topic {} with {} partitions", wanted.name, wanted.partitions);
    let mut config = retention_config(wanted.retention);
    config.insert("max.message.bytes".to_owned(), settings.max_batch_bytes().to_string());
    // Senders' clocks run ahead, and replays carry any time at all; a refused record would be lost.
    config.insert("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string());
    let partitions = i32::try_from(wanted.partitions).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(i32::from(settings.replication_factor));
    let mut topic = NewTopic::new(&wanted.name, partitions, replication);
    for (name, value) in &config {
        topic = topic.set(name, value);
    }
    let results = admin
        .create_topics([&topic], &options())
        .await
        .map_err(|error| log_error(doing(), &error))?;
    match results.into_iter().next() {
        Some(Ok(_)) | Some(Err((_, Code::TopicAlreadyExists))) => Ok(()),
        // Another attempt cannot mend a name, a replication factor or a right.
        Some(Err((
            _,
            code @ (Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::PolicyViolation),
        ))) => {
            let cause = format!("{code} (replication factor {})", settings.replication_factor);
            Err(LogError::Fatal { doing: doing(), cause })
        }
        Some(Err((_, code))) => Err(code_error(doing(), code)),
        None => Err(LogError::Unavailable {
            doing: doing(),
            cause: "the broker answered nothing".to_owned(),
        }),
    }
}

async fn wait_for(inner: &std::sync::Arc<Inner>, wanted: &TopicSpec) -> Result<u32, LogError> {
    let deadline = Instant::now() + APPEAR;
    loop {
        let (inner, name) = (inner.clone(), wanted.name.clone());
        if let Some(found) = blocking(move || inner.catalog.lookup(&name)).await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let doing = format!("waiting for the new topic {}", wanted.name);
            return Err(LogError::Unavailable {
                doing,
                cause: "its partitions have no leaders yet".to_owned(),
            });
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Sets the retention if it differs. The request replaces all settings of the topic, so those set before go along.
async fn apply_retention(admin: &AdminClient<Watch>, wanted: &TopicSpec) -> Result<(), LogError> {
    let doing = || format!("applying the retention of topic {}", wanted.name);
    let resource = ResourceSpecifier::Topic(&wanted.name);
    let described = admin
        .describe_configs([&resource], &options())
        .await
        .map_err(|error| log_error(doing(), &error))?;
    let found = match described.into_iter().next() {
        Some(Ok(found)) => found,
        Some(Err(code)) => return Err(code_error(doing(), code)),
        None => {
            return Err(LogError::Unavailable {
                doing: doing(),
                cause: "the broker answered nothing".to_owned(),
            });
        }
    };
    let target = retention_config(wanted.retention);
    let holds =
        |(name, value): (&String, &String)| found.get(name).is_some_and(|entry| entry.value.as_ref() == Some(value));
    if target.iter().all(holds) {
        return Ok(());
    }
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for entry in &found.entries {
        if let (ConfigSource::DynamicTopic, Some(value)) = (&entry.source, &entry.value) {
            all.insert(entry.name.clone(), value.clone());
        }
    }
    all.extend(target);
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&wanted.name));
    for (name, value) in &all {
        change = change.set(name, value);
    }
    let changed = admin
        .alter_configs([&change], &options())
        .await
        .map_err(|error| log_error(doing(), &error))?;
    match changed.into_iter().next() {
        Some(Err((_, code))) => Err(code_error(doing(), code)),
        _ => Ok(()),
    }
}

/// `-1` is Kafka's "without limit".
fn retention_config(retention: Retention) -> BTreeMap<String, String> {
    let time = retention
        .time
        .map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let bytes = retention
        .bytes
        .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    BTreeMap::from([
        ("retention.ms".to_owned(), time.to_string()),
        ("retention.bytes".to_owned(), bytes.to_string()),
    ])
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ASK))
        .operation_timeout(Some(ASK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_in_kafkas_words() {
        let check = |time: Option<u64>, bytes, expected: [&str; 2]| {
            let config = retention_config(Retention {
                time: time.map(Duration::from_secs),
                bytes,
            });
            assert_eq!(
                [config["retention.ms"].as_str(), config["retention.bytes"].as_str()],
                expected
            );
        };
        check(None, None, ["-1", "-1"]);
        check(Some(3_600), None, ["3600000", "-1"]);
        check(
            Some(u64::MAX),
            Some(u64::MAX),
            ["9223372036854775807", "9223372036854775807"],
        );
    }
}
