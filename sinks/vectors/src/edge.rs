//! Qdrant's engine in this process (`qdrant-edge`): one folder per collection.
//!
//! It guarantees that what [`VectorStore::upsert`] answered is on disk: the engine does not read its write-ahead log when it opens, so
//! segments are flushed before the answer. Calls block, and therefore run on threads for blocking work, one writer per collection at a time.
//! A panic inside the engine costs the answer, and the collection is opened again with the next call.
//!
//! The engine never shortens its write-ahead log either. A collection whose log has grown past [`MOST_WAL`] when it is opened is copied,
//! point by point, into a new one that takes its place.
//!
//! One process owns the folder (a lock file); it is opened with the first call, and one that cannot be opened is tried again with the next.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, CountRequest, CreateIndex, Distance, EdgeConfig, EdgeShard, EdgeVectorParamsBuilder, FieldCondition,
    FieldIndexOperations, Filter as EdgeFilter, JsonPath, Match, NamedQuery, OperationError, PayloadFieldSchema,
    PayloadSchemaType, PointId, PointInsertOperations, PointOperations, PointStruct, PointStructPersisted, QueryEnum,
    QueryRequest, Range, ScoringQuery, ScrollRequest, UpdateOperation, ValueVariants, VectorInternal,
    VectorStructInternal, WalOptions, WithPayloadInterface, WithVector,
};
use serde_json::Value;
use uuid::Uuid;

use crate::store::{Filter, Found, Hit, Point, StoreError, VectorStore};

/// Bytes of one file of the write-ahead log: must hold the largest write, [`CHUNK`] points.
const WAL_FILE: usize = 4 << 20;
/// Bytes of write-ahead log above which a collection is copied when it is opened.
const MOST_WAL: u64 = 64 << 20;
/// Points of one write to the engine.
const CHUNK: usize = 128;

/// See the module's header.
pub struct EdgeStore {
    root: Arc<Root>,
    timeout: Duration,
}

struct Root {
    folder: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Says that this process alone owns the folder.
    lock: Option<File>,
    shards: BTreeMap<String, Arc<Shard>>,
}

struct Shard {
    shard: Guarded,
    /// Held while points are written and flushed.
    writing: Mutex<()>,
}

/// The engine's own end flushes, and panics where it cannot (a folder that was deleted, a full disk). In the middle of another panic that
/// would end the process, so it ends here: flushed first, and left where it is if that fails.
struct Guarded(Option<EdgeShard>);

impl Guarded {
    fn get(&self) -> Result<&EdgeShard, StoreError> {
        let ended = || StoreError::Unavailable("the engine has ended".to_owned());
        self.0.as_ref().ok_or_else(ended)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let shard = self.get()?;
        catch_unwind(AssertUnwindSafe(|| shard.flush()))
            .map_err(|_| StoreError::Unavailable("the engine cannot write to its folder".to_owned()))
    }

    /// Numbers of a vector.
    fn size(&self) -> Result<usize, StoreError> {
        let config = self.get()?.config();
        Ok(config.vectors.get("").map_or(0, |vector| vector.size))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let flushed = !std::thread::panicking() && self.flush().is_ok();
        let Some(shard) = self.0.take() else { return };
        match flushed {
            true => drop(catch_unwind(AssertUnwindSafe(move || drop(shard)))),
            false => std::mem::forget(shard),
        }
    }
}

impl EdgeStore {
    /// The collections in `folder`. Opens nothing yet.
    pub fn new(folder: &Path, timeout: Duration) -> Self {
        EdgeStore {
            root: Arc::new(Root {
                folder: folder.to_owned(),
                open: Mutex::default(),
            }),
            timeout,
        }
    }

    /// Runs `work` on a thread for blocking work.
    async fn run<T: Send + 'static>(
        &self,
        collection: &str,
        work: impl FnOnce(&Root, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (root, name) = (self.root.clone(), collection.to_owned());
        let working = tokio::task::spawn_blocking(move || work(&root, &name));
        match tokio::time::timeout(self.timeout, working).await {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => {
                self.root.forget(collection);
                Err(StoreError::Unavailable(format!("the engine ended early: {panic}")))
            }
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

impl Root {
    fn opened(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, collection: &str) {
        self.opened().shards.remove(collection);
    }

    /// The collection, opened if it is there.
    fn shard(&self, collection: &str) -> Result<Arc<Shard>, StoreError> {
        self.shard_in(&mut self.opened(), collection)
    }

    fn shard_in(&self, open: &mut Open, collection: &str) -> Result<Arc<Shard>, StoreError> {
        let folder = self.folder.join(collection);
        if let Some(shard) = open.shards.get(collection) {
            if folder.is_dir() {
                return Ok(shard.clone());
            }
            // Somebody deleted it.
            open.shards.remove(collection);
        }
        self.own(open)?;
        let old = self.folder.join(format!("{collection}.old"));
        if !folder.is_dir() && old.is_dir() {
            // A copy ended between its two renames.
            fs::rename(&old, &folder).map_err(away)?;
        }
        if !folder.is_dir() {
            return Err(StoreError::NoCollection(collection.to_owned()));
        }
        if wal_bytes(&folder) > MOST_WAL {
            copy(&folder)?;
        }
        let shard = Guarded(Some(EdgeShard::load(&folder, None).map_err(failed)?));
        let shard = Arc::new(Shard {
            shard,
            writing: Mutex::new(()),
        });
        open.shards.insert(collection.to_owned(), shard.clone());
        Ok(shard)
    }

    fn own(&self, open: &mut Open) -> Result<(), StoreError> {
        if open.lock.is_some() && self.folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(away)?;
        let path = self.folder.join("lock");
        let file = File::create(&path).map_err(away)?;
        match file.try_lock() {
            Ok(()) => {
                open.lock = Some(file);
                Ok(())
            }
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
                "{} belongs to another process",
                self.folder.display()
            ))),
            Err(fs::TryLockError::Error(error)) => Err(away(error)),
        }
    }

