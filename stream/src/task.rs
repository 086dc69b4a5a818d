//! The runner of one partition task: a state machine without I/O. `step(event)` returns the effects that a driver
//! carries out; nothing in here spawns, sleeps, reads a clock or draws a random number, so a simulator can drive the
//! very same code.
//!
//! Life of a task: `Assigned` → (restore: replay without emitting up to the committed position) → `Fetched`… → `Flush`
//! → commit → `Committed` or `Aborted` → … → `Revoked`. Between `Flush` and its answer nothing else is fed in; an
//! aborted commit is sent again with the same outputs, the operator never runs twice over the same input. Before `Assigned`
//! a snapshot may be loaded, object by object; a `Checkpoint` gives a snapshot out piece by piece (module `state`).

mod outbox;
mod state;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::accounting::Accounting;
use crate::call::CallError;
use crate::log::{NewRecord, Offset, Record, Topic, TopicPartition};
use crate::operator::{CallRequest, MigrateError, Operator};
use crate::progress::{IngressPolicy, Progress, Senders, Upstreams, is_data_for, progress_of};
use crate::snapshot::{ChainBound, Identity, Manifest, Piece};
use crate::state::StateError;
use crate::time::Instant;

use outbox::Outbox;
pub use outbox::{DeadLetters, Refused};
use state::Held;
pub(crate) use state::KERNEL_CELL;

/// Where a stage gets event time from.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// The first stage: senders and the wall clock.
    Ingress(IngressPolicy),
    /// Every other stage: Progress records of a fixed number of upstream partitions.
    Downstream { upstream_partitions: u32 },
    /// The same, where several stages write to the input, each with as many tasks.
    Confluence {
        stages: &'static [&'static str],
        partitions: u32,
    },
}

/// What a task needs to know about the topology around it.
#[derive(Clone)]
pub struct TaskSettings {
    /// Hash of the topology; names snapshots.
    pub topology: String,
    pub role: Role,
    /// Main output and its partition count.
    pub output: (Topic, u32),
    /// Partition counts of every topic a record may be sent to on the side, dead letters and accounting included.
    pub sides: Vec<(Topic, u32)>,
    pub accounting: Topic,
    pub dead_letters: DeadLetters,
    /// Event time must have moved this far before Progress alone is worth a commit.
    pub progress_step: Duration,
}

/// What happened, as told by the driver.
#[derive(Debug)]
pub enum Event {
    /// One object of the snapshot to start from, before `Assigned`.
    Load(Bytes),
    /// All objects of a snapshot of logic version `from`, before `Assigned`: the operator migrates them.
    Migrate {
        from: u32,
        objects: Vec<Bytes>,
    },
    /// The partition is this task's. `start` is the first offset the log still has.
    Assigned {
        committed: Option<Offset>,
        start: Offset,
        snapshot: Option<Restored>,
    },
    /// The next records, in order.
    Fetched(Vec<Record>),
    /// The wall clock (ingress only acts on it); `drained`: everything visible has been fetched.
    Tick {
        now: Instant,
        drained: bool,
    },
    /// Nothing more will come on this replay clock. With `past`, event time goes this far past the newest event.
    End {
        past: Option<Duration>,
    },
    /// Commit what is pending.
    Flush,
    Committed,
    /// Nothing of the commit happened; send it again.
    Aborted,
    Answered {
        key: String,
        answer: Result<Bytes, CallError>,
    },
    /// Take a snapshot now (nothing may be pending), or give the next piece of the one being taken.
    Checkpoint(ChainBound),
    /// The snapshot's last piece is stored under this manifest, or `None`: it could not be stored. Until one of the two is
    /// known nothing else is fed in.
    Snapshotted(Option<Arc<Manifest>>),
}

/// The snapshot that was loaded.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Where its state stands.
    pub offset: Offset,
    /// What the next delta may extend; `None`: the next snapshot is a base.
    pub chain: Option<Arc<Manifest>>,
}

/// Outputs and position of one partition, to be committed in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionCommit {
    pub outputs: Vec<(TopicPartition, Vec<NewRecord>)>,
    /// New position (next offset to read); `None` if only Progress goes out.
    pub position: Option<Offset>,
}

/// What the driver must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Seek(Offset),
    Commit(PartitionCommit),
    Snapshot(Piece),
    Call(CallRequest),
}

