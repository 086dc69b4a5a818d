//! The log in a folder: topics, groups and commits without a broker.
//!
//! ```text
//! FORMAT      catalog/ (fjall: topics, positions, where batches lie)      segments/000000000007.log …
//! ```
//! Everything is written once, in order, frame after frame, into one segment file at a time, whatever topic it belongs to.
//! A full file is sealed: the catalog then knows where in it each partition's batches lie. See
//! `docs/adr/0008-segment-files.md`.
//!
//! * An append is on the disk (`fdatasync`) before it returns; concurrent appends share a sync.
//! * A commit is atomic over all its outputs and positions. It survives the end of the process at once, a power cut
//!   after the next sync ([`Log::sync`], any append, or [`EmbeddedSettings::commit_sync_interval`]).
//! * One file is written at a time, in order: what is durable has everything before it durable too.
//! * Every stored batch carries a checksum; a damaged one is an error that names partition and offset, never
//!   silently skipped.
//! * One process owns the folder. Group members live in this process; membership does not survive it, positions do.
//!
//! It does not replicate, and partitions cannot be added to a topic that exists. When a write or sync fails (a full
//! disk), the log stops writing until the process is restarted, because what reached the disk is unknown. When
//! writers outrun the disk, appends wait ([`EmbeddedSettings::queue`] bounds what waits in memory).
//!
//! Retention counts from the time of append, as the log's clock saw it: the records' own timestamps may lie in any year.

mod active;
mod batch;
mod catalog;
mod core;
mod files;
mod frame;
mod moving;
mod operation;
mod partition;
mod recovery;
mod retention;
mod writer;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};
use stream::log::local::{FetchLimit, LocalMember, LocalReader, Seat, Store};
use stream::log::membership::lock;
use stream::log::{Bounds, Topic};
use stream::time::WallClock;
use stream::{
    Clock, Commit, CommitError, Log, LogError, LogId, Member, NewRecord, Offset, Reader, Record, TopicPartition,
    TopicSpec,
};
use tokio::sync::{Notify, Semaphore, oneshot};

use self::catalog::PartKey;
use self::core::{Core, Partition};
use self::files::Taken;
use self::operation::{Operation, Target, Work};
use self::partition::Found;
pub use self::recovery::FORMAT_VERSION;
pub use self::retention::Dropped;

/// Largest record taken. Larger ones would hold up everybody behind them in the journal.
pub const MAX_RECORD_BYTES: usize = stream::log::memory::MAX_RECORD_BYTES;
/// The queue is counted in these.
const QUEUE_UNIT: usize = 1 << 10;

/// Settings of the embedded log. The defaults keep memory small and suit a few thousand alerts per second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedSettings {
    /// A segment file is sealed at this size. What retention drops goes when its file is sealed.
    pub segment: HumanSize,
    /// A segment file is also sealed when it is this old, so that slow topics have something to drop.
    pub segment_age: HumanDuration,
    /// Memory for the newest records of all partitions together, which most reads ask for. Zero turns it off.
    pub cache: HumanSize,
    /// Records waiting to be written; beyond it, appends wait.
    pub queue: HumanSize,
    /// A commit is synced this long after it was made at the latest.
    pub commit_sync_interval: HumanDuration,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        EmbeddedSettings {
            segment: HumanSize::mib(64),
            segment_age: HumanDuration::from_secs(24 * 3_600),
            cache: HumanSize::mib(8),
            queue: HumanSize::mib(32),
            commit_sync_interval: HumanDuration::from_secs(1),
        }
    }
}

/// A log in a folder. Clones share it; the folder is free again when the last clone, member and reader is gone.
#[derive(Clone)]
pub struct EmbeddedLog {
    store: Arc<EmbeddedStore>,
}

/// What members and readers hold.
struct EmbeddedStore {
    core: Arc<Core>,
    queue: Arc<Semaphore>,
    writer: Mutex<Option<(Sender<Operation>, JoinHandle<()>)>>,
    /// Held while retention works: one at a time.
    retaining: tokio::sync::Mutex<()>,
}

