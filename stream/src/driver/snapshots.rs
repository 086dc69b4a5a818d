//! Carrying snapshots between a task and the store: restore before a task begins, checkpoints while it runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant as Monotonic;

use super::stage::{Stage, StageError};
use crate::log::{Offset, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{
    ChainBound, Generation, How, Manifest, Piece, Plan, SnapshotError, SnapshotStore, SnapshotWriter, generations,
    read_object,
};
use crate::task::{Effect, Event, Restored, Task, TaskError};

/// A task with its state, ready to read on.
pub(super) struct Restoration<O: Operator> {
    pub task: Task<O>,
    /// Where it must seek to.
    pub effects: Vec<Effect>,
    /// The snapshot that was used, and how.
    pub used: Option<(Generation, How)>,
}

/// Where a partition's log stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The group's position.
    pub committed: Option<Offset>,
    /// The first offset that the log still has.
    pub start: Offset,
}

/// Makes the task of `partition` from the newest usable snapshot. Reads only.
pub(super) async fn restore<O: Operator>(
    stage: &Stage<O>,
    store: &Arc<dyn SnapshotStore>,
    partition: &TopicPartition,
    at: Standing,
) -> Result<Restoration<O>, StageError> {
    let fresh = || {
        Task::new(
            (stage.make)(partition.partition),
            partition.clone(),
            stage.settings.clone(),
        )
    };
    let mut task = fresh();
    let wanted = task.identity();
    let found = generations(store.as_ref(), &wanted.stage, wanted.partition).await?;
    let any = !found.is_empty();
    let committed = at.committed.unwrap_or_default();
    let plan = Plan::make(found, &wanted, task.stateless(), committed).allowed()?;
    for (generation, how) in plan.tries {
        let began = Monotonic::now();
        match load(&mut task, store, &generation, how).await {
            Ok(bytes) => {
                let stage = task.stage();
                metrics::histogram!("aegis_restore_seconds", "stage" => stage).record(began.elapsed().as_secs_f64());
                metrics::counter!("aegis_restore_bytes_total", "stage" => stage).increment(bytes);
                // A snapshot of format 1, or of other rules, is the start of no chain.
                let extendable = how == How::AsIs
                    && generation.format == crate::snapshot::FORMAT
                    && generation.manifest.identity == wanted;
                let snapshot = Restored {
                    offset: generation.manifest.offset,
                    chain: extendable.then(|| generation.manifest.clone()),
                };
                let effects = task.step(assigned(at, Some(snapshot)))?;
                return Ok(Restoration {
                    task,
                    effects,
                    used: Some((generation, how)),
                });
            }
            Err(StageError::Snapshot(error @ SnapshotError::Torn { .. })) => {
                tracing::warn!(stage = task.stage(), %partition, %error, "torn snapshot passed over");
                metrics::counter!("aegis_snapshots_torn_total", "stage" => task.stage()).increment(1);
                // What it got to load must not be mixed with another one.
                task = fresh();
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(refusal) = plan.otherwise {
        return Err(refusal.into());
    }
    if any && committed > at.start && !task.stateless() {
        tracing::warn!(
            stage = task.stage(), %partition, start = at.start.0,
            "no snapshot can be used: state is made again from the start of the log"
        );
    }
    let effects = task.step(assigned(at, None))?;
    Ok(Restoration {
        task,
        effects,
        used: None,
    })
}

fn assigned(at: Standing, snapshot: Option<Restored>) -> Event {
    Event::Assigned {
        committed: at.committed,
        start: at.start,
        snapshot,
    }
}

/// Feeds the objects of a snapshot to a fresh task; returns their bytes. The next object is read and checked while one is
/// taken in; no more than two are in memory.
async fn load<O: Operator>(
    task: &mut Task<O>,
    store: &Arc<dyn SnapshotStore>,
    generation: &Generation,
    how: How,
) -> Result<u64, StageError> {
    let count = generation.manifest.objects.len();
    let read = |nth: usize| -> BoxFuture<'static, Result<Bytes, StageError>> {
        let (store, generation) = (store.clone(), generation.clone());
        let reading = async move { Ok(read_object(store.as_ref(), &generation, nth).await?) };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let ahead = runtime.spawn(reading);
                Box::pin(async move { ahead.await.unwrap_or(Err(StageError::Ended)) })
            }
            // The simulator: there is nothing to wait for.
            Err(_) => Box::pin(reading),
        }
    };
    let (mut total, mut kept): (u64, Vec<Bytes>) = (0, Vec::new());
    let mut next = (count > 0).then(|| read(0));
    let mut nth = 0;
    while let Some(reading) = next {
        let object = reading.await?;
        nth += 1;
        next = (nth < count).then(|| read(nth));
        total += object.len() as u64;
        match how {
            How::Migrate => kept.push(object),
            How::AsIs | How::NewSettings => {
                task.step(Event::Load(object))?;
            }
        }
    }
    if how == How::Migrate {
        task.step(Event::Migrate {
            from: generation.manifest.identity.logic_version,
            objects: kept,
        })?;
    }
    Ok(total)
}

