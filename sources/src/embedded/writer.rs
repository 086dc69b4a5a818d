//! The one thread that writes: it gives offsets, keeps the order and shares syncs.
//!
//! It takes what is queued as one round, writes each operation into the file as one frame (appends that follow each other share one), in
//! order, syncs once if anybody asked for durability, and answers. So concurrent appends share a sync, nobody waits for more than the round
//! before and its own, and since one file is written at a time, whatever is durable has everything before it durable too.
//!
//! Records become visible when they are written, before the sync: only readers of this process see them, whose
//! commits come later in the same file. Who acts outside asks for a sync first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use bytes::Bytes;
use stream::log::local::Seat;
use stream::log::membership::lock;
use stream::{CommitError, LogError, Offset};
use tokio::sync::oneshot;

pub use super::active::Active;
use super::batch::{self, Header};
use super::catalog::{PartKey, Position, Sealing, Spot};
use super::core::{Core, Partition};
use super::frame::{BatchEntry, Directory, PositionEntry};
use super::operation::{Appended, Operation, Target, Work};
use super::partition::{Part, Spots};

/// Operations in one round: more would let the first wait long for its answer.
const ROUND_OPERATIONS: usize = 2_048;
/// Bytes in one round, for the same reason.
const ROUND_BYTES: usize = 16 << 20;
/// A file is sealed at this size at the latest: the places of its batches are 32 bits, and one more frame must fit.
const MAX_SEGMENT_BYTES: u64 = 2 << 30;

/// An answer that waits for the round's sync or flush.
enum Answer {
    Offset(Appended, Offset),
    Commit(oneshot::Sender<Result<(), CommitError>>),
    Done(oneshot::Sender<Result<(), LogError>>),
}

