//! How manifests and objects look in bytes, and the single file of format 1.
//!
//! ```text
//! manifest   "AEGM" · format u8 · length u32 LE · body (postcard) · CRC32 LE of the body
//! object     "AEGO" · format u8 · frames; length and CRC32 of the whole stand in the manifest
//! frame      length of the name u8 · name of the cell · kind u8 · length u32 LE · bytes
//! format 1   "AEGS" · 1 · length u32 LE · body (postcard) · CRC32 LE of the body
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{FORMAT, Identity, Manifest, Object};
use crate::log::Offset;

const MANIFEST: &[u8; 4] = b"AEGM";
const OBJECT: &[u8; 4] = b"AEGO";
const SINGLE: &[u8; 4] = b"AEGS";
/// Format 1: everything in one file.
const SINGLE_FORMAT: u8 = 1;

/// A part of a cell in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub cell: &'a str,
    /// Whether the bytes are the whole cell in the form of [`crate::state::StateCell::save`]; otherwise a part.
    pub whole: bool,
    pub bytes: &'a [u8],
}

/// What bytes turned out to be.
#[derive(Debug)]
pub enum Decoded<T> {
    Good(T),
    Torn,
    /// Of a format that this program does not know.
    Newer(u8),
}

/// Writes an object.
#[derive(Debug)]
pub struct FrameWriter {
    bytes: Vec<u8>,
}

impl Default for FrameWriter {
    fn default() -> Self {
        let mut bytes = OBJECT.to_vec();
        bytes.push(FORMAT);
        FrameWriter { bytes }
    }
}

impl FrameWriter {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no frame yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= OBJECT.len() + 1
    }

    /// A frame without bytes: the cell is known and empty.
    pub fn empty_part(&mut self, cell: &str) {
        self.head(cell, false);
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// One frame, filled by `fill`; if it appends nothing, there is no frame.
    pub fn frame<R, E>(
        &mut self,
        cell: &str,
        whole: bool,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<R, E>,
    ) -> Result<R, E> {
        let start = self.bytes.len();
        self.head(cell, whole);
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let filled_from = self.bytes.len();
        let result = fill(&mut self.bytes)?;
        let length = self.bytes.len() - filled_from;
        if length == 0 {
            self.bytes.truncate(start);
        } else {
            self.bytes[length_at..filled_from].copy_from_slice(&(length as u32).to_le_bytes());
        }
        Ok(result)
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn head(&mut self, cell: &str, whole: bool) {
        // Names of cells are literals in the code; none comes near 255 bytes.
        let name = &cell.as_bytes()[..cell.len().min(255)];
        self.bytes.push(name.len() as u8);
        self.bytes.extend_from_slice(name);
        self.bytes.push(u8::from(whole));
    }
}

/// The frames of an object; `None` when the bytes are none.
pub fn frames(object: &[u8]) -> Option<Vec<Frame<'_>>> {
    let rest = object.strip_prefix(OBJECT)?;
    let (format, mut rest) = rest.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let mut frames = Vec::new();
    while let Some((name_length, after)) = rest.split_first() {
        let (cell, after) = after.split_at_checked(usize::from(*name_length))?;
        let (kind, after) = after.split_first()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        frames.push(Frame {
            cell: std::str::from_utf8(cell).ok()?,
            whole: *kind == 1,
            bytes,
        });
        rest = after;
    }
    Some(frames)
}

pub fn encode_manifest(manifest: &Manifest) -> Result<Vec<u8>, postcard::Error> {
    let body = postcard::to_stdvec(manifest)?;
    let mut out = Vec::with_capacity(body.len() + 13);
    out.extend_from_slice(MANIFEST);
    out.push(FORMAT);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    Ok(out)
}

/// Torn also when its objects do not join into one state.
pub fn decode_manifest(bytes: &[u8]) -> Decoded<Arc<Manifest>> {
    match body_of(bytes, MANIFEST, FORMAT) {
        Decoded::Good(body) => match postcard::from_bytes::<Manifest>(body) {
            Ok(manifest) if joined(&manifest) => Decoded::Good(Arc::new(manifest)),
            _ => Decoded::Torn,
        },
        Decoded::Torn => Decoded::Torn,
        Decoded::Newer(found) => Decoded::Newer(found),
    }
}

/// A base, then deltas that each start where the one before ends, up to the manifest's offset.
fn joined(manifest: &Manifest) -> bool {
    let Some(first) = manifest.objects.first().filter(|first| first.from.is_none()) else {
        return false;
    };
    let mut before = first;
    for object in &manifest.objects[1..] {
        let goes_on = object.sequence == before.sequence
            && (object.from, object.to) == (before.from, before.to)
            && object.number == before.number + 1;
        let next = object.sequence > before.sequence && object.from == Some(before.to) && object.number == 0;
        if !goes_on && !next {
            return false;
        }
        before = object;
    }
    before.to == manifest.offset
}

