//! The sink that keeps the vector store up with the log: `incidents` become points of incidents, `transitions` points of alerts and of the
//! log templates that stood out. One instance reads one of the two, so a storm of alerts holds no incident back.
//!
//! It guarantees:
//!
//! * every fact is in its incident's point once: a point knows its revision, ids are derived, and a record may be read again at any time;
//! * where it stands is a point in the same collection, written with the points or after them. So a store that was deleted, or the
//!   collection of another model, is filled from the beginning of the log without a word;
//! * memory is bounded by one batch of the driver; what it has not got to is in the log.
//!
//! A store or a model that is away costs this sink its progress and nobody else anything: [`Backlog`] tells how far behind it is. A record
//! that cannot be read is counted and passed: the tables' sink buries it. Where a text has no vector the point is left out.
//!
//! Two processes that write one incident at the same time (a member of the group that does not know yet that it lost its partition) could
//! put an older state over a newer one; the next fact of the incident mends it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use model::{Fact, IncidentEvent, SignalBatch, topics};
use serde_json::{Value, json};
use stream::log::Topic;
use stream::{Clock, LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::engine::{Engine, Subject, VectorsError};
use crate::store::{Payload, Point, StoreError, derived};
use crate::texts::{self, Draft, Kind, incident_text, text_of, texts_of};

/// Records, or texts, between two writes. More: a stop, or a death, waits for more.
const CHUNK: usize = 64;
/// Between two writes of a position behind which nothing else was written: Progress comes every second.
const POSITION_EVERY: Duration = Duration::from_secs(30);
/// An incident that opened longer ago is not new: it is read again.
const NEW_WITHIN: Duration = Duration::from_secs(600);
/// Neighbours that are looked for of a new incident.
const NEIGHBOURS: usize = 3;

/// What one instance reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    Incidents,
    Alerts,
}

impl Reads {
    /// The sink's name.
    pub fn name(self) -> &'static str {
        match self {
            Reads::Incidents => "vectors",
            Reads::Alerts => "vectors-alerts",
        }
    }

    pub fn topic(self) -> &'static str {
        match self {
            Reads::Incidents => topics::INCIDENTS,
            Reads::Alerts => topics::TRANSITIONS,
        }
    }
}

/// How the projection stands, for whoever shows it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    inner: Arc<Mutex<Stands>>,
}

#[derive(Debug, Default)]
struct Stands {
    /// The next offset to read.
    positions: BTreeMap<TopicPartition, Offset>,
    /// What holds a sink up.
    troubles: BTreeMap<&'static str, String>,
}

impl Backlog {
    /// The next offset to read, of every partition that it was given.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        self.lock().positions.clone()
    }

    /// What holds it up, by sink.
    pub fn troubles(&self) -> BTreeMap<&'static str, String> {
        self.lock().troubles.clone()
    }

    /// Says what holds sink `name` up; `None`: nothing.
    pub fn trouble(&self, name: &'static str, problem: Option<String>) {
        match problem {
            Some(problem) => self.lock().troubles.insert(name, problem),
            None => self.lock().troubles.remove(name),
        };
    }

    fn stands(&self, partition: &TopicPartition, next: Offset) {
        self.lock().positions.insert(partition.clone(), next);
    }

    fn lock(&self) -> MutexGuard<'_, Stands> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module's header.
pub struct Projection {
    reads: Reads,
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    backlog: Backlog,
    standing: BTreeMap<TopicPartition, Standing>,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    next: Offset,
    /// As the store has it.
    written: Offset,
    /// When that was written, by the clock that only runs on.
    written_at: Duration,
}

/// Why a step was not done.
enum Stopped {
    Vectors(VectorsError),
    Asked,
}

impl From<VectorsError> for Stopped {
    fn from(error: VectorsError) -> Self {
        Stopped::Vectors(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Stopped::Vectors(error.into())
    }
}

impl Projection {
    /// `stop`: ends what it does between two writes.
    pub fn new(
        reads: Reads,
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        backlog: Backlog,
        stop: CancellationToken,
    ) -> Self {
        Projection {
            reads,
            engine,
            clock,
            stop,
            backlog,
            standing: BTreeMap::new(),
        }
    }

