//! What the REST read side asks of a store, and the shapes that it answers with.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::{CanonicalKey, IncidentId, Member, Severity, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::similar::SimilarAnswer;

/// Reads incidents. The pipeline implements it over the store that it writes.
#[async_trait]
pub trait IncidentReads: Send + Sync + 'static {
    /// Incidents that match, newest `created_at` first, equal times by id.
    async fn incidents(&self, filter: &IncidentFilter, page: Page) -> Result<Vec<IncidentView>, ReadError>;

    /// One incident, `None` if there is none of this id.
    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, ReadError>;

    /// At most `limit` past incidents like this one, best first; `None` if there is no incident of this id. Whoever keeps no vectors has
    /// none to show.
    async fn similar(&self, _id: IncidentId, _limit: u32) -> Result<Option<SimilarAnswer>, ReadError> {
        Err(ReadError::Unavailable(NO_VECTORS.to_owned()))
    }

    /// At most `limit` past incidents like a text, best first.
    async fn similar_to(&self, _text: &str, _limit: u32) -> Result<SimilarAnswer, ReadError> {
        Err(ReadError::Unavailable(NO_VECTORS.to_owned()))
    }
}

const NO_VECTORS: &str = "no vectors are kept here (vectors.enabled)";

/// All given conditions must hold; values are compared for equality where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    pub status: Option<Status>,
    pub severity: Option<Severity>,
    pub service: Option<String>,
    /// Words; each is held by title, service, root cause, environment or source, in any case.
    pub text: Option<String>,
    /// Not before this, by `created_at`.
    pub since: Option<DateTime<Utc>>,
    /// Before this, by `created_at`.
    pub until: Option<DateTime<Utc>>,
}

/// A cut of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    pub offset: u32,
}

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Trying again later may work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It will not work again without a person.
    #[error("reading the store failed: {0}")]
    Failed(String),
}

/// A row of `incidents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentView {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: IncidentId,
    /// Its trace, 32 hex digits, where traces are kept.
    pub trace_id: String,
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub canonical_key: CanonicalKey,
    pub revision: u64,
    pub tenant: String,
    pub environment: String,
    pub alert_id: String,
    pub source: String,
    #[schemars(with = "String", extend("enum" = ["info", "warning", "critical"]))]
    pub severity: Severity,
    #[schemars(with = "String", extend("enum" = ["open", "investigating", "resolved"]))]
    pub status: Status,
    pub title: String,
    pub service: Option<String>,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    pub auto_resolved: bool,
    /// `agent` or `human:NAME`.
    pub resolved_by: Option<String>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: DateTime<Utc>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub resolved_at: Option<DateTime<Utc>>,
    /// The incident that this one was merged into.
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub merged_into: Option<IncidentId>,
    /// Members so far, and how many of them still fire.
    pub members: u32,
    pub firing: u32,
    pub metadata: serde_json::Value,
}

/// An incident with everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentDetail {
    pub incident: IncidentView,
    /// By start, equal starts by episode.
    #[schemars(with = "Vec<MemberView>")]
    pub members: Vec<Member>,
    /// By revision.
    pub events: Vec<EventView>,
}

/// A row of `incident_events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    pub revision: u64,
    /// Event time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: DateTime<Utc>,
    /// When Aegis saw what caused it.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub observed_at: DateTime<Utc>,
    /// The fact's name: `opened`, `signal_joined`, …
    pub fact: String,
    /// The fact in full.
    pub payload: serde_json::Value,
}

/// A [`Member`], as it is written.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "describes the JSON of another type")]
struct MemberView {
    episode: String,
    signal: String,
    dedup_key: String,
    source: String,
    title: String,
    severity: String,
    service: Option<String>,
    namespace: Option<String>,
    #[schemars(extend("format" = "date-time"))]
    starts_at: String,
    #[schemars(extend("format" = "date-time"))]
    ends_at: Option<String>,
    /// Rule and version that admitted it; `opened@1` for the first.
    rule: String,
    /// The value that it shares with the one that it was linked to.
    key: Option<String>,
    /// The episode that it was linked to.
    linked_to: Option<String>,
    /// Milliseconds between their starts.
    apart_ms: Option<i64>,
}
