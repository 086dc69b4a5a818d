//! Moves the state of a stage to another number of partitions.
//!
//! Every old partition has a snapshot exactly at its committed offset: nothing is replayed, so nothing depends on records that
//! lie elsewhere now. Each new partition takes the keys that are its own out of all of them and stores a snapshot, in another
//! store or folder, from which a start then restores as from any other.
//!
//! All old snapshots of the stage are in memory at once. Storing again is safe: the newest snapshot at the offset counts.

use std::sync::Arc;

use bytes::Bytes;

use super::saving::checkpoint;
use super::stage::{Stage, StageError};
use crate::log::{Offset, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{Generation, SnapshotError, SnapshotStore, generations, read_object};
use crate::task::{Event, Restored, Task};

/// Where the state lies.
pub struct CarryFrom<'a> {
    pub store: &'a Arc<dyn SnapshotStore>,
    /// Hash of the topology that it was saved under.
    pub topology: &'a str,
    /// The committed offset of each partition there; `None`: nothing was ever committed, so there is no state.
    pub committed: &'a [Option<Offset>],
}

/// Carries the state of `stage` over to as many partitions as `offsets` has, each standing at its offset, into `store`. Returns the
/// number of items held in each. Nothing of the old state is changed.
pub async fn carry<O: Operator>(
    stage: &Stage<O>,
    from: CarryFrom<'_>,
    store: &dyn SnapshotStore,
    offsets: &[Offset],
) -> Result<Vec<u64>, StageError> {
    let mut old = Vec::with_capacity(from.committed.len());
    for (partition, committed) in from.committed.iter().enumerate() {
        old.push(match committed {
            Some(at) if *at > Offset(0) => objects(stage, &from, partition as u32, *at).await?,
            _ => Vec::new(),
        });
    }
    let mut held = Vec::with_capacity(offsets.len());
    for (partition, offset) in offsets.iter().enumerate() {
        let input = TopicPartition::new(stage.input.clone(), partition as u32);
        let mut task = Task::new((stage.make)(partition as u32), input, stage.settings.clone());
        task.step(Event::Carry {
            from: old.clone(),
            partitions: offsets.len() as u32,
        })?;
        task.step(Event::Assigned {
            committed: Some(*offset),
            start: Offset(0),
            snapshot: Some(Restored {
                offset: *offset,
                chain: None,
            }),
        })?;
        checkpoint(&mut task, store).await?;
        held.push(task.held());
    }
    Ok(held)
}

/// The objects of the snapshot of one old partition.
async fn objects<O: Operator>(
    stage: &Stage<O>,
    from: &CarryFrom<'_>,
    partition: u32,
    committed: Offset,
) -> Result<Vec<Bytes>, StageError> {
    let input = TopicPartition::new(stage.input.clone(), partition);
    let wanted = Task::new((stage.make)(partition), input, stage.settings.clone()).identity();
    let usable = |one: &Generation| {
        let (manifest, found) = (&one.manifest, &one.manifest.identity);
        one.complete
            && manifest.offset == committed
            && found.topology == from.topology
            && found.logic_version == wanted.logic_version
            && (found.settings.is_none() || found.settings == wanted.settings)
    };
    let found = generations(from.store.as_ref(), &wanted.stage, partition).await?;
    let Some(snapshot) = found.iter().find(|one| usable(one)) else {
        return Err(SnapshotError::Torn {
            path: format!("{}/{partition}", wanted.stage),
            problem: format!(
                "no snapshot of this program and these settings stands at the committed offset {}",
                committed.0
            ),
        }
        .into());
    };
    let mut objects = Vec::with_capacity(snapshot.manifest.objects.len());
    for nth in 0..snapshot.manifest.objects.len() {
        objects.push(read_object(from.store.as_ref(), snapshot, nth).await?);
    }
    Ok(objects)
}
