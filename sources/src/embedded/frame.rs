//! A frame: everything that one append or commit writes, in one piece. It is there as a whole or not at all.
//!
//! ```text
//! magic 4 | crc32 4 of what follows up to the payload | directory length 4 | payload length 8 | directory | payload
//! ```
//! The directory (postcard) lists the batches of the payload with their checksums, and the positions that move. So
//! one checksum binds everything together, and a batch is hashed once. The checksum also covers the [`Place`] that
//! the frame was written to and the log's own secret number: bytes copied from elsewhere are no frame, and neither are
//! bytes that a stranger sends us in a body to look like one.

use serde::{Deserialize, Serialize};

use super::batch::{self, BatchError};

const MAGIC: [u8; 4] = *b"AEF1";
const CRC_AT: usize = 4;
const DIRECTORY_LENGTH_AT: usize = 8;
const PAYLOAD_LENGTH_AT: usize = 12;
pub const HEADER_BYTES: usize = 20;
/// A directory longer than this is not one: it bounds what a damaged length makes us read.
const MAX_DIRECTORY_BYTES: usize = 64 << 20;

/// Where a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log's secret number.
    pub secret: u128,
    pub file: u64,
    pub at: u64,
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The file was on the disk up to here when this frame was written.
    pub synced_to: u64,
    /// Copies of batches whose file is about to go; where the original still stands, it counts.
    pub moved: bool,
    pub batches: Vec<BatchEntry>,
    pub positions: Vec<PositionEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEntry {
    pub topic: u32,
    pub partition: u32,
    pub base: u64,
    pub length: u32,
    pub crc: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionEntry {
    pub group: String,
    pub topic: u32,
    pub partition: u32,
    pub next: u64,
}

/// Header and directory; the payload's batches follow as they are.
pub fn head(directory: &Directory, place: Place) -> Result<Vec<u8>, postcard::Error> {
    let payload: u64 = directory.batches.iter().map(|batch| u64::from(batch.length)).sum();
    let mut bytes = vec![0; HEADER_BYTES];
    bytes = postcard::to_extend(directory, bytes)?;
    let length = (bytes.len() - HEADER_BYTES) as u32;
    bytes[..CRC_AT].copy_from_slice(&MAGIC);
    bytes[DIRECTORY_LENGTH_AT..PAYLOAD_LENGTH_AT].copy_from_slice(&length.to_le_bytes());
    bytes[PAYLOAD_LENGTH_AT..HEADER_BYTES].copy_from_slice(&payload.to_le_bytes());
    let crc = checksum(&bytes[DIRECTORY_LENGTH_AT..], place);
    bytes[CRC_AT..DIRECTORY_LENGTH_AT].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The lengths that a header states. Not yet to be trusted: only the checksum, which covers the directory too, tells.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    pub directory: usize,
    pub payload: u64,
}

/// `None` when these bytes do not begin like a frame.
pub fn lengths(header: &[u8]) -> Option<Lengths> {
    let header = header.first_chunk::<HEADER_BYTES>()?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let directory = number(DIRECTORY_LENGTH_AT) as usize;
    let payload = u64::from(number(PAYLOAD_LENGTH_AT)) | u64::from(number(PAYLOAD_LENGTH_AT + 4)) << 32;
    (header[..CRC_AT] == MAGIC && directory <= MAX_DIRECTORY_BYTES).then_some(Lengths { directory, payload })
}

/// Reads the directory of a frame; `bytes` begin with its header. `None`: no frame was written at `place`, or not all of
/// its directory.
pub fn directory(bytes: &[u8], place: Place) -> Option<Directory> {
    let lengths = lengths(bytes)?;
    let covered = bytes.get(DIRECTORY_LENGTH_AT..HEADER_BYTES + lengths.directory)?;
    let stored = u32::from_le_bytes(*bytes.get(CRC_AT..)?.first_chunk()?);
    if checksum(covered, place) != stored {
        return None;
    }
    let directory: Directory = postcard::from_bytes(&covered[HEADER_BYTES - DIRECTORY_LENGTH_AT..]).ok()?;
    (directory.payload() == lengths.payload).then_some(directory)
}

/// The first batch of the payload that is not what the directory says, with why.
pub fn first_bad_batch(directory: &Directory, payload: &[u8]) -> Option<(usize, BatchError)> {
    let mut at = 0;
    for (index, entry) in directory.batches.iter().enumerate() {
        let rest = payload.get(at..).unwrap_or_default();
        let batch = &rest[..rest.len().min(entry.length as usize)];
        match batch::check(batch) {
            Ok(header) if header.base.0 == entry.base && batch::stored_crc(batch) == Some(entry.crc) => {}
            // A sound batch, but another one.
            Ok(_) => {
                let computed = batch::stored_crc(batch).unwrap_or_default();
                let stored = entry.crc;
                return Some((index, BatchError::Checksum { stored, computed }));
            }
            Err(cause) => return Some((index, cause)),
        }
        at += entry.length as usize;
    }
    None
}

/// Whether a frame somewhere in `bytes`, the end of a file from `place` on, says that the file was synced beyond
/// `place`. Asked when a frame is bad: what was synced cannot be the torn tail of a power cut.
pub fn synced_beyond(bytes: &[u8], place: Place) -> bool {
    memchr::memmem::find_iter(bytes, &MAGIC).any(|start| {
        let there = Place {
            at: place.at + start as u64,
            ..place
        };
        directory(&bytes[start..], there).is_some_and(|directory| directory.synced_to > place.at)
    })
}

impl Directory {
    /// Bytes of all batches.
    pub fn payload(&self) -> u64 {
        self.batches.iter().map(|batch| u64::from(batch.length)).sum()
    }
}

fn checksum(bytes: &[u8], place: Place) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.secret.to_le_bytes());
    hasher.update(&place.file.to_le_bytes());
    hasher.update(&place.at.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stream::{Instant, NewRecord, Offset};

    use super::super::batch::{Header, encode};
    use super::*;

    const HERE: Place = Place {
        secret: 0x5ec2e7,
        file: 3,
        at: 4_711,
    };

    fn sample() -> (Directory, Vec<u8>) {
        let mut directory = Directory {
            synced_to: 4_800,
            ..Directory::default()
        };
        let mut payload = Vec::new();
        for partition in 0..2 {
            let record = NewRecord {
                value: Bytes::from(vec![partition as u8; 40]),
                ..NewRecord::default()
            };
            let header = Header {
                base: Offset(9),
                appended_at: Instant(1),
                count: 1,
            };
            let batch = encode(&[record]).remove(0).seal(&header);
            directory.batches.push(BatchEntry {
                topic: 3,
                partition,
                base: 9,
                length: batch.len() as u32,
                crc: batch::stored_crc(&batch).expect("crc"),
            });
            payload.extend_from_slice(&batch);
        }
        directory.positions.push(PositionEntry {
            group: "aegis.dedupe".into(),
            topic: 1,
            partition: 0,
            next: 10,
        });
        let mut bytes = head(&directory, HERE).expect("head");
        bytes.extend(payload);
        (directory, bytes)
    }

    /// The directory, if the whole frame is sound.
    fn read(bytes: &[u8], place: Place) -> Option<Directory> {
        let found = directory(bytes, place)?;
        let payload = &bytes[HEADER_BYTES + lengths(bytes)?.directory..];
        first_bad_batch(&found, payload).is_none().then_some(found)
    }

    #[test]
    fn what_goes_in_comes_out_and_what_follows_does_not_matter() {
        let (directory, mut bytes) = sample();
        bytes.extend([0xAE; 33]);
        assert_eq!(read(&bytes, HERE), Some(directory));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let (_, bytes) = sample();
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            assert_eq!(read(&broken, HERE), None, "byte {at}");
            assert_eq!(read(&bytes[..at], HERE), None, "cut at {at}");
        }
    }

    #[test]
    fn a_frame_is_none_at_another_place_or_in_another_log() {
        let (_, bytes) = sample();
        for elsewhere in [
            Place { at: 4_710, ..HERE },
            Place { file: 4, ..HERE },
            Place { secret: 0, ..HERE },
        ] {
            assert_eq!(read(&bytes, elsewhere), None, "{elsewhere:?}");
        }
    }

    #[test]
    fn a_later_frame_tells_how_far_the_file_was_synced() {
        let (_, frame) = sample();
        let mut bytes = vec![1; 50];
        bytes.extend(frame);
        let began = |at| Place { at, ..HERE };
        assert!(synced_beyond(&bytes, began(4_711 - 50)));
        let (directory, _) = sample();
        let late = head(&directory, Place { at: 5_000, ..HERE }).expect("head");
        assert!(!synced_beyond(&late, began(5_000)), "it speaks of bytes before itself");
    }
}
