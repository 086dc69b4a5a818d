//! The records of one topic, each to the partition of its key.
//!
//! Old partitions are read one after the other, so what a key has stays in order: all of it lay in one. A batch of rows with
//! different keys becomes one batch for each partition that it has rows for. The kernel's own records stay behind: what they said
//! of event time is in the state.
//!
//! The first record of every new partition is one of the kernel's own that names the generation. So no partition is empty, and a
//! position behind what was copied is never 0, which would mean that nothing was ever read.
//!
//! What is written is a function of what is read. After a crash the records that are there already are counted and left out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use model::{SignalBatch, SignalBatchBuilder, topics};
use stream::log::Record;
use stream::progress::{KIND_HEADER, is_data};
use stream::{Log, NewRecord, Offset, TopicPartition, failpoint, partition_for};
use tokio_util::sync::CancellationToken;

use super::{Told, interrupted};
use crate::generations::Begun;
use crate::scan::scan;

/// Value of `aegis-kind` of the first record.
const OPENED: &str = "generation";
/// Bytes of one append. More is more memory; less is more round trips.
const APPEND_BYTES: usize = 1 << 20;
/// Offsets read before what they led to is written.
const STRETCH: u64 = 5_000;

/// Copies `topic` out of `from` (a log and the number of partitions there), between the given bounds, into `to`.
pub async fn topic(
    topic: &str,
    (from, partitions): (&Arc<dyn Log>, u32),
    bounds: &BTreeMap<String, (u64, u64)>,
    (to, begun): (&Arc<dyn Log>, &Begun),
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<()> {
    let mut writers = Vec::new();
    for number in 0..begun.partitions {
        let mut writer = Writer::open(to, TopicPartition::new(topic, number)).await?;
        writer.put(first(begun));
        writers.push(writer);
    }
    for number in 0..partitions {
        let partition = TopicPartition::new(topic, number);
        let (start, end) = bounds.get(&partition.to_string()).copied().unwrap_or_default();
        let mut at = start;
        while at < end {
            let until = end.min(at + STRETCH);
            let mut failed = None;
            scan(from, &partition, Offset(at), Offset(until), |record| {
                if !is_data(record) {
                    return ControlFlow::Continue(());
                }
                match divide(topic, number, record, begun.partitions) {
                    Ok(parts) => {
                        for (target, record) in parts {
                            writers[target as usize].put(record);
                        }
                        ControlFlow::Continue(())
                    }
                    Err(problem) => {
                        failed = Some(problem);
                        ControlFlow::Break(())
                    }
                }
            })
            .await?;
            if let Some(problem) = failed {
                anyhow::bail!("copying {partition} between {at} and {until}: {problem}");
            }
            for writer in &mut writers {
                writer.flush(to, false).await?;
            }
            tell(Told::Done(until - at));
            interrupted(stop)?;
            at = until;
        }
    }
    for writer in &mut writers {
        writer.flush(to, true).await?;
    }
    Ok(())
}

fn first(begun: &Begun) -> NewRecord {
    NewRecord {
        value: begun.generation.to_string().into(),
        headers: vec![(KIND_HEADER.to_owned(), Bytes::from_static(OPENED.as_bytes()))],
        ..NewRecord::default()
    }
}

/// A record as it stands in the new partitions. What has no key that can be read keeps to those that it stood with.
fn divide(topic: &str, number: u32, record: &Record, partitions: u32) -> Result<Vec<(u32, NewRecord)>, String> {
    let with = |value: Bytes| NewRecord {
        key: record.key.clone(),
        value,
        headers: record.headers.clone(),
        timestamp: record.timestamp,
    };
    let batch = match topic {
        topics::SIGNALS | topics::TRANSITIONS => SignalBatch::decode(&record.value).ok(),
        _ => None,
    };
    let Some(batch) = batch else {
        let target = match &record.key {
            Some(key) => partition_for(key, partitions),
            None => number % partitions.max(1),
        };
        return Ok(vec![(target, with(record.value.clone()))]);
    };
    let mut parts: BTreeMap<u32, SignalBatchBuilder> = BTreeMap::new();
    for row in batch.rows() {
        let target = match topic {
            topics::TRANSITIONS => partition_for(row.domain().as_bytes(), partitions),
            _ => partition_for(row.dedup_key.as_bytes(), partitions),
        };
        parts.entry(target).or_default().push(&row);
    }
    parts
        .into_iter()
        .map(|(target, mut rows)| {
            let encoded = rows.finish().and_then(|batch| batch.encode());
            let value = encoded.map_err(|error| format!("offset {}: {error}", record.offset.0))?;
            Ok((target, with(value.into())))
        })
        .collect()
}

/// One new partition.
struct Writer {
    to: TopicPartition,
    /// Records that an earlier attempt has written.
    there: u64,
    put: u64,
    waiting: Vec<NewRecord>,
    bytes: usize,
}

impl Writer {
    async fn open(log: &Arc<dyn Log>, to: TopicPartition) -> anyhow::Result<Self> {
        // Only appends went there, so every offset is a record.
        let there = log.bounds(&to).await?.end.0;
        Ok(Writer {
            to,
            there,
            put: 0,
            waiting: Vec::new(),
            bytes: 0,
        })
    }

    fn put(&mut self, record: NewRecord) {
        self.put += 1;
        if self.put > self.there {
            self.bytes += record.size();
            self.waiting.push(record);
        }
    }

    /// Writes what waits: all of it, or if there is enough for an append.
    async fn flush(&mut self, log: &Arc<dyn Log>, all: bool) -> anyhow::Result<()> {
        if self.waiting.is_empty() || !(all || self.bytes >= APPEND_BYTES) {
            return Ok(());
        }
        self.bytes = 0;
        let mut piece = Vec::new();
        let mut size = 0;
        for record in std::mem::take(&mut self.waiting) {
            if size > 0 && size + record.size() > APPEND_BYTES {
                log.append(&self.to, std::mem::take(&mut piece)).await?;
                failpoint::hit("repartition.copying");
                size = 0;
            }
            size += record.size();
            piece.push(record);
        }
        log.append(&self.to, piece).await?;
        failpoint::hit("repartition.copying");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stream::Instant;

    use super::*;

    #[test]
    fn a_record_goes_to_the_partition_of_its_key_or_stays_with_its_neighbours() {
        let record = |key: Option<&'static str>| Record {
            offset: Offset(7),
            key: key.map(|key| Bytes::from_static(key.as_bytes())),
            value: Bytes::from_static(b"{}"),
            headers: vec![("h".to_owned(), Bytes::from_static(b"v"))],
            timestamp: Instant(5),
        };
        for key in ["a", "b", "c"] {
            let parts = divide(topics::INCIDENTS, 0, &record(Some(key)), 8).unwrap();
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].0, partition_for(key.as_bytes(), 8));
            assert_eq!(parts[0].1.headers, record(None).headers);
            assert_eq!(parts[0].1.timestamp, Instant(5));
        }
        assert_eq!(divide(topics::INCIDENTS, 5, &record(None), 2).unwrap()[0].0, 1);
        // Bytes that are no batch: somebody has a letter about them.
        assert_eq!(divide(topics::SIGNALS, 3, &record(None), 8).unwrap()[0].0, 3);
    }
}