impl EmbeddedLog {
    /// Opens the log in `folder`, or creates it. [`LogError::Fatal`] when another process has it or it is damaged.
    pub async fn open(folder: impl AsRef<Path>, settings: EmbeddedSettings) -> Result<Self, LogError> {
        Self::open_with_clock(folder, settings, Arc::new(WallClock)).await
    }

    /// As [`EmbeddedLog::open`], with the clock that says when records are appended.
    pub async fn open_with_clock(
        folder: impl AsRef<Path>,
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LogError> {
        let folder = folder.as_ref().to_owned();
        let queue = Arc::new(Semaphore::new((settings.queue.as_usize() / QUEUE_UNIT).max(1)));
        let (core, active) = blocking(move || Core::open(folder, settings, clock)).await??;
        let core = Arc::new(core);
        let (sender, operations) = channel();
        let shared = core.clone();
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        let thread = thread.spawn(move || writer::run(shared, active, operations));
        let thread = thread.map_err(|error| core.fatal("starting the writer thread", error))?;
        let store = EmbeddedStore {
            core,
            queue,
            writer: Mutex::new(Some((sender, thread))),
            retaining: tokio::sync::Mutex::default(),
        };
        Ok(EmbeddedLog { store: Arc::new(store) })
    }

    /// Bytes on disk: segment files and catalog.
    pub async fn disk_bytes(&self) -> Result<u64, LogError> {
        let core = self.store.core.clone();
        blocking(move || {
            let failed = |cause: &dyn ToString| core.fatal("measuring the log", cause.to_string());
            let files = files::list(&core.folder).map_err(|error| failed(&error))?;
            let catalog = core.catalog.disk_bytes().map_err(|error| failed(&error))?;
            Ok(catalog + files.iter().map(|(_, length)| length).sum::<u64>())
        })
        .await?
    }
}

impl EmbeddedStore {
    /// Hands an operation to the writer and waits for the answer.
    async fn ask<T>(&self, bytes: usize, work: impl FnOnce(oneshot::Sender<T>) -> Work) -> Result<T, LogError> {
        let closed = || self.core.fatal("writing the log", "the writer thread has stopped");
        let largest = (self.core.settings.queue.as_usize() / QUEUE_UNIT).max(1);
        let units = (bytes / QUEUE_UNIT + 1).min(largest) as u32;
        let permit = self
            .queue
            .clone()
            .acquire_many_owned(units)
            .await
            .map_err(|_| closed())?;
        let (done, answer) = oneshot::channel();
        let operation = Operation {
            work: work(done),
            bytes,
            permit,
        };
        let sent = lock(&self.writer)
            .as_ref()
            .map(|(sender, _)| sender.send(operation).is_ok());
        if sent != Some(true) {
            return Err(closed());
        }
        answer.await.map_err(|_| closed())
    }

