//! A proposal: a typed plan with everything that is needed to judge it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::action::Action;
use crate::evidence::Citation;
use crate::{IncidentId, ids};

/// The target as it stood when it was looked at. A grant is bound to the first three; `resource_version` is the precondition of the
/// call itself, where the system takes one.
///
/// Outside a cluster `uid` is the number that the system itself gives the object, `generation` counts what can be counted (attempts of a
/// run), `spec_hash` is over the fields that the plan rests on, and there are no pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetState {
    pub uid: String,
    /// `metadata.generation`: rises when the spec changes. 0 where the system counts nothing.
    pub generation: i64,
    /// Hex SHA-256 of the spec fields that the plan touches.
    pub spec_hash: String,
    pub resource_version: String,
    /// Pods that the target wants, and that are ready.
    pub replicas: u32,
    pub ready: u32,
    /// What else a reader should see, small: images, revision, pod names.
    #[serde(default)]
    pub detail: serde_json::Value,
}

/// How much the plan touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlastRadius {
    /// 0 outside a cluster.
    pub workloads: u32,
    /// Pods that are replaced, started or stopped.
    pub pods: u32,
}

/// A plan and its grounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    pub id: Uuid,
    pub incident_id: IncidentId,
    pub tenant: String,
    pub environment: String,
    pub action: Action,
    /// [`Action::plan_hash`] of `action`.
    pub plan_hash: String,
    pub reason: String,
    /// Evidence for the reason.
    pub citations: Vec<Citation>,
    /// What would change, as a diff for people: from the API server's own dry run, or what would be written.
    pub dry_run: String,
    /// What takes it back; `None` where nothing does (the reason says so).
    pub inverse: Option<Action>,
    pub blast_radius: BlastRadius,
    pub target: TargetState,
    /// `agent:fixer` or `human:NAME`.
    pub proposed_by: String,
    pub proposed_at: DateTime<Utc>,
    /// After this nobody can grant it.
    pub expires_at: DateTime<Utc>,
}

impl Proposal {
    /// The same plan for the same incident by the same run is the same proposal.
    pub fn id_of(incident: IncidentId, run: Uuid, plan_hash: &str) -> Uuid {
        ids::derived(&format!("proposal/{incident}/{run}/{plan_hash}"))
    }

    /// One of our own agents proposed it, on typed findings; otherwise somebody over an API, in words.
    pub fn by_agent(&self) -> bool {
        self.proposed_by.starts_with("agent:")
    }

    /// Key of its records on `remediations`: everything about one namespace (repository, project) stands in one order, so that budgets hold.
    pub fn key(&self) -> String {
        self.action.place().key()
    }
}
