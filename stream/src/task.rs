//! The runner of one partition task: a state machine without I/O. `step(event)` returns the effects that a driver
//! carries out; nothing in here spawns, sleeps, reads a clock or draws a random number, so a simulator can drive the
//! very same code.
//!
//! Life of a task: `Assigned` → (restore: replay without emitting up to the committed position) → `Fetched`… → `Flush`
//! → commit → `Committed` or `Aborted` → … → `Revoked`. Between `Flush` and its answer nothing else is fed in; an
//! aborted commit is sent again with the same outputs, the operator never runs twice over the same input. Before `Assigned`
//! a snapshot may be loaded, object by object; a `Checkpoint` gives a snapshot out piece by piece (module `state`).

mod calls;
mod error;
mod event;
mod outbox;
mod read;
mod state;
mod time;

use crate::accounting::Accounting;
use crate::call::Answer;
use crate::log::{Offset, Record, TopicPartition};
use crate::operator::Operator;
use crate::progress::{Progress, Senders, Upstreams, is_data_for, progress_of};
use crate::snapshot::Identity;
use crate::time::Instant;

use calls::OpenCalls;
pub use error::TaskError;
pub use event::{Effect, Event, PartitionCommit, Restored, Role, TaskSettings};
use outbox::Outbox;
pub use outbox::{DeadLetters, Refused};
pub use read::{ObjectReader, ReadObject};
use state::Held;
pub(crate) use state::KERNEL_CELL;
use time::EventTime;

/// One operator instance on one input partition.
pub struct Task<O: Operator> {
    operator: O,
    input: TopicPartition,
    settings: TaskSettings,
    time: EventTime,
    watermark: Instant,
    /// Watermark and idleness that went out last.
    told: Option<(Instant, bool)>,
    position: Offset,
    committed: Offset,
    /// Records before it are replayed without emitting.
    replay_until: Offset,
    outbox: Outbox<O::Out>,
    in_flight: Option<PartitionCommit>,
    /// An ingress partition that the later stages do not know of yet: its first commit says that it is there.
    unannounced: bool,
    calls: OpenCalls,
    held: Held,
}

impl<O: Operator> Task<O> {
    pub fn new(operator: O, input: TopicPartition, settings: TaskSettings) -> Self {
        let time = match settings.role {
            Role::Ingress(policy) => EventTime::Ingress {
                senders: Senders::default(),
                policy,
                now: Instant::MIN,
                drained: false,
                idle: false,
                ended: None,
            },
            Role::Downstream { upstream_partitions } => EventTime::Downstream(Upstreams::new(upstream_partitions)),
            Role::Confluence { stages, partitions } => EventTime::Downstream(Upstreams::of_two(stages, partitions)),
        };
        let outbox = Outbox::new(operator.name(), &input, &settings);
        Task {
            operator,
            input,
            settings,
            time,
            watermark: Instant::MIN,
            told: None,
            position: Offset(0),
            committed: Offset(0),
            replay_until: Offset(0),
            outbox,
            in_flight: None,
            unannounced: false,
            calls: OpenCalls::default(),
            held: Held::default(),
        }
    }

