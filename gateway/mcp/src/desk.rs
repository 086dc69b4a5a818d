//! What the server stands on. The pipeline implements it over its stores, its SQL engine, its observing tools and its log; the tests
//! implement it in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use gateway::{IncidentReads, OrderError, Queries, ReadError, ResponseReads};
use model::{Action, IncidentId};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::audit::Audit;
use crate::limits::Limits;
use crate::runbooks::Runbooks;

/// Everything that tools, resources and prompts ask.
pub struct Desk {
    pub incidents: Arc<dyn IncidentReads>,
    pub responses: Arc<dyn ResponseReads>,
    pub queries: Arc<dyn Queries>,
    pub overview: Arc<dyn Overview>,
    /// Further tools that observe, each family from whoever has it: the systems beside Aegis, or what it remembers.
    pub observing: Vec<Arc<dyn Observing>>,
    pub proposals: Arc<dyn Proposals>,
    pub runbooks: Runbooks,
    pub audit: Arc<Audit>,
    pub limits: Limits,
    /// Hides secrets in whatever leaves.
    pub redact: fn(&mut Value),
    /// Largest answer, in bytes of JSON or text.
    pub max_answer: usize,
    pub call_timeout: Duration,
}

/// How the pipeline is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PipelineStatus {
    pub version: String,
    pub ready: bool,
    /// What fails, and why.
    pub failing: Vec<StageTrouble>,
    /// What works less well than it should, by name.
    pub degraded: BTreeMap<String, String>,
    pub sinks: Vec<SinkState>,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StageTrouble {
    pub stage: String,
    pub partition: Option<u32>,
    /// `starting`, `stopped`, `waiting`, `lag`, `commit_age` or `silent`.
    pub reason: String,
    pub detail: String,
}

/// Where a sink stands, over all partitions of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SinkState {
    pub sink: String,
    pub topic: String,
    /// Records that are still before it.
    pub lag: u64,
    /// Records that the log dropped before it read them.
    pub lost: u64,
}

/// Tells how the pipeline is.
#[async_trait]
pub trait Overview: Send + Sync + 'static {
    async fn status(&self) -> Result<PipelineStatus, ReadError>;
}

/// An observing tool of a system beside Aegis.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservingTool {
    pub name: String,
    pub description: String,
    /// JSON Schema of an object.
    pub arguments: Value,
    /// JSON Schema.
    pub reply: Value,
}

/// Why an observing tool did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ObserveError(pub String);

/// Observing tools by name. Whoever implements it hands on tools that change nothing, and no others.
#[async_trait]
pub trait Observing: Send + Sync + 'static {
    /// Those that are configured.
    fn tools(&self) -> &[ObservingTool];

    async fn call(&self, name: &str, arguments: Value) -> Result<Value, ObserveError>;
}

/// What somebody wants to have done.
#[derive(Clone, Debug, PartialEq)]
pub struct ProposalRequest {
    pub incident: IncidentId,
    pub action: Action,
    /// In the words of whoever proposes it. Untrusted text.
    pub reason: String,
}

/// A proposal that is on the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    pub id: Uuid,
    pub plan_hash: String,
    /// The action for people.
    pub action: String,
    /// What would change, as a diff.
    pub dry_run: String,
    /// What would take it back, for people.
    pub inverse: Option<String>,
    pub pods: u32,
    pub expires_at: DateTime<Utc>,
}

/// Takes proposals in. What it takes goes through the gate as an agent's does, is never granted by a rule, and never by `by`.
#[async_trait]
pub trait Proposals: Send + Sync + 'static {
    /// `by` is `human:NAME`.
    async fn propose(&self, request: ProposalRequest, by: &str) -> Result<Proposed, OrderError>;
}
