//! What agents may look at. Every method reads; none changes anything, a dry run included.
//!
//! Each tool keeps a deadline, a cap on what it takes in and a cap on what it hands on, and redacts secrets before anybody sees the
//! answer. What it returns is untrusted text all the same.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use model::proposal::{BlastRadius, TargetState};
use model::{Action, Workload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ToolError;
use crate::github::hooks::Delivery;

/// The observing tools of a process; what is not configured is `None`.
#[derive(Clone, Default)]
pub struct Observe {
    pub metrics: Option<Arc<dyn Metrics>>,
    pub logs: Option<Arc<dyn Logs>>,
    pub cluster: Option<Arc<dyn Cluster>>,
    pub chat: Option<Arc<dyn Chat>>,
    pub code: Option<Arc<dyn Code>>,
    pub tickets: Option<Arc<dyn Tickets>>,
}

/// A sample of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    pub at: DateTime<Utc>,
    pub value: f64,
}

/// A series; an instant query gives one point each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<Point>,
}

/// An alert that the rules of the metric store hold active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveAlert {
    pub labels: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
    pub active_at: Option<DateTime<Utc>>,
}

/// A metric store that speaks PromQL.
#[async_trait]
pub trait Metrics: Send + Sync {
    async fn instant(&self, expression: &str, at: DateTime<Utc>) -> Result<Vec<Series>, ToolError>;

    async fn range(
        &self,
        expression: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Result<Vec<Series>, ToolError>;

    async fn alerts(&self) -> Result<Vec<ActiveAlert>, ToolError>;
}

/// Which lines are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogQuery {
    pub service: String,
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    /// Least level: `error` asks for `error` and `fatal`. Lines whose level is not known count as asked for.
    pub min_level: Option<String>,
    /// A text that the line holds, not a pattern.
    pub contains: Option<String>,
    /// Most lines of the answer, newest first.
    pub limit: u32,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    pub at: DateTime<Utc>,
    pub level: Option<String>,
    pub text: String,
}

/// The answer to a [`LogQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogAnswer {
    /// The question in the words of the system that answered (LogQL, or SQL).
    pub query: String,
    pub lines: Vec<LogLine>,
    /// There were more than the limit.
    pub cut: bool,
}

/// A store of log lines: Loki, or our own.
#[async_trait]
pub trait Logs: Send + Sync {
    /// `loki` or `aegis`.
    fn name(&self) -> &'static str;

    async fn search(&self, query: &LogQuery) -> Result<LogAnswer, ToolError>;
}

/// Which messages are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatQuery {
    /// One of the channels that may be read; the first of them where it is absent.
    pub channel: Option<String>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Most messages of the answer, newest first.
    pub limit: u32,
}

/// What somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    pub at: DateTime<Utc>,
    /// The id of a person or a program.
    pub author: Option<String>,
    pub text: String,
}

/// The answer to a [`ChatQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatAnswer {
    pub channel: String,
    /// Newest first.
    pub messages: Vec<ChatMessage>,
    /// There were more than the limit.
    pub cut: bool,
}

/// What people write to each other.
#[async_trait]
pub trait Chat: Send + Sync {
    async fn history(&self, query: &ChatQuery) -> Result<ChatAnswer, ToolError>;
}

/// Which deployments are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deployments {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    /// Of all environments where it is absent.
    pub environment: Option<String>,
    /// Most deployments of the answer, at most 100.
    pub limit: u32,
    /// Whether each is asked how it ended: one question more for each.
    #[serde(default)]
    pub states: bool,
}

/// A version that was brought somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployment {
    pub id: u64,
    /// The whole hash.
    pub commit: String,
    /// The branch, tag or hash that was asked for.
    pub reference: String,
    pub environment: String,
    pub created_at: DateTime<Utc>,
    /// How it ended last: `success`, `failure`, `inactive` …; absent where nobody said, or nobody asked.
    pub state: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    pub sha: String,
    /// The first line of its message. Untrusted text.
    pub title: String,
    pub author: Option<String>,
    pub at: Option<DateTime<Utc>>,
}

/// What lies between two commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    pub repository: String,
    pub base: String,
    pub head: String,
    /// Commits between them, listed or not.
    pub total: u64,
    /// Oldest first.
    pub commits: Vec<Commit>,
    pub files: Vec<String>,
    /// There are more commits or files than are listed.
    pub cut: bool,
}

/// Where code lies and what of it was deployed.
#[async_trait]
pub trait Code: Send + Sync {
    /// The repository that is called like a service, if it may be read.
    fn repository_of(&self, service: &str) -> Option<&str>;

    /// Newest first.
    async fn deployments(&self, query: &Deployments) -> Result<Vec<Deployment>, ToolError>;

    async fn compare(&self, repository: &str, base: &str, head: &str) -> Result<Comparison, ToolError>;

    /// The newest attempts of a webhook to reach its receiver, newest first.
    async fn deliveries(&self, repository: &str, hook: u64) -> Result<Vec<Delivery>, ToolError>;
}

/// Which tickets are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketQuery {
    /// Has it as a label, or says it.
    pub about: String,
    /// Leaves out what is done.
    pub open: bool,
    /// Most tickets of the answer, last changed first.
    pub limit: u32,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    pub key: String,
    /// Untrusted text.
    pub title: String,
    pub status: String,
    /// It is done, in the words of its project.
    pub done: bool,
    pub labels: Vec<String>,
    pub updated_at: Option<DateTime<Utc>>,
}

/// The answer to a [`TicketQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketAnswer {
    /// The question in the words of the system that answered (JQL).
    pub query: String,
    pub tickets: Vec<Ticket>,
    /// There were more than the limit.
    pub cut: bool,
}

/// Work that is written down.
#[async_trait]
pub trait Tickets: Send + Sync {
    async fn search(&self, query: &TicketQuery) -> Result<TicketAnswer, ToolError>;

    async fn ticket(&self, key: &str) -> Result<Ticket, ToolError>;
}

/// A pod, as far as a diagnosis needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub phase: String,
    pub ready: bool,
    pub restarts: u32,
    /// Why a container last ended: `OOMKilled`, `Error`.
    pub last_terminated: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
}

/// An event of the cluster about an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterEvent {
    pub reason: String,
    pub message: String,
    /// `kind/name`.
    pub object: String,
    pub count: u32,
    pub last_at: Option<DateTime<Utc>>,
}

/// A revision of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    pub number: i64,
    pub images: Vec<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub change_cause: Option<String>,
}

/// What an action would do, by the API server's own dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DryRun {
    pub diff: String,
    pub inverse: Option<Action>,
    pub blast_radius: BlastRadius,
    pub target: TargetState,
}

/// A Kubernetes cluster.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Deployments, stateful sets and daemon sets of a namespace (all namespaces where `None`) that are called `name` or
    /// carry it in `app`, `app.kubernetes.io/name` or `service`.
    async fn find(&self, namespace: Option<&str>, name: &str) -> Result<Vec<Workload>, ToolError>;

    /// How the workload stands now; the spec hash is over the fields that `action` touches.
    async fn state(&self, action: &Action) -> Result<TargetState, ToolError>;

    async fn pods(&self, workload: &Workload) -> Result<Vec<Pod>, ToolError>;

    /// Events about the workload and its pods, newest first.
    async fn events(&self, workload: &Workload) -> Result<Vec<ClusterEvent>, ToolError>;

    /// Newest first.
    async fn revisions(&self, workload: &Workload) -> Result<Vec<Revision>, ToolError>;

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError>;
}
