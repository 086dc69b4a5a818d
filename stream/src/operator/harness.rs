//! A harness around one operator: owns what a task would own, feeds records, and shows what came of them.
//!
//! For tests and benches of operators. It commits nothing and knows no Progress; [`crate::task::Task`] does.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{CallRequest, Context, Operator, Reject, RowBuffer};
use crate::accounting::Accounting;
use crate::call::MAX_OPEN;
use crate::log::{NewRecord, Record, Topic, TopicPartition};
use crate::time::Instant;

/// The buffers behind a [`Context`], for a main output of some partitions.
#[derive(Debug)]
pub struct Harness<B> {
    input: TopicPartition,
    out: Vec<B>,
    side: Vec<(Topic, Bytes, NewRecord)>,
    rejects: Vec<Reject>,
    calls: Vec<CallRequest>,
    accounting: Accounting,
    senders: BTreeMap<String, Instant>,
    watermark: Instant,
}

impl<B: RowBuffer> Harness<B> {
    /// `partitions` of the main output; the input is partition 0 of a topic `in` until [`Harness::reading`] says otherwise.
    pub fn new(partitions: u32) -> Self {
        Harness {
            input: TopicPartition::new("in", 0),
            out: std::iter::repeat_with(B::default)
                .take(partitions.max(1) as usize)
                .collect(),
            side: Vec::new(),
            rejects: Vec::new(),
            calls: Vec::new(),
            accounting: Accounting::default(),
            senders: BTreeMap::new(),
            watermark: Instant::MIN,
        }
    }

    /// The partition that records are said to come from.
    pub fn reading(mut self, input: TopicPartition) -> Self {
        self.input = input;
        self
    }

    /// A context as a task would hand it to a callback.
    pub fn context(&mut self) -> Context<'_, B> {
        Context {
            out: &mut self.out,
            side: &mut self.side,
            rejects: &mut self.rejects,
            calls: &mut self.calls,
            room: MAX_OPEN,
            accounting: &mut self.accounting,
            senders: &mut self.senders,
            watermark: self.watermark,
        }
    }

    /// Runs `f` with a context.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut Context<'_, B>) -> R) -> R {
        f(&mut self.context())
    }

    /// One data record, as a task takes it: decode, then [`Operator::on_batch`]; a refusal is accounted.
    pub fn feed<O: Operator<Out = B>>(&mut self, operator: &mut O, record: &Record) {
        match operator.decode(record, &self.input) {
            Ok(input) => operator.on_batch(&input, &mut self.context()),
            Err(reject) => self.context().reject(reject),
        }
    }

    /// Event time reaches `watermark`. It never falls: an earlier one is ignored, as a task ignores it.
    pub fn advance<O: Operator<Out = B>>(&mut self, operator: &mut O, watermark: Instant) {
        if watermark > self.watermark {
            self.watermark = watermark;
            operator.on_watermark(watermark, &mut self.context());
        }
    }

    pub fn watermark(&self) -> Instant {
        self.watermark
    }

    /// Rows that wait in all partitions.
    pub fn rows(&self) -> usize {
        self.out.iter().map(RowBuffer::rows).sum()
    }

    /// The records of every output partition, in order; the buffers are empty afterwards.
    pub fn drain(&mut self) -> Result<Vec<Vec<NewRecord>>, String> {
        self.out
            .iter_mut()
            .map(|buffer| buffer.drain(Instant::default()))
            .collect()
    }

    /// Refusals since the last call.
    pub fn take_rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// Records for other topics since the last call: topic, partitioning key, record.
    pub fn take_side(&mut self) -> Vec<(Topic, Bytes, NewRecord)> {
        std::mem::take(&mut self.side)
    }

    /// Requests to the outside since the last call.
    pub fn take_calls(&mut self) -> Vec<CallRequest> {
        std::mem::take(&mut self.calls)
    }

    /// Sender instances and the event time they reached, since the last call.
    pub fn take_senders(&mut self) -> Vec<(String, Instant)> {
        std::mem::take(&mut self.senders).into_iter().collect()
    }

    /// Counts since the last call of [`Harness::take_accounting`].
    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    pub fn take_accounting(&mut self) -> Accounting {
        std::mem::take(&mut self.accounting)
    }
}
