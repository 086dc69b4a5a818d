//! From the tasks of a stage into the store: snapshots while they run.
//!
//! ```text
//!   stage    … commit │ encode what changed │ records, commits …                    │ settled: the next may begin
//!   beside it                               │ sync the log, objects, manifest       │
//! ```
//!
//! What a task has handed out is stored beside the stage, which goes on meanwhile: at most [`BESIDE`] bytes, so that the heap is
//! bounded, and one round at a time. Whatever has more to save (a base of a large state) is stored piece by piece while the
//! stage waits. A round that is dropped (the process ends, the stage was fenced) leaves objects without a manifest, as a crash does.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::time::Instant as Monotonic;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Runtime;
use super::stage::StageError;
use crate::failpoint;
use crate::log::TopicPartition;
use crate::operator::Operator;
use crate::snapshot::{ChainBound, Manifest, Piece, SnapshotError, SnapshotStore, SnapshotWriter};
use crate::task::{Effect, Event, Task, TaskError};

/// Bytes of a stage's snapshots that are stored while the stage goes on. Higher: larger deltas stop nobody; lower: less memory.
pub const BESIDE: usize = 32 << 20;

/// What became of the snapshots of a round.
pub(super) type Stored = Vec<(TopicPartition, Result<Arc<Manifest>, SnapshotError>)>;

/// The round that is on its way.
#[derive(Default)]
pub(super) struct Saving {
    /// The mutex is never locked: it lets a driver be borrowed by its other futures, which this one alone would not.
    round: Option<Mutex<Round>>,
}

type Round = BoxFuture<'static, Result<Stored, StageError>>;

impl Saving {
    pub fn busy(&self) -> bool {
        self.round.is_some()
    }

    /// Stores what the tasks have handed out. Nothing may be on its way.
    pub fn begin(&mut self, stage: &'static str, round: Vec<HandedOut>, runtime: &Runtime, stop: &CancellationToken) {
        if round.is_empty() {
            return;
        }
        let stored = store_all(stage, round, runtime.clone(), stop.clone());
        let round: Round = match tokio::runtime::Handle::try_current() {
            Ok(threads) => {
                let beside = AbortOnDropHandle::new(threads.spawn(stored));
                Box::pin(async move { beside.await.unwrap_or(Err(StageError::Ended)) })
            }
            // The simulator: polled with the stage, so that everything has one order.
            Err(_) => Box::pin(stored),
        };
        self.round = Some(Mutex::new(round));
    }

    /// What became of the round. Waits for ever when there is none; may be dropped at any time.
    pub async fn done(&mut self) -> Result<Stored, StageError> {
        let Some(round) = &mut self.round else {
            return std::future::pending().await;
        };
        let stored = round.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().await;
        self.round = None;
        stored
    }
}

/// A snapshot of which every piece is in memory.
pub(super) struct HandedOut {
    partition: TopicPartition,
    first: Piece,
    rest: Vec<Piece>,
}

/// What a task gave out.
pub(super) enum Taken {
    /// Nothing changed.
    Nothing,
    Whole(HandedOut),
    /// There is more than may lie in memory, or no room to look: [`store_rest`].
    Begun(Vec<Piece>),
}

/// Takes the pieces of a snapshot as long as all of them have no more than `room` bytes.
pub(super) fn take<O: Operator>(
    task: &mut Task<O>,
    partition: &TopicPartition,
    bound: ChainBound,
    room: &mut usize,
) -> Result<Taken, TaskError> {
    if *room == 0 {
        return Ok(Taken::Begun(Vec::new()));
    }
    let Some(first) = next_piece(task, bound)? else {
        return Ok(Taken::Nothing);
    };
    let (mut last, mut rest) = (first.last, Vec::new());
    *room = room.saturating_sub(first.bytes.len());
    while !last && *room > 0 {
        let Some(piece) = next_piece(task, bound)? else { break };
        *room = room.saturating_sub(piece.bytes.len());
        last = piece.last;
        rest.push(piece);
    }
    if last {
        let partition = partition.clone();
        return Ok(Taken::Whole(HandedOut { partition, first, rest }));
    }
    rest.insert(0, first);
    Ok(Taken::Begun(rest))
}

/// The log is synced first: a snapshot must not know records that a power cut can still undo, because others may then come to
/// stand at their offsets.
async fn store_all(
    stage: &'static str,
    round: Vec<HandedOut>,
    runtime: Runtime,
    stop: CancellationToken,
) -> Result<Stored, StageError> {
    runtime.patiently(stage, &stop, || runtime.log.sync()).await?;
    failpoint::hit("snapshot.before");
    let mut stored = Vec::with_capacity(round.len());
    for handed_out in round {
        let partition = handed_out.partition.clone();
        stored.push((partition, store(stage, handed_out, runtime.snapshots.as_ref()).await));
    }
    failpoint::hit("snapshot.after");
    Ok(stored)
}

async fn store(
    stage: &'static str,
    handed_out: HandedOut,
    store: &dyn SnapshotStore,
) -> Result<Arc<Manifest>, SnapshotError> {
    let began = Monotonic::now();
    let mut writer = SnapshotWriter::begin(store, &handed_out.first).await?;
    for piece in std::iter::once(handed_out.first).chain(handed_out.rest) {
        writer.put(store, piece.bytes).await?;
    }
    commit(stage, writer, store, began).await
}

async fn put(
    writer: &mut Option<SnapshotWriter>,
    piece: Piece,
    store: &dyn SnapshotStore,
) -> Result<(), SnapshotError> {
    let writer = match writer {
        Some(writer) => writer,
        None => writer.insert(SnapshotWriter::begin(store, &piece).await?),
    };
    writer.put(store, piece.bytes).await
}

/// The manifest, and the figures of a snapshot that counts now.
async fn commit(
    stage: &'static str,
    writer: SnapshotWriter,
    store: &dyn SnapshotStore,
    began: Monotonic,
) -> Result<Arc<Manifest>, SnapshotError> {
    let manifest = writer.commit(store).await?;
    count(stage, &manifest, began);
    Ok(manifest)
}

/// Takes a snapshot of a task that has nothing pending, and stores it before the task goes on. `None`: there was nothing to
/// save. After an error the task goes on as if none had been tried.
pub(super) async fn checkpoint<O: Operator>(
    task: &mut Task<O>,
    store: &dyn SnapshotStore,
) -> Result<Option<Arc<Manifest>>, StageError> {
    store_rest(task, Vec::new(), store).await
}

/// Like [`checkpoint`], where the task has given the first pieces already.
pub(super) async fn store_rest<O: Operator>(
    task: &mut Task<O>,
    pieces: Vec<Piece>,
    store: &dyn SnapshotStore,
) -> Result<Option<Arc<Manifest>>, StageError> {
    let stored = store_pieces(task, pieces, store).await;
    let manifest = stored.as_ref().ok().cloned().flatten();
    task.step(Event::Snapshotted(manifest))?;
    stored
}

async fn store_pieces<O: Operator>(
    task: &mut Task<O>,
    pieces: Vec<Piece>,
    store: &dyn SnapshotStore,
) -> Result<Option<Arc<Manifest>>, StageError> {
    let (began, mut writer, mut last) = (Monotonic::now(), None, false);
    for piece in pieces {
        last = piece.last;
        put(&mut writer, piece, store).await?;
    }
    while !last {
        let Some(piece) = next_piece(task, store.chain_bound())? else {
            break;
        };
        last = piece.last;
        put(&mut writer, piece, store).await?;
    }
    Ok(match writer {
        Some(writer) => Some(commit(task.stage(), writer, store, began).await?),
        None => None,
    })
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
