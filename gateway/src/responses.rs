//! Runs, remediations and dead letters as the API shows them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::reads::{Page, ReadError};

/// One step of an investigation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub incident_id: Uuid,
    /// `triage`, `log_analyst`, `metric_correlator`, `security_auditor`, `compliance_checker`, `fixer`, `postmortem_writer`.
    pub agent: String,
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub run: Uuid,
    pub attempt: u32,
    /// `running`, `success`, `failed`, `timeout`, `cancelled`.
    pub status: String,
    pub error: Option<String>,
    pub tokens_used: Option<u64>,
    pub duration_ms: Option<u64>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished_at: Option<DateTime<Utc>>,
    /// The evidence that it was given.
    pub input: Value,
    /// Findings with their citations, what it could not learn, proposal, postmortem.
    pub output: Value,
    pub tool_calls: Value,
}

/// A remediation as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RemediationView {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub incident_id: Uuid,
    /// `restart`, `rollback`, `scale`.
    pub action: String,
    /// `deployment/api-server`.
    pub target: String,
    pub namespace: Option<String>,
    pub cluster: String,
    /// `proposed`, `waiting`, `denied`, `expired`, `granted`, `attempted`, `executed`, `verified`, `unverified`, `rolled_back`, `failed`.
    pub status: String,
    /// What an approval must name.
    pub plan_hash: String,
    pub reason: String,
    pub proposed_by: String,
    pub decided_by: Option<String>,
    pub note: Option<String>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: DateTime<Utc>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: DateTime<Utc>,
    pub before: Value,
    pub after: Value,
    /// The proposal in full: dry run, inverse, blast radius, citations.
    pub proposal: Value,
}

/// A dead letter; its bytes are at the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LetterView {
    /// `dead-letter/PARTITION/OFFSET`.
    pub id: String,
    pub stage: String,
    pub reason: String,
    pub detail: String,
    pub field: Option<String>,
    /// `open`, `replayed`, `dropped`.
    pub status: String,
    pub source_topic: String,
    pub source_partition: u32,
    pub source_offset: u64,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub received_at: DateTime<Utc>,
    pub attempt: u32,
}

/// Which; all given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseFilter {
    pub incident: Option<Uuid>,
    pub status: Option<String>,
}

/// Reads what the crew and the gate did. The pipeline implements it over the store.
#[async_trait]
pub trait ResponseReads: Send + Sync + 'static {
    /// Newest first.
    async fn steps(&self, filter: &ResponseFilter, page: Page) -> Result<Vec<StepView>, ReadError>;

    async fn step(&self, id: Uuid) -> Result<Option<StepView>, ReadError>;

    /// Newest first.
    async fn remediations(&self, filter: &ResponseFilter, page: Page) -> Result<Vec<RemediationView>, ReadError>;

    async fn remediation(&self, id: Uuid) -> Result<Option<RemediationView>, ReadError>;

    /// Newest first.
    async fn letters(&self, status: Option<&str>, page: Page) -> Result<Vec<LetterView>, ReadError>;
}
