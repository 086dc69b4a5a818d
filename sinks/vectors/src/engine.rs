//! Questions to the store: which past incidents are like this one, or like this text.
//!
//! The subject need not be in the store: its text is embedded when it is asked about (remembered by text, so once). So an answer for an
//! incident that opened a moment ago does not wait for the projection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use embedding::{EmbedError, Model};
use serde_json::Value;
use uuid::Uuid;

use crate::near::{Features, Matched, compare};
use crate::store::{Filter, Payload, StoreError, VectorStore, collection_name};
use crate::texts::{Kind, alert_id, incident_text, text_of, texts_of};

/// Candidates that are compared by features, for each that is asked for.
const CANDIDATES: usize = 5;
/// Fewest candidates. Fewer: features cannot bring up what the vectors put a little lower.
const LEAST_CANDIDATES: usize = 24;
/// Cosine from which an incident is called similar to another by its words alone; who searches by words sees the nearest, with their scores.
/// Higher: other words for the same thing are missed (0.29 to 0.75 with the model inside the binary); lower: more that is unrelated is told (up
/// to 0.47).
const LEAST_COSINE: f32 = 0.4;
/// Cosine that is enough where both have a service, an alert, a template or words in common.
const LEAST_COSINE_IN_COMMON: f32 = 0.2;

/// A model, a store, and the collection of the two.
pub struct Engine {
    model: Arc<Model>,
    store: Arc<dyn VectorStore>,
    collection: String,
}

/// What neighbours are looked for of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// Not its own neighbour.
    pub id: Option<Uuid>,
    /// Only incidents of this tenant.
    pub tenant: Option<String>,
    pub environment: String,
    pub service: String,
    /// Or the text that is looked for.
    pub title: String,
    /// Titles of its alerts.
    pub titles: Vec<String>,
    /// Their dedup keys.
    pub alerts: Vec<String>,
    /// Only incidents that began before.
    pub before: Option<DateTime<Utc>>,
}

/// A past incident that is like the subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    pub id: Uuid,
    /// From 0 to 1: the cosine and the shared features together.
    pub score: f32,
    /// Of the texts' vectors.
    pub cosine: f32,
    pub matched: Vec<Matched>,
    pub title: String,
    pub service: String,
    pub environment: String,
    pub severity: String,
    pub created_at: DateTime<Utc>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VectorsError {
    #[error(transparent)]
    Model(#[from] EmbedError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the model has no vector for this text")]
    NoVector,
}

impl Engine {
    /// The collection of `model` in `store`; names begin with `prefix`.
    pub fn new(model: Arc<Model>, store: Arc<dyn VectorStore>, prefix: &str) -> Self {
        Engine {
            collection: collection_name(prefix, model.info()),
            model,
            store,
        }
    }

    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub fn store(&self) -> &Arc<dyn VectorStore> {
        &self.store
    }

    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The `limit` past incidents most like the subject, best first.
    pub async fn near(&self, subject: &Subject, limit: usize) -> Result<Vec<Neighbour>, VectorsError> {
        let text = incident_text(&subject.title, &subject.titles);
        let vector = self.model.embed_one(&text).await?.ok_or(VectorsError::NoVector)?;
        let mut filter = Filter::default()
            .equal("kind", Kind::Incident.as_str())
            .equal("merged", "no");
        if let Some(tenant) = &subject.tenant {
            filter = filter.equal("tenant", tenant);
        }
        if let Some(before) = subject.before {
            // Microseconds are exact in an f64 for the next two hundred years.
            filter = filter.below("created_at", before.timestamp_micros() as f64);
        }
        let candidates = (limit * CANDIDATES).max(LEAST_CANDIDATES);
        let hits = match self.store.query(&self.collection, &vector, &filter, candidates).await {
            Ok(hits) => hits,
            // Nothing was kept yet.
            Err(StoreError::NoCollection(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let hits: Vec<_> = hits.into_iter().filter(|hit| subject.id != Some(hit.id)).collect();
        let keys = hits.iter().flat_map(|hit| texts_of(&hit.payload, "alerts"));
        let alerts = self.alerts(keys.chain(subject.alerts.iter().cloned())).await?;
        let own = features(&subject.service, &subject.environment, text, &subject.alerts, &alerts);
        let mut near: Vec<Neighbour> = hits
            .iter()
            .map(|hit| {
                let payload = &hit.payload;
                let (service, environment) = (text_of(payload, "service"), text_of(payload, "environment"));
                let text = incident_text(text_of(payload, "title"), &texts_of(payload, "titles"));
                let theirs = features(service, environment, text, &texts_of(payload, "alerts"), &alerts);
                let (matched, score) = compare(&own, &theirs, hit.score);
                Neighbour {
                    id: hit.id,
                    score,
                    cosine: hit.score,
                    matched,
                    title: text_of(payload, "title").to_owned(),
                    service: service.to_owned(),
                    environment: environment.to_owned(),
                    severity: text_of(payload, "severity").to_owned(),
                    created_at: time_of(payload),
                }
            })
            .filter(|near| subject.id.is_none() || alike(near))
            .collect();
        // Of equal ones the newer; and the same order whoever asks.
        near.sort_by(|a, b| {
            let newer = b.created_at.cmp(&a.created_at);
            b.score.total_cmp(&a.score).then(newer).then(a.id.cmp(&b.id))
        });
        near.truncate(limit);
        Ok(near)
    }

    /// What is known of alerts, by dedup key.
    async fn alerts(&self, keys: impl Iterator<Item = String>) -> Result<BTreeMap<String, Payload>, StoreError> {
        let keys: BTreeSet<String> = keys.collect();
        let ids: Vec<Uuid> = keys.iter().map(|key| alert_id(key)).collect();
        let found = match self.store.get(&self.collection, &ids).await {
            Ok(found) => found,
            Err(StoreError::NoCollection(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut by_id: BTreeMap<Uuid, Payload> = found.into_iter().map(|found| (found.id, found.payload)).collect();
        let known = keys.into_iter().zip(ids);
        Ok(known.filter_map(|(key, id)| Some((key, by_id.remove(&id)?))).collect())
    }
}

/// Whether the subject of a question by incident is told of `near`.
fn alike(near: &Neighbour) -> bool {
    let hard = ["service", "alert", "template", "words"];
    let in_common = near.matched.iter().any(|one| hard.contains(&one.feature.as_str()));
    near.cosine
        >= if in_common {
            LEAST_COSINE_IN_COMMON
        } else {
            LEAST_COSINE
        }
}

fn features(
    service: &str,
    environment: &str,
    text: String,
    keys: &[String],
    alerts: &BTreeMap<String, Payload>,
) -> Features {
    let mut features = Features {
        service: service.to_owned(),
        environment: environment.to_owned(),
        text,
        ..Features::default()
    };
    for key in keys {
        let Some(payload) = alerts.get(key) else {
            features.alerts.insert(key.clone(), key.clone());
            continue;
        };
        if let Some(id) = payload.get("template").and_then(Value::as_str) {
            let text = text_of(payload, "text").to_owned();
            features.templates.insert(id.to_owned(), text);
            continue;
        }
        features
            .alerts
            .insert(key.clone(), text_of(payload, "title").to_owned());
        let labels = payload.get("labels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        features.labels.extend(labels);
    }
    features
}

fn time_of(payload: &Payload) -> DateTime<Utc> {
    // A server may keep an integer as a number with a point.
    let micros = payload
        .get("created_at")
        .and_then(|at| at.as_i64().or_else(|| at.as_f64().map(|at| at as i64)));
    micros.and_then(DateTime::from_timestamp_micros).unwrap_or_default()
}