    fn ensure(&self, collection: &str, dimensions: usize) -> Result<(), StoreError> {
        // Held to the end: of two that make it at once, one makes it.
        let mut open = self.opened();
        let shard = match self.shard_in(&mut open, collection) {
            Err(StoreError::NoCollection(_)) => {
                make(&self.folder.join(collection), dimensions)?;
                self.shard_in(&mut open, collection)?
            }
            other => other?,
        };
        let size = shard.shard.size()?;
        if size == dimensions {
            return Ok(());
        }
        Err(StoreError::Refused(format!(
            "collection {collection} holds vectors of {size} numbers, and {dimensions} are asked for"
        )))
    }
}

impl Shard {
    /// Applies `operations` and brings them to the disk.
    fn write(&self, operations: impl Iterator<Item = UpdateOperation>) -> Result<(), StoreError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for operation in operations {
            self.shard.get()?.update(operation).map_err(failed)?;
        }
        self.shard.flush()
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), StoreError> {
        let size = self.shard.size()?;
        if let Some(odd) = points.iter().find(|point| point.vector.len() != size) {
            let length = odd.vector.len();
            return Err(StoreError::Refused(format!(
                "point {} has {length} numbers, not {size}",
                odd.id
            )));
        }
        let points: Vec<PointStructPersisted> = points
            .into_iter()
            .map(|point| PointStruct::new(PointId::Uuid(point.id), point.vector, Value::Object(point.payload)).into())
            .collect();
        self.write(points.chunks(CHUNK).map(|chunk| upsert(chunk.to_vec())))
    }
}

fn upsert(points: Vec<PointStructPersisted>) -> UpdateOperation {
    UpdateOperation::PointOperation(PointOperations::UpsertPoints(PointInsertOperations::PointsList(points)))
}

/// Makes an empty collection, whole or not at all.
fn make(folder: &Path, dimensions: usize) -> Result<(), StoreError> {
    let fresh = folder.with_extension("new");
    drop(create(&fresh, dimensions)?);
    fs::rename(&fresh, folder).map_err(away)
}

fn create(folder: &Path, dimensions: usize) -> Result<Guarded, StoreError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(away)?;
    }
    fs::create_dir_all(folder).map_err(away)?;
    let config = EdgeConfig::builder()
        .vector("", EdgeVectorParamsBuilder::new(dimensions, Distance::Cosine).build())
        .wal_options(WalOptions {
            segment_capacity: WAL_FILE,
            ..WalOptions::default()
        })
        .build();
    let shard = Guarded(Some(EdgeShard::new(folder, config).map_err(failed)?));
    for field in ["kind", "tenant"] {
        let index = CreateIndex {
            field_name: path(field)?,
            field_schema: Some(PayloadFieldSchema::FieldType(PayloadSchemaType::Keyword)),
        };
        let operation = UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(index));
        shard.get()?.update(operation).map_err(failed)?;
    }
    shard.flush()?;
    Ok(shard)
}

