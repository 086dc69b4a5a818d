//! Silences through the API: people are not told of certain incidents for a while. The pipeline implements it over the log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::silence::{Criteria, Standing};
use model::{IncidentId, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::orders::OrderError;
use crate::reads::ReadError;

/// Body of a new silence. Every criterion that is given must be met by an incident; of a list, one of its words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SilenceBody {
    #[schemars(with = "Vec<String>")]
    pub incidents: Vec<IncidentId>,
    pub services: Vec<String>,
    pub environments: Vec<String>,
    /// `info`, `warning`, `critical`.
    #[schemars(with = "Vec<String>")]
    pub severities: Vec<Severity>,
    /// The incident's title has this in it, in capitals or not.
    pub title: Option<String>,
    /// Absent: now.
    pub starts_at: Option<DateTime<Utc>>,
    /// This, or `duration`.
    pub ends_at: Option<DateTime<Utc>>,
    /// From the start on: `30m`, `2h`.
    pub duration: Option<String>,
    /// Why, for whoever wonders.
    pub comment: String,
}

impl SilenceBody {
    pub fn criteria(&self) -> Criteria {
        Criteria {
            incidents: self.incidents.clone(),
            services: self.services.clone(),
            environments: self.environments.clone(),
            severities: self.severities.clone(),
            title: self.title.clone(),
        }
    }
}

/// One silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilenceView {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    #[schemars(with = "Vec<String>")]
    pub incidents: Vec<IncidentId>,
    pub services: Vec<String>,
    pub environments: Vec<String>,
    #[schemars(with = "Vec<String>")]
    pub severities: Vec<Severity>,
    pub title: Option<String>,
    pub starts_at: DateTime<Utc>,
    /// When it ended or will.
    pub ends_at: DateTime<Utc>,
    /// `pending`, `active` or `ended`.
    #[schemars(extend("enum" = ["pending", "active", "ended"]))]
    pub state: String,
    /// `human:NAME`.
    pub by: String,
    pub comment: String,
    pub created_at: DateTime<Utc>,
    /// Who ended it before its time.
    pub ended_by: Option<String>,
}

impl SilenceView {
    pub fn of(standing: &Standing, now: DateTime<Utc>) -> Self {
        let silence = standing.silence.clone();
        SilenceView {
            id: silence.id,
            incidents: silence.criteria.incidents,
            services: silence.criteria.services,
            environments: silence.criteria.environments,
            severities: silence.criteria.severities,
            title: silence.criteria.title,
            starts_at: silence.starts_at,
            ends_at: standing.ended.as_ref().map_or(silence.ends_at, |(at, _)| *at),
            state: standing.state(now).as_str().to_owned(),
            by: silence.by,
            comment: silence.comment,
            created_at: silence.created_at,
            ended_by: standing.ended.as_ref().map(|(_, by)| by.clone()),
        }
    }
}

/// Answer of the list, the one declared last first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilencesView {
    pub silences: Vec<SilenceView>,
}

/// Which silences are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SilenceFilter {
    /// Also those that ended in the last thirty days.
    pub all: bool,
    /// Those that hold back what is said about this incident now.
    pub incident: Option<IncidentId>,
}

/// Shows silences, declares them and ends them. `by` is `human:NAME`.
#[async_trait]
pub trait Silences: Send + Sync + 'static {
    /// `None`: there is no such incident.
    async fn list(&self, filter: SilenceFilter) -> Result<Option<Vec<SilenceView>>, ReadError>;

    async fn declare(&self, wanted: SilenceBody, by: &str) -> Result<SilenceView, OrderError>;

    /// Before its time. A conflict where it has ended already.
    async fn end(&self, id: Uuid, by: &str) -> Result<SilenceView, OrderError>;
}
