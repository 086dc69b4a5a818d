//! A task's state on its way into snapshots and out of them.
//!
//! A snapshot leaves in pieces, so that a large state is never in memory twice: [`super::Event::Checkpoint`] gives one, the
//! driver takes it and asks again. With the last piece it is handed out, and the task goes on while it is being stored;
//! [`super::Event::Snapshotted`] says what became of it. Only then do the cells forget what changed before: what could not be
//! stored is in the next delta again, which starts where the last stored one stands.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{Event, EventTime, ReadObject, Restored, Task, TaskError};
use crate::operator::Operator;
use crate::partition::partition_for;
use crate::progress::Upstreams;
use crate::snapshot::{ChainBound, FrameWriter, Manifest, Piece, frames};
use crate::state::{Cursor, PART_BYTES, SavedCells, Scope, StateCell};
use crate::time::Instant;

/// Name of the kernel's own cell in a snapshot; operators may not use it. It is always whole.
pub(crate) const KERNEL_CELL: &str = "kernel.progress";

/// Entries that are not worth a base of their own: so many cost less than an object more.
const FEW: usize = 1_000;

/// What a task knows of its snapshots.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The last one stored or restored: what a delta extends.
    chain: Option<Arc<Manifest>>,
    /// Checksum of the kernel's cell in it.
    kernel: Option<u32>,
    /// Entries of all cells in its base, or at the last restore.
    base_entries: usize,
    /// Between its pieces.
    saving: Option<Saving>,
    /// Every piece was given out, and nobody has said that they are stored.
    handed_out: Option<Saving>,
    /// Cells seen while loading.
    seen: BTreeSet<String>,
}

/// A snapshot that is not stored yet.
#[derive(Debug)]
struct Saving {
    scope: Scope,
    kernel: u32,
    /// Of all cells.
    entries: usize,
    /// Index of the cell that goes on, and where.
    cell: usize,
    at: Cursor,
}

impl<O: Operator> Task<O> {
    /// The next piece of a snapshot. `None` when there is nothing to save: something is pending, or nothing changed.
    pub(super) fn next_piece(&mut self, bound: ChainBound) -> Result<Option<Piece>, TaskError> {
        let mut object = FrameWriter::default();
        if self.held.saving.is_none() {
            if self.position != self.committed || self.position < self.replay_until {
                return Ok(None);
            }
            let kernel = self.save_kernel()?;
            let checksum = crc32fast::hash(&kernel);
            let stands = self
                .held
                .chain
                .as_ref()
                .is_some_and(|chain| chain.offset == self.committed);
            let same = stands && self.held.kernel == Some(checksum);
            if same && !self.operator.cells().iter().any(|(_, cell)| cell.changed()) {
                return Ok(None);
            }
            let entries = self.entries();
            // What has doubled since is as much to write as a base, and a base would follow it anyway.
            let doubled = entries > 2 * self.held.base_entries.max(FEW);
            let grows = !doubled && self.held.chain.as_ref().is_some_and(|chain| chain.may_grow(bound));
            let filled: Result<(), TaskError> = object.frame(KERNEL_CELL, true, |out| {
                out.extend_from_slice(&kernel);
                Ok(())
            });
            filled?;
            self.held.saving = Some(Saving {
                scope: if grows { Scope::Delta } else { Scope::Base },
                kernel: checksum,
                entries,
                cell: 0,
                at: Cursor::default(),
            });
        }
        let last = self.fill(&mut object)?;
        let scope = self.held.saving.as_ref().map(|saving| saving.scope);
        if last {
            self.held.handed_out = self.held.saving.take();
            self.operator.cells().into_iter().for_each(|(_, cell)| cell.hand_out());
        }
        Ok(Some(Piece {
            identity: self.identity(),
            offset: self.committed,
            extends: self.held.chain.clone().filter(|_| scope == Some(Scope::Delta)),
            bytes: object.into_bytes().into(),
            last,
        }))
    }

    fn entries(&mut self) -> usize {
        self.operator.cells().iter().map(|(_, cell)| cell.entries()).sum()
    }

