//! One partition: its segments on disk and its newest batches in memory.
//!
//! ```text
//!  start                                            end
//!  │ segment 0 │ segment 4711 │ segment 9000 (active) │
//!                                      └─ cached tail ┘
//! ```
//! A segment is a keyspace of its own, named by topic, partition and first offset, so that retention drops whole
//! files and never deletes one record at a time. Segments follow each other without a gap.

use std::collections::VecDeque;
use std::ops::Bound;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};
use stream::log::local::FetchLimit;
use stream::{Instant, Offset, Record, TopicPartition};

use super::batch::{self, BatchError, Header};

/// Values above this go to value files, so that compaction moves only their addresses.
const SEPARATE_ABOVE_BYTES: u32 = 1 << 10;
/// Value files are cut here; a segment has a few.
const VALUE_FILE_BYTES: u64 = 64 << 20;

pub struct PartitionState {
    /// Never empty once something was appended; the last one is written to.
    pub segments: VecDeque<Segment>,
    /// Next offset to be written.
    pub end: u64,
    tail: VecDeque<Cached>,
    tail_bytes: usize,
}

#[derive(Clone)]
pub struct Segment {
    pub base: u64,
    pub keyspace: Keyspace,
    pub bytes: u64,
    pub began_at: Instant,
    /// When its newest batch was appended.
    pub appended_at: Instant,
}

struct Cached {
    base: u64,
    bytes: Bytes,
}

/// Where records lie.
pub enum Found {
    Records(Vec<Record>),
    /// On disk, below the visible `end`.
    Disk {
        keyspace: Keyspace,
        end: u64,
    },
    End,
    Gone {
        start: Offset,
    },
    Bad(Offset, BatchError),
}

/// A batch that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    Store(#[from] fjall::Error),
    #[error("record batch at offset {}: {cause}", offset.0)]
    Batch { offset: Offset, cause: BatchError },
}

impl PartitionState {
    pub fn empty() -> Self {
        PartitionState {
            segments: VecDeque::new(),
            end: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
        }
    }

    pub fn start(&self) -> u64 {
        self.segments.front().map_or(self.end, |segment| segment.base)
    }

    /// Makes a written batch visible.
    pub fn publish(&mut self, header: &Header, bytes: Bytes, cache_bytes: usize) {
        self.end = header.base.0 + u64::from(header.count);
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = header.segment_bytes_before + bytes.len() as u64;
            segment.began_at = header.segment_began_at;
            segment.appended_at = header.appended_at;
        }
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

    /// Takes the oldest segment out of sight, unless it is the one that is written to.
    pub fn drop_oldest(&mut self) -> Option<Segment> {
        let start = self.segments.get(1)?.base;
        while self.tail.front().is_some_and(|cached| cached.base < start)
            && let Some(oldest) = self.tail.pop_front()
        {
            self.tail_bytes -= oldest.bytes.len();
        }
        self.segments.pop_front()
    }

    pub fn find(&self, from: Offset, limit: FetchLimit) -> Found {
        if from.0 < self.start() {
            return Found::Gone {
                start: Offset(self.start()),
            };
        }
        if from.0 >= self.end {
            return Found::End;
        }
        if self.tail.front().is_some_and(|oldest| oldest.base <= from.0) {
            let first = self.tail.partition_point(|cached| cached.base <= from.0) - 1;
            let mut taken = Taken::new(from, limit);
            for cached in self.tail.range(first..) {
                match taken.add(&cached.bytes) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(cause) => return Found::Bad(Offset(cached.base), cause),
                }
            }
            return Found::Records(taken.records);
        }
        let index = self.segments.partition_point(|segment| segment.base <= from.0);
        match index.checked_sub(1).and_then(|index| self.segments.get(index)) {
            Some(segment) => Found::Disk {
                keyspace: segment.keyspace.clone(),
                end: self.end,
            },
            None => Found::End,
        }
    }
}

/// Records gathered from batches until a limit is reached.
struct Taken {
    from: Offset,
    limit: FetchLimit,
    bytes: usize,
    records: Vec<Record>,
}

impl Taken {
    fn new(from: Offset, limit: FetchLimit) -> Self {
        Taken {
            from,
            limit,
            bytes: 0,
            records: Vec::new(),
        }
    }

    /// False when full.
    fn add(&mut self, bytes: &Bytes) -> Result<bool, BatchError> {
        for record in batch::decode(bytes)? {
            if record.offset < self.from {
                continue;
            }
            self.bytes += record.size();
            let full = self.records.len() >= self.limit.records || self.bytes > self.limit.bytes;
            if full && !self.records.is_empty() {
                return Ok(false);
            }
            self.records.push(record);
        }
        Ok(true)
    }
}

/// Reads from one segment. Blocks on the disk.
pub fn read(keyspace: &Keyspace, from: Offset, end: u64, limit: FetchLimit) -> Result<Vec<Record>, ReadError> {
    let first = match keyspace.range(..=from.0.to_be_bytes()).next_back() {
        Some(entry) => entry.key()?,
        None => return Ok(Vec::new()),
    };
    let mut taken = Taken::new(from, limit);
    let visible = (
        Bound::Included(first.to_vec()),
        Bound::Excluded(end.to_be_bytes().to_vec()),
    );
    for entry in keyspace.range::<Vec<u8>, _>(visible) {
        let (key, value) = entry.into_inner()?;
        let offset = key_offset(&key);
        if !taken
            .add(&Bytes::from_owner(value))
            .map_err(|cause| ReadError::Batch { offset, cause })?
        {
            break;
        }
    }
    Ok(taken.records)
}

/// The newest batch of a segment, checked. `None` in an empty segment.
pub fn newest(keyspace: &Keyspace) -> Result<Option<(Header, u64)>, ReadError> {
    let Some(entry) = keyspace.last_key_value() else {
        return Ok(None);
    };
    let (key, value) = entry.into_inner()?;
    let offset = key_offset(&key);
    let header = batch::check(&value).map_err(|cause| ReadError::Batch { offset, cause })?;
    Ok(Some((header, header.segment_bytes_before + value.len() as u64)))
}

fn key_offset(key: &[u8]) -> Offset {
    let mut bytes = [0; 8];
    let known = key.len().min(8);
    bytes[..known].copy_from_slice(&key[..known]);
    Offset(u64::from_be_bytes(bytes))
}

pub fn segment_name(topic: u32, partition: u32, base: u64) -> String {
    format!("segment.{topic:08x}.{partition:08x}.{base:016x}")
}

/// The reverse of [`segment_name`]; `None` for other keyspaces.
pub fn parse_name(name: &str) -> Option<(u32, u32, u64)> {
    let mut parts = name.strip_prefix("segment.")?.split('.');
    let topic = u32::from_str_radix(parts.next()?, 16).ok()?;
    let partition = u32::from_str_radix(parts.next()?, 16).ok()?;
    Some((topic, partition, u64::from_str_radix(parts.next()?, 16).ok()?))
}

pub fn open(db: &Database, topic: u32, at: &TopicPartition, base: u64, memtable: u64) -> fjall::Result<Keyspace> {
    db.keyspace(&segment_name(topic, at.partition, base), || {
        let values = KvSeparationOptions::default()
            .separation_threshold(SEPARATE_ABOVE_BYTES)
            .file_target_size(VALUE_FILE_BYTES);
        KeyspaceCreateOptions::default()
            .max_memtable_size(memtable)
            .manual_journal_persist(true)
            .with_kv_separation(Some(values))
    })
}
