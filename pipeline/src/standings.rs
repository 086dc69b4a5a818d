//! Where every sink stands, and how much of the log is still before it: `aegis sinks list`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sinks::sql::{SqlSink, Store};
use sinks::worker::GENERATION_STRIDE;
use sinks::{ArchiveSink, archive};
use stream::{Log, LogError, Offset, Sink as _, TopicPartition};

use crate::generations::Layout;

/// One sink, receiver or worker in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub sink: String,
    pub topic: String,
    pub partition: u32,
    /// The next offset it reads; none when it never wrote.
    pub next: Option<u64>,
    /// The log's end.
    pub end: u64,
    /// Offsets up to there that the log still holds.
    pub lag: u64,
    /// Offsets that the log dropped before it read them.
    pub lost: u64,
}

/// By sink, topic and partition; `archive` is the archive's folder, if there is one. Reads, and changes nothing.
pub async fn standings(
    log: &Arc<dyn Log>,
    layout: &Layout,
    store: &Store,
    archive: Option<&Path>,
) -> anyhow::Result<Vec<Standing>> {
    // What a sink has not begun yet is told as well.
    let mut stands: BTreeMap<(String, String), BTreeMap<u32, u64>> = BTreeMap::new();
    for topic in SqlSink::new(store.clone()).topics() {
        stands.entry((SqlSink::NAME.to_owned(), topic.to_string())).or_default();
    }
    let mut take = |sink: &str, partition: &TopicPartition, next: u64| {
        let generation = layout.topics.get(&*partition.topic).map_or(0, |place| place.generation);
        if partition.partition / GENERATION_STRIDE == generation {
            let of = stands
                .entry((sink.to_owned(), partition.topic.to_string()))
                .or_default();
            of.insert(partition.partition % GENERATION_STRIDE, next);
        }
    };
    for (sink, partition, next) in store.positions().await? {
        take(&sink, &partition, next.0);
    }
    if let Some(folder) = archive.filter(|folder| folder.exists()) {
        for (partition, next) in archive::positions(folder)? {
            take(ArchiveSink::NAME, &partition, next.0);
        }
    }
    let mut all = Vec::new();
    for ((sink, topic), of) in stands {
        let count = match log.partitions(&topic).await {
            Ok(count) => count,
            Err(LogError::UnknownTopic(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for number in 0..count {
            let bounds = log.bounds(&TopicPartition::new(topic.as_str(), number)).await?;
            let next = of.get(&number).copied();
            let from = Offset(next.unwrap_or(bounds.start.0));
            all.push(Standing {
                sink: sink.clone(),
                topic: topic.clone(),
                partition: number,
                next,
                end: bounds.end.0,
                lag: bounds.end.0.saturating_sub(from.max(bounds.start).0),
                lost: bounds.start.0.saturating_sub(from.0),
            });
        }
    }
    Ok(all)
}