    /// Parts of the cells, until the object is large enough or the last cell is through (`true`).
    fn fill(&mut self, object: &mut FrameWriter) -> Result<bool, TaskError> {
        let (stage, partition) = (self.operator.name(), self.input.partition);
        let Some(saving) = &mut self.held.saving else {
            return Ok(true);
        };
        for (name, cell) in self.operator.cells().into_iter().skip(saving.cell) {
            loop {
                if object.len() >= PART_BYTES {
                    return Ok(false);
                }
                let before = object.len();
                let (scope, from) = (saving.scope, saving.at);
                let next = object
                    .frame(name, false, |out| cell.save_part(scope, from, out))
                    .map_err(|source| TaskError::State {
                        stage,
                        partition,
                        source,
                    })?;
                // A base names every cell, so that one that a program forgot to save is told from an empty one.
                if scope == Scope::Base && from == Cursor::default() && object.len() == before {
                    object.empty_part(name);
                }
                match next {
                    Some(next) => saving.at = next,
                    None => break,
                }
            }
            saving.cell += 1;
            saving.at = Cursor::default();
        }
        Ok(true)
    }

    pub(super) fn snapshotted(&mut self, stored: Option<Arc<Manifest>>) {
        // What was not handed out whole has changed nothing.
        self.held.saving = None;
        let Some(handed_out) = self.held.handed_out.take() else {
            return;
        };
        let cells = self.operator.cells().into_iter();
        let Some(manifest) = stored else {
            return cells.for_each(|(_, cell)| cell.take_back());
        };
        cells.for_each(|(_, cell)| cell.settle());
        self.held.chain = Some(manifest);
        self.held.kernel = Some(handed_out.kernel);
        if handed_out.scope == Scope::Base {
            self.held.base_entries = handed_out.entries;
        }
    }

    /// One object of a snapshot, on top of those before it.
    pub(super) fn load(&mut self, object: ReadObject) -> Result<(), TaskError> {
        let mut read = object.parts.into_iter();
        for frame in frames(&object.bytes).ok_or_else(|| self.no_object())? {
            self.held.seen.insert(frame.cell.to_owned());
            let part = read.next().flatten();
            if frame.cell == KERNEL_CELL {
                self.load_kernel(frame.bytes)?;
                continue;
            }
            let cells = self.operator.cells();
            let Some((_, cell)) = cells.into_iter().find(|(name, _)| *name == frame.cell) else {
                continue;
            };
            let loaded = match (part, frame.whole, frame.bytes.is_empty()) {
                (Some(part), ..) => cell.load_read(part),
                (None, true, _) => cell.load(frame.bytes),
                (None, false, true) => Ok(()),
                (None, false, false) => cell.load_part(frame.bytes),
            };
            loaded.map_err(|source| self.unreadable(source))?;
        }
        Ok(())
    }

