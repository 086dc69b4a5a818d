//! The files that hold the records: `segments/NNN.log`, frame after frame, never changed once sealed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use stream::log::local::FetchLimit;
use stream::{Offset, Record};

use super::batch::{self, BatchError};
use super::catalog::Spot;

const FOLDER: &str = "segments";
/// Batches closer than this are read in one piece: what lies between costs less than another call.
const GAP_BYTES: u64 = 16 << 10;
/// Largest piece read at once.
const PIECE_BYTES: u64 = 4 << 20;

/// Why batches cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("segment file {file}: {cause}")]
    File { file: u64, cause: io::Error },
    #[error("record batch at offset {} in segment file {file}: {cause}", offset.0)]
    Batch {
        file: u64,
        offset: Offset,
        cause: BatchError,
    },
}

impl ReadError {
    /// The file went away: retention dropped or moved what it held.
    pub fn gone(&self) -> bool {
        matches!(self, ReadError::File { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

pub fn folder(log: &Path) -> PathBuf {
    log.join(FOLDER)
}

pub fn path(log: &Path, file: u64) -> PathBuf {
    folder(log).join(format!("{file:012}.log"))
}

/// The files that are there, by number, with their lengths.
pub fn list(log: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder(log))? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        if let Some(number) = number {
            files.push((number, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A new, empty file; its name is on the disk when this returns.
pub fn create(log: &Path, file: u64) -> io::Result<File> {
    let created = File::options().write(true).create_new(true).open(path(log, file))?;
    sync_names(log)?;
    Ok(created)
}

pub fn delete(log: &Path, file: u64) -> io::Result<()> {
    match std::fs::remove_file(path(log, file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_names(log: &Path) -> io::Result<()> {
    File::open(folder(log))?.sync_all()
}

/// The batches to read for records from `from` on within `limit`, at least one. `spots` are in the order of offsets and
/// end at `end`.
pub fn choose(spots: &[Spot], end: u64, from: Offset, limit: FetchLimit) -> Vec<Spot> {
    let first = spots.partition_point(|spot| spot.base <= from.0).saturating_sub(1);
    let (mut bytes, mut chosen) = (0, Vec::new());
    for (index, spot) in spots.iter().enumerate().skip(first) {
        let next = spots.get(index + 1).map_or(end, |next| next.base);
        if next <= from.0 {
            continue;
        }
        chosen.push(*spot);
        bytes += spot.length as usize;
        if bytes >= limit.bytes || next - from.0 >= limit.records as u64 {
            break;
        }
    }
    chosen
}

/// The batches at `spots` of one file, as bytes. Blocks.
pub fn batches(log: &Path, file: u64, spots: &[Spot]) -> Result<Vec<(Spot, Bytes)>, ReadError> {
    let failed = |cause| ReadError::File { file, cause };
    let open = File::open(path(log, file)).map_err(failed)?;
    let mut read = Vec::with_capacity(spots.len());
    let mut rest = spots;
    while let Some(first) = rest.first() {
        let began = u64::from(first.at);
        let (mut count, mut ended) = (1, began + u64::from(first.length));
        for spot in &rest[1..] {
            let (at, end) = (u64::from(spot.at), u64::from(spot.at) + u64::from(spot.length));
            // A copy made by retention may lie before what it follows.
            if at < ended || at - ended > GAP_BYTES || end - began > PIECE_BYTES {
                break;
            }
            (count, ended) = (count + 1, end);
        }
        let mut piece = vec![0; (ended - began) as usize];
        open.read_exact_at(&mut piece, began).map_err(failed)?;
        let piece = Bytes::from(piece);
        for spot in &rest[..count] {
            let at = (u64::from(spot.at) - began) as usize;
            read.push((*spot, piece.slice(at..at + spot.length as usize)));
        }
        rest = &rest[count..];
    }
    Ok(read)
}

/// The records from `from` on within `limit` in the batches at `spots` of one file. Blocks.
pub fn records(
    log: &Path,
    file: u64,
    spots: &[Spot],
    from: Offset,
    limit: FetchLimit,
) -> Result<Vec<Record>, ReadError> {
    let mut taken = Taken::new(from, limit);
    for (spot, bytes) in batches(log, file, spots)? {
        let offset = Offset(spot.base);
        let more = taken
            .add(&bytes)
            .map_err(|cause| ReadError::Batch { file, offset, cause })?;
        if !more {
            break;
        }
    }
    Ok(taken.records)
}

/// Records gathered from batches until a limit is reached.
pub struct Taken {
    from: Offset,
    limit: FetchLimit,
    bytes: usize,
    pub records: Vec<Record>,
}

impl Taken {
    pub fn new(from: Offset, limit: FetchLimit) -> Self {
        Taken {
            from,
            limit,
            bytes: 0,
            records: Vec::new(),
        }
    }

    /// False when full.
    pub fn add(&mut self, bytes: &Bytes) -> Result<bool, BatchError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_begins_at_the_batch_that_holds_the_offset_and_stays_within_the_limit() {
        let spots: Vec<Spot> = (0..5)
            .map(|n| Spot {
                base: 100 + n * 10,
                at: n as u32 * 50,
                length: 50,
            })
            .collect();
        let check = |from, records, bytes, bases: &[u64]| {
            let chosen = choose(&spots, 150, Offset(from), FetchLimit { records, bytes });
            let found: Vec<u64> = chosen.iter().map(|spot| spot.base).collect();
            assert_eq!(found, bases, "from {from}, {records} records, {bytes} bytes");
        };
        check(100, 1, 1, &[100]);
        check(115, 99, 9_999, &[110, 120, 130, 140]);
        check(115, 6, 9_999, &[110, 120]);
        check(115, 5, 9_999, &[110]);
        check(119, 99, 60, &[110, 120]);
        check(149, 99, 9_999, &[140]);
    }
}
