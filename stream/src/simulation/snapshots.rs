//! The simulated snapshot store: objects that outlive processes, of which some are torn.
//!
//! Two snapshots of one task at one offset must hold the same state, whoever took them, whatever they extend and whatever
//! went wrong before.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use futures::FutureExt as _;

use super::plan::{Cells, Plan};
use super::process::Process;
use super::weather::{Fault, Op};
use crate::invariants::{STATE, Violation};
use crate::log::Offset;
use crate::log::membership::lock;
use crate::snapshot::{SnapshotError, SnapshotStore, generations, read_object, retention_floor};
use crate::task::KERNEL_CELL;

/// All objects that there are, and the state of every snapshot ever taken.
#[derive(Default)]
pub struct SnapshotFiles {
    objects: Objects,
    states: Mutex<BTreeMap<Name, Cells>>,
}

/// Stage, partition, offset.
type Name = (String, u32, Offset);

/// The state that a snapshot holds.
#[derive(Clone, Debug)]
pub struct SnapshotState {
    pub offset: Offset,
    pub cells: Cells,
}

/// The objects themselves, without weather: what asks them is answered at once.
#[derive(Default)]
struct Objects(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl SnapshotStore for Objects {
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
        let objects = lock(&self.0);
        let below = objects.iter().filter_map(|(path, bytes)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((name.to_owned(), bytes.len() as u64))
        });
        Ok(below.collect())
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError> {
        Ok(lock(&self.0).get(path).cloned())
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
        let mut objects = lock(&self.0);
        if objects.contains_key(path) {
            return Err(SnapshotError::Exists { path: path.to_owned() });
        }
        objects.insert(path.to_owned(), bytes);
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<(), SnapshotError> {
        lock(&self.0).remove(path);
        Ok(())
    }
}

impl SnapshotFiles {
    /// The state of the newest whole snapshot.
    pub fn last(&self, plan: &Plan, stage: &str, partition: u32) -> Option<SnapshotState> {
        let found = generations(&self.objects, stage, partition).now_or_never()?.ok()?;
        let newest = found.into_iter().find(|generation| generation.complete)?;
        let mut objects = Vec::new();
        for nth in 0..newest.manifest.objects.len() {
            objects.push(read_object(&self.objects, &newest, nth).now_or_never()?.ok()?);
        }
        let stage = plan.stages.iter().find(|known| known.name == stage)?;
        Some(SnapshotState {
            offset: newest.manifest.offset,
            cells: (stage.state)(partition, &objects)?,
        })
    }

    /// What retention may not pass: see [`crate::snapshot::retention_floor`].
    pub fn retention_floor(&self, stage: &str, partition: u32) -> Option<Offset> {
        retention_floor(&self.objects, stage, partition).now_or_never()?.ok()?
    }

    /// Snapshots of `stage` beyond the end of their input after a power cut: they know what never was.
    pub fn beyond(&self, stage: &str, partition: u32, end: Offset) -> Option<Violation> {
        let found = generations(&self.objects, stage, partition).now_or_never()?.ok()?;
        let at = found.first()?.manifest.offset;
        (at > end).then(|| {
            STATE.broken(format!(
                "a snapshot of {stage}/{partition} stands at {}, but a power cut left its input {} long",
                at.0, end.0
            ))
        })
    }

    /// Holds the state of the snapshot that now counts against others at the same offset.
    fn compare(&self, plan: &Plan, path: &str) -> Option<Violation> {
        let (stage, rest) = path.split_once('/')?;
        let partition: u32 = rest.split_once('/')?.0.parse().ok()?;
        let Some(SnapshotState { offset, mut cells }) = self.last(plan, stage, partition) else {
            return Some(STATE.broken(format!("{path}: a snapshot was committed that cannot be read")));
        };
        if plan.reads_the_clock(stage) {
            cells.retain(|(cell, _)| cell != KERNEL_CELL);
        }
        let name: Name = (stage.to_owned(), partition, offset);
        let before = lock(&self.states).insert(name.clone(), cells.clone())?;
        (before != cells).then(|| STATE.broken(format!("{name:?}: {}", difference(&before, &cells))))
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

impl Process {
    /// The way to the store: it may refuse, and the process may die on it. `Ok`: it is there, and how the way back is.
    async fn reach_store(&self, op: Op, doing: &'static str, path: &str) -> Result<Fault, SnapshotError> {
        let fault = self.gate(op, &format!("{doing} {path}")).await;
        let cause = match fault {
            Fault::Unavailable => "the weather",
            Fault::DiskFull => "the disk is full",
            _ => return Ok(fault),
        };
        Err(SnapshotError::Store {
            doing,
            path: path.to_owned(),
            cause: cause.to_owned(),
        })
    }
}

#[async_trait]
impl SnapshotStore for Process {
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
        let fault = self.reach_store(Op::SnapshotRead, "listing", folder).await?;
        let answer = self.world.snapshots.objects.list(folder).await;
        self.leave_gate(fault).await;
        answer
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError> {
        let fault = self.reach_store(Op::SnapshotRead, "reading", path).await?;
        let answer = self.world.snapshots.objects.get(path).await;
        self.leave_gate(fault).await;
        answer
    }

    /// A torn object is there with a part of its bytes, and the process dies over it.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
        let fault = self.reach_store(Op::SnapshotSave, "writing", path).await?;
        let files = &self.world.snapshots;
        if fault == Fault::Torn {
            let length = self.world.below(bytes.len());
            files.objects.create(path, bytes.slice(..length)).await?;
            self.crash.cancel();
            return std::future::pending().await;
        }
        files.objects.create(path, bytes).await?;
        if path.ends_with(".manifest") {
            let broken = files.compare(&self.world.plan, path);
            broken.into_iter().for_each(|broken| self.world.violated(broken));
        }
        self.leave_gate(fault).await;
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<(), SnapshotError> {
        if self.crash.is_cancelled() {
            return std::future::pending().await;
        }
        self.world.snapshots.objects.delete(path).await
    }
}
