//! Snapshots of a partition task: named by stage, partition, operator logic version and offset; refused when torn or foreign.
//!
//! Layout of a file: `magic "AEGS" · format u8 · length u32 LE · body (postcard) · CRC32 LE of the body`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::log::Offset;

const MAGIC: &[u8; 4] = b"AEGS";
/// Version of the layout and of the body's fields.
const FORMAT: u8 = 1;
/// Snapshots kept per partition: one could be torn, the older one must still be there.
const KEEP: usize = 2;

/// The state of a task exactly at `offset` (the next record to read).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which topology (stages, topics, partition counts, settings that shape state).
    pub topology: String,
    pub stage: String,
    pub partition: u32,
    pub logic_version: u32,
    pub offset: Offset,
    pub cells: Vec<(String, Vec<u8>)>,
}

/// Why a snapshot store refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot store {path}: {cause}")]
    Io { path: String, cause: std::io::Error },
    #[error("snapshot of {stage} cannot be encoded: {cause}")]
    Encode { stage: String, cause: postcard::Error },
    /// The only snapshots are of another logic version: going on would mix two logics.
    #[error(
        "{stage}/{partition}: snapshots were taken by logic version {found}, this program has {wanted}: start the previous program, stop it cleanly, then run `aegis upgrade --check`"
    )]
    LogicVersion {
        stage: String,
        partition: u32,
        found: u32,
        wanted: u32,
    },
}

/// Keeps snapshots.
pub trait SnapshotStore: Send + Sync {
    fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError>;

    /// The newest valid snapshot at or before `limit`. Torn ones and those of another topology are passed over;
    /// another logic version with none of ours beside it is an error.
    fn newest(
        &self,
        topology: &str,
        stage: &str,
        partition: u32,
        logic_version: u32,
        limit: Offset,
    ) -> Result<Option<Snapshot>, SnapshotError>;
}

/// Snapshots in a local folder, one file each.
#[derive(Clone, Debug)]
pub struct FolderSnapshots {
    root: PathBuf,
}

impl FolderSnapshots {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderSnapshots { root: root.into() }
    }

    /// Offset of the second newest snapshot of a partition: what lies before it is not needed even if the newest is torn.
    pub fn second_newest(&self, stage: &str, partition: u32) -> Option<Offset> {
        self.files(stage, partition)
            .ok()?
            .get(1)
            .map(|(offset, _)| Offset(*offset))
    }

    fn folder(&self, stage: &str, partition: u32) -> PathBuf {
        self.root.join(stage).join(partition.to_string())
    }

    /// Files of a partition, newest offset first.
    fn files(&self, stage: &str, partition: u32) -> Result<Vec<(u64, PathBuf)>, SnapshotError> {
        let folder = self.folder(stage, partition);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(io(&folder, cause)),
        };
        let mut files: Vec<(u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let offset = name.to_str()?.strip_suffix(".snapshot")?.parse().ok()?;
                Some((offset, entry.path()))
            })
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        Ok(files)
    }
}

impl SnapshotStore for FolderSnapshots {
    fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let folder = self.folder(&snapshot.stage, snapshot.partition);
        std::fs::create_dir_all(&folder).map_err(|cause| io(&folder, cause))?;
        let bytes = encode(snapshot).map_err(|cause| SnapshotError::Encode {
            stage: snapshot.stage.clone(),
            cause,
        })?;
        let path = folder.join(format!("{:020}.snapshot", snapshot.offset.0));
        let temporary = folder.join("next.tmp");
        let written = write_synced(&temporary, &bytes).and_then(|()| std::fs::rename(&temporary, &path));
        written
            .and_then(|()| std::fs::File::open(&folder)?.sync_all())
            .map_err(|cause| io(&path, cause))?;
        for (_, old) in self.files(&snapshot.stage, snapshot.partition)?.into_iter().skip(KEEP) {
            std::fs::remove_file(&old).map_err(|cause| io(&old, cause))?;
        }
        Ok(())
    }

    fn newest(
        &self,
        topology: &str,
        stage: &str,
        partition: u32,
        logic_version: u32,
        limit: Offset,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let mut other_version = None;
        for (offset, path) in self.files(stage, partition)? {
            if offset > limit.0 {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|cause| io(&path, cause))?;
            match decode(&bytes) {
                Some(s) if s.stage != stage || s.partition != partition || s.topology != topology => {
                    tracing::warn!(path = %path.display(), "snapshot of another topology passed over");
                }
                Some(s) if s.logic_version != logic_version => other_version = Some(s.logic_version),
                Some(snapshot) => return Ok(Some(snapshot)),
                None => tracing::warn!(path = %path.display(), "torn snapshot passed over"),
            }
        }
        match other_version {
            Some(found) => Err(SnapshotError::LogicVersion {
                stage: stage.to_owned(),
                partition,
                found,
                wanted: logic_version,
            }),
            None => Ok(None),
        }
    }
}

