//! The simulated snapshot store: files that outlive processes, of which some are torn.
//!
//! Two snapshots of one task at one offset must hold the same bytes, whoever took them and whatever went wrong before.

use std::collections::BTreeMap;
use std::io;

use super::process::Process;
use super::weather::{Fault, Op};
use crate::invariants::{STATE, Violation};
use crate::log::Offset;
use crate::log::membership::lock;
use crate::snapshot::{Snapshot, SnapshotError, SnapshotStore, decode, encode};
use crate::task::KERNEL_CELL;

/// Stage, partition, offset.
type Name = (String, u32, Offset);

/// All snapshots ever taken.
#[derive(Default)]
pub struct SnapshotFiles {
    files: BTreeMap<Name, Vec<u8>>,
    /// The state that was there, torn or not.
    states: BTreeMap<Name, Vec<(String, Vec<u8>)>>,
}

impl SnapshotFiles {
    /// `torn`: only so many bytes arrive. `cells`: those of the state that the log alone decides.
    fn save(
        &mut self,
        snapshot: &Snapshot,
        bytes: &[u8],
        torn: Option<usize>,
        cells: Vec<(String, Vec<u8>)>,
    ) -> Option<Violation> {
        let name: Name = (snapshot.stage.clone(), snapshot.partition, snapshot.offset);
        let broken = self
            .states
            .get(&name)
            .filter(|before| **before != cells)
            .map(|before| STATE.broken(format!("{name:?}: {}", difference(before, &cells))));
        self.states.insert(name.clone(), cells);
        self.files
            .insert(name, bytes.get(..torn.unwrap_or(bytes.len())).unwrap_or(bytes).to_vec());
        broken
    }

    fn newest(&self, stage: &str, partition: u32, limit: Offset) -> Option<Snapshot> {
        let range = (stage.to_owned(), partition, Offset(0))..=(stage.to_owned(), partition, limit);
        let mut files = self.files.range(range).rev();
        files.find_map(|(_, bytes)| decode(bytes))
    }

    /// The state of the newest valid snapshot.
    pub fn last(&self, stage: &str, partition: u32) -> Option<Snapshot> {
        self.newest(stage, partition, Offset(u64::MAX))
    }

    /// Offset of the second newest valid one: what lies before it is not needed even if the newest is lost.
    pub fn second_newest(&self, stage: &str, partition: u32) -> Option<Offset> {
        let newest = self.last(stage, partition)?.offset;
        let second = self.newest(stage, partition, Offset(newest.0.checked_sub(1)?))?;
        Some(second.offset)
    }

    /// Snapshots of `stage` beyond the end of their input after a power cut: they know what never was.
    pub fn beyond(&self, stage: &str, partition: u32, end: Offset) -> Option<Violation> {
        let range = (stage.to_owned(), partition, Offset(0))..=(stage.to_owned(), partition, Offset(u64::MAX));
        let (_, _, at) = self.files.range(range).next_back()?.0;
        (*at > end).then(|| {
            STATE.broken(format!(
                "a snapshot of {stage}/{partition} stands at {}, but a power cut left its input {} long",
                at.0, end.0
            ))
        })
    }
}

/// Which cells are not the same, for a failure.
pub fn difference(a: &[(String, Vec<u8>)], b: &[(String, Vec<u8>)]) -> String {
    let names: Vec<&str> = a
        .iter()
        .zip(b)
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.0.as_str())
        .collect();
    format!("cells {names:?} differ")
}

impl SnapshotStore for Process {
    fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let what = format!("{}/{}@{}", snapshot.stage, snapshot.partition, snapshot.offset.0);
        let fault = self.world.draw(Op::SnapshotSave).fault;
        self.note(&format!("snapshot {what}"), fault);
        let refused = |kind: io::ErrorKind| {
            Err(SnapshotError::Io {
                path: what.clone(),
                cause: kind.into(),
            })
        };
        if matches!(fault, Fault::CrashBefore | Fault::CrashAfter | Fault::Torn) {
            self.crash.cancel();
        }
        let bytes = encode(snapshot).map_err(|cause| SnapshotError::Encode {
            stage: snapshot.stage.clone(),
            cause,
        })?;
        let torn = match fault {
            Fault::CrashBefore => return refused(io::ErrorKind::Other),
            Fault::DiskFull => return refused(io::ErrorKind::StorageFull),
            Fault::Torn => Some(self.world.below(bytes.len())),
            _ => None,
        };
        let mut cells = snapshot.cells.clone();
        if self.world.plan.reads_the_clock(&snapshot.stage) {
            cells.retain(|(name, _)| name != KERNEL_CELL);
        }
        let broken = lock(&self.world.snapshots).save(snapshot, &bytes, torn, cells);
        broken.into_iter().for_each(|broken| self.world.violated(broken));
        Ok(())
    }

    fn newest(
        &self,
        _topology: &str,
        stage: &str,
        partition: u32,
        _logic_version: u32,
        limit: Offset,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let what = format!("{stage}/{partition} up to {}", limit.0);
        let fault = self.world.draw(Op::SnapshotRead).fault;
        self.note(&format!("restore {what}"), fault);
        match fault {
            Fault::CrashBefore | Fault::CrashAfter => self.crash.cancel(),
            Fault::Unavailable => {
                return Err(SnapshotError::Io {
                    path: what,
                    cause: io::ErrorKind::TimedOut.into(),
                });
            }
            _ => {}
        }
        Ok(lock(&self.world.snapshots).newest(stage, partition, limit))
    }
}
