//! The file that is written to.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use stream::Instant;

use super::files;
use super::frame::{self, Directory};

/// Batches up to this size are gathered in one buffer before the write; larger ones are written from where they are.
const GATHERED_BYTES: usize = 64 << 10;

/// Where the writer stands in its file.
pub struct Active {
    pub file: u64,
    handle: File,
    /// Bytes written.
    pub size: u64,
    /// Bytes known to be on the disk.
    synced: u64,
    /// The last `synced` that a frame in the file tells.
    told: u64,
    /// When its first frame was written by this process.
    pub began_at: Option<Instant>,
    buffer: Vec<u8>,
}

impl Active {
    pub fn create(log: &Path, file: u64) -> io::Result<Self> {
        Ok(Active::new(file, files::create(log, file)?, 0))
    }

    /// Goes on in a file whose frames end at `end`; what lies behind is cut off.
    pub fn reopen(log: &Path, file: u64, end: u64) -> io::Result<Self> {
        let handle = File::options().append(true).open(files::path(log, file))?;
        if handle.metadata()?.len() > end {
            handle.set_len(end)?;
        }
        handle.sync_all()?;
        Ok(Active::new(file, handle, end))
    }

    fn new(file: u64, handle: File, size: u64) -> Self {
        Active {
            file,
            handle,
            size,
            synced: size,
            told: 0,
            began_at: None,
            buffer: Vec::new(),
        }
    }

    /// Writes a frame; `directory.synced_to` is filled in here. Returns where the payload begins.
    pub fn write(&mut self, secret: u128, directory: &mut Directory, batches: &[&Bytes]) -> io::Result<u64> {
        directory.synced_to = self.synced;
        let place = frame::Place {
            secret,
            file: self.file,
            at: self.size,
        };
        let head = frame::head(directory, place).map_err(io::Error::other)?;
        let payload_at = self.size + head.len() as u64;
        self.buffer.clear();
        self.buffer.extend_from_slice(&head);
        for batch in batches {
            if batch.len() <= GATHERED_BYTES {
                self.buffer.extend_from_slice(batch);
                continue;
            }
            self.handle.write_all(&self.buffer)?;
            self.buffer.clear();
            self.handle.write_all(batch)?;
        }
        self.handle.write_all(&self.buffer)?;
        self.size = payload_at + directory.payload();
        self.told = self.synced;
        Ok(payload_at)
    }

    pub fn unsynced(&self) -> bool {
        self.synced < self.size
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.handle.sync_data()?;
        self.synced = self.size;
        Ok(())
    }

    /// Whether no frame tells yet what is on the disk: then damage to the last frame could not be told from a torn write.
    pub fn untold(&self) -> bool {
        self.told < self.synced
    }
}
