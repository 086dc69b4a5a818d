//! What an action would do, without doing it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::proposal::{BlastRadius, TargetState};
use model::remediation::Health;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ToolError;

/// What an action would do: by the API server's own dry run, or as what would be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    pub diff: String,
    pub inverse: Option<Action>,
    pub blast_radius: BlastRadius,
    pub target: TargetState,
}

/// What became of an action that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub health: Health,
    /// For people.
    pub note: String,
    /// How its target stands now, where there is one.
    pub state: Option<TargetState>,
}

/// Knows the actions of one system outside the cluster. It changes nothing.
#[async_trait]
pub trait Plans: Send + Sync {
    /// The [`model::action::Place::system`] of its actions.
    fn system(&self) -> &'static str;

    /// How the target stands now: what a grant is bound to.
    async fn state(&self, action: &Action) -> Result<TargetState, ToolError>;

    /// What would be written or started, in full. An action that cannot be carried out as things stand is refused, with what could be.
    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError>;

    /// Whether what `attempt` did after `since` is there, and did what it should.
    async fn outcome(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<Outcome, ToolError>;
}
