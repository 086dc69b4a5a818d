//! A remediation: proposal → decision → grant → attempt → outcome, each a record on `remediations`, keyed by
//! [`Proposal::key`]. The gate writes decisions, people write answers, the executor writes what it did.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::IncidentId;
use crate::action::Action;
use crate::approval::{Decision, Grant};
use crate::proposal::{Proposal, TargetState};

/// Where a remediation stands. Words of the column `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemediationStatus {
    /// Waits for the gate.
    Proposed,
    /// Waits for a human.
    Waiting,
    Denied,
    Expired,
    Granted,
    /// The call is being made, or was made and nobody knows.
    Attempted,
    /// Done; whether it helped is being checked.
    Executed,
    /// Done, and it helped.
    Verified,
    /// Done, and the check could not tell before its time was over.
    Unverified,
    /// It made things worse and was taken back.
    RolledBack,
    /// It did not happen.
    Failed,
}

impl RemediationStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            RemediationStatus::Proposed => "proposed",
            RemediationStatus::Waiting => "waiting",
            RemediationStatus::Denied => "denied",
            RemediationStatus::Expired => "expired",
            RemediationStatus::Granted => "granted",
            RemediationStatus::Attempted => "attempted",
            RemediationStatus::Executed => "executed",
            RemediationStatus::Verified => "verified",
            RemediationStatus::Unverified => "unverified",
            RemediationStatus::RolledBack => "rolled_back",
            RemediationStatus::Failed => "failed",
        }
    }

    /// Nothing follows.
    pub fn over(self) -> bool {
        !matches!(
            self,
            RemediationStatus::Proposed
                | RemediationStatus::Waiting
                | RemediationStatus::Granted
                | RemediationStatus::Attempted
                | RemediationStatus::Executed
        )
    }
}

/// How a remediation stands, with what led there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub proposal: Uuid,
    pub action: Action,
    pub status: RemediationStatus,
    /// Who granted or denied it.
    pub by: Option<String>,
    /// Why it stands so, for people.
    pub note: String,
    pub before: Option<TargetState>,
    pub after: Option<TargetState>,
    pub at: DateTime<Utc>,
}

/// What a check after the execution saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Pods replaced and ready, and the alert recovers.
    Recovered,
    /// Not there yet.
    NotYet,
    /// Worse than before the call.
    Worse,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RemediationFact {
    /// By an agent or a human.
    Proposed { proposal: Box<Proposal> },
    /// By the gate: what the policy says.
    Decided { decision: Decision, policy: String },
    /// By the gate, on account of a rule or of a human's answer. The executor acts on this and on nothing else.
    Granted { grant: Grant, proposal: Box<Proposal> },
    /// By the gate.
    Denied { by: String, reason: String },
    /// By the gate.
    Expired,
    /// By the executor, before the call.
    Attempted { before: TargetState },
    /// By the executor: the call happened.
    Executed { before: TargetState, note: String },
    /// By the executor: it did not happen, and will not.
    Failed { cause: String },
    /// By the gate: look whether it helped.
    CheckDue {
        number: u32,
        before: TargetState,
        proposal: Box<Proposal>,
    },
    /// By the executor.
    Checked {
        number: u32,
        health: Health,
        observed: Option<TargetState>,
        note: String,
    },
    /// By the gate.
    Verified { before: TargetState, after: TargetState },
    /// By the gate: nobody could tell in time.
    Unverified { note: String },
    /// By the gate: the inverse is to be carried out, under the grant of the plan that it takes back.
    RollbackDue { grant: Grant, proposal: Box<Proposal> },
    /// By the executor.
    RolledBack { note: String },
    /// By a human: yes, to this plan.
    Approve { by: String, plan_hash: String },
    /// By a human.
    Deny { by: String, reason: String },
    /// By a human, on every partition: nothing is executed until it is off.
    StopSwitch { on: bool, by: String },
}

/// Payload of `remediations` (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemediationEvent {
    pub schema: u32,
    /// The proposal's id; nil for the stop switch.
    pub id: Uuid,
    pub incident_id: IncidentId,
    pub at: DateTime<Utc>,
    pub fact: RemediationFact,
}

impl RemediationEvent {
    pub const SCHEMA: u32 = 1;

    pub fn new(id: Uuid, incident_id: IncidentId, at: DateTime<Utc>, fact: RemediationFact) -> Self {
        RemediationEvent {
            schema: Self::SCHEMA,
            id,
            incident_id,
            at,
            fact,
        }
    }
}

impl RemediationFact {
    /// The tag as it is written in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            RemediationFact::Proposed { .. } => "proposed",
            RemediationFact::Decided { .. } => "decided",
            RemediationFact::Granted { .. } => "granted",
            RemediationFact::Denied { .. } => "denied",
            RemediationFact::Expired => "expired",
            RemediationFact::Attempted { .. } => "attempted",
            RemediationFact::Executed { .. } => "executed",
            RemediationFact::Failed { .. } => "failed",
            RemediationFact::CheckDue { .. } => "check_due",
            RemediationFact::Checked { .. } => "checked",
            RemediationFact::Verified { .. } => "verified",
            RemediationFact::Unverified { .. } => "unverified",
            RemediationFact::RollbackDue { .. } => "rollback_due",
            RemediationFact::RolledBack { .. } => "rolled_back",
            RemediationFact::Approve { .. } => "approve",
            RemediationFact::Deny { .. } => "deny",
            RemediationFact::StopSwitch { .. } => "stop_switch",
        }
    }
}

/// A JSON value of a state, for the columns `before_state` and `after_state`.
pub fn state_json(state: &Option<TargetState>) -> Value {
    // A struct of strings and numbers always encodes.
    serde_json::to_value(state).unwrap_or_default()
}
