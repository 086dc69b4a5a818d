//! The archive's folder: names, positions, and files that are there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Utc};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use stream::{LogId, Offset, SinkError, TopicPartition};

use super::ArchiveSink;

const LOCK: &str = "LOCK";
const LOG_ID: &str = "LOG_ID";
const TEMPORARY: &str = ".tmp";

/// An owned folder. Positions are read from the names once and kept in step afterwards.
pub(super) struct Folder {
    root: PathBuf,
    positions: BTreeMap<TopicPartition, Offset>,
    /// The log whose records are here; `None` before the first.
    log: Option<String>,
    /// Held for as long as the folder is ours.
    _lock: File,
}

impl Folder {
    pub fn open(root: &Path) -> io::Result<Folder> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("archive folder {}: {e}", root.display()));
        fs::create_dir_all(root).map_err(named)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK))
            .map_err(named)?;
        lock.try_lock().map_err(|_| {
            let problem = "another process is writing to it; stop that one or give this one another folder";
            named(io::Error::new(io::ErrorKind::WouldBlock, problem))
        })?;
        let log = match fs::read_to_string(root.join(LOG_ID)) {
            Ok(id) => Some(id.trim().to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(named(e)),
        };
        let mut positions = BTreeMap::new();
        scan(root, &mut positions).map_err(named)?;
        Ok(Folder {
            root: root.to_owned(),
            positions,
            log,
            _lock: lock,
        })
    }

    /// The offset after the last one that is in a file; `None` if the partition was never written.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition).copied()
    }

    /// Refuses the records of another log than the one whose records are here.
    pub fn check_log(&mut self, log: &LogId) -> Result<(), SinkError> {
        match &self.log {
            Some(known) if *known == log.0 => Ok(()),
            Some(known) => Err(SinkError::ForeignPosition {
                sink: ArchiveSink::NAME.into(),
                problem: format!(
                    "{} holds records of log {known}, this is log {}",
                    self.root.display(),
                    log.0
                ),
            }),
            None => {
                let written = write_whole(&self.root.join(LOG_ID), |file| file.write_all(log.0.as_bytes()));
                written.map_err(|e| SinkError::Unavailable {
                    sink: ArchiveSink::NAME.into(),
                    cause: format!("writing {LOG_ID}: {e}"),
                })?;
                self.log = Some(log.0.clone());
                Ok(())
            }
        }
    }

    /// Writes the rows of `[start, next)`. A range without rows only moves the position.
    pub async fn write(
        &mut self,
        partition: &TopicPartition,
        range: (Offset, Offset),
        rows: Vec<RecordBatch>,
    ) -> io::Result<()> {
        let (root, named) = (self.root.clone(), partition.clone());
        let task = tokio::task::spawn_blocking(move || match first_observed(&rows) {
            Some(date) => write_rows(&root.join(file_path(&named, range, date)), &rows),
            None => {
                let path = root.join(&*named.topic).join(position_name(named.partition));
                write_whole(&path, |file| write!(file, "{}", range.1.0))
            }
        });
        task.await.map_err(io::Error::other)??;
        self.positions.insert(partition.clone(), range.1);
        Ok(())
    }
}

/// `signals/date=2026-11-23/signals-00003-00000000000000000042-00000000000000000099.parquet`
fn file_path(partition: &TopicPartition, (start, next): (Offset, Offset), date: DateTime<Utc>) -> PathBuf {
    let (topic, number) = (&partition.topic, partition.partition);
    let name = format!("{topic}-{number:05}-{:020}-{:020}.parquet", start.0, next.0);
    Path::new(&**topic)
        .join(format!("date={}", date.format("%Y-%m-%d")))
        .join(name)
}

fn position_name(partition: u32) -> String {
    format!("{partition:05}.position")
}

/// Partition and next offset of a file's name; `None` for foreign files.
fn read_name(topic: &str, name: &str) -> Option<(u32, Offset)> {
    let mut parts = name
        .strip_prefix(topic)?
        .strip_prefix('-')?
        .strip_suffix(".parquet")?
        .split('-');
    let (partition, _start, next) = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse::<u64>().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some((partition, Offset(next)))
}

/// The offset after the last one that is in a file, by partition.
pub fn positions(root: &Path) -> io::Result<BTreeMap<TopicPartition, Offset>> {
    let mut positions = BTreeMap::new();
    scan(root, &mut positions)?;
    Ok(positions)
}

fn scan(root: &Path, positions: &mut BTreeMap<TopicPartition, Offset>) -> io::Result<()> {
    for topic in folders(root)? {
        let Some(topic_name) = topic.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        let mut reached = |partition: u32, next: Offset| {
            let at = positions
                .entry(TopicPartition::new(topic_name.as_str(), partition))
                .or_default();
            *at = next.max(*at);
        };
        for (name, path) in files(&topic)? {
            if let Some(partition) = name.strip_suffix(".position").and_then(|number| number.parse().ok()) {
                let text = fs::read_to_string(&path)?;
                let next = text
                    .parse()
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display())))?;
                reached(partition, Offset(next));
            }
        }
        for date in folders(&topic)? {
            for (name, _) in files(&date)? {
                if let Some((partition, next)) = read_name(&topic_name, &name) {
                    reached(partition, next);
                }
            }
        }
    }
    Ok(())
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(of)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect())
}

/// Names and paths; what a crash left under a temporary name is deleted.
fn files(of: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(of)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        if name.ends_with(TEMPORARY) {
            fs::remove_file(&path)?;
        } else if path.is_file() {
            found.push((name, path));
        }
    }
    Ok(found)
}

fn first_observed(rows: &[RecordBatch]) -> Option<DateTime<Utc>> {
    let first = rows.iter().find(|batch| batch.num_rows() > 0)?;
    let observed = first
        .column_by_name("observed_at")?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(DateTime::from_timestamp_micros(observed.value(0)).unwrap_or_default())
}

fn write_rows(path: &Path, rows: &[RecordBatch]) -> io::Result<()> {
    let schema = rows
        .first()
        .map(RecordBatch::schema)
        .ok_or_else(|| io::Error::other("no rows"))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    write_whole(path, |file| {
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties))?;
        rows.iter().try_for_each(|batch| writer.write(batch))?;
        writer.close()?;
        Ok(())
    })
}

/// Temporary name, sync, rename, sync of the folder: after a crash the file is whole or absent.
fn write_whole(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("no folder"))?;
    fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let mut file = File::create(&temporary)?;
    fill(&mut file)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()?;
    // A new date's folder is an entry of the topic's folder, and that of the archive's.
    for above in folder.ancestors().skip(1).take(2) {
        // Above `archive` is the empty path, which means here.
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_positions() {
        let date = DateTime::from_timestamp(1_760_000_000, 0).unwrap();
        let path = file_path(&TopicPartition::new("signals", 3), (Offset(42), Offset(99)), date);
        let expected = "signals/date=2025-10-09/signals-00003-00000000000000000042-00000000000000000099.parquet";
        assert_eq!(path.to_str(), Some(expected));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        assert_eq!(read_name("signals", name), Some((3, Offset(99))));
        assert_eq!(read_name("incidents", name), None);
        assert_eq!(read_name("signals", "signals-1-2-3.parquet.tmp"), None);
    }
}
