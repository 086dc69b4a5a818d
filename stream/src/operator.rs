//! What the author of an operator writes.
//!
//! An operator is synchronous and pure: what it emits depends on its state, the record, and the watermark, on nothing
//! else. It remembers only in [`crate::state`] cells. One instance serves one input partition.

pub mod harness;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::accounting::{Accounting, Disposition};
use crate::call::{CallError, MAX_OPEN};
use crate::log::{NewRecord, Record, Topic, TopicPartition};
use crate::partition::partition_for;
use crate::state::{SavedCells, StateCell, StateError};
use crate::time::Instant;

pub use harness::Harness;

/// Collects rows for one output partition and turns them into records.
pub trait RowBuffer: Default + Send + Sync + 'static {
    /// A row as the operator hands it over (it may borrow).
    type Row<'a>;

    /// `key` is the partitioning key.
    fn push(&mut self, key: &[u8], row: &Self::Row<'_>);

    /// Rows since the last drain.
    fn rows(&self) -> usize;

    /// About how many bytes they will take.
    fn bytes(&self) -> usize;

    /// Encode and forget the rows. `timestamp` goes onto the records. An encoding error is a defect, not bad input.
    fn drain(&mut self, timestamp: Instant) -> Result<Vec<NewRecord>, String>;
}

/// A record (or an item in it) that a stage refuses. Its bytes go to the dead letters, the rest goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Machine-readable, from a small set: it labels a counter.
    pub reason: &'static str,
    /// For people: the field, the place, the remedy.
    pub detail: String,
    /// JSON pointer of the field, when there is one.
    pub field: Option<String>,
    /// Which element of the body; `None` for all of it.
    pub index: Option<u32>,
}

/// An operator. See `docs/guides/adding-an-operator.md`.
pub trait Operator: Send + Sync + 'static {
    /// A decoded record.
    type In: Send;
    /// The buffer of the main output.
    type Out: RowBuffer;

    /// The stage's name: group id, metrics, snapshots.
    fn name(&self) -> &'static str;

    /// Rises whenever the same input would lead to other outputs or another state.
    fn logic_version(&self) -> u32;

    /// The settings that the state or the outputs depend on, as JSON (`serde_json` of the settings struct). They are kept in
    /// snapshots: where they differ, state is taken over only from a snapshot at the very offset that is committed.
    fn settings(&self) -> String {
        "{}".to_owned()
    }

    /// Fills this operator's empty cells from what logic version `from` saved, exactly at the committed offset. Called
    /// instead of a restore, before anything is written; what it cannot read it refuses, and the stage does not start.
    /// Read an old cell into a [`crate::state::Table`] (or what it was) of its old types with [`SavedCells::read`].
    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        let _ = cells;
        Err(MigrateError::NoWay { from })
    }

    /// Takes over what one partition of another partitioning saved, exactly at its committed offset: of its cells, what belongs to
    /// the keys that are `mine`. Called once for each of those partitions, on an operator that is empty before the first. Keys
    /// are those that the records of its input are partitioned by.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let _ = (cells, mine);
        if self.cells().is_empty() {
            return Ok(());
        }
        Err(MigrateError::Refused(
            "this operator cannot divide its state among other partitions".to_owned(),
        ))
    }

    /// Items that were accounted for as held and are not released yet.
    fn held(&self) -> u64 {
        0
    }

    /// Reads a data record (settings and progress never come here).
    fn decode(&self, record: &Record, from: &TopicPartition) -> Result<Self::In, Reject>;

    /// All state, by stable name. A stateless operator returns nothing.
    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        Vec::new()
    }

    /// One decoded record. Every item in it is accounted exactly once, by [`Context::item`].
    fn on_batch(&mut self, input: &Self::In, cx: &mut Context<'_, Self::Out>);

    /// Event time has reached `watermark`: no record before it is expected. Fire timers, close windows.
    fn on_watermark(&mut self, watermark: Instant, cx: &mut Context<'_, Self::Out>) {
        let _ = (watermark, cx);
    }

    /// The answer to a request made by [`Context::call`]; once for each request, in the order in which answers stand in the
    /// log. What is held back until then holds the output's event time, by [`Operator::owes`].
    fn on_answer(&mut self, key: &str, answer: Result<Bytes, CallError>, cx: &mut Context<'_, Self::Out>) {
        let _ = (key, answer, cx);
    }

    /// The earliest event time of anything this operator may still emit on account of what it has already seen. Its own
    /// output watermark stays at or before it, so that a downstream join does not expire what is still to come.
    fn owes(&self) -> Option<Instant> {
        None
    }
}

