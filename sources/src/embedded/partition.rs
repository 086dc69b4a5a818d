//! One partition: which files hold its batches, and its newest batches in memory.
//!
//! ```text
//!  start                                                   end
//!  │ part in file 3 │ part in file 4 │ part in file 9 (written to) │
//!                                              └─ cached tail ┘
//! ```
//! A part is a run of batches in one file; parts follow each other without a gap. Where the batches of the file that is
//! written to lie stands in memory, of a sealed file in the catalog.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use stream::log::local::FetchLimit;
use stream::{Instant, Offset};

use super::batch::Header;
use super::catalog::{PartKey, Spot, StoredPart};
use super::files::choose;

pub struct PartitionState {
    /// By first offset.
    parts: BTreeMap<u64, Part>,
    start: u64,
    /// Next offset to be written.
    pub end: u64,
    /// When the newest batch was appended.
    pub appended_at: Instant,
    tail: VecDeque<Cached>,
    tail_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Part {
    pub file: u64,
    pub base: u64,
    pub end: u64,
    pub bytes: u64,
    pub appended_at: Instant,
    pub spots: Spots,
}

/// Where the batches of a part lie.
#[derive(Clone, Debug)]
pub enum Spots {
    Here(Vec<Spot>),
    /// In the catalog: the file is sealed.
    Stored,
}

struct Cached {
    base: u64,
    bytes: Bytes,
}

/// Where records lie.
pub enum Found {
    /// In these batches, oldest first.
    Cached(Vec<Bytes>),
    /// In a file, at these places.
    File {
        file: u64,
        spots: Vec<Spot>,
    },
    /// In a sealed file; the catalog knows where. The part ends at `end`.
    Sealed {
        file: u64,
        base: u64,
        end: u64,
    },
    End,
    Gone {
        start: Offset,
    },
}

impl Part {
    pub fn new(file: u64, header: &Header, spot: Spot) -> Self {
        Part {
            file,
            base: spot.base,
            end: header.end(),
            bytes: u64::from(spot.length),
            appended_at: header.appended_at,
            spots: Spots::Here(vec![spot]),
        }
    }

    pub fn stored(key: PartKey, part: &StoredPart) -> Self {
        Part {
            file: key.file,
            base: key.base,
            end: part.end,
            bytes: part.bytes,
            appended_at: part.appended_at,
            spots: Spots::Stored,
        }
    }

    /// Takes in the batch that follows, if it lies in the same file that is still written to.
    pub fn extend(&mut self, file: u64, header: &Header, spot: Spot) -> bool {
        let Spots::Here(spots) = &mut self.spots else {
            return false;
        };
        if self.file != file || self.end != spot.base {
            return false;
        }
        spots.push(spot);
        self.end = header.end();
        self.bytes += u64::from(spot.length);
        self.appended_at = self.appended_at.max(header.appended_at);
        true
    }

    /// As the catalog keeps it; `None` when the catalog has it already.
    pub fn to_store(&self, topic: u32, partition: u32) -> Option<(PartKey, StoredPart, Vec<Spot>)> {
        let Spots::Here(spots) = &self.spots else {
            return None;
        };
        let stored = StoredPart {
            end: self.end,
            bytes: self.bytes,
            appended_at: self.appended_at,
        };
        Some((self.key(topic, partition), stored, spots.clone()))
    }

    pub fn key(&self, topic: u32, partition: u32) -> PartKey {
        PartKey {
            file: self.file,
            topic,
            partition,
            base: self.base,
        }
    }
}

impl PartitionState {
    /// A partition that starts (and so far ends) at `start`.
    pub fn empty(start: u64) -> Self {
        PartitionState {
            parts: BTreeMap::new(),
            start,
            end: start,
            appended_at: Instant::MIN,
            tail: VecDeque::new(),
            tail_bytes: 0,
        }
    }

    pub fn start(&self) -> u64 {
        self.start
    }

    /// Oldest first.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.values()
    }

    pub fn last_part(&self) -> Option<&Part> {
        self.parts.last_key_value().map(|(_, part)| part)
    }

