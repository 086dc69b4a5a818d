//! Where code lies.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ToolError;
use crate::github::hooks::Delivery;

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

/// Which commits are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommitQuery {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    /// A branch or a commit; the default branch where it is absent.
    pub from: Option<String>,
    /// That changed this file, or something below this folder.
    pub path: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// Most commits of the answer, at most 100.
    pub limit: u32,
}

/// What was changed between two commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    pub repository: String,
    pub base: String,
    pub head: String,
    pub files: Vec<FileDiff>,
    /// There are more files, or more lines of one, than are told.
    pub cut: bool,
}

/// What was changed in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileDiff {
    pub path: String,
    /// `added`, `removed`, `modified`, `renamed` …
    pub status: String,
    pub additions: u64,
    pub deletions: u64,
    /// Unified diff, without what looks like a secret. Untrusted text. Absent for files that are not text, and for large ones.
    pub patch: Option<String>,
}

/// Which pull requests are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PullQuery {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    /// Those that brought this commit; the open ones where it is absent.
    pub commit: Option<String>,
    /// Most pull requests of the answer, at most 100.
    pub limit: u32,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequest {
    pub number: u64,
    /// Untrusted text.
    pub title: String,
    pub author: Option<String>,
    /// `open` or `closed`.
    pub state: String,
    pub merged_at: Option<DateTime<Utc>>,
    pub updated_at: Option<DateTime<Utc>>,
    pub labels: Vec<String>,
}

/// Which runs of workflows are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunQuery {
    /// `owner/name`, one of those that may be read.
    pub repository: String,
    /// Of this commit.
    pub commit: Option<String>,
    /// Leaves out what did not fail, and names the jobs that did: one question more for each.
    #[serde(default)]
    pub failed: bool,
    /// Most runs of the answer, at most 100.
    pub limit: u32,
}

/// A run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowRun {
    pub id: u64,
    /// The workflow's name. Untrusted text.
    pub name: String,
    /// File of the workflow: `.github/workflows/deploy.yml`.
    pub path: String,
    pub commit: String,
    pub branch: Option<String>,
    /// What started it: `push`, `deployment` …
    pub event: String,
    /// `queued`, `in_progress`, `completed` …
    pub status: String,
    /// `success`, `failure`, `cancelled`, `timed_out` …; absent while it runs.
    pub conclusion: Option<String>,
    /// 1 for the first.
    pub attempt: u32,
    pub created_at: DateTime<Utc>,
    /// Jobs of this attempt that failed; empty where nobody asked.
    pub failed_jobs: Vec<FailedJob>,
}

/// A job that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedJob {
    pub id: u64,
    /// Untrusted text.
    pub name: String,
    /// The first step that failed.
    pub step: Option<String>,
}

/// Where code lies and what of it was deployed.
#[async_trait]
pub trait Code: Send + Sync {
    /// The repository that is called like a service, if it may be read.
    fn repository_of(&self, service: &str) -> Option<&str>;

    /// Newest first.
    async fn deployments(&self, query: &Deployments) -> Result<Vec<Deployment>, ToolError>;

    /// Whether actions in this repository may be proposed.
    fn writable(&self, repository: &str) -> bool;

    /// Newest first.
    async fn commits(&self, query: &CommitQuery) -> Result<Vec<Commit>, ToolError>;

    async fn compare(&self, repository: &str, base: &str, head: &str) -> Result<Comparison, ToolError>;

    /// What was changed between two commits, line by line.
    async fn diff(&self, repository: &str, base: &str, head: &str) -> Result<Diff, ToolError>;

    /// Last changed first.
    async fn pull_requests(&self, query: &PullQuery) -> Result<Vec<PullRequest>, ToolError>;

    /// Newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<WorkflowRun>, ToolError>;

    /// The newest attempts of a webhook to reach its receiver, newest first.
    async fn deliveries(&self, repository: &str, hook: u64) -> Result<Vec<Delivery>, ToolError>;
}