    /// Where the store says that `partition` stands.
    async fn stored(&self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, Stopped> {
        let engine = &self.engine;
        let (store, collection) = (engine.store(), engine.collection());
        store.ensure(collection, engine.model().info().dimensions).await?;
        let found = store.get(collection, &[position_id(partition)]).await?;
        let Some(payload) = found.into_iter().next().map(|found| found.payload) else {
            return Ok(None);
        };
        let written = text_of(&payload, "log");
        if written != log.0 {
            return Err(StoreError::Refused(format!(
                "collection {collection} was filled from log {written}, this is log {}: set another vectors.prefix, or delete the collection",
                log.0
            ))
            .into());
        }
        Ok(payload.get("next").and_then(number).map(Offset))
    }

    /// Reads `records` of one partition, up to `next`.
    async fn take(&mut self, log: &LogId, batch: &SinkBatch) -> Result<(), Stopped> {
        let partition = &batch.partition;
        let begun = self
            .standing
            .get(partition)
            .map_or(batch.start, |standing| standing.next);
        let stage = format!("sink.{}", self.reads.name());
        let records: Vec<&Record> = batch
            .records
            .iter()
            .filter(|record| record.offset >= begun && stream::progress::is_data_for(record, &stage))
            .collect();
        for chunk in records.chunks(CHUNK) {
            let Some(last) = chunk.last() else { continue };
            match self.reads {
                Reads::Incidents => self.incidents(chunk).await?,
                Reads::Alerts => self.alerts(chunk).await?,
            }
            self.moved(partition, Offset(last.offset.0 + 1));
            self.position(log, partition, true).await?;
        }
        self.moved(partition, batch.next);
        self.position(log, partition, false).await
    }

    async fn incidents(&self, records: &[&Record]) -> Result<(), Stopped> {
        let mut events: Vec<IncidentEvent> = Vec::new();
        for record in records {
            if record.header(topics::header::TYPE).is_some() {
                continue;
            }
            match serde_json::from_slice(&record.value) {
                Ok(event) => events.push(event),
                Err(_) => skipped("undecodable"),
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = {
            let ids: std::collections::BTreeSet<Uuid> = events.iter().map(|event| event.incident.id.0).collect();
            ids.into_iter().collect()
        };
        let found = self.engine.store().get(self.engine.collection(), &ids).await?;
        let mut known: BTreeMap<Uuid, Payload> = found.into_iter().map(|found| (found.id, found.payload)).collect();
        let mut changed: BTreeMap<Uuid, Draft> = BTreeMap::new();
        let mut opened: Vec<&IncidentEvent> = Vec::new();
        for event in &events {
            let id = event.incident.id.0;
            let Some(payload) = texts::incident(known.get(&id), event) else {
                continue;
            };
            if matches!(event.fact, Fact::Opened { .. }) {
                opened.push(event);
            }
            let text = incident_text(text_of(&payload, "title"), &texts_of(&payload, "titles"));
            known.insert(id, payload.clone());
            changed.insert(id, Draft { id, text, payload });
        }
        self.write(changed.into_values().collect()).await?;
        for event in opened {
            if let Some(payload) = known.get(&event.incident.id.0) {
                self.announce(event, payload).await;
            }
        }
        Ok(())
    }

    async fn alerts(&self, records: &[&Record]) -> Result<(), Stopped> {
        let mut drafts: BTreeMap<Uuid, Draft> = BTreeMap::new();
        for record in records {
            if record.header(topics::header::TYPE).is_some() {
                continue;
            }
            match SignalBatch::decode(&record.value) {
                Ok(batch) => {
                    let rows = batch.rows();
                    drafts.extend(rows.filter_map(|row| texts::alert(&row)).map(|draft| (draft.id, draft)));
                }
                Err(_) => skipped("undecodable"),
            }
        }
        self.write(drafts.into_values().collect()).await
    }

    /// Embeds and stores.
    async fn write(&self, drafts: Vec<Draft>) -> Result<(), Stopped> {
        for chunk in drafts.chunks(CHUNK) {
            if self.stop.is_cancelled() {
                return Err(Stopped::Asked);
            }
            let texts: Vec<String> = chunk.iter().map(|draft| draft.text.clone()).collect();
            let vectors = self.engine.model().embed(&texts).await.map_err(VectorsError::from)?;
            let points = chunk.iter().zip(vectors).filter_map(|(draft, vector)| {
                let Some(vector) = vector else {
                    skipped("no_vector");
                    return None;
                };
                Some(Point {
                    id: draft.id,
                    vector: vector.to_vec(),
                    payload: draft.payload.clone(),
                })
            });
            let points: Vec<Point> = points.collect();
            let count = points.len() as u64;
            self.engine.store().upsert(self.engine.collection(), points).await?;
            metrics::counter!("aegis_vectors_points_total", "sink" => self.reads.name()).increment(count);
        }
        Ok(())
    }

    /// Looks for what is like an incident that opened a moment ago, and says how long that took.
    async fn announce(&self, event: &IncidentEvent, payload: &Payload) {
        let now = self.clock.now().to_datetime();
        let since = (now - event.observed_at).to_std().unwrap_or_default();
        if since > NEW_WITHIN {
            return;
        }
        let incident = &event.incident;
        let subject = Subject {
            id: Some(incident.id.0),
            tenant: Some(incident.tenant.clone()),
            environment: incident.environment.clone(),
            service: text_of(payload, "service").to_owned(),
            title: text_of(payload, "title").to_owned(),
            titles: texts_of(payload, "titles"),
            alerts: texts_of(payload, "alerts"),
            before: Some(incident.created_at),
        };
        let found = match self.engine.near(&subject, NEIGHBOURS).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(incident = %incident.id, %error, "similar incidents were not looked for");
                return;
            }
        };
        let now = self.clock.now().to_datetime();
        let took = (now - event.observed_at).to_std().unwrap_or_default();
        let word = if found.is_empty() { "none" } else { "some" };
        metrics::histogram!("aegis_similar_seconds").record(took.as_secs_f64());
        metrics::counter!("aegis_similar_total", "found" => word).increment(1);
        if let Some(best) = found.first() {
            let (like, score, others) = (best.id, best.score, found.len() - 1);
            tracing::info!(incident = %incident.id, %like, score, others, "a past incident is like this one");
        }
    }

    fn moved(&mut self, partition: &TopicPartition, next: Offset) {
        let standing = self.standing.entry(partition.clone()).or_insert(Standing {
            next,
            written: Offset::default(),
            written_at: Duration::ZERO,
        });
        standing.next = standing.next.max(next);
        self.backlog.stands(partition, standing.next);
    }

    /// Writes where `partition` stands, now or when it is time.
    async fn position(&mut self, log: &LogId, partition: &TopicPartition, now: bool) -> Result<(), Stopped> {
        let at = self.clock.monotonic();
        let Some(standing) = self.standing.get_mut(partition) else {
            return Ok(());
        };
        let due = now || at.saturating_sub(standing.written_at) >= POSITION_EVERY;
        if standing.written == standing.next || !due {
            return Ok(());
        }
        let mut vector = vec![0.0; self.engine.model().info().dimensions];
        if let Some(first) = vector.first_mut() {
            *first = 1.0;
        }
        let payload = json!({
            "kind": Kind::Position.as_str(),
            "log": log.0,
            "topic": partition.topic.to_string(),
            "partition": partition.partition,
            "next": standing.next.0,
        });
        let Value::Object(payload) = payload else { return Ok(()) };
        let point = Point {
            id: position_id(partition),
            vector,
            payload,
        };
        self.engine
            .store()
            .upsert(self.engine.collection(), vec![point])
            .await?;
        standing.written = standing.next;
        standing.written_at = at;
        Ok(())
    }

    /// What the driver is told.
    fn error(&self, stopped: Stopped, partition: &TopicPartition, expected: Offset) -> SinkError {
        let sink = self.reads.name().to_owned();
        match stopped {
            Stopped::Asked => SinkError::Unavailable {
                sink,
                cause: "it is stopping".to_owned(),
            },
            // Deleted under way: it is asked where it stands, makes another, and begins anew.
            Stopped::Vectors(VectorsError::Store(StoreError::NoCollection(_))) => SinkError::PositionMoved {
                sink,
                partition: partition.clone(),
                expected,
                stored: None,
            },
            Stopped::Vectors(error) => {
                self.backlog.trouble(self.reads.name(), Some(error.to_string()));
                SinkError::Unavailable {
                    sink,
                    cause: error.to_string(),
                }
            }
        }
    }
}

fn skipped(reason: &'static str) {
    metrics::counter!("aegis_vectors_skipped_total", "reason" => reason).increment(1);
}

fn position_id(partition: &TopicPartition) -> Uuid {
    derived(Kind::Position.as_str(), &partition.to_string())
}

/// A server may keep an integer as a number with a point.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

#[async_trait]
impl Sink for Projection {
    fn name(&self) -> &str {
        self.reads.name()
    }

