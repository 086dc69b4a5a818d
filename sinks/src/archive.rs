//! The Parquet archive: signals, incident facts and log lines as files that any tool reads.
//!
//! `TOPIC/date=YYYY-MM-DD/TOPIC-PARTITION-START-NEXT.parquet` holds the rows of the log's offsets `[START, NEXT)` of one
//! partition; the date is the day (UTC) on which Aegis observed the file's first row. The names are the sink's position:
//! a file is written under a temporary name, synced, and renamed, so it is there whole or not at all, and no two files
//! cover the same offset. Ranges without any row (progress records) leave no file; a small `.position` file says how far
//! they reach.
//!
//! Rows wait in memory until a file is worth writing (`roll_rows`, `roll_bytes`, `roll_interval`, all partitions
//! together never more than `buffer_bytes`); [`ArchiveSink::position`] speaks of written files only, so what waited is
//! read again after a crash. Age is looked at whenever something is written: an idle sink keeps its rows until the next
//! record or [`Sink::close`]. Somebody who wants to read what waits asks for it by a [`Flush`].
//!
//! One process owns a folder (lock file). Full disks are [`SinkError::Unavailable`]. Not here: compaction, deletion,
//! object stores.

pub mod columns;
mod files;
mod lines;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use model::topics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};
use stream::log::Topic;
use stream::{LogId, Offset, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

use files::Folder;

/// The archive of signals, incident facts and log lines as Parquet files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveSettings {
    /// Whether to keep one.
    pub enabled: bool,
    /// Its folder. Empty: `archive` in the data folder.
    pub path: String,
    /// A file is written when it has this many rows. Higher: better compression, more memory, more to read again after a crash.
    pub roll_rows: usize,
    /// A file is written when its rows take this much memory.
    pub roll_bytes: HumanSize,
    /// A file is written when its first row has waited this long.
    pub roll_interval: HumanDuration,
    /// Memory for the waiting rows of all partitions together; beyond it everything is written.
    pub buffer_bytes: HumanSize,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        ArchiveSettings {
            enabled: true,
            path: String::new(),
            roll_rows: 100_000,
            roll_bytes: HumanSize::mib(16),
            roll_interval: HumanDuration::from_secs(300),
            buffer_bytes: HumanSize::mib(32),
        }
    }
}

impl ArchiveSettings {
    /// The folder, once the data folder is known.
    pub fn path_in(&self, data_dir: &Path) -> PathBuf {
        if self.path.is_empty() {
            data_dir.join("archive")
        } else {
            PathBuf::from(&self.path)
        }
    }
}

/// Rows of `[start, next)` of one partition that are in no file yet.
struct Buffer {
    start: Offset,
    next: Offset,
    rows: Vec<RecordBatch>,
    row_count: usize,
    bytes: usize,
    since: Instant,
}

/// Asks the sink to write what waits, and tells when it has. Shared between the sink and those who ask.
#[derive(Debug, Default)]
pub struct Flush {
    asked: AtomicU64,
    done: AtomicU64,
}

impl Flush {
    /// Asks. With the next records, or Progress, that the sink gets everything is written. `true`: it was, within `patience`.
    pub async fn ask(&self, patience: Duration) -> bool {
        let ours = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let written = async {
            while self.done.load(Ordering::SeqCst) < ours {
                tokio::time::sleep(FLUSH_POLL).await;
            }
        };
        tokio::time::timeout(patience, written).await.is_ok()
    }
}

/// Between two looks at whether a flush is done.
const FLUSH_POLL: Duration = Duration::from_millis(20);

/// The sink. One instance owns the folder.
pub struct ArchiveSink {
    settings: ArchiveSettings,
    flush: Arc<Flush>,
    folder: Folder,
    buffers: BTreeMap<TopicPartition, Buffer>,
}

/// Where the archive in `folder` stands, by what is written. Reads only, also while somebody writes.
pub fn positions(folder: &Path) -> std::io::Result<BTreeMap<TopicPartition, Offset>> {
    files::positions(folder)
}

impl ArchiveSink {
    pub const NAME: &'static str = "archive";
    /// Its name as a reader of the log, in dead letters and what is sent again on account of them.
    pub const STAGE: &'static str = "sink.archive";

    /// Opens (and makes) `folder`; refuses one that another process owns. Left-over temporary files are deleted.
    pub fn open(folder: &Path, settings: ArchiveSettings) -> Result<Self, SinkError> {
        let folder = Folder::open(folder).map_err(|e| SinkError::Fatal {
            sink: Self::NAME.into(),
            cause: e.to_string(),
        })?;
        Ok(ArchiveSink {
            settings,
            flush: Arc::default(),
            folder,
            buffers: BTreeMap::new(),
        })
    }

    /// Answers to `flush`.
    pub fn with_flush(self, flush: Arc<Flush>) -> Self {
        ArchiveSink { flush, ..self }
    }

