//! Reads a topic's end into its history, for as long as it is polled.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use stream::log::Topic;
use stream::{Log, LogError, Offset, TopicPartition};

use crate::history::History;
use crate::project::{Message, message};

/// Records asked for at once, and how long one wait for them is.
const RECORDS: usize = 1_000;
const WAIT: Duration = Duration::from_millis(500);
/// Before a topic that cannot be read is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How far before the end it begins: clients of before a restart find there what they missed meanwhile.
const BACK: u64 = 1_000;

/// Never ends.
pub async fn feed(log: &Arc<dyn Log>, topic: Topic, history: &History) {
    let partitions = loop {
        match log.partitions(&topic).await {
            Ok(count) => break count,
            Err(error) => tracing::warn!(%topic, %error, "clients are told of it later"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    let feeds =
        (0..partitions).map(|number| partition(log.as_ref(), TopicPartition::new(topic.clone(), number), history));
    join_all(feeds).await;
}

async fn partition(log: &dyn Log, partition: TopicPartition, history: &History) {
    let mut at = None;
    loop {
        if let Err(error) = follow(log, &partition, history, &mut at).await {
            tracing::warn!(%partition, %error, "clients are told of what comes later");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Goes on at `at`, where it was before the log failed.
async fn follow(
    log: &dyn Log,
    partition: &TopicPartition,
    history: &History,
    at: &mut Option<Offset>,
) -> Result<(), LogError> {
    let bounds = log.bounds(partition).await?;
    let begin = Offset(bounds.end.0.saturating_sub(BACK).max(bounds.start.0));
    let mut place = at.filter(|at| *at >= bounds.start).unwrap_or(begin);
    history.push(partition.partition, place.0, place.0, Vec::new());
    let mut reader = log.reader(partition, place).await?;
    loop {
        let (records, next) = reader.read(RECORDS, WAIT).await?;
        if next == place {
            continue;
        }
        let told: Vec<Message> = records.iter().filter_map(|record| message(partition, record)).collect();
        history.push(partition.partition, place.0, next.0, told);
        place = next;
        *at = Some(next);
    }
}
