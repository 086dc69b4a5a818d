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
    /// By the gate: a record about this proposal, at `offset` of the same partition, that nobody of this installation wrote. It counts for
    /// nothing.
    Forged { kind: String, offset: u64, why: String },
    /// By a human: yes, to this plan.
    Approve { by: String, plan_hash: String },
    /// By a human.
    Deny { by: String, reason: String },
    /// By a human, on every partition: nothing is executed until it is off.
    StopSwitch { on: bool, by: String },
}

/// The stop switch, as its facts are read one after the other: the newest signed word holds. A stop needs no signature, because it does no
/// harm to stop; a copy of an old "go" is older than the stop behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    on: bool,
    /// Of the newest signed word.
    at: Option<DateTime<Utc>>,
}

impl Switch {
    /// How it stands.
    pub fn on(self) -> bool {
        self.on
    }

    /// Hears a word; whether it counts.
    pub fn hear(&mut self, on: bool, at: DateTime<Utc>, authentic: bool) -> bool {
        // Of two words of one instant the stop holds.
        let newer = self.at.is_none_or(|known| at > known || (at == known && on));
        if authentic && newer {
            *self = Switch { on, at: Some(at) };
            return true;
        }
        if !authentic && on {
            self.on = true;
        }
        !authentic && on
    }

    /// That of two partitions together.
    pub fn or(self, other: Switch) -> Switch {
        Switch {
            on: self.on || other.on,
            at: self.at.max(other.at),
        }
    }
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
            RemediationFact::Forged { .. } => "forged",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_signed_word_holds_and_a_stop_needs_no_signature() {
        let check = |words: &[(bool, i64, bool)], on: bool| {
            let mut switch = Switch::default();
            for (on, at, authentic) in words {
                switch.hear(*on, DateTime::from_timestamp(*at, 0).unwrap(), *authentic);
            }
            assert_eq!(switch.on(), on, "{words:?}");
        };
        check(&[], false);
        check(&[(true, 1, true)], true);
        check(&[(true, 1, true), (false, 2, true)], false);
        // A forged go, a copied go, a stop of another partition that is read late.
        check(&[(true, 1, true), (false, 2, false)], true);
        check(&[(false, 1, true), (true, 2, true), (false, 1, true)], true);
        check(&[(true, 1, true), (false, 2, true), (true, 1, true)], false);
        check(&[(false, 1, true), (true, 1, true)], true);
        // Whoever stops it may; nobody can keep it stopped by a date in the future.
        check(&[(true, 9_999, false)], true);
        check(&[(true, 9_999, false), (false, 2, true)], false);
    }
}