    /// Puts a part in that is not there, while the log is opened or a part moves. The end follows.
    pub fn insert(&mut self, part: Part) {
        self.end = self.end.max(part.end);
        self.appended_at = self.appended_at.max(part.appended_at);
        self.parts.insert(part.base, part);
    }

    /// Whether a part holds `offset`.
    pub fn covers(&self, offset: u64) -> bool {
        let before = self.parts.range(..=offset).next_back();
        before.is_some_and(|(_, part)| part.end > offset)
    }

    /// Takes in a written batch: into the part that it continues, or as a part of its own.
    pub fn place(&mut self, file: u64, header: &Header, spot: Spot) {
        let before = self.parts.range_mut(..spot.base).next_back();
        let extended = before.is_some_and(|(_, part)| part.extend(file, header, spot));
        if !extended {
            self.parts.insert(spot.base, Part::new(file, header, spot));
        }
        self.end = self.end.max(header.end());
        self.appended_at = self.appended_at.max(header.appended_at);
    }

    /// Makes a written batch visible.
    pub fn publish(&mut self, file: u64, header: &Header, spot: Spot, bytes: Bytes, cache_bytes: usize) {
        self.place(file, header, spot);
        self.tail_bytes += bytes.len();
        self.tail.push_back(Cached {
            base: header.base.0,
            bytes,
        });
        while self.tail_bytes > cache_bytes
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= oldest.bytes.len();
        }
    }

    /// The first offset at which the parts do not follow each other.
    pub fn gap(&self) -> Option<u64> {
        let mut next = self.start;
        for part in self.parts.values() {
            if part.base != next {
                return Some(next);
            }
            next = part.end;
        }
        None
    }

    /// The parts are in the catalog now.
    pub fn mark_stored(&mut self) {
        for part in self.parts.values_mut() {
            part.spots = Spots::Stored;
        }
    }

    /// Takes the oldest part out of sight, if its file is sealed.
    pub fn drop_oldest(&mut self) -> Option<Part> {
        let (_, oldest) = self.parts.first_key_value()?;
        if !matches!(oldest.spots, Spots::Stored) {
            return None;
        }
        let (_, oldest) = self.parts.pop_first()?;
        self.start = oldest.end;
        while self.tail.front().is_some_and(|cached| cached.base < oldest.end)
            && let Some(cached) = self.tail.pop_front()
        {
            self.tail_bytes -= cached.bytes.len();
        }
        Some(oldest)
    }

    /// Puts copies in the place of the part that begins at `base` in `file`. False when that is gone.
    pub fn replace(&mut self, file: u64, base: u64, copies: Vec<Part>) -> bool {
        if self.parts.get(&base).is_none_or(|part| part.file != file) {
            return false;
        }
        self.parts.remove(&base);
        for part in copies {
            self.parts.insert(part.base, part);
        }
        true
    }

    pub fn find(&self, from: Offset, limit: FetchLimit) -> Found {
        if from.0 < self.start {
            let start = Offset(self.start);
            return Found::Gone { start };
        }
        if from.0 >= self.end {
            return Found::End;
        }
        if self.tail.front().is_some_and(|oldest| oldest.base <= from.0) {
            let first = self.tail.partition_point(|cached| cached.base <= from.0) - 1;
            // Not decoded here: the writer waits for whoever looks.
            let mut bytes = 0;
            let batches = self.tail.range(first..).take_while(|cached| {
                let full = bytes >= limit.bytes || cached.base >= from.0.saturating_add(limit.records as u64);
                let first = bytes == 0;
                bytes += cached.bytes.len();
                first || !full
            });
            return Found::Cached(batches.map(|cached| cached.bytes.clone()).collect());
        }
        match self.parts.range(..=from.0).next_back() {
            Some((_, part)) => match &part.spots {
                Spots::Here(spots) => Found::File {
                    file: part.file,
                    spots: choose(spots, part.end, from, limit),
                },
                Spots::Stored => Found::Sealed {
                    file: part.file,
                    base: part.base,
                    end: part.end,
                },
            },
            None => Found::End,
        }
    }
}
