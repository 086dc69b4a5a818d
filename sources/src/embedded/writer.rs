//! The one thread that writes: it gives offsets, keeps the order and shares syncs.
//!
//! It takes what is queued as one round, writes each operation into the journal in order, syncs once if anybody
//! asked for durability, and answers. So concurrent appends share a sync, nobody waits for more than the round before
//! and its own, and since there is one journal written in order, whatever is durable has everything before it durable too.
//!
//! Records become visible when they are written, before the sync: only readers of this process see them, whose
//! commits come later in the same journal. Who acts outside asks for a sync first.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use bytes::Bytes;
use fjall::{OwnedWriteBatch, PersistMode, Slice};
use stream::log::local::Seat;
use stream::log::membership::lock;
use stream::{CommitError, Instant, LogError, Offset};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::{Encoded, Header};
use super::core::{Core, Partition, describe, position_key};
use super::segments::{self, Segment};

/// Operations in one round: more would let the first wait long for its answer.
const ROUND_OPERATIONS: usize = 2_048;
/// Bytes in one round, for the same reason.
const ROUND_BYTES: usize = 16 << 20;

/// Something to do, with who waits for it. The permit bounds what is queued.
pub struct Operation {
    pub work: Work,
    pub bytes: usize,
    pub permit: OwnedSemaphorePermit,
}