/// Puts a copy of the collection in `folder` in its place, which has a short write-ahead log.
fn copy(folder: &Path) -> Result<(), StoreError> {
    let (fresh, old) = (folder.with_extension("new"), folder.with_extension("old"));
    {
        let from = Guarded(Some(EdgeShard::load(folder, None).map_err(failed)?));
        let into = create(&fresh, from.size()?)?;
        let mut offset = None;
        loop {
            let request = ScrollRequest {
                offset,
                limit: Some(CHUNK),
                filter: None,
                with_payload: Some(WithPayloadInterface::Bool(true)),
                with_vector: WithVector::Bool(true),
                order_by: None,
            };
            let (records, next) = from.get()?.scroll(request).map_err(failed)?;
            let points: Vec<PointStructPersisted> = records
                .into_iter()
                .filter_map(|record| match record.vector {
                    Some(VectorStructInternal::Single(vector)) => {
                        let payload = record.payload.unwrap_or_default().0;
                        Some(PointStruct::new(record.id, vector, Value::Object(payload)).into())
                    }
                    _ => None,
                })
                .collect();
            into.get()?.update(upsert(points)).map_err(failed)?;
            match next {
                Some(next) => offset = Some(next),
                None => break,
            }
        }
        into.flush()?;
    }
    if old.exists() {
        fs::remove_dir_all(&old).map_err(away)?;
    }
    fs::rename(folder, &old).map_err(away)?;
    fs::rename(&fresh, folder).map_err(away)?;
    fs::remove_dir_all(&old).map_err(away)?;
    tracing::info!(folder = %folder.display(), "the collection was copied to shorten its write-ahead log");
    Ok(())
}

fn wal_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder.join("wal")).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn filter_of(filter: &Filter) -> Result<Option<EdgeFilter>, StoreError> {
    let mut must = Vec::new();
    for (field, value) in &filter.equal {
        let wanted = Match::new_value(ValueVariants::String(value.clone()));
        must.push(Condition::Field(FieldCondition::new_match(path(field)?, wanted)));
    }
    for (field, value) in &filter.below {
        let range = Range {
            lt: Some(OrderedFloat(*value)),
            gt: None,
            gte: None,
            lte: None,
        };
        must.push(Condition::Field(FieldCondition::new_range(path(field)?, range)));
    }
    Ok((!must.is_empty()).then(|| EdgeFilter {
        must: Some(must),
        ..EdgeFilter::new()
    }))
}

fn path(field: &str) -> Result<JsonPath, StoreError> {
    field
        .parse()
        .map_err(|()| StoreError::Refused(format!("{field:?} is no name of a field")))
}

fn uuid(id: PointId) -> Option<Uuid> {
    match id {
        PointId::Uuid(id) => Some(id),
        PointId::NumId(_) => None,
    }
}

fn failed(error: OperationError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn away(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[async_trait]
impl VectorStore for EdgeStore {
    async fn ensure(&self, collection: &str, dimensions: usize) -> Result<(), StoreError> {
        self.run(collection, move |root, name| root.ensure(name, dimensions))
            .await
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        self.run(collection, move |root, name| root.shard(name)?.upsert(points))
            .await
    }

    async fn get(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Found>, StoreError> {
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::Uuid(*id)).collect();
        self.run(collection, move |root, name| {
            let shard = root.shard(name)?;
            let records = shard.shard.get()?.retrieve(&ids, None, None).map_err(failed)?;
            let found = records.into_iter().filter_map(|record| {
                Some(Found {
                    id: uuid(record.id)?,
                    payload: record.payload.map(|payload| payload.0).unwrap_or_default(),
                })
            });
            Ok(found.collect())
        })
        .await
    }

    async fn query(
        &self,
        collection: &str,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        let (vector, filter) = (vector.to_vec(), filter_of(filter)?);
        self.run(collection, move |root, name| {
            let shard = root.shard(name)?;
            let size = shard.shard.size()?;
            if vector.len() != size {
                let problem = format!("the question has {} numbers, not {size}", vector.len());
                return Err(StoreError::Refused(problem));
            }
            let nearest = QueryEnum::Nearest(NamedQuery {
                query: VectorInternal::Dense(vector),
                using: None,
            });
            let request = QueryRequest {
                prefetches: Vec::new(),
                query: Some(ScoringQuery::Vector(nearest)),
                filter,
                score_threshold: None,
                limit,
                offset: 0,
                params: None,
                with_vector: WithVector::Bool(false),
                with_payload: WithPayloadInterface::Bool(true),
            };
            let points = shard.shard.get()?.query(request).map_err(failed)?;
            let hits = points.into_iter().filter_map(|point| {
                Some(Hit {
                    id: uuid(point.id)?,
                    score: point.score,
                    payload: point.payload.map(|payload| payload.0).unwrap_or_default(),
                })
            });
            Ok(hits.collect())
        })
        .await
    }

    async fn count(&self, collection: &str, filter: &Filter) -> Result<u64, StoreError> {
        let filter = filter_of(filter)?;
        self.run(collection, move |root, name| {
            let shard = root.shard(name)?;
            let request = CountRequest { filter, exact: true };
            shard
                .shard
                .get()?
                .count(request)
                .map(|count| count as u64)
                .map_err(failed)
        })
        .await
    }

    async fn delete(&self, collection: &str, ids: &[Uuid]) -> Result<(), StoreError> {
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::Uuid(*id)).collect();
        self.run(collection, move |root, name| {
            let operation = UpdateOperation::PointOperation(PointOperations::DeletePoints { ids });
            root.shard(name)?.write(std::iter::once(operation))
        })
        .await
    }
}