/// Why state of another logic version was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("this program has no migration from logic version {from}")]
    NoWay { from: u32 },
    #[error(transparent)]
    State(#[from] StateError),
    /// In the operator's own words.
    #[error("{0}")]
    Refused(String),
}

/// A request to the outside, made as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// Idempotency key.
    pub key: String,
    pub request: Bytes,
}

/// What an operator's callbacks may do. Buffers are per output partition and become visible with the commit.
pub struct Context<'a, B: RowBuffer> {
    pub(crate) out: &'a mut [B],
    pub(crate) side: &'a mut Vec<(Topic, Bytes, NewRecord)>,
    pub(crate) rejects: &'a mut Vec<Reject>,
    pub(crate) calls: &'a mut Vec<CallRequest>,
    /// Questions that may still be asked.
    pub(crate) room: usize,
    pub(crate) accounting: &'a mut Accounting,
    pub(crate) senders: &'a mut BTreeMap<String, Instant>,
    pub(crate) watermark: Instant,
}

impl<B: RowBuffer> Context<'_, B> {
    /// Event time so far: no record before it is expected any more.
    pub fn watermark(&self) -> Instant {
        self.watermark
    }

    /// Whether `at` lies behind the watermark.
    pub fn behind(&self, at: Instant) -> bool {
        at < self.watermark
    }

    /// Emit a row on the main output, to the partition of `key`.
    pub fn emit(&mut self, key: &[u8], row: &B::Row<'_>) {
        let partition = partition_for(key, self.out.len() as u32) as usize;
        self.out[partition].push(key, row);
    }

    /// Emit a whole record on another topic, to the partition of `key` there.
    pub fn emit_side(&mut self, topic: &Topic, key: Bytes, record: NewRecord) {
        self.side.push((topic.clone(), key, record));
    }

    /// Refuse an item: counted as dead-lettered; its record's bytes go to the dead letters.
    pub fn reject(&mut self, reject: Reject) {
        self.accounting.item(Disposition::DeadLettered);
        self.rejects.push(reject);
    }

    /// Account for one input item.
    pub fn item(&mut self, disposition: Disposition) {
        self.accounting.item(disposition);
    }

    /// The rest of the accounting (releases, productions, bodies).
    pub fn accounting(&mut self) -> &mut Accounting {
        self.accounting
    }

    /// Ingress stage only: `sender` has reached event time `at`.
    pub fn observe_sender(&mut self, sender: &str, at: Instant) {
        match self.senders.get_mut(sender) {
            Some(highest) => *highest = (*highest).max(at),
            None => {
                self.senders.insert(sender.to_owned(), at);
            }
        }
    }

    /// Ask the outside; the answer comes to [`Operator::on_answer`]. A key that is open already is the same question. Not
    /// for [`Operator::on_watermark`] of the ingress stage, whose watermark is not replayed.
    ///
    /// Refuses with [`CallError::DidNotHappen`] when [`MAX_OPEN`] questions are open: the operator goes on without an answer,
    /// as it would after a failed call.
    pub fn call(&mut self, request: CallRequest) -> Result<(), CallError> {
        if self.calls.len() >= self.room {
            return Err(CallError::DidNotHappen {
                cause: format!("{MAX_OPEN} questions are open already"),
                retry: true,
            });
        }
        self.calls.push(request);
        Ok(())
    }
}

/// A buffer whose rows are records already: JSON topics, one record per row, keyed.
#[derive(Debug, Default)]
pub struct JsonRows {
    records: Vec<NewRecord>,
    bytes: usize,
}

impl RowBuffer for JsonRows {
    /// The encoded value.
    type Row<'a> = Bytes;

    fn push(&mut self, key: &[u8], row: &Bytes) {
        self.bytes += key.len() + row.len();
        self.records.push(NewRecord {
            key: Some(Bytes::copy_from_slice(key)),
            value: row.clone(),
            ..NewRecord::default()
        });
    }

    fn rows(&self) -> usize {
        self.records.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn drain(&mut self, timestamp: Instant) -> Result<Vec<NewRecord>, String> {
        self.bytes = 0;
        let mut records = std::mem::take(&mut self.records);
        records.iter_mut().for_each(|record| record.timestamp = timestamp);
        Ok(records)
    }
}
