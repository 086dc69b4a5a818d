//! What a task has produced since its last commit, and how it becomes records.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{TaskError, TaskSettings};
use crate::accounting::{Accounting, AccountingRecord};
use crate::call::MAX_OPEN;
use crate::log::{NewRecord, Offset, Record, Topic, TopicPartition};
use crate::operator::{CallRequest, Context, Reject, RowBuffer};
use crate::partition::partition_for;
use crate::progress::Progress;
use crate::time::Instant;

/// A refused record (or an item in it), with where it came from.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The stage, or `sink.NAME`.
    pub stage: &'a str,
    pub from: &'a TopicPartition,
    pub record: &'a Record,
    pub reject: &'a Reject,
    /// Whether this letter carries the record's bytes: the first one of each record does. A body of a thousand bad elements
    /// would otherwise be stored a thousand times; the others name the same place.
    pub with_body: bool,
}

/// Turns refusals into records of the dead-letter topic. The kernel does not know the payload's format.
#[derive(Clone)]
pub struct DeadLetters {
    pub topic: Topic,
    pub encode: Arc<dyn Fn(&Refused<'_>) -> NewRecord + Send + Sync>,
}

pub struct Outbox<B> {
    stage: &'static str,
    input: TopicPartition,
    output: Topic,
    sides: Vec<(Topic, u32)>,
    accounting_topic: Topic,
    dead_letters: DeadLetters,
    out: Vec<B>,
    side: Vec<(Topic, Bytes, NewRecord)>,
    side_bytes: usize,
    rejects: Vec<Reject>,
    calls: Vec<CallRequest>,
    /// Questions that may still be asked.
    room: usize,
    senders: BTreeMap<String, Instant>,
    accounting: Accounting,
    last: Accounting,
    /// Newest timestamp among the inputs: goes onto the outputs, so that latency can be told at every stage.
    newest: Instant,
}

impl<B: RowBuffer> Outbox<B> {
    pub fn new(stage: &'static str, input: &TopicPartition, settings: &TaskSettings) -> Self {
        Outbox {
            stage,
            input: input.clone(),
            output: settings.output.0.clone(),
            sides: settings.sides.clone(),
            accounting_topic: settings.accounting.clone(),
            dead_letters: settings.dead_letters.clone(),
            out: std::iter::repeat_with(B::default)
                .take(settings.output.1.max(1) as usize)
                .collect(),
            side: Vec::new(),
            side_bytes: 0,
            rejects: Vec::new(),
            calls: Vec::new(),
            room: MAX_OPEN,
            senders: BTreeMap::new(),
            accounting: Accounting::default(),
            last: Accounting::default(),
            newest: Instant::default(),
        }
    }

    pub fn context(&mut self, watermark: Instant) -> Context<'_, B> {
        Context {
            out: &mut self.out,
            side: &mut self.side,
            rejects: &mut self.rejects,
            calls: &mut self.calls,
            room: self.room,
            accounting: &mut self.accounting,
            senders: &mut self.senders,
            watermark,
        }
    }

    pub fn stamp(&mut self, timestamp: Instant) {
        self.newest = self.newest.max(timestamp);
    }

    /// Rejects of the record just processed become dead letters, with its bytes.
    pub fn seal_rejects(&mut self, record: &Record) {
        for (nth, reject) in std::mem::take(&mut self.rejects).into_iter().enumerate() {
            metrics::counter!("aegis_dead_letters_total", "stage" => self.stage, "reason" => reject.reason)
                .increment(1);
            let refused = Refused {
                stage: self.stage,
                from: &self.input,
                record,
                reject: &reject,
                with_body: nth == 0,
            };
            let letter = (self.dead_letters.encode)(&refused);
            let key = Bytes::from(self.input.to_string());
            self.side_bytes += letter.size();
            self.side.push((self.dead_letters.topic.clone(), key, letter));
        }
    }

    /// The log no longer has this many offsets of the input: the next accounting record says so.
    pub fn skipped(&mut self, offsets: u64) {
        self.accounting.skipped += offsets;
    }