/// The one file of format 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct Single {
    pub topology: String,
    pub stage: String,
    pub partition: u32,
    pub logic_version: u32,
    pub offset: Offset,
    pub cells: Vec<(String, Vec<u8>)>,
}

impl Single {
    /// As a manifest with the file as its only object.
    pub fn manifest(&self, bytes: u64) -> Arc<Manifest> {
        Arc::new(Manifest {
            identity: Identity {
                topology: self.topology.clone(),
                stage: self.stage.clone(),
                partition: self.partition,
                logic_version: self.logic_version,
                settings: None,
            },
            offset: self.offset,
            sequence: 0,
            objects: vec![Object {
                sequence: 0,
                number: 0,
                from: None,
                to: self.offset,
                bytes,
                crc: 0,
            }],
        })
    }

    /// Its cells as an object of today.
    pub fn into_object(self) -> Vec<u8> {
        let mut out = FrameWriter::default();
        for (cell, bytes) in &self.cells {
            let filled: Result<(), std::convert::Infallible> = out.frame(cell, true, |to| {
                to.extend_from_slice(bytes);
                Ok(())
            });
            let Ok(()) = filled;
        }
        out.into_bytes()
    }
}

pub fn decode_single(bytes: &[u8]) -> Decoded<Single> {
    match body_of(bytes, SINGLE, SINGLE_FORMAT) {
        Decoded::Good(body) => postcard::from_bytes(body).map_or(Decoded::Torn, Decoded::Good),
        Decoded::Torn => Decoded::Torn,
        Decoded::Newer(found) => Decoded::Newer(found),
    }
}

fn body_of<'a>(bytes: &'a [u8], magic: &[u8; 4], known: u8) -> Decoded<&'a [u8]> {
    let Some((format, rest)) = bytes.strip_prefix(magic).and_then(<[u8]>::split_first) else {
        return Decoded::Torn;
    };
    if *format > known {
        return Decoded::Newer(*format);
    }
    let body = || {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let crc = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        (*format == known && crc32fast::hash(body) == crc).then_some(body)
    };
    body().map_or(Decoded::Torn, Decoded::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(sequence: u64, number: u32, from: Option<u64>, to: u64) -> Object {
        Object {
            sequence,
            number,
            from: from.map(Offset),
            to: Offset(to),
            bytes: 1,
            crc: 0,
        }
    }

    #[test]
    fn objects_must_join() {
        let check = |objects: &[Object], offset, good: bool| {
            let manifest = Manifest {
                identity: Identity {
                    topology: "t".into(),
                    stage: "s".into(),
                    partition: 0,
                    logic_version: 1,
                    settings: None,
                },
                offset: Offset(offset),
                sequence: 9,
                objects: objects.to_vec(),
            };
            let bytes = encode_manifest(&manifest).unwrap();
            let decoded = matches!(decode_manifest(&bytes), Decoded::Good(_));
            assert_eq!(decoded, good, "{objects:?}");
        };
        let base = [object(1, 0, None, 5), object(1, 1, None, 5)];
        check(&base, 5, true);
        check(&base, 6, false);
        check(&base[1..], 5, true);
        let with = |more: &[Object]| [&base, more].concat();
        check(&with(&[object(2, 0, Some(5), 7), object(2, 1, Some(5), 7)]), 7, true);
        check(&with(&[object(2, 0, Some(5), 7), object(4, 0, Some(7), 7)]), 7, true);
        check(&with(&[object(2, 0, Some(6), 7)]), 7, false);
        check(&with(&[object(2, 1, Some(5), 7)]), 7, false);
        check(&[object(2, 0, Some(0), 7)], 7, false);
        check(&[], 0, false);
    }

    #[test]
    fn frames_come_back_and_cut_ones_do_not() {
        let mut writer = FrameWriter::default();
        for (cell, whole, bytes) in [("a", false, &b"xyz"[..]), ("none", false, b""), ("kernel", true, b"k")] {
            writer
                .frame(cell, whole, |out| {
                    out.extend_from_slice(bytes);
                    Ok::<_, ()>(())
                })
                .unwrap();
        }
        let bytes = writer.into_bytes();
        let found = frames(&bytes).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].cell, found[0].whole, found[0].bytes),
            ("a", false, &b"xyz"[..])
        );
        assert_eq!(
            (found[1].cell, found[1].whole, found[1].bytes),
            ("kernel", true, &b"k"[..])
        );
        assert_eq!(frames(&bytes[..bytes.len() - 1]), None);
    }
}