    /// The one entry. See [`Event`] and [`Effect`].
    pub fn step(&mut self, event: Event) -> Result<Vec<Effect>, TaskError> {
        let mut effects = Vec::new();
        self.require_not_saving(&event)?;
        match event {
            Event::Load(object) => self.load(object.into())?,
            Event::LoadRead(object) => self.load(object)?,
            Event::Migrate { from, objects } => self.migrate(from, &objects)?,
            Event::Carry { from, partitions } => self.carry(&from, partitions)?,
            Event::Assigned {
                committed,
                start,
                snapshot,
            } => self.assign(committed, start, snapshot, &mut effects)?,
            Event::Fetched(records) => {
                self.require_no_commit("fetched")?;
                for record in &records {
                    self.take(record);
                }
            }
            Event::Tick { now, drained } => {
                if drained {
                    self.catch_up();
                }
                if let EventTime::Ingress {
                    now: at, drained: d, ..
                } = &mut self.time
                {
                    (*at, *d) = (now, drained);
                }
                self.advance();
            }
            Event::End { past } => {
                self.catch_up();
                if let EventTime::Ingress { ended, .. } = &mut self.time {
                    *ended = Some(past);
                }
                self.advance();
            }
            Event::CaughtUp => {
                self.catch_up();
                effects.extend(self.calls.caught_up());
            }
            Event::Flush => {
                if let Some(commit) = self.flush()? {
                    self.in_flight = Some(commit.clone());
                    effects.push(Effect::Commit(commit));
                }
            }
            Event::Committed => {
                if let Some(position) = self.in_flight.take().and_then(|commit| commit.position) {
                    self.committed = position;
                }
                effects.extend(self.calls.committed());
            }
            Event::Aborted => effects.extend(self.in_flight.clone().map(Effect::Commit)),
            Event::Checkpoint(bound) => {
                self.require_no_commit("checkpoint")?;
                effects.extend(self.next_piece(bound)?.map(Effect::Snapshot));
            }
            Event::Snapshotted(stored) => self.snapshotted(stored),
        }
        Ok(effects)
    }