    fn target(&self, to: &TopicPartition, records: &[NewRecord]) -> Result<Target, LogError> {
        if let Some(size) = records
            .iter()
            .map(NewRecord::size)
            .max()
            .filter(|size| *size > MAX_RECORD_BYTES)
        {
            return Err(LogError::TooLarge {
                size,
                limit: MAX_RECORD_BYTES,
            });
        }
        Ok(Target {
            partition: self.core.partition(to)?,
            batches: batch::encode(records),
        })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        let writer = lock(&self.writer).take();
        if let Some((sender, thread)) = writer {
            drop(sender);
            // The thread syncs what is left; a panic of it was printed when it happened.
            drop(thread.join());
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LogError::Unavailable {
            doing: "working on the log's folder".to_owned(),
            cause: error.to_string(),
        })
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn fetch(&self, at: &TopicPartition, from: Offset, limit: FetchLimit) -> Result<Vec<Record>, LogError> {
        let partition = self.core.partition(at)?;
        loop {
            let found = lock(&partition.state).find(from, limit);
            let bad = |cause: &dyn ToString| {
                self.core
                    .fatal(&format!("reading {at} at offset {}", from.0), cause.to_string())
            };
            let (file, place) = match found {
                Found::Cached(batches) => {
                    let mut taken = Taken::new(from, limit);
                    for batch in &batches {
                        if !taken.add(batch).map_err(|cause| bad(&cause))? {
                            break;
                        }
                    }
                    return Ok(taken.records);
                }
                Found::End => return Ok(Vec::new()),
                Found::Gone { start } => {
                    return Err(LogError::OutOfRange {
                        partition: at.clone(),
                        offset: from,
                        start,
                    });
                }
                Found::File { file, spots } => (file, Ok(spots)),
                Found::Sealed { file, base, end } => {
                    let key = PartKey {
                        file,
                        topic: partition.topic,
                        partition: at.partition,
                        base,
                    };
                    (file, Err((key, end)))
                }
            };
            let core = self.core.clone();
            let read = blocking(move || {
                let spots = match place {
                    Ok(spots) => spots,
                    Err((key, end)) => match core.spots(key)? {
                        Some(spots) => files::choose(&spots, end, from, limit),
                        None => return Ok(None),
                    },
                };
                Ok::<_, LogError>(Some(files::records(&core.folder, file, &spots, from, limit)))
            });
            match read.await?? {
                Some(Ok(records)) => return Ok(records),
                // Retention dropped or moved it since: look again.
                None => {}
                Some(Err(error)) if error.gone() => {}
                Some(Err(error)) => return Err(bad(&error)),
            }
        }
    }

    fn bounds(&self, at: &TopicPartition) -> Result<Bounds, LogError> {
        let partition = self.core.partition(at)?;
        let state = lock(&partition.state);
        Ok(Bounds {
            start: Offset(state.start()),
            end: Offset(state.end),
        })
    }

    async fn commit(&self, seat: &Seat, commit: Commit) -> Result<(), CommitError> {
        let aborted = |error: LogError| CommitError::Aborted(error.to_string());
        let mut outputs: Vec<Target> = Vec::with_capacity(commit.outputs.len());
        for (to, records) in &commit.outputs {
            outputs.push(self.target(to, records).map_err(aborted)?);
        }
        let mut positions: Vec<(Arc<Partition>, Offset)> = Vec::with_capacity(commit.positions.len());
        for (at, offset) in &commit.positions {
            positions.push((self.core.partition(at).map_err(aborted)?, *offset));
        }
        let bytes = outputs
            .iter()
            .flat_map(|target| &target.batches)
            .map(batch::Encoded::len)
            .sum();
        let seat = seat.clone();
        let answer = self
            .ask(bytes, |done| Work::Commit {
                seat,
                outputs,
                positions,
                done,
            })
            .await;
        answer.unwrap_or_else(|error| Err(CommitError::Unknown(error.to_string())))
    }

    fn changed(&self) -> &Notify {
        &self.core.changed
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn id(&self) -> LogId {
        self.store.core.id.clone()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        let (core, topics) = (self.store.core.clone(), topics.to_vec());
        blocking(move || core.ensure_topics(&topics)).await?
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.store.core.topic(topic)?.partitions.len() as u32)
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        let target = self.store.target(to, &records)?;
        drop(records);
        let bytes = target.batches.iter().map(batch::Encoded::len).sum();
        self.store.ask(bytes, |done| Work::Append { target, done }).await?
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let mut wants = Vec::new();
        for topic in topics {
            wants.extend(
                self.store
                    .core
                    .topic(topic)?
                    .partitions
                    .iter()
                    .map(|partition| partition.at.clone()),
            );
        }
        let members = self.store.core.groups.group(group);
        Ok(Box::new(LocalMember::join(self.store.clone(), group, members, wants)))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(LocalReader::open(self.store.clone(), partition, from)?))
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.store.bounds(partition)
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.store.ask(0, |done| Work::Sync { done }).await?
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.store.core.partition(partition)?;
        let group = self.store.core.groups.group(group);
        let position = lock(&group).position(partition);
        Ok(position)
    }
}