    /// Where the sink would go on writing: after the waiting rows.
    fn standing(&self, partition: &TopicPartition) -> Option<Offset> {
        self.buffers
            .get(partition)
            .map(|buffer| buffer.next)
            .or_else(|| self.folder.position(partition))
    }

    /// Nothing is taken unless everything continues where its partition stands.
    fn check_continuity(&mut self, batches: &[SinkBatch]) -> Result<(), SinkError> {
        let mut standing: BTreeMap<&TopicPartition, Option<Offset>> = BTreeMap::new();
        let mut broken = None;
        for batch in batches {
            let stands = standing
                .entry(&batch.partition)
                .or_insert_with(|| self.standing(&batch.partition));
            if stands.is_some_and(|at| at != batch.start) {
                broken = Some(batch);
                break;
            }
            *stands = Some(batch.next);
        }
        let Some(batch) = broken else { return Ok(()) };
        // The runner will ask for the position, which speaks of files only: what waits will come again.
        self.buffers.remove(&batch.partition);
        let stored = self.folder.position(&batch.partition);
        Err(SinkError::PositionMoved {
            sink: Self::NAME.into(),
            partition: batch.partition.clone(),
            expected: batch.start,
            stored,
        })
    }

    fn take(&mut self, batch: &SinkBatch, rows: Vec<RecordBatch>) {
        let buffer = self.buffers.entry(batch.partition.clone()).or_insert_with(|| Buffer {
            start: batch.start,
            next: batch.start,
            rows: Vec::new(),
            row_count: 0,
            bytes: 0,
            since: Instant::now(),
        });
        buffer.next = batch.next;
        for rows in rows {
            buffer.row_count += rows.num_rows();
            buffer.bytes += model::held_bytes(&rows);
            buffer.rows.push(rows);
        }
    }

    /// The partitions whose files are due; all that have rows, if `asked`.
    fn due(&self, asked: bool) -> Vec<TopicPartition> {
        let total: usize = self.buffers.values().map(|buffer| buffer.bytes).sum();
        let over = total > self.settings.buffer_bytes.as_usize();
        let interval: Duration = self.settings.roll_interval.get();
        let due = self.buffers.iter().filter(|(_, buffer)| {
            (asked && buffer.row_count > 0)
                || over
                || buffer.row_count >= self.settings.roll_rows
                || buffer.bytes >= self.settings.roll_bytes.as_usize()
                || buffer.since.elapsed() >= interval
        });
        due.map(|(partition, _)| partition.clone()).collect()
    }

    /// Writes the file of `partition`. On failure the rows go on waiting.
    async fn roll(&mut self, partition: &TopicPartition) -> Result<(), SinkError> {
        let Some(buffer) = self.buffers.get(partition) else {
            return Ok(());
        };
        let (rows, range) = (buffer.rows.clone(), (buffer.start, buffer.next));
        self.folder
            .write(partition, range, rows)
            .await
            .map_err(|cause| SinkError::Unavailable {
                sink: Self::NAME.into(),
                cause: format!("writing {partition} {}..{}: {cause}", range.0.0, range.1.0),
            })?;
        self.buffers.remove(partition);
        Ok(())
    }
}

#[async_trait]
impl Sink for ArchiveSink {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn topics(&self) -> Vec<Topic> {
        [topics::SIGNALS, topics::INCIDENTS, topics::LINES]
            .map(Topic::from)
            .to_vec()
    }

    /// What waited for a file is forgotten here: the runner reads it again from the answer on.
    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        self.folder.check_log(log)?;
        self.buffers.remove(partition);
        Ok(self.folder.position(partition))
    }

    /// Takes the rows; writes the files that are due. An error, or a refusal, means that nothing of `batches` was taken:
    /// files that were due are written first, before anything new is accepted.
    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        self.folder.check_log(log)?;
        self.check_continuity(batches)?;
        for partition in self.due(false) {
            self.roll(&partition).await?;
        }
        let asked = self.flush.asked.load(Ordering::SeqCst);
        let (rows, rejects): (Vec<_>, Vec<_>) = batches.iter().map(columns::read).unzip();
        let rejects: Vec<SinkReject> = rejects.into_iter().flatten().collect();
        if !rejects.is_empty() {
            return Ok(rejects);
        }
        for (batch, rows) in batches.iter().zip(rows) {
            self.take(batch, rows);
        }
        let mut written = true;
        for partition in self.due(asked > self.flush.done.load(Ordering::SeqCst)) {
            // The rows are taken; a disk that is full now is reported by the next write, which tries again.
            if let Err(error) = self.roll(&partition).await {
                tracing::warn!(%error, "an archive file could not be written; its rows go on waiting");
                written = false;
                break;
            }
        }
        if written {
            self.flush.done.fetch_max(asked, Ordering::SeqCst);
        }
        Ok(Vec::new())
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        let waiting: Vec<TopicPartition> = self.buffers.keys().cloned().collect();
        for partition in waiting {
            self.roll(&partition).await?;
        }
        Ok(())
    }
}