    pub fn stage(&self) -> &'static str {
        self.operator.name()
    }

    /// The next offset to read.
    pub fn position(&self) -> Offset {
        self.position
    }

    /// The position of the last commit that is known to have happened.
    pub fn committed(&self) -> Offset {
        self.committed
    }

    pub fn watermark(&self) -> Instant {
        self.watermark
    }

    /// Bytes that wait for a commit.
    pub fn pending_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether a flush would commit anything: rows, a moved position, or Progress worth telling.
    pub fn wants_flush(&self) -> bool {
        self.in_flight.is_none()
            && self.position >= self.replay_until
            && (self.unannounced || self.position > self.committed || !self.outbox.is_empty() || self.news().is_some())
    }

    /// Whether a flush must come before the first record: it tells later stages to wait for this partition.
    pub fn unannounced(&self) -> bool {
        self.unannounced
    }

    /// Questions to the outside that have no answer yet.
    pub fn open_calls(&self) -> usize {
        self.calls.len()
    }

    /// Entries per state cell, for metrics.
    pub fn state_entries(&mut self) -> Vec<(&'static str, usize)> {
        self.operator
            .cells()
            .into_iter()
            .map(|(name, cell)| (name, cell.entries()))
            .collect()
    }

    /// Whose state this task has: what its snapshots are named by.
    pub fn identity(&self) -> Identity {
        Identity {
            topology: self.settings.topology.clone(),
            stage: self.operator.name().to_owned(),
            partition: self.input.partition,
            logic_version: self.operator.logic_version(),
            settings: Some(self.operator.settings()),
        }
    }

    /// Items that are held by the operator.
    pub fn held(&self) -> u64 {
        self.operator.held()
    }

    /// Whether the operator remembers nothing.
    pub fn stateless(&mut self) -> bool {
        self.operator.cells().is_empty()
    }

    /// Totals of the last flush, for metrics.
    pub fn last_accounting(&self) -> &Accounting {
        self.outbox.last_accounting()
    }

    fn assign(
        &mut self,
        committed: Option<Offset>,
        start: Offset,
        snapshot: Option<Restored>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), TaskError> {
        self.committed = committed.unwrap_or(start);
        self.unannounced = match &self.time {
            EventTime::Ingress { policy, .. } => {
                committed.is_none() && self.input.partition >= policy.founding_partitions
            }
            EventTime::Downstream(_) => false,
        };
        self.position = match snapshot {
            Some(snapshot) => {
                let at = snapshot.offset;
                self.loaded(snapshot)?;
                at.max(start)
            }
            None if self.operator.cells().is_empty() => self.committed.max(start),
            None => start,
        };
        // Retention ran ahead of this stage (ADR 12): what is gone is accounted for in the first commit, which starts
        // where the last one ended.
        self.replay_until = match start.0.checked_sub(self.committed.0) {
            Some(gone) if gone > 0 => {
                self.outbox.skipped(gone);
                Offset(0)
            }
            _ => self.committed,
        };
        effects.push(Effect::Seek(self.position));
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        if record.offset < self.position {
            return;
        }
        if record.offset >= self.replay_until {
            self.finish_restore();
        }
        self.position = Offset(record.offset.0 + 1);
        self.outbox.stamp(record.timestamp);
        if let Some(answer) = Answer::for_stage(record, self.operator.name()) {
            self.answered(answer);
        } else if !is_data_for(record, self.operator.name()) {
            if let (Some(progress), EventTime::Downstream(upstreams)) = (progress_of(record), &mut self.time)
                && let Some(watermark) = upstreams.hear(&progress)
            {
                self.raise(watermark);
            }
        } else {
            self.process(record);
        }
        if self.position >= self.replay_until {
            self.finish_restore();
        }
    }

    fn process(&mut self, record: &Record) {
        match self.operator.decode(record, &self.input) {
            Ok(input) => {
                let mut cx = self.outbox.context(self.watermark);
                self.operator.on_batch(&input, &mut cx);
            }
            Err(reject) => self.outbox.context(self.watermark).reject(reject),
        }
        self.outbox.seal_rejects(record);
        self.asked();
        if let EventTime::Ingress {
            senders, policy, now, ..
        } = &mut self.time
        {
            senders.arrived(record.timestamp);
            for (sender, at) in self.outbox.take_senders() {
                senders.observe(&sender, at, *now, policy);
            }
        }
    }

    /// The first answer to a question counts; another one, or one to a question that nobody asked, changes nothing.
    fn answered(&mut self, Answer { key, answer }: Answer) {
        let stage = self.operator.name();
        if !self.calls.close(&key) {
            metrics::counter!("aegis_call_answers_total", "stage" => stage, "outcome" => "ignored").increment(1);
            return;
        }
        let outcome = if answer.is_ok() { "answered" } else { "failed" };
        metrics::counter!("aegis_call_answers_total", "stage" => stage, "outcome" => outcome).increment(1);
        self.outbox.set_room(self.calls.room());
        let mut cx = self.outbox.context(self.watermark);
        self.operator.on_answer(&key, answer, &mut cx);
        self.asked();
    }

    /// Takes over what the operator has just asked.
    fn asked(&mut self) {
        self.calls.ask(self.outbox.take_calls(), self.replay_until > Offset(0));
        self.outbox.set_room(self.calls.room());
    }

    /// Forget what replay produced; from here on everything is emitted.
    fn finish_restore(&mut self) {
        if self.replay_until > Offset(0) {
            self.replay_until = Offset(0);
            self.outbox.forget();
        }
    }

    /// Nothing visible is left to fetch. Replay may end before the committed offset is met by a record: a broker's
    /// transaction markers take the last offsets.
    fn catch_up(&mut self) {
        self.position = self.position.max(self.replay_until);
        self.finish_restore();
    }

    fn flush(&mut self) -> Result<Option<PartitionCommit>, TaskError> {
        if !self.wants_flush() {
            return Ok(None);
        }
        let news = self.news();
        let progress = news.map(|(watermark, idle)| Progress {
            stage: self.operator.name().to_owned(),
            partition: self.input.partition,
            watermark,
            idle,
            tick_at: match &self.time {
                EventTime::Ingress { now, ended: None, .. } => Some(*now),
                _ => None,
            },
        });
        // It says so with a position, even that of the first record: a sender of ours may write to the partition from then on.
        let announces = std::mem::take(&mut self.unannounced);
        let progress = match progress {
            None if announces => Some(Progress::announcement(self.operator.name(), self.input.partition)),
            other => other,
        };
        let outputs = self.outbox.drain(self.committed, self.position, progress.as_ref())?;
        self.told = news.or(self.told);
        Ok(Some(PartitionCommit {
            outputs,
            position: (announces || self.position > self.committed).then_some(self.position),
        }))
    }

    fn require_no_commit(&self, event: &'static str) -> Result<(), TaskError> {
        match self.in_flight {
            None => Ok(()),
            Some(_) => Err(TaskError::Order {
                stage: self.operator.name(),
                partition: self.input.partition,
                event,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
