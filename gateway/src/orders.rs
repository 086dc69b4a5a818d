//! What people order through the API: acknowledge, resolve, lead a run, propose, approve, deny, stop. The pipeline implements it by
//! appending to the log; nothing here changes anything itself.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::investigation::RunVerb;
use model::{Action, IncidentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why an order was not given. In each case nothing happened, except with [`OrderError::Unavailable`] after a lost answer: the same
/// order given again counts once.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("there is no {0}")]
    NotFound(String),
    /// It cannot be ordered as things stand.
    #[error("{0}")]
    Conflict(String),
    /// Not by this person.
    #[error("{0}")]
    Forbidden(String),
    /// What was sent along cannot be meant: the field, and why.
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// What somebody proposes for an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    pub action: Action,
    /// Why, for whoever is to grant it.
    pub reason: String,
    /// The same key with the same action, for the same incident, is the same proposal: what was sent twice counts once.
    pub key: Uuid,
}

/// A proposal that was written down; the gate judges it next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposed {
    /// Of the remediation.
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    pub plan_hash: String,
    /// What would change, as the system that it is about says.
    pub dry_run: String,
    /// After this nobody can grant it.
    pub expires_at: DateTime<Utc>,
}

/// Gives orders. `by` is `human:NAME`.
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    async fn acknowledge(&self, incident: IncidentId, by: &str) -> Result<(), OrderError>;

    async fn resolve(&self, incident: IncidentId, by: &str, resolution: &str) -> Result<(), OrderError>;

    /// Leads the run of an incident.
    async fn run(&self, incident: IncidentId, verb: RunVerb, by: &str) -> Result<(), OrderError>;

    /// Tries an action dry, and proposes it. Who proposes does not grant.
    async fn propose(&self, incident: IncidentId, what: Suggestion, by: &str) -> Result<Proposed, OrderError>;

    /// Yes to the plan with this hash.
    async fn approve(&self, remediation: Uuid, plan_hash: &str, by: &str) -> Result<(), OrderError>;

    async fn deny(&self, remediation: Uuid, reason: &str, by: &str) -> Result<(), OrderError>;

    /// The global stop switch: while it is on, nothing is executed.
    async fn stop(&self, on: bool, by: &str) -> Result<(), OrderError>;
}