/// Takes a snapshot of a task that has nothing pending, and stores it. `None`: there was nothing to save. After an error the
/// task goes on as if none had been tried.
pub(super) async fn checkpoint<O: Operator>(
    task: &mut Task<O>,
    store: &dyn SnapshotStore,
) -> Result<Option<Arc<Manifest>>, StageError> {
    let began = Monotonic::now();
    match store_pieces(task, store).await {
        Ok(stored) => {
            if let Some(manifest) = &stored {
                count(task.stage(), manifest, began);
            }
            task.step(Event::Snapshotted(stored.clone()))?;
            Ok(stored)
        }
        Err(error) => {
            task.step(Event::Snapshotted(None))?;
            Err(error)
        }
    }
}

async fn store_pieces<O: Operator>(
    task: &mut Task<O>,
    store: &dyn SnapshotStore,
) -> Result<Option<Arc<Manifest>>, StageError> {
    let bound = store.chain_bound();
    let Some(first) = next_piece(task, bound)? else {
        return Ok(None);
    };
    let mut writer = SnapshotWriter::begin(store, &first).await?;
    let mut last = first.last;
    writer.put(store, first.bytes).await?;
    while !last {
        let Some(piece) = next_piece(task, bound)? else { break };
        last = piece.last;
        writer.put(store, piece.bytes).await?;
    }
    Ok(Some(writer.commit(store).await?))
}

fn next_piece<O: Operator>(task: &mut Task<O>, bound: ChainBound) -> Result<Option<Piece>, TaskError> {
    let effects = task.step(Event::Checkpoint(bound))?;
    Ok(effects.into_iter().find_map(|effect| match effect {
        Effect::Snapshot(piece) => Some(piece),
        _ => None,
    }))
}

fn count(stage: &'static str, manifest: &Manifest, began: Monotonic) {
    let own = || {
        manifest
            .objects
            .iter()
            .filter(|object| object.sequence == manifest.sequence)
    };
    let kind = match own().next() {
        Some(object) if object.from.is_some() => "delta",
        _ => "base",
    };
    let bytes: u64 = own().map(|object| object.bytes).sum();
    metrics::histogram!("aegis_snapshot_seconds", "stage" => stage, "kind" => kind)
        .record(began.elapsed().as_secs_f64());
    metrics::counter!("aegis_snapshot_bytes_total", "stage" => stage, "kind" => kind).increment(bytes);
    let label = manifest.identity.partition.to_string();
    metrics::gauge!("aegis_snapshot_offset", "stage" => stage, "partition" => label).set(manifest.offset.0 as f64);
}

/// What a start would do with one partition's state: see [`check_restore`].
#[derive(Debug)]
pub struct RestoreCheck {
    pub logic_version: u32,
    pub settings: String,
    pub stateless: bool,
    /// The newest snapshot with a readable manifest, whether usable or not.
    pub newest: Option<Generation>,
    /// The one that would be used, and how; or why the stage would not start.
    pub verdict: Result<Option<(Generation, How)>, StageError>,
}

/// Tells what a restore would do, without doing it. With `deep` it is done and thrown away: every object is read and checked.
/// A migration is always tried, because only the operator knows whether it can. Nothing is written.
pub async fn check_restore<O: Operator>(
    stage: &Stage<O>,
    store: &Arc<dyn SnapshotStore>,
    partition: &TopicPartition,
    at: Standing,
    deep: bool,
) -> Result<RestoreCheck, SnapshotError> {
    let mut task = Task::new(
        (stage.make)(partition.partition),
        partition.clone(),
        stage.settings.clone(),
    );
    let (identity, stateless) = (task.identity(), task.stateless());
    let found = generations(store.as_ref(), &identity.stage, identity.partition).await?;
    let newest = found.first().cloned();
    let planned = Plan::make(found, &identity, stateless, at.committed.unwrap_or_default()).allowed();
    let verdict = match planned {
        Err(refusal) => Err(refusal.into()),
        Ok(plan) => {
            let first = plan.tries.into_iter().find(|(generation, _)| generation.complete);
            if deep || matches!(first, Some((_, How::Migrate))) {
                restore(stage, store, partition, at)
                    .await
                    .map(|restoration| restoration.used)
            } else {
                Ok(first)
            }
        }
    };
    Ok(RestoreCheck {
        logic_version: identity.logic_version,
        settings: identity.settings.unwrap_or_default(),
        stateless,
        newest,
        verdict,
    })
}
