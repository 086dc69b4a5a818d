//! Compliance: what a policy says of one fact on the log. Records of type [`crate::topics::header::COMPLIANCE`] on `compliance`, beside
//! the public projection of security signals.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{IncidentId, Severity, ids};

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The fact is about what the policy governs, and is as it demands: evidence that the control works.
    Pass,
    Violation,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Violation => "violation",
        }
    }
}

/// The record on the log that a fact was read from: anybody can look it up, and see that it is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// By its name in the dataflow, whatever the generation.
    pub topic: String,
    /// Hex SHA-256 of its value, as the ledger has it.
    pub digest: String,
}

/// Payload (JSON, schema 1). Key: the tenant and the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComplianceRecord {
    pub schema: u32,
    /// Derived from policy and fact: judged twice, it is the same record.
    pub id: Uuid,
    pub policy: String,
    /// Hex SHA-256 of the policy as it was when it judged.
    pub policy_hash: String,
    /// `SOC2:CC8.1`, `GDPR:Art.32`.
    pub controls: Vec<String>,
    pub verdict: Verdict,
    pub severity: Severity,
    /// What is judged: `change`, `remediation`, `secret` …
    pub kind: String,
    /// Which one: an id, a signal, a proposal.
    pub subject: String,
    pub incident_id: Option<IncidentId>,
    pub tenant: String,
    pub environment: String,
    pub service: Option<String>,
    /// When the fact happened.
    pub at: DateTime<Utc>,
    /// One sentence. May hold untrusted text, without secrets.
    pub summary: String,
    /// What to do about a violation.
    pub remedy: String,
    /// What the policy saw.
    pub fact: BTreeMap<String, Value>,
    pub source: Source,
}

impl ComplianceRecord {
    pub const SCHEMA: u32 = 1;

    /// A policy that was changed judges anew.
    pub fn id_of(policy: &str, policy_hash: &str, kind: &str, subject: &str) -> Uuid {
        ids::derived(&format!("compliance/{policy}/{policy_hash}/{kind}/{subject}"))
    }

    pub fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first release wrote it. A reader must know it for ever: it is never edited, a change is a new schema beside it.
    const FROZEN: &str = include_str!("compliance/frozen-1.json");

    #[test]
    fn a_frozen_record() {
        let record: ComplianceRecord = serde_json::from_str(FROZEN).unwrap();
        assert_eq!((record.schema, record.verdict), (1, Verdict::Violation));
        assert_eq!(record.controls, ["SOC2:CC8.1", "GDPR:Art.32"]);
        let id = ComplianceRecord::id_of(&record.policy, &record.policy_hash, &record.kind, &record.subject);
        assert_eq!(record.id, id);
        let again: Value = serde_json::to_value(&record).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(FROZEN).unwrap());
    }
}
