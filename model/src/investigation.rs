//! An investigation: the steps of the crew about one incident. Each step is asked for and answered by a record on
//! `incidents` (header [`crate::topics::header::TYPE`] = `step`), so who died in the middle finds out from the log what is
//! still to be done.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::evidence::{Finding, Postmortem};
use crate::incident::{Incident, Member, Suspect};
use crate::proposal::Proposal;
use crate::remediation::Standing;
use crate::{IncidentId, Severity, ids};

/// The agents that take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    Triage,
    LogAnalyst,
    MetricCorrelator,
    Fixer,
    PostmortemWriter,
    SecurityAuditor,
    ComplianceChecker,
}

impl Agent {
    /// In the order in which they work; those between triage and the fixer work side by side.
    pub const ALL: &[Agent] = &[
        Agent::Triage,
        Agent::LogAnalyst,
        Agent::MetricCorrelator,
        Agent::SecurityAuditor,
        Agent::ComplianceChecker,
        Agent::Fixer,
        Agent::PostmortemWriter,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Agent::Triage => "triage",
            Agent::LogAnalyst => "log_analyst",
            Agent::MetricCorrelator => "metric_correlator",
            Agent::Fixer => "fixer",
            Agent::PostmortemWriter => "postmortem_writer",
            Agent::SecurityAuditor => "security_auditor",
            Agent::ComplianceChecker => "compliance_checker",
        }
    }
}

/// What an agent is given: the incident as it stood, and what the steps before it found. Nothing else but its observing tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub incident: Incident,
    /// Members, earliest first, at most [`Evidence::MEMBERS`].
    pub members: Vec<Member>,
    /// Changes of the same service shortly before, nearest first.
    pub suspects: Vec<Suspect>,
    pub triage: Option<Triage>,
    pub findings: Vec<Finding>,
    /// What the steps before could not learn, by agent.
    pub unknown: Vec<Unknown>,
    /// How the remediation ended, for the postmortem.
    pub remediation: Option<Standing>,
}

impl Evidence {
    /// More, and a storm's incident passes a broker's limit of 1 MiB.
    pub const MEMBERS: usize = 50;
}

/// Something that a step could not learn, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    pub agent: Agent,
    pub what: String,
}

/// What triage says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    pub severity: Severity,
    pub action: TriageAction,
    /// One sentence.
    pub why: String,
}

/// What shall happen with the incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriageAction {
    Investigate,
    /// Leave it to its own resolution.
    Watch,
}

/// A step that is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRequest {
    pub schema: u32,
    /// Derived from run, agent and attempt: asked twice, it is the same step.
    pub id: Uuid,
    pub run: Uuid,
    pub agent: Agent,
    /// 1 for the first.
    pub attempt: u32,
    pub evidence: Evidence,
    pub requested_at: DateTime<Utc>,
    /// Event time after which nobody waits for the answer.
    pub deadline_at: DateTime<Utc>,
}

impl StepRequest {
    pub const SCHEMA: u32 = 1;

    pub fn id_of(run: Uuid, agent: Agent, attempt: u32) -> Uuid {
        ids::derived(&format!("step/{run}/{}/{attempt}", agent.as_str()))
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Success,
    Failed,
    Timeout,
    Cancelled,
}

impl StepStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Success => "success",
            StepStatus::Failed => "failed",
            StepStatus::Timeout => "timeout",
            StepStatus::Cancelled => "cancelled",
        }
    }
}

/// One use of a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub tool: String,
    pub arguments: Value,
    /// The answer in a few words, or why there is none.
    pub outcome: Result<String, String>,
    pub duration_ms: u64,
    /// Milliseconds from the step's beginning to the call's. Absent in answers of earlier programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}

/// What a step brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepOutput {
    pub triage: Option<Triage>,
    pub findings: Vec<Finding>,
    /// What it could not learn.
    pub unknown: Vec<String>,
    pub proposal: Option<Proposal>,
    pub postmortem: Option<Postmortem>,
}

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepResult {
    pub schema: u32,
    pub id: Uuid,
    pub run: Uuid,
    pub incident_id: IncidentId,
    pub agent: Agent,
    pub status: StepStatus,
    /// Why it failed; empty otherwise.
    #[serde(default)]
    pub error: String,
    pub output: StepOutput,
    pub tool_calls: Vec<ToolCall>,
    pub tokens_used: u64,
    pub duration_ms: u64,
    pub at: DateTime<Utc>,
}

impl StepResult {
    pub const SCHEMA: u32 = 1;
}

/// What a person says to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerb {
    /// No further step until `resume`.
    Pause,
    Resume,
    /// Ends it; what was learned stays.
    Cancel,
    /// A new run from the start.
    Rerun,
}

/// An order to the crew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    pub incident_id: IncidentId,
    pub verb: RunVerb,
    /// `human:NAME`.
    pub by: String,
    pub at: DateTime<Utc>,
}

/// Payload of records of type `step` on `incidents` (JSON). Key: the incident's correlation domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StepEvent {
    Requested(Box<StepRequest>),
    Finished(Box<StepResult>),
    Ordered(RunOrder),
    /// How a proposal of this incident stands, from the gate.
    Remediation {
        incident_id: IncidentId,
        standing: Box<Standing>,
        at: DateTime<Utc>,
    },
}
