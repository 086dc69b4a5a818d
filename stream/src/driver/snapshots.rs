//! From the store into a task: restore before it begins.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::time::Instant as Monotonic;

use super::stage::{Stage, StageError};
use crate::log::{Offset, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{Generation, How, Plan, SnapshotError, SnapshotStore, generations, read_object};
use crate::task::{Effect, Event, ObjectReader, ReadObject, Restored, Task};

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

/// Objects of a snapshot that are fetched, checked and read while the task takes in the one before them. Higher: more cores
/// are of use to a restore; each holds an object and what was read of it, some 30 MB.
const AHEAD: usize = 6;

type Reading = BoxFuture<'static, Result<ReadObject, StageError>>;

/// Feeds the objects of a snapshot to a fresh task; returns their bytes.
async fn load<O: Operator>(
    task: &mut Task<O>,
    store: &Arc<dyn SnapshotStore>,
    generation: &Generation,
    how: How,
) -> Result<u64, StageError> {
    let objects = &generation.manifest.objects;
    if how == How::Migrate {
        let mut kept = Vec::with_capacity(objects.len());
        for nth in 0..objects.len() {
            kept.push(read_object(store.as_ref(), generation, nth).await?);
        }
        let total = kept.iter().map(|object| object.len() as u64).sum();
        task.step(Event::Migrate {
            from: generation.manifest.identity.logic_version,
            objects: kept,
        })?;
        return Ok(total);
    }
    let reader = task.object_reader();
    let mut rest = (0..objects.len()).map(|nth| read_ahead(store.clone(), generation.clone(), reader.clone(), nth));
    let mut reading: VecDeque<Reading> = rest.by_ref().take(AHEAD).collect();
    while let Some(next) = reading.pop_front() {
        let object = next.await?;
        reading.extend(rest.next());
        task.step(Event::LoadRead(object))?;
    }
    Ok(objects.iter().map(|object| object.bytes).sum())
}

/// Begins to fetch, check and read an object, on other threads where there are some.
fn read_ahead(store: Arc<dyn SnapshotStore>, generation: Generation, reader: ObjectReader, nth: usize) -> Reading {
    let fetch = async move { Ok::<_, StageError>(read_object(store.as_ref(), &generation, nth).await?) };
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        // The simulator: there is nothing to wait for.
        return Box::pin(async move { Ok(reader.read(fetch.await?)) });
    };
    let fetched = runtime.spawn(async move {
        let bytes = fetch.await?;
        let read = tokio::task::spawn_blocking(move || reader.read(bytes));
        read.await.map_err(|_| StageError::Ended)
    });
    Box::pin(async move { fetched.await.unwrap_or(Err(StageError::Ended)) })
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
