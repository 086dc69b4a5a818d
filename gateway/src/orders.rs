//! What people order through the API: acknowledge, resolve, lead a run, approve, deny, stop. The pipeline implements it by
//! appending to the log; nothing here changes anything itself.

use async_trait::async_trait;
use model::IncidentId;
use model::investigation::RunVerb;
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
    #[error("unavailable: {0}")]
    Unavailable(String),
}

/// Gives orders. `by` is `human:NAME`.
#[async_trait]
pub trait Orders: Send + Sync + 'static {
    async fn acknowledge(&self, incident: IncidentId, by: &str) -> Result<(), OrderError>;

    async fn resolve(&self, incident: IncidentId, by: &str, resolution: &str) -> Result<(), OrderError>;

    /// Leads the run of an incident.
    async fn run(&self, incident: IncidentId, verb: RunVerb, by: &str) -> Result<(), OrderError>;

    /// Yes to the plan with this hash.
    async fn approve(&self, remediation: Uuid, plan_hash: &str, by: &str) -> Result<(), OrderError>;

    async fn deny(&self, remediation: Uuid, reason: &str, by: &str) -> Result<(), OrderError>;

    /// The global stop switch: while it is on, nothing is executed.
    async fn stop(&self, on: bool, by: &str) -> Result<(), OrderError>;
}
