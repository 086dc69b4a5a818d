//! Moving what is kept out of files that hold little else, so that the files can go.
//!
//! All topics share the files, but not all are kept equally long. A file of which less than half is still kept is read
//! once more: those batches are copied, as they are, to the end of the log, and the copies take the place of the
//! originals. So a byte that is kept for ever is written again each time twice its amount of disk becomes free.
//!
//! A kill in between loses nothing: until the catalog has crossed an original out, it counts and its copies do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use stream::LogError;
use stream::log::membership::lock;

use super::batch;
use super::catalog::{PartKey, Spot};
use super::core::Partition;
use super::files::{self, ReadError};
use super::operation::Work;
use super::{EmbeddedLog, blocking};

/// Copied in one frame: more would hold up appends behind it.
const PIECE_BYTES: usize = 4 << 20;

impl EmbeddedLog {
    /// Moves what is kept out of sealed files that are mostly dropped, and deletes the files of which nothing is kept.
    pub(super) async fn reclaim(&self) -> Result<(), LogError> {
        let kept = self.kept();
        for (file, length) in self.store.core.sealed_files() {
            let parts = kept.get(&file).map_or(&[][..], Vec::as_slice);
            let bytes: u64 = parts.iter().map(|(_, _, bytes)| bytes).sum();
            if bytes * 2 >= length {
                continue;
            }
            for (partition, key, _) in parts {
                self.move_part(partition, *key).await?;
            }
            let core = self.store.core.clone();
            blocking(move || {
                files::delete(&core.folder, file).map_err(|error| core.fatal("deleting a segment file", error))?;
                core.forget_file(file);
                Ok::<(), LogError>(())
            })
            .await??;
        }
        Ok(())
    }

    /// What is kept in each file: the parts with their sizes.
    fn kept(&self) -> BTreeMap<u64, Vec<(Arc<Partition>, PartKey, u64)>> {
        let mut kept: BTreeMap<u64, Vec<_>> = BTreeMap::new();
        for topic in self.store.core.topics() {
            for partition in &topic.partitions {
                let state = lock(&partition.state);
                for part in state.parts() {
                    let key = part.key(partition.topic, partition.at.partition);
                    kept.entry(part.file)
                        .or_default()
                        .push((partition.clone(), key, part.bytes));
                }
            }
        }
        kept
    }

    async fn move_part(&self, partition: &Arc<Partition>, original: PartKey) -> Result<(), LogError> {
        let core = self.store.core.clone();
        let Some(spots) = blocking(move || core.spots(original)).await?? else {
            return Ok(());
        };
        let mut rest = &spots[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |spot: &&Spot| {
                let first = bytes == 0;
                bytes += spot.length as usize;
                first || bytes <= PIECE_BYTES
            };
            let count = rest.iter().take_while(fits).count();
            let piece = rest[..count].to_vec();
            rest = &rest[count..];
            let bytes = piece.iter().map(|spot| spot.length as usize).sum();
            let core = self.store.core.clone();
            let read = blocking(move || {
                let batches = files::batches(&core.folder, original.file, &piece)?;
                let checked = batches.into_iter().map(|(spot, bytes)| match batch::check(&bytes) {
                    Ok(header) => Ok((header, bytes)),
                    Err(cause) => Err(ReadError::Batch {
                        file: original.file,
                        offset: stream::Offset(spot.base),
                        cause,
                    }),
                });
                checked.collect::<Result<Vec<_>, ReadError>>()
            });
            let batches = read.await?.map_err(|error| {
                let doing = format!("moving {} out of segment file {}", partition.at, original.file);
                self.store.core.fatal(&doing, error)
            })?;
            let partition = partition.clone();
            let work = |done| Work::Copy {
                partition,
                original,
                batches,
                done,
            };
            self.store.ask(bytes, work).await??;
        }
        let partition = partition.clone();
        let work = |done| Work::Settle {
            partition,
            original,
            done,
        };
        self.store.ask(0, work).await?
    }
}
