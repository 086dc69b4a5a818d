//! Memory for large objects that are read one behind the other.
//!
//! A restore reads hundreds of objects of some 8 MiB each, a few at a time. Memory that is fresh for each of them costs more than reading it:
//! the system clears every page and maps it. Here a buffer that is no longer needed serves the next object; when none is in use
//! any more, all are given back.

use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::log::membership::lock;

/// Shorter objects are not worth it.
const LARGE: u64 = 1 << 20;

/// Clones share what is spare.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    in_use: usize,
    spare: Vec<Vec<u8>>,
}

/// The content of an object; its memory goes home when nobody looks at it any more.
struct Content {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// Reads a file of `length` bytes, or what there is of it.
    pub fn read(&self, file: File, length: u64) -> std::io::Result<Bytes> {
        let read = |into: &mut Vec<u8>| {
            into.clear();
            into.reserve_exact(length as usize);
            file.take(length).read_to_end(into)
        };
        if length < LARGE {
            let mut bytes = Vec::new();
            read(&mut bytes)?;
            return Ok(bytes.into());
        }
        let mut content = self.content();
        read(&mut content.bytes)?;
        Ok(Bytes::from_owner(content))
    }

    fn content(&self) -> Content {
        let mut shared = lock(&self.0);
        shared.in_use += 1;
        Content {
            bytes: shared.spare.pop().unwrap_or_default(),
            home: self.clone(),
        }
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let mut shared = lock(&self.home.0);
        shared.in_use -= 1;
        if shared.in_use == 0 {
            shared.spare = Vec::new();
        } else {
            shared.spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_buffer_serves_again_and_none_stays() {
        let file = |length: usize, byte: u8| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&vec![byte; length]).unwrap();
            (file.reopen().unwrap(), length as u64)
        };
        let buffers = Buffers::default();
        let read = |(file, length)| buffers.read(file, length).unwrap();
        let counts = || {
            let shared = lock(&buffers.0);
            (shared.in_use, shared.spare.len())
        };
        assert_eq!(read(file(10, 1)), [1; 10][..]);
        assert_eq!(counts(), (0, 0), "small ones are not counted");
        let first = read(file(2 << 20, 1));
        let second = read(file(3 << 20, 2));
        drop(first);
        assert_eq!(counts(), (1, 1));
        let third = read(file(1 << 20, 3));
        assert_eq!(counts(), (2, 0));
        assert_eq!((third.len(), third[0], third[third.len() - 1]), (1 << 20, 3, 3));
        assert_eq!((second.len(), second[0]), (3 << 20, 2));
        drop((second, third));
        assert_eq!(counts(), (0, 0), "all memory is given back");
        // A file that was cut meanwhile.
        let (cut, length) = file(1 << 20, 4);
        assert_eq!(read((cut, 2 * length)).len(), 1 << 20);
    }
}