    fn topics(&self) -> Vec<Topic> {
        vec![self.reads.topic().into()]
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        self.standing.remove(partition);
        match self.stored(log, partition).await {
            Ok(stored) => {
                self.backlog.trouble(self.reads.name(), None);
                let next = stored.unwrap_or_default();
                self.backlog.stands(partition, next);
                if stored.is_some() {
                    let standing = Standing {
                        next,
                        written: next,
                        written_at: self.clock.monotonic(),
                    };
                    self.standing.insert(partition.clone(), standing);
                }
                Ok(stored)
            }
            Err(stopped) => {
                self.backlog.stands(partition, Offset::default());
                match self.error(stopped, partition, Offset::default()) {
                    // Gone between two questions: asked again.
                    SinkError::PositionMoved { sink, .. } => Err(SinkError::Unavailable {
                        sink,
                        cause: "the collection was deleted a moment ago".to_owned(),
                    }),
                    other => Err(other),
                }
            }
        }
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        for batch in batches {
            if let Err(stopped) = self.take(log, batch).await {
                return Err(self.error(stopped, &batch.partition, batch.start));
            }
        }
        self.backlog.trouble(self.reads.name(), None);
        Ok(Vec::new())
    }

    /// A position that is not written is read again at the next start.
    async fn close(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
