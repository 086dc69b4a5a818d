//! Rows of records, and records of rows.

use std::collections::BTreeMap;

use model::{Signal, SignalBatch, topics};
use stream::progress::{KIND_HEADER, PROGRESS, is_data};
use stream::simulation::{Contents, Row};
use stream::{Instant, NewRecord, Progress, Record, TopicPartition, partition_for};

use crate::rig::encode;

/// Topics whose records are batches of signals.
const BATCHES: [&str; 4] = [topics::SIGNALS, "deduped", topics::TRANSITIONS, topics::LATE];

/// See [`stream::simulation::Plan::rows`]. What went to `late` is late: it promises no time.
pub fn rows(topic: &str, record: &Record) -> Option<Vec<Row>> {
    if topic == topics::EVENTS_RAW {
        let bodies: Vec<serde_json::Value> = serde_json::from_slice(&record.value).ok()?;
        let row = |body: &serde_json::Value| Row {
            text: body.to_string(),
            at: None,
        };
        return Some(bodies.iter().map(row).collect());
    }
    if topic == topics::LOGS {
        let batch: model::LogBatch = serde_json::from_slice(&record.value).ok()?;
        let row = |line: &model::LogLine| Row {
            text: format!("{line:?}"),
            at: None,
        };
        return Some(batch.lines.iter().map(row).collect());
    }
    if !BATCHES.contains(&topic) {
        let key = record.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
        let text = format!("{key:?} {}", String::from_utf8_lossy(&record.value));
        return Some(vec![Row { text, at: None }]);
    }
    let batch = SignalBatch::decode(&record.value).ok()?;
    let row = |signal: Signal| Row {
        at: (topic != topics::LATE).then_some(Instant(signal.effective_at)),
        text: format!("{signal:?}"),
    };
    Some(batch.rows().map(|signal| row(signal.to_signal())).collect())
}

/// Data records of a topic.
pub fn data<'a>(contents: &'a Contents, topic: &'a str) -> impl Iterator<Item = &'a Record> {
    contents
        .iter()
        .filter(move |(partition, _)| &*partition.topic == topic)
        .flat_map(|(_, records)| records)
        .filter(|record| is_data(record))
}

/// Signals as records of `topic`, one batch per partition, as normalize spreads them.
pub fn batches(topic: &str, partitions: u32, signals: &[Signal]) -> Vec<(TopicPartition, Vec<NewRecord>)> {
    let mut spread: BTreeMap<u32, Vec<Signal>> = BTreeMap::new();
    for signal in signals {
        let to = partition_for(signal.dedup_key.as_bytes(), partitions);
        spread.entry(to).or_default().push(signal.clone());
    }
    spread
        .into_iter()
        .map(|(partition, signals)| {
            let record = NewRecord {
                value: encode(&signals).into(),
                timestamp: Instant(
                    signals
                        .iter()
                        .map(|signal| signal.observed_at)
                        .max()
                        .unwrap_or_default(),
                ),
                ..NewRecord::default()
            };
            (TopicPartition::new(topic, partition), vec![record])
        })
        .collect()
}

/// The word of one ingress partition, to every partition of `topic`.
pub fn progress(topic: &str, partitions: u32, from: u32, watermark: Instant) -> Vec<(TopicPartition, Vec<NewRecord>)> {
    let word = Progress {
        stage: "normalize".to_owned(),
        partition: from,
        watermark,
        idle: false,
        tick_at: None,
    };
    let record = word.to_record();
    assert_eq!(record.headers[0], (KIND_HEADER.to_owned(), PROGRESS.into()));
    (0..partitions)
        .map(|partition| (TopicPartition::new(topic, partition), vec![record.clone()]))
        .collect()
}