/// A defect, or state that cannot be used: the stage stops, nothing of the pending work is committed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{stage}/{partition}: {source}")]
    State {
        stage: &'static str,
        partition: u32,
        source: StateError,
    },
    #[error("{stage}/{partition}: snapshot misses state cell {cell}")]
    MissingCell {
        stage: &'static str,
        partition: u32,
        cell: String,
    },
    #[error("{stage}/{partition}: an object of the snapshot is none of ours, though its checksum is right")]
    Object { stage: &'static str, partition: u32 },
    #[error(
        "{stage}/{partition}: state of logic version {from} cannot be taken over by version {to}: {cause}; nothing was written: go on with the previous program, or use a release that migrates from it"
    )]
    Migrate {
        stage: &'static str,
        partition: u32,
        from: u32,
        to: u32,
        cause: MigrateError,
    },
    #[error("{stage}/{partition}: fed while a snapshot is being taken")]
    Saving { stage: &'static str, partition: u32 },
    #[error("{stage}/{partition}: output cannot be encoded: {cause}")]
    Encode {
        stage: &'static str,
        partition: u32,
        cause: String,
    },
    #[error("{stage}/{partition}: topic {topic} is not part of the topology")]
    UnknownTopic {
        stage: &'static str,
        partition: u32,
        topic: Topic,
    },
    #[error("{stage}/{partition}: conservation broken between {from:?} and {to:?}: {counts:?}")]
    Conservation {
        stage: &'static str,
        partition: u32,
        from: Offset,
        to: Offset,
        counts: Box<Accounting>,
    },
    #[error("{stage}/{partition}: {event} while a commit is in flight")]
    Order {
        stage: &'static str,
        partition: u32,
        event: &'static str,
    },
}

enum EventTime {
    Ingress {
        senders: Senders,
        policy: IngressPolicy,
        now: Instant,
        drained: bool,
        idle: bool,
        ended: Option<Option<Duration>>,
    },
    Downstream(Upstreams),
}

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
            Role::Confluence { stages, partitions } => EventTime::Downstream(Upstreams::of_several(stages, partitions)),
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
            held: Held::default(),
        }
    }

    /// The one entry. See [`Event`] and [`Effect`].
    pub fn step(&mut self, event: Event) -> Result<Vec<Effect>, TaskError> {
        let mut effects = Vec::new();
        self.require_not_saving(&event)?;
        match event {
            Event::Load(object) => self.load(&object)?,
            Event::Migrate { from, objects } => self.migrate(from, &objects)?,
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
                effects.extend(self.outbox.take_calls().into_iter().map(Effect::Call));
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
            Event::Answered { key, answer } => {
                self.require_no_commit("answered")?;
                let mut cx = self.outbox.context(self.watermark);
                self.operator.on_answer(&key, answer, &mut cx);
                effects.extend(self.outbox.take_calls().into_iter().map(Effect::Call));
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
            && (self.position > self.committed || !self.outbox.is_empty() || self.news().is_some())
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
        if !is_data_for(record, self.operator.name()) {
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

    /// Event time may have moved (ingress).
    fn advance(&mut self) {
        let EventTime::Ingress {
            senders,
            policy,
            now,
            drained,
            idle,
            ended,
        } = &mut self.time
        else {
            return;
        };
        let next = match ended {
            Some(past) => {
                // What was read in an earlier replay has had its say then (ADR 21).
                *idle = !senders.read_anything();
                senders.end(*past, policy).unwrap_or(self.watermark)
            }
            None if *now == Instant::MIN => return,
            None => {
                let (next, _) = senders.tick(*now, *drained, policy);
                for (sender, trouble) in senders.new_trouble(*now, *drained, policy) {
                    let (stage, cause) = (self.operator.name(), trouble.cause());
                    tracing::debug!(
                        stage,
                        partition = self.input.partition,
                        sender,
                        cause,
                        "a sender's time"
                    );
                    metrics::counter!("aegis_sender_trouble_total", "stage" => stage, "cause" => cause).increment(1);
                }
                next
            }
        };
        if next > self.watermark {
            self.raise(next);
        }
    }

    fn raise(&mut self, watermark: Instant) {
        self.watermark = watermark;
        let mut cx = self.outbox.context(watermark);
        self.operator.on_watermark(watermark, &mut cx);
    }

    /// Watermark (held back for what the operator owes) and idleness, if they are worth telling downstream.
    fn news(&self) -> Option<(Instant, bool)> {
        let (idle, ended) = match &self.time {
            EventTime::Ingress { idle, ended, .. } => (*idle, ended.is_some()),
            // Only the ingress stage may call a partition idle, and only at the end of a replay: while anything may still
            // come, the word could be overtaken by it (ADRs 6 and 11). A later stage hears every upstream partition in each of its
            // own, so it always has a watermark to tell; were it to say "do not wait for me", the next stage could run
            // past rows that stand in this one's input but have not been read yet.
            EventTime::Downstream(_) => (false, false),
        };
        if self.watermark == Instant::MIN && !idle {
            return None;
        }
        let watermark = self
            .operator
            .owes()
            .map_or(self.watermark, |owed| owed.min(self.watermark));
        let worth = match self.told {
            None => true,
            Some((told, was_idle)) => {
                let moved = watermark > told;
                idle != was_idle
                    || (ended && moved)
                    || (moved && watermark >= told.saturating_add(self.settings.progress_step))
                    || (moved && self.position > self.committed)
            }
        };
        worth.then_some((watermark, idle))
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
        let outputs = self.outbox.drain(self.committed, self.position, progress.as_ref())?;
        self.told = news.or(self.told);
        Ok(Some(PartitionCommit {
            outputs,
            position: (self.position > self.committed).then_some(self.position),
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