/// Works until every sender is gone, then syncs.
pub fn run(core: Arc<Core>, active: Active, operations: Receiver<Operation>) {
    let mut writer = Writer {
        core,
        active,
        failed: None,
        copies: Vec::new(),
    };
    loop {
        let first = match writer.restless() {
            true => operations.recv_timeout(writer.core.settings.commit_sync_interval.get()),
            false => operations.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(first) => writer.round(first, &operations),
            Err(RecvTimeoutError::Timeout) => writer.rest(),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    writer.rest();
    writer.persist();
}

struct Writer {
    core: Arc<Core>,
    active: Active,
    /// The first failed write. After it nothing is written: what reached the disk is unknown.
    failed: Option<String>,
    /// Copies that do not count yet, with what they are copies of.
    copies: Vec<(PartKey, Arc<Partition>, Part)>,
}

/// A batch ready to be written, and whose it is.
struct Sealed {
    partition: Arc<Partition>,
    header: Header,
    bytes: Bytes,
}

impl Writer {
    fn round(&mut self, first: Operation, operations: &Receiver<Operation>) {
        let (mut answers, mut appends) = (Vec::new(), Vec::new());
        let mut permits = Vec::new();
        let (mut bytes, mut sync) = (0, false);
        let mut next = Some(first);
        while let Some(operation) = next.take() {
            bytes += operation.bytes;
            permits.push(operation.permit);
            sync |= matches!(operation.work, Work::Append { .. } | Work::Sync { .. });
            match operation.work {
                Work::Append { target, done } => appends.push((target, done)),
                other => {
                    answers.extend(self.append(std::mem::take(&mut appends)));
                    answers.extend(self.work(other));
                }
            }
            if bytes < ROUND_BYTES && permits.len() < ROUND_OPERATIONS {
                next = operations.try_recv().ok();
            }
        }
        answers.extend(self.append(appends));
        if sync {
            self.persist();
        }
        for answer in answers {
            self.answer(answer);
        }
    }

    /// Appends that came one after another, in one frame: a write, and a call for the readers, costs more than most records do.
    fn append(&mut self, appends: Vec<(Target, Appended)>) -> Vec<Answer> {
        if appends.is_empty() {
            return Vec::new();
        }
        self.roll_if_due();
        let mut ends: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let (mut targets, mut answers) = (Vec::with_capacity(appends.len()), Vec::with_capacity(appends.len()));
        for (target, done) in appends {
            let partition = &target.partition;
            let end = ends.entry((partition.topic, partition.at.partition));
            let end = end.or_insert_with(|| lock(&partition.state).end);
            answers.push(Answer::Offset(done, Offset(*end)));
            *end += target.batches.iter().map(|batch| u64::from(batch.count())).sum::<u64>();
            targets.push(target);
        }
        self.write(targets, Vec::new());
        answers
    }

    /// Whether there is something to do when nobody asks for anything.
    fn restless(&self) -> bool {
        self.failed.is_none() && (self.active.unsynced() || self.active.untold())
    }

    /// Brings what was written to the disk, and says so in the file.
    fn rest(&mut self) {
        self.persist();
        if self.failed.is_none() && self.active.untold() {
            let told = self
                .active
                .write(self.core.catalog.secret, &mut Directory::default(), &[]);
            if let Err(error) = told {
                self.fail("writing", &error);
            }
        }
    }

    fn persist(&mut self) {
        if self.failed.is_some() || !self.active.unsynced() {
            return;
        }
        if let Err(error) = self.active.sync() {
            self.fail("syncing", &error);
        }
    }

    fn fail(&mut self, doing: &str, cause: &dyn ToString) {
        let file = self.active.file;
        let cause = cause.to_string();
        tracing::error!(folder = %self.core.folder.display(), file, doing, cause, "the log stops writing");
        self.failed
            .get_or_insert(format!("{doing} segment file {file}: {cause}"));
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
        // Before a commit takes the lock of its group, which sealing needs too.
        self.roll_if_due();
        match work {
            Work::Append { target, done } => self.append(vec![(target, done)]).pop(),
            Work::Commit {
                seat,
                outputs,
                positions,
                done,
            } => self.commit(&seat, outputs, positions, done),
            Work::Sync { done } => Some(Answer::Done(done)),
            Work::Roll { done } => {
                self.roll();
                Some(Answer::Done(done))
            }
            Work::Copy {
                partition,
                original,
                batches,
                done,
            } => {
                self.copy(&partition, original, batches);
                Some(Answer::Done(done))
            }
            Work::Settle {
                partition,
                original,
                done,
            } => {
                self.settle(&partition, original);
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
            .map(|(partition, offset)| PositionEntry {
                group: seat.group_name.to_string(),
                topic: partition.topic,
                partition: partition.at.partition,
                next: offset.0,
            })
            .collect();
        self.write(outputs, stored);
        if self.failed.is_none() {
            group.set_positions(moved);
        }
        Some(Answer::Commit(done))
    }

    /// Everything in one frame, then visible.
    fn write(&mut self, targets: Vec<Target>, positions: Vec<PositionEntry>) {
        if self.failed.is_some() || (positions.is_empty() && targets.iter().all(|target| target.batches.is_empty())) {
            return;
        }
        let now = self.core.clock.now();
        self.active.began_at.get_or_insert(now);
        let mut sealed = Vec::new();
        for target in merged(targets) {
            let (mut base, newest) = {
                let state = lock(&target.partition.state);
                (state.end, state.appended_at)
            };
            for batch in target.batches {
                let header = Header {
                    base: Offset(base),
                    // Never earlier than what it follows, whatever the clock does.
                    appended_at: now.max(newest),
                    count: batch.count(),
                };
                base = header.end();
                sealed.push(Sealed {
                    partition: target.partition.clone(),
                    bytes: batch.seal(&header),
                    header,
                });
            }
        }
        let spots = match self.write_frame(&sealed, positions, false) {
            Ok(spots) => spots,
            Err(error) => return self.fail("writing", &error),
        };
        let cache_share = self.core.cache_share();
        // All partitions at once: a reader that sees one output of a commit finds the others too.
        let mut rest = sealed.iter().zip(spots).peekable();
        let mut locked = Vec::new();
        while let Some((first, spot)) = rest.next() {
            let mut state = lock(&first.partition.state);
            state.publish(self.active.file, &first.header, spot, first.bytes.clone(), cache_share);
            while let Some((batch, spot)) = rest.next_if(|(batch, _)| Arc::ptr_eq(&batch.partition, &first.partition)) {
                state.publish(self.active.file, &batch.header, spot, batch.bytes.clone(), cache_share);
            }
            locked.push(state);
        }
        drop(locked);
        self.core.changed.notify_waiters();
    }

    fn write_frame(&mut self, batches: &[Sealed], positions: Vec<PositionEntry>, moved: bool) -> io::Result<Vec<Spot>> {
        let entry = |batch: &Sealed| BatchEntry {
            topic: batch.partition.topic,
            partition: batch.partition.at.partition,
            base: batch.header.base.0,
            length: batch.bytes.len() as u32,
            crc: batch::stored_crc(&batch.bytes).unwrap_or_default(),
        };
        let mut directory = Directory {
            moved,
            batches: batches.iter().map(entry).collect(),
            positions,
            ..Directory::default()
        };
        let payload: Vec<&Bytes> = batches.iter().map(|batch| &batch.bytes).collect();
        let mut at = self.active.write(self.core.catalog.secret, &mut directory, &payload)?;
        let spots = directory.batches.iter().map(|entry| {
            let spot = Spot {
                base: entry.base,
                at: at as u32,
                length: entry.length,
            };
            at += u64::from(entry.length);
            spot
        });
        Ok(spots.collect())
    }

    fn copy(&mut self, partition: &Arc<Partition>, original: PartKey, batches: Vec<(Header, Bytes)>) {
        if self.failed.is_some() {
            return;
        }
        let batches = batches.into_iter().map(|(header, bytes)| Sealed {
            partition: partition.clone(),
            header,
            bytes,
        });
        let batches: Vec<Sealed> = batches.collect();
        let spots = match self.write_frame(&batches, Vec::new(), true) {
            Ok(spots) => spots,
            Err(error) => return self.fail("writing", &error),
        };
        let file = self.active.file;
        for (batch, spot) in batches.iter().zip(spots) {
            let extended = match self.copies.last_mut() {
                Some((of, _, part)) if *of == original => part.extend(file, &batch.header, spot),
                _ => false,
            };
            if !extended {
                let part = Part::new(file, &batch.header, spot);
                self.copies.push((original, partition.clone(), part));
            }
        }
    }

    fn settle(&mut self, partition: &Arc<Partition>, original: PartKey) {
        self.persist();
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.core.catalog.forget(&[original], &[]) {
            return self.fail("crossing out what was copied to", &error);
        }
        let (copies, rest) = self.copies.drain(..).partition(|(of, ..)| *of == original);
        self.copies = rest;
        let parts = copies.into_iter().map(|(_, _, part)| part).collect();
        lock(&partition.state).replace(original.file, original.base, parts);
    }

    /// Another file when this one is full or old.
    fn roll_if_due(&mut self) {
        let settings = &self.core.settings;
        // Places in a file are 32 bits.
        let full = self.active.size >= settings.segment.get().min(MAX_SEGMENT_BYTES);
        let now = || self.core.clock.now();
        let old = self
            .active
            .began_at
            .is_some_and(|began| now().since(began) > settings.segment_age.get());
        if full || old {
            self.roll();
        }
    }

    fn roll(&mut self) {
        self.persist();
        if self.failed.is_some() || self.active.size == 0 {
            return;
        }
        if let Err(error) = self.seal() {
            return self.fail("sealing", &error);
        }
        match Active::create(&self.core.folder, self.active.file + 1) {
            Ok(next) => self.active = next,
            Err(error) => self.fail("creating the file after", &error),
        }
    }

    /// Puts into the catalog where the batches of this file lie, and where the groups stand at its end.
    fn seal(&mut self) -> Result<(), super::catalog::CatalogError> {
        let topics = self.core.topics();
        let mut sealing = Sealing {
            file: self.active.file,
            parts: Vec::new(),
            positions: Vec::new(),
        };
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            let state = lock(&partition.state);
            let parts = state
                .parts()
                .filter_map(|part| part.to_store(partition.topic, partition.at.partition));
            sealing.parts.extend(parts);
        }
        for (_, partition, part) in &self.copies {
            sealing
                .parts
                .extend(part.to_store(partition.topic, partition.at.partition));
        }
        for (group, state) in self.core.groups.all() {
            let state = lock(&state);
            for (at, next) in state.positions() {
                if let Ok(topic) = self.core.topic(&at.topic) {
                    sealing.positions.push(Position {
                        group: group.clone(),
                        topic: topic.number,
                        partition: at.partition,
                        next: *next,
                    });
                }
            }
        }
        self.core.catalog.seal(&sealing)?;
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            lock(&partition.state).mark_stored();
        }
        for (_, _, part) in &mut self.copies {
            part.spots = Spots::Stored;
        }
        self.core.sealed_sizes([(self.active.file, self.active.size)]);
        Ok(())
    }
}

/// One target per partition, in the order of partitions, so that locks are taken in one order.
fn merged(targets: Vec<Target>) -> Vec<Target> {
    let mut merged: BTreeMap<_, Target> = BTreeMap::new();
    for target in targets.into_iter().filter(|target| !target.batches.is_empty()) {
        match merged.get_mut(&target.partition.at) {
            Some(known) => known.batches.extend(target.batches),
            None => drop(merged.insert(target.partition.at.clone(), target)),
        }
    }
    merged.into_values().collect()
}
