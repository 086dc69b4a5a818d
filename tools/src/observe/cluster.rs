//! A Kubernetes cluster.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::proposal::TargetState;
use model::{Action, Workload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DryRun;
use crate::ToolError;

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