    /// Loads the objects of a snapshot, and saves every cell whole: two snapshots of one state, however they were taken,
    /// give the same bytes.
    pub(crate) fn cells_of(&mut self, objects: &[Bytes]) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
        for object in objects {
            self.load(object.clone().into())?;
        }
        let mut cells = vec![(KERNEL_CELL.to_owned(), self.save_kernel()?)];
        let saved: Result<Vec<_>, _> = self
            .operator
            .cells()
            .into_iter()
            .map(|(name, cell)| {
                cell.settle();
                Ok((name.to_owned(), cell.save()?))
            })
            .collect();
        cells.extend(saved.map_err(|source| self.unreadable(source))?);
        Ok(cells)
    }

    /// Every object is loaded.
    pub(super) fn loaded(&mut self, snapshot: Restored) -> Result<(), TaskError> {
        let (stage, partition) = (self.operator.name(), self.input.partition);
        let seen = std::mem::take(&mut self.held.seen);
        let missing = |name: &str| TaskError::MissingCell {
            stage,
            partition,
            cell: name.to_owned(),
        };
        if !seen.contains(KERNEL_CELL) {
            return Err(missing(KERNEL_CELL));
        }
        for (name, cell) in self.operator.cells() {
            if !seen.contains(name) {
                return Err(missing(name));
            }
            cell.settle();
        }
        if let EventTime::Downstream(upstreams) = &self.time {
            self.watermark = upstreams.watermark();
        }
        self.held.kernel = Some(crc32fast::hash(&self.save_kernel()?));
        self.held.chain = snapshot.chain;
        self.held.base_entries = self.entries();
        Ok(())
    }

    /// All objects of a snapshot of another logic version.
    pub(super) fn migrate(&mut self, from: u32, objects: &[Bytes]) -> Result<(), TaskError> {
        let (stage, partition) = (self.operator.name(), self.input.partition);
        let mut saved = SavedCells::default();
        for object in objects {
            for frame in frames(object).ok_or_else(|| self.no_object())? {
                if frame.cell == KERNEL_CELL {
                    self.load_kernel(frame.bytes)?;
                    self.held.seen.insert(KERNEL_CELL.to_owned());
                } else if frame.whole || !frame.bytes.is_empty() {
                    saved.push(frame.cell, frame.whole, frame.bytes);
                }
            }
        }
        let to = self.operator.logic_version();
        self.operator
            .migrate(from, &saved)
            .map_err(|cause| TaskError::Migrate {
                stage,
                partition,
                from,
                to,
                cause,
            })?;
        let names: Vec<String> = self
            .operator
            .cells()
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        self.held.seen.extend(names);
        Ok(())
    }

    /// The state of the keys of this partition, out of all partitions of another partitioning. Event time stands where the one
    /// furthest behind stood: no row before that was to follow from any of them.
    pub(super) fn carry(&mut self, from: &[Vec<Bytes>], partitions: u32) -> Result<(), TaskError> {
        let (stage, own) = (self.operator.name(), self.input.partition);
        let mut watermark: Option<Instant> = None;
        for objects in from {
            let (mut saved, mut upstreams) = (SavedCells::default(), Upstreams::default());
            for object in objects {
                for frame in frames(object).ok_or_else(|| self.no_object())? {
                    if frame.cell == KERNEL_CELL {
                        upstreams.load(frame.bytes).map_err(|source| self.unreadable(source))?;
                    } else if frame.whole || !frame.bytes.is_empty() {
                        saved.push(frame.cell, frame.whole, frame.bytes);
                    }
                }
            }
            let at = upstreams.watermark();
            watermark = Some(watermark.map_or(at, |least| least.min(at)));
            self.operator
                .carry(&saved, &|key| partition_for(key, partitions) == own)
                .map_err(|cause| TaskError::Carry {
                    stage,
                    partition: own,
                    cause,
                })?;
        }
        if let (EventTime::Downstream(upstreams), Some(watermark)) = (&mut self.time, watermark) {
            *upstreams = std::mem::take(upstreams).carried(watermark);
        }
        self.held.seen.insert(KERNEL_CELL.to_owned());
        let names: Vec<String> = self
            .operator
            .cells()
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        self.held.seen.extend(names);
        Ok(())
    }

    pub(super) fn require_not_saving(&self, event: &Event) -> Result<(), TaskError> {
        let refused = match event {
            Event::Snapshotted(_) => false,
            Event::Checkpoint(_) => self.held.handed_out.is_some(),
            _ => self.held.saving.is_some(),
        };
        match refused {
            false => Ok(()),
            true => Err(TaskError::Saving {
                stage: self.operator.name(),
                partition: self.input.partition,
            }),
        }
    }

    /// Event time, and behind it the open questions.
    fn save_kernel(&self) -> Result<Vec<u8>, TaskError> {
        let saved = match &self.time {
            EventTime::Ingress { senders, .. } => senders.save(),
            EventTime::Downstream(upstreams) => upstreams.save(),
        };
        let mut bytes = saved.map_err(|source| self.unreadable(source))?;
        let calls = self.calls.save(&mut bytes);
        calls.map_err(|error| self.unreadable(error.into()))?;
        Ok(bytes)
    }

    fn load_kernel(&mut self, bytes: &[u8]) -> Result<(), TaskError> {
        let loaded = match &mut self.time {
            EventTime::Ingress { senders, .. } => postcard::take_from_bytes(bytes).map(|(saved, rest)| {
                *senders = saved;
                rest
            }),
            EventTime::Downstream(upstreams) => upstreams.take_from(bytes),
        };
        let calls = loaded.and_then(|rest| self.calls.load(rest));
        self.outbox.set_room(self.calls.room());
        calls.map_err(|error| self.unreadable(error.into()))
    }

    fn unreadable(&self, source: crate::state::StateError) -> TaskError {
        TaskError::State {
            stage: self.operator.name(),
            partition: self.input.partition,
            source,
        }
    }

    fn no_object(&self) -> TaskError {
        TaskError::Object {
            stage: self.operator.name(),
            partition: self.input.partition,
        }
    }
}