    /// Questions since the last call.
    pub fn take_calls(&mut self) -> Vec<CallRequest> {
        std::mem::take(&mut self.calls)
    }

    pub fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    pub fn take_senders(&mut self) -> BTreeMap<String, Instant> {
        std::mem::take(&mut self.senders)
    }

    pub fn bytes(&self) -> usize {
        self.out.iter().map(RowBuffer::bytes).sum::<usize>() + self.side_bytes + self.side.len() * 64
    }

    pub fn is_empty(&self) -> bool {
        self.side.is_empty() && self.accounting.is_empty() && self.out.iter().all(|buffer| buffer.rows() == 0)
    }

    pub fn last_accounting(&self) -> &Accounting {
        &self.last
    }

    /// Drop everything (replay produced it; it was committed before).
    pub fn forget(&mut self) {
        for buffer in &mut self.out {
            *buffer = B::default();
        }
        self.side.clear();
        self.side_bytes = 0;
        self.calls.clear();
        self.accounting = Accounting::default();
    }

    /// Everything as records: rows, side records, one accounting record, Progress behind the rows of every partition.
    pub fn drain(
        &mut self,
        from: Offset,
        to: Offset,
        progress: Option<&Progress>,
    ) -> Result<Vec<(TopicPartition, Vec<NewRecord>)>, TaskError> {
        let (stage, partition) = (self.stage, self.input.partition);
        let counts = std::mem::take(&mut self.accounting);
        if !counts.balanced() {
            return Err(TaskError::Conservation {
                stage,
                partition,
                from,
                to,
                counts: Box::new(counts),
            });
        }
        let mut outputs = Vec::new();
        for (index, buffer) in self.out.iter_mut().enumerate() {
            let mut records = buffer.drain(self.newest).map_err(|cause| TaskError::Encode {
                stage,
                partition,
                cause,
            })?;
            // Of its input's time, where no tick gave it one: by time 0 retention would take it for the oldest of all.
            records.extend(progress.map(|progress| {
                let record = progress.to_record();
                NewRecord {
                    timestamp: record.timestamp.max(self.newest),
                    ..record
                }
            }));
            if !records.is_empty() {
                outputs.push((TopicPartition::new(self.output.clone(), index as u32), records));
            }
        }
        for (topic, key, mut record) in std::mem::take(&mut self.side) {
            let partitions = self.partitions_of(&topic)?;
            record.timestamp = self.newest;
            let to = TopicPartition::new(topic, partition_for(&key, partitions));
            record.key.get_or_insert(key);
            push(&mut outputs, to, record);
        }
        self.side_bytes = 0;
        if !counts.is_empty() {
            let topic = self.accounting_topic.clone();
            let to_partition = partition % self.partitions_of(&topic)?.max(1);
            let record = AccountingRecord {
                schema: 1,
                stage: stage.to_owned(),
                topic: self.input.topic.to_string(),
                partition,
                from,
                to,
                counts: counts.clone(),
            };
            let value = serde_json::to_vec(&record).map_err(|e| TaskError::Encode {
                stage,
                partition,
                cause: e.to_string(),
            })?;
            let record = NewRecord {
                key: Some(Bytes::from(format!("{stage}/{partition}"))),
                value: value.into(),
                timestamp: self.newest,
                ..NewRecord::default()
            };
            push(&mut outputs, TopicPartition::new(topic, to_partition), record);
        }
        self.last = counts;
        Ok(outputs)
    }

    fn partitions_of(&self, topic: &Topic) -> Result<u32, TaskError> {
        self.sides
            .iter()
            .find(|(name, _)| name == topic)
            .map(|(_, count)| *count)
            .ok_or_else(|| TaskError::UnknownTopic {
                stage: self.stage,
                partition: self.input.partition,
                topic: topic.clone(),
            })
    }
}

fn push(outputs: &mut Vec<(TopicPartition, Vec<NewRecord>)>, to: TopicPartition, record: NewRecord) {
    match outputs.iter_mut().find(|(partition, _)| *partition == to) {
        Some((_, records)) => records.push(record),
        None => outputs.push((to, vec![record])),
    }
}
