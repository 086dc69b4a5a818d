//! Compliance: policies as data, judged over the facts of the log, and the evidence for a control.
//!
//! ```text
//! record of the log ─ facts ─► Fact ─ judge(policies) ─► ComplianceRecord ─ log ─► pack(control) ─► bytes
//! ```
//!
//! Everything here is a pure function. A fact comes from one record of the log, and what a policy says of it depends on nothing else: the
//! same log and the same policies lead to the same records, with the same ids, whoever judges and how often. A policy that does not know
//! says nothing: its `when` must hold before it judges.

mod condition;
mod facts;
mod pack;
mod policy;

use model::{ComplianceRecord, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use facts::{Fact, of_finding, of_incident, of_projection, of_remediation};
pub use pack::{LedgerHead, LedgerMark, once, pack, verify};
pub use policy::{Control, Policies, Policy};

/// `[compliance]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ComplianceSettings {
    /// Whether facts are judged.
    pub enabled: bool,
    /// A folder with policies (`*.toml`). One with the id of a shipped policy takes its place, another comes beside. Absent: the shipped
    /// ones alone.
    pub policies: Option<PathBuf>,
    /// Ids of policies that do not count.
    pub without: Vec<String>,
}

impl Default for ComplianceSettings {
    fn default() -> Self {
        ComplianceSettings {
            enabled: true,
            policies: None,
            without: Vec::new(),
        }
    }
}

/// What every policy that governs the fact says of it, in the order of the policies.
pub fn judge(policies: &Policies, fact: &Fact) -> Vec<ComplianceRecord> {
    let about = policies
        .all()
        .iter()
        .filter(|policy| policy.governs(&fact.kind, &fact.fields));
    about.map(|policy| record(policy, fact)).collect()
}

fn record(policy: &Policy, fact: &Fact) -> ComplianceRecord {
    let kept = policy.holds(&fact.fields);
    ComplianceRecord {
        schema: ComplianceRecord::SCHEMA,
        id: ComplianceRecord::id_of(&policy.id, &policy.hash, &fact.kind, &fact.subject),
        policy: policy.id.clone(),
        policy_hash: policy.hash.clone(),
        controls: policy.controls.clone(),
        verdict: if kept { Verdict::Pass } else { Verdict::Violation },
        severity: policy.severity,
        kind: fact.kind.clone(),
        subject: fact.subject.clone(),
        incident_id: fact.incident_id,
        tenant: fact.tenant.clone(),
        environment: fact.environment.clone(),
        service: fact.service.clone(),
        at: fact.at,
        summary: fact.summary.clone(),
        remedy: if kept { String::new() } else { policy.remedy.clone() },
        fact: fact.fields.clone(),
        source: fact.source.clone(),
    }
}
