//! The simulated store behind a sink: rows and positions in one transaction, as the product's stores have them.
//!
//! It refuses some records for good (which ones depends on their bytes alone), so that dead letters are part of every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::plan::DEAD_LETTERS;
use super::process::Process;
use super::weather::{Fault, Op};
use super::world::World;
use crate::driver::IDENTITY_HEADER;
use crate::invariants::{BURIED, SINK_ONCE, Violation};
use crate::log::membership::lock;
use crate::log::{LogId, Offset, Record, Topic, TopicPartition};
use crate::progress::is_data;
use crate::sink::{Sink, SinkBatch, SinkError, SinkReject};

/// Rows and positions of one sink. It outlives processes.
#[derive(Default)]
pub struct Store {
    pub rows: BTreeMap<(TopicPartition, Offset), Bytes>,
    pub positions: BTreeMap<TopicPartition, Offset>,
}

/// One data record in eleven is one that no store takes. Dead letters are taken: burying them again would not end.
pub fn refuses(topic: &str, record: &Record) -> bool {
    topic != DEAD_LETTERS && is_data(record) && crc32fast::hash(&record.value).is_multiple_of(11)
}

/// The sink of one process.
pub struct SimSink {
    pub process: Process,
    pub name: &'static str,
    pub topics: Vec<Topic>,
}

impl SimSink {
    fn away(&self) -> SinkError {
        SinkError::Unavailable {
            sink: self.name.to_owned(),
            cause: "the weather".to_owned(),
        }
    }
}

#[async_trait]
impl Sink for SimSink {
    fn name(&self) -> &str {
        self.name
    }

    fn topics(&self) -> Vec<Topic> {
        self.topics.clone()
    }

    async fn position(&mut self, _: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        let what = format!("{} {partition}", self.name);
        let fault = self.process.gate(Op::SinkPosition, &what).await;
        if fault == Fault::Unavailable {
            return Err(self.away());
        }
        let stored = self
            .process
            .world
            .with_store(self.name, |store| store.positions.get(partition).copied());
        self.process.leave_gate(fault).await;
        Ok(stored)
    }

    async fn write(&mut self, _: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let ranges: Vec<String> = batches
            .iter()
            .map(|batch| format!("{}@{}..{}", batch.partition, batch.start.0, batch.next.0))
            .collect();
        let what = format!("{} {}", self.name, ranges.join(" "));
        let fault = self.process.gate(Op::SinkWrite, &what).await;
        if fault == Fault::Unavailable {
            return Err(self.away());
        }
        let rejects = rejects(batches);
        if rejects.is_empty() {
            write(&self.process.world, self.name, batches)?;
        }
        self.process.leave_gate(fault).await;
        match fault {
            Fault::AnswerLost => Err(self.away()),
            _ => Ok(rejects),
        }
    }
}

fn rejects(batches: &[SinkBatch]) -> Vec<SinkReject> {
    let mut found = Vec::new();
    for batch in batches {
        for record in batch
            .records
            .iter()
            .filter(|record| refuses(&batch.partition.topic, record))
        {
            found.push(SinkReject {
                partition: batch.partition.clone(),
                offset: record.offset,
                reason: "refused_by_store",
                detail: String::new(),
            });
        }
    }
    found
}

/// The transaction.
fn write(world: &Arc<World>, name: &'static str, batches: &[SinkBatch]) -> Result<(), SinkError> {
    let moved = world.with_store(name, |store| {
        batches.iter().find_map(|batch| {
            let stored = store.positions.get(&batch.partition).copied();
            (stored.is_some_and(|at| at != batch.start)).then(|| SinkError::PositionMoved {
                sink: name.to_owned(),
                partition: batch.partition.clone(),
                expected: batch.start,
                stored,
            })
        })
    });
    if let Some(moved) = moved {
        return Err(moved);
    }
    for batch in batches {
        for broken in passed(world, name, batch) {
            world.violated(broken);
        }
        let twice = world.with_store(name, |store| {
            store.positions.insert(batch.partition.clone(), batch.next);
            let mut twice = None;
            for record in batch.records.iter().filter(|record| is_data(record)) {
                let place = (batch.partition.clone(), record.offset);
                if store.rows.insert(place, record.value.clone()).is_some() {
                    twice = Some(record.offset);
                }
            }
            twice
        });
        if let Some(offset) = twice {
            world.violated(SINK_ONCE.broken(format!("{name}: {}@{} written twice", batch.partition, offset.0)));
        }
    }
    Ok(())
}

/// Every record that the position passes is in the batch, or it was refused and is buried.
fn passed(world: &Arc<World>, name: &str, batch: &SinkBatch) -> Vec<Violation> {
    let given: BTreeSet<Offset> = batch.records.iter().map(|record| record.offset).collect();
    let mut broken = Vec::new();
    for record in world.log.range(&batch.partition, batch.start, batch.next) {
        if given.contains(&record.offset) || !is_data(&record) {
            continue;
        }
        let place = format!("{name}: {}@{}", batch.partition, record.offset.0);
        if !refuses(&batch.partition.topic, &record) {
            broken.push(SINK_ONCE.broken(format!("{place} is passed and not written")));
        } else if !buried(world, name, &batch.partition, record.offset) {
            broken.push(BURIED.broken(format!("{place} is passed, refused, and not in the dead letters")));
        }
    }
    broken
}

fn buried(world: &Arc<World>, name: &str, partition: &TopicPartition, offset: Offset) -> bool {
    let identity = format!("{name}/{partition}/{}", offset.0);
    let letters = world.log.partitions_of(DEAD_LETTERS);
    letters.iter().any(|letters| {
        let all = world.log.range(letters, Offset(0), Offset(u64::MAX));
        all.iter().any(|letter| {
            letter
                .header(IDENTITY_HEADER)
                .is_some_and(|found| found == identity.as_bytes())
        })
    })
}

/// What a store must hold in the end.
pub fn complete(world: &World, name: &str, store: &Store, topics: &[Topic]) -> Result<(), Violation> {
    let mut expected = BTreeMap::new();
    for partition in topics.iter().flat_map(|topic| world.log.partitions_of(topic)) {
        for record in world.log.range(&partition, Offset(0), Offset(u64::MAX)) {
            if is_data(&record) && !refuses(&partition.topic, &record) {
                expected.insert((partition.clone(), record.offset), record.value);
            }
        }
    }
    let missing = expected
        .iter()
        .find(|(place, value)| store.rows.get(place) != Some(value));
    let invented = store.rows.keys().find(|place| !expected.contains_key(place));
    SINK_ONCE.check(missing.is_none() && invented.is_none(), || {
        format!(
            "{name}: missing or other than in the log {:?}, not in the log {invented:?}",
            missing.map(|(place, _)| place)
        )
    })
}

/// Stores by the name of their sink.
#[derive(Default)]
pub struct Stores(std::sync::Mutex<BTreeMap<&'static str, Store>>);

impl Stores {
    pub fn with<R>(&self, name: &'static str, act: impl FnOnce(&mut Store) -> R) -> R {
        act(lock(&self.0).entry(name).or_default())
    }
}