pub enum Work {
    Append {
        target: Target,
        done: oneshot::Sender<Result<Offset, LogError>>,
    },
    Commit {
        seat: Seat,
        outputs: Vec<Target>,
        positions: Vec<(Arc<Partition>, Offset)>,
        done: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Everything before is durable when this is answered.
    Sync {
        done: oneshot::Sender<Result<(), LogError>>,
    },
    /// Begin a new segment, so that the present one can be dropped.
    Roll {
        partition: Arc<Partition>,
        done: oneshot::Sender<Result<(), LogError>>,
    },
}

pub struct Target {
    pub partition: Arc<Partition>,
    pub batches: Vec<Encoded>,
}

/// An answer that waits for the round's sync or flush.
enum Answer {
    Offset(oneshot::Sender<Result<Offset, LogError>>, Offset),
    Commit(oneshot::Sender<Result<(), CommitError>>),
    Done(oneshot::Sender<Result<(), LogError>>),
}

/// Works until every sender is gone, then syncs.
pub fn run(core: Arc<Core>, operations: Receiver<Operation>) {
    let mut writer = Writer {
        core,
        failed: None,
        unsynced: false,
    };
    loop {
        let first = match writer.unsynced {
            true => operations.recv_timeout(writer.core.settings.commit_sync_interval.get()),
            false => operations.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(first) => writer.round(first, &operations),
            Err(RecvTimeoutError::Timeout) => {
                writer.persist(true);
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    writer.persist(true);
}

/// Batches of one partition, as they went into the journal.
type Written = (Arc<Partition>, Vec<(Header, Slice)>);

struct Writer {
    core: Arc<Core>,
    /// The first failed write. After it nothing is written: what reached the disk is unknown.
    failed: Option<String>,
    unsynced: bool,
}

impl Writer {
    fn round(&mut self, first: Operation, operations: &Receiver<Operation>) {
        let mut answers = Vec::new();
        let mut permits = Vec::new();
        let (mut bytes, mut sync) = (0, false);
        let mut next = Some(first);
        while let Some(operation) = next.take() {
            bytes += operation.bytes;
            permits.push(operation.permit);
            sync |= matches!(operation.work, Work::Append { .. } | Work::Sync { .. });
            answers.extend(self.work(operation.work));
            if bytes < ROUND_BYTES && permits.len() < ROUND_OPERATIONS {
                next = operations.try_recv().ok();
            }
        }
        self.persist(sync);
        for answer in answers {
            self.answer(answer);
        }
    }

    /// Flushes what was written since the last sync to the operating system, or to the disk.
    fn persist(&mut self, sync: bool) {
        if self.failed.is_some() || !self.unsynced {
            return;
        }
        let mode = if sync {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        match self.core.db.persist(mode) {
            Ok(()) => self.unsynced = !sync,
            Err(error) => self.fail("syncing the journal", &error),
        }
    }

    fn fail(&mut self, doing: &str, error: &fjall::Error) {
        let cause = describe(error);
        tracing::error!(folder = %self.core.folder.display(), doing, cause, "the log stops writing");
        self.unsynced = false;
        self.failed.get_or_insert(format!("{doing}: {cause}"));
    }

    fn failure(&self) -> Option<LogError> {
        self.failed
            .as_ref()
            .map(|cause| self.core.fatal("writing the log", cause))
    }

    fn answer(&self, answer: Answer) {
        let failed = || self.failure();
        // Who asked may have stopped waiting: then nobody needs the answer.
        match answer {
            Answer::Offset(done, offset) => drop(done.send(failed().map_or(Ok(offset), Err))),
            Answer::Done(done) => drop(done.send(failed().map_or(Ok(()), Err))),
            Answer::Commit(done) => {
                drop(done.send(failed().map_or(Ok(()), |error| Err(CommitError::Unknown(error.to_string())))));
            }
        }
    }

    fn work(&mut self, work: Work) -> Option<Answer> {
        match work {
            Work::Append { target, done } => {
                let offset = Offset(lock(&target.partition.state).end);
                self.write(vec![target], Vec::new());
                Some(Answer::Offset(done, offset))
            }
            Work::Commit {
                seat,
                outputs,
                positions,
                done,
            } => self.commit(&seat, outputs, positions, done),
            Work::Sync { done } => Some(Answer::Done(done)),
            Work::Roll { partition, done } => {
                if self.failed.is_none()
                    && let Err(error) = self.roll(&partition)
                {
                    self.fail("beginning a segment", &error);
                }
                Some(Answer::Done(done))
            }
        }
    }

    fn commit(
        &mut self,
        seat: &Seat,
        outputs: Vec<Target>,
        positions: Vec<(Arc<Partition>, Offset)>,
        done: oneshot::Sender<Result<(), CommitError>>,
    ) -> Option<Answer> {
        // Held until the positions stand: nobody becomes owner in between.
        let mut group = lock(&seat.group);
        let moved: Vec<_> = positions
            .iter()
            .map(|(partition, offset)| (partition.at.clone(), *offset))
            .collect();
        if let Err(cause) = group.may_commit(seat.member, &moved) {
            drop(done.send(Err(CommitError::Fenced(cause))));
            return None;
        }
        let stored = positions
            .iter()
            .map(|(p, offset)| (position_key(&seat.group_name, p), *offset))
            .collect();
        self.write(outputs, stored);
        if self.failed.is_none() {
            group.set_positions(moved);
        }
        Some(Answer::Commit(done))
    }

    /// Everything in one write batch, then visible.
    fn write(&mut self, targets: Vec<Target>, positions: Vec<(Vec<u8>, Offset)>) {
        if self.failed.is_some() {
            return;
        }
        match self.try_write(targets, positions) {
            Ok(()) => self.core.changed.notify_waiters(),
            Err(error) => self.fail("writing a batch", &error),
        }
    }

    fn try_write(&mut self, targets: Vec<Target>, positions: Vec<(Vec<u8>, Offset)>) -> fjall::Result<()> {
        let now = self.core.clock.now();
        let cache_share = self.core.cache_share();
        let mut entries = self.core.db.batch().durability(None);
        let mut written = Vec::new();
        for target in merged(targets) {
            self.stage(&mut entries, target, now, &mut written)?;
        }
        for (key, offset) in positions {
            entries.insert(&self.core.positions, key, offset.0.to_be_bytes());
        }
        entries.commit()?;
        self.unsynced = true;
        // All partitions at once: a reader that sees one output of a commit finds the others too.
        let mut locked: Vec<_> = written.iter().map(|(partition, _)| lock(&partition.state)).collect();
        for (state, (_, batches)) in locked.iter_mut().zip(&written) {
            for (header, value) in batches {
                state.publish(header, Bytes::from_owner(value.clone()), cache_share);
            }
        }
        Ok(())
    }

    fn stage(
        &self,
        entries: &mut OwnedWriteBatch,
        target: Target,
        now: Instant,
        written: &mut Vec<Written>,
    ) -> fjall::Result<()> {
        let segment = self.active_segment(&target.partition, now)?;
        let mut base = lock(&target.partition.state).end;
        let mut bytes_before = segment.bytes;
        // Never earlier than what it follows, whatever the clock does.
        let appended_at = now.max(segment.appended_at);
        let segment_began_at = segment.began_at.min(appended_at);
        let mut batches = Vec::with_capacity(target.batches.len());
        for batch in target.batches {
            let count = batch.count();
            let header = Header {
                base: Offset(base),
                appended_at,
                segment_began_at,
                segment_bytes_before: bytes_before,
                count,
            };
            let value = Slice::from(batch.seal(&header));
            base += u64::from(count);
            bytes_before += value.len() as u64;
            entries.insert(&segment.keyspace, header.base.0.to_be_bytes(), value.clone());
            batches.push((header, value));
        }
        written.push((target.partition, batches));
        Ok(())
    }

    /// The segment to write to: a new one when the last is full or began too long ago.
    fn active_segment(&self, partition: &Arc<Partition>, now: Instant) -> fjall::Result<Segment> {
        let settings = &self.core.settings;
        let last = lock(&partition.state).segments.back().cloned();
        if let Some(last) = last {
            let old = last.began_at != Instant::MAX && now.since(last.began_at) > settings.segment_age.get();
            if last.bytes < settings.segment.get() && !old {
                return Ok(last);
            }
        }
        self.roll(partition)
    }

    fn roll(&self, partition: &Arc<Partition>) -> fjall::Result<Segment> {
        let base = lock(&partition.state).end;
        let memtable = self.core.settings.memtable.get();
        let keyspace = segments::open(&self.core.db, partition.topic, &partition.at, base, memtable)?;
        let segment = Segment {
            base,
            keyspace,
            bytes: 0,
            began_at: Instant::MAX,
            appended_at: Instant::MIN,
        };
        let mut state = lock(&partition.state);
        let full = state.segments.back().map(|segment| segment.keyspace.clone());
        state.segments.push_back(segment.clone());
        drop(state);
        if let Some(full) = full {
            // Nothing more comes: its memory goes to the disk now and not when the journal grows too long.
            full.rotate_memtable()?;
        }
        Ok(segment)
    }
}

/// One target per partition, in the order of partitions, so that locks are taken in one order.
fn merged(targets: Vec<Target>) -> Vec<Target> {
    let mut merged: std::collections::BTreeMap<_, Target> = std::collections::BTreeMap::new();
    for target in targets.into_iter().filter(|target| !target.batches.is_empty()) {
        match merged.get_mut(&target.partition.at) {
            Some(known) => known.batches.extend(target.batches),
            None => drop(merged.insert(target.partition.at.clone(), target)),
        }
    }
    merged.into_values().collect()
}
