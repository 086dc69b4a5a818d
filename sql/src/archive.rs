//! Signals from the archive, the store and memory, each row once; log lines from the archive alone.
//!
//! The archive's files are named `signals-PARTITION-START-NEXT.parquet` for the log offsets `[START, NEXT)` they hold.
//! For a partition of the log, the archive *reaches* from its lowest START to its highest NEXT. The rule:
//!
//! * a signal that memory holds (`recent`) comes from there alone;
//! * one whose log offset lies within the reach of its partition comes from the archive, and from there alone;
//! * any other signal comes from the store.
//!
//! The files are listed once per query, before the store is read. A file that appears meanwhile is not used, and its
//! rows come from the store as before; so nothing is counted twice, and nothing that the store has is left out. What the
//! archive lost within its reach (the log dropped it first, which the sink reports as an error) is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use datafusion::error::Result;
use datafusion::logical_expr::{Expr, cast, col, ident};
use datafusion::prelude::{DataFrame, ParquetReadOptions, SessionContext};

use crate::error::SqlError;
use crate::tables::{Kind, Table};

/// The archive's files of one topic, as they were when listed.
#[derive(Debug, Default)]
pub(crate) struct Archived {
    files: Vec<PathBuf>,
    /// Lowest START and highest NEXT per partition.
    reach: BTreeMap<u32, (u64, u64)>,
}

impl Archived {
    /// Lists `root/TOPIC/*/`. A folder that is not there is an empty archive.
    pub fn list(root: &Path, name: &'static str) -> Result<Archived, SqlError> {
        let broken = |path: &Path, problem: String| SqlError::Archive(format!("{}: {problem}", path.display()));
        let mut ranges: BTreeMap<(u32, u64), (u64, PathBuf)> = BTreeMap::new();
        let topic = root.join(name);
        for date in entries(&topic).map_err(|e| broken(&topic, e.to_string()))? {
            if !date.is_dir() {
                continue;
            }
            for file in entries(&date).map_err(|e| broken(&date, e.to_string()))? {
                let Some((partition, start, next)) = file.file_name().and_then(|file| range_of(name, file.to_str()?))
                else {
                    continue;
                };
                if let Some((_, other)) = ranges.insert((partition, start), (next, file.clone())) {
                    return Err(broken(&file, format!("covers the same offsets as {}", other.display())));
                }
            }
        }
        let mut archived = Archived::default();
        for ((partition, start), (next, file)) in ranges {
            let reach = archived.reach.entry(partition).or_insert((start, start));
            if start < reach.1 {
                return Err(broken(
                    &file,
                    format!("begins before offset {} where an earlier file ends", reach.1),
                ));
            }
            reach.1 = next;
            archived.files.push(file);
        }
        Ok(archived)
    }

    /// The store's rows that the archive does not reach, as a condition; `None` for all of them.
    pub fn beyond(&self) -> Option<String> {
        if self.reach.is_empty() {
            return None;
        }
        let outside = self.reach.iter().map(|(partition, (start, next))| {
            format!("NOT (log_partition = {partition} AND log_offset >= {start} AND log_offset < {next})")
        });
        Some(outside.collect::<Vec<_>>().join(" AND "))
    }

    /// The archived rows with the columns of `table`; `None` if there are no files.
    pub async fn read(&self, context: &SessionContext, table: &Table) -> Result<Option<DataFrame>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let paths: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        context
            .read_parquet(paths, ParquetReadOptions::default())
            .await?
            .select(columns(table))
            .map(Some)
    }
}

/// The columns of `table`, of rows as the archive has them.
pub(crate) fn columns(table: &Table) -> Vec<Expr> {
    let column = |(name, kind): &(&'static str, Kind)| {
        // `group` is a word of SQL, so the tables call it otherwise.
        let stored = if *name == "alert_group" {
            ident("group")
        } else {
            col(*name)
        };
        cast(stored, kind.arrow()).alias(*name)
    };
    table.columns.iter().map(column).collect()
}

/// Partition, START and NEXT of a file's name; `None` for other files.
fn range_of(topic: &str, name: &str) -> Option<(u32, u64, u64)> {
    let mut parts = name
        .strip_prefix(topic)?
        .strip_prefix('-')?
        .strip_suffix(".parquet")?
        .split('-');
    let range = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(range)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(names: &[&str]) -> (Result<Archived, SqlError>, tempfile::TempDir) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("signals/date=2026-11-23");
        fs::create_dir_all(&folder).unwrap();
        names.iter().for_each(|name| fs::write(folder.join(name), "").unwrap());
        (Archived::list(root.path(), "signals"), root)
    }

    #[test]
    fn reach() {
        let names = [
            "signals-00000-5-7.parquet",
            "signals-00000-7-20.parquet",
            "signals-00001-0-3.parquet",
            "signals-00001-3-9.parquet.tmp",
        ];
        let archived = archive(&names).0.unwrap();
        assert_eq!(archived.reach, BTreeMap::from([(0, (5, 20)), (1, (0, 3))]));
        assert_eq!(archived.files.len(), 3);
        let expected = "NOT (log_partition = 0 AND log_offset >= 5 AND log_offset < 20) \
            AND NOT (log_partition = 1 AND log_offset >= 0 AND log_offset < 3)";
        assert_eq!(archived.beyond().unwrap(), expected);
    }

    #[test]
    fn overlaps_are_refused() {
        let (listed, _root) = archive(&["signals-00000-0-10.parquet", "signals-00000-5-20.parquet"]);
        assert!(listed.unwrap_err().to_string().contains("begins before offset 10"));
    }

    #[test]
    fn no_folder_no_archive() {
        let archived = Archived::list(Path::new("/nonexistent/archive"), "signals").unwrap();
        assert_eq!(archived.beyond(), None);
    }
}