/// Keeps snapshots in memory, as many as a folder would: tests and benches.
#[derive(Debug, Default)]
pub struct MemorySnapshots {
    kept: std::sync::Mutex<Vec<Snapshot>>,
}

impl SnapshotStore for MemorySnapshots {
    fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same_task = |s: &Snapshot| (&s.stage, s.partition) == (&snapshot.stage, snapshot.partition);
        kept.retain(|s| !same_task(s) || s.offset != snapshot.offset);
        kept.push(snapshot.clone());
        if kept.iter().filter(|s| same_task(s)).count() > KEEP
            && let Some(oldest) = kept.iter().position(same_task)
        {
            kept.remove(oldest);
        }
        Ok(())
    }

    fn newest(
        &self,
        topology: &str,
        stage: &str,
        partition: u32,
        logic_version: u32,
        limit: Offset,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let ours = |s: &&Snapshot| {
            s.topology == topology
                && s.stage == stage
                && s.partition == partition
                && s.logic_version == logic_version
                && s.offset <= limit
        };
        Ok(kept.iter().rev().find(ours).cloned())
    }
}

pub(crate) fn encode(snapshot: &Snapshot) -> Result<Vec<u8>, postcard::Error> {
    let body = postcard::to_stdvec(snapshot)?;
    let mut out = Vec::with_capacity(body.len() + 13);
    out.extend_from_slice(MAGIC);
    out.push(FORMAT);
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let crc = crc32fast::hash(&body);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// `None` for torn or foreign bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (format, rest) = rest.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let crc = u32::from_le_bytes(*rest.first_chunk::<4>()?);
    (crc32fast::hash(body) == crc).then(|| postcard::from_bytes(body).ok())?
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn io(path: &Path, cause: std::io::Error) -> SnapshotError {
    SnapshotError::Io {
        path: path.display().to_string(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, logic_version: u32) -> Snapshot {
        Snapshot {
            topology: "t".into(),
            stage: "dedupe".into(),
            partition: 3,
            logic_version,
            offset: Offset(offset),
            cells: vec![("alerts".into(), vec![1, 2, 3])],
        }
    }

    #[test]
    fn memory_keeps_the_one_before_as_a_folder_does() {
        let store = MemorySnapshots::default();
        for offset in [5, 9, 12] {
            store.save(&at(offset, 1)).unwrap();
        }
        let newest = |limit| {
            store
                .newest("t", "dedupe", 3, 1, Offset(limit))
                .unwrap()
                .map(|s| s.offset.0)
        };
        assert_eq!((newest(99), newest(11), newest(8)), (Some(12), Some(9), None));
    }

    #[test]
    fn torn_and_newer_ones_are_passed_over_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderSnapshots::new(folder.path());
        for offset in [5, 9, 12] {
            store.save(&at(offset, 1)).unwrap();
        }
        let newest = |limit| {
            store
                .newest("t", "dedupe", 3, 1, Offset(limit))
                .unwrap()
                .map(|s| s.offset.0)
        };
        assert_eq!((newest(99), newest(11), newest(8)), (Some(12), Some(9), None));
        let path = folder.path().join("dedupe/3/00000000000000000012.snapshot");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        assert_eq!(newest(99), Some(9));
        assert_eq!(store.newest("other", "dedupe", 3, 1, Offset(99)).unwrap(), None);
    }

    #[test]
    fn another_logic_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderSnapshots::new(folder.path());
        store.save(&at(5, 1)).unwrap();
        let refused = store.newest("t", "dedupe", 3, 2, Offset(99));
        assert!(matches!(
            refused,
            Err(SnapshotError::LogicVersion {
                found: 1,
                wanted: 2,
                ..
            })
        ));
    }
}
