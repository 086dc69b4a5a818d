//! A cluster.

use model::{Action, Workload};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ActionArguments, Purpose, Tool, acting, arguments_of, dry_run, json, observing, unknown};
use crate::ToolError;
use crate::observe::{Cluster, ClusterEvent, DryRun, Observe, Pod, Revision};

/// The name of an application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindArguments {
    /// All namespaces where it is absent.
    pub namespace: Option<String>,
    pub name: String,
}

/// A workload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadArguments {
    pub workload: Workload,
}

/// Arguments of a restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartArguments {
    pub target: Workload,
}

/// Arguments of a rollback.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackArguments {
    pub target: Workload,
    /// The revision before the current where it is absent.
    pub to_revision: Option<i64>,
}

/// Arguments of a scaling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleArguments {
    pub target: Workload,
    pub replicas: u32,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<FindArguments, Vec<Workload>>(
            "kubernetes_find",
            "Workloads that are called so, or carry the name in a label.",
        ),
        observing::<WorkloadArguments, Vec<Pod>>(
            "kubernetes_pods",
            "The pods of a workload: phase, readiness, restarts.",
        ),
        observing::<WorkloadArguments, Vec<ClusterEvent>>(
            "kubernetes_events",
            "The cluster's events about a workload and its pods.",
        ),
        observing::<WorkloadArguments, Vec<Revision>>(
            "kubernetes_revisions",
            "The revisions of a workload, newest first.",
        ),
        observing::<ActionArguments, DryRun>(
            "kubernetes_dry_run",
            "What an action would change, by the API server's own dry run.",
        ),
        acting::<RestartArguments>(
            "kubernetes_restart",
            "Replace every pod of a workload, a few at a time.",
        ),
        acting::<RollbackArguments>("kubernetes_rollback", "Return a workload to an earlier revision."),
        acting::<ScaleArguments>("kubernetes_scale", "Set the number of replicas of a workload."),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "kubernetes_find" => {
            let read: FindArguments = arguments_of("kubernetes_find", arguments)?;
            json(cluster(observe)?.find(read.namespace.as_deref(), &read.name).await?)
        }
        "kubernetes_pods" => {
            let read: WorkloadArguments = arguments_of("kubernetes_pods", arguments)?;
            json(cluster(observe)?.pods(&read.workload).await?)
        }
        "kubernetes_events" => {
            let read: WorkloadArguments = arguments_of("kubernetes_events", arguments)?;
            json(cluster(observe)?.events(&read.workload).await?)
        }
        "kubernetes_revisions" => {
            let read: WorkloadArguments = arguments_of("kubernetes_revisions", arguments)?;
            json(cluster(observe)?.revisions(&read.workload).await?)
        }
        "kubernetes_dry_run" => dry_run(observe, "kubernetes_dry_run", arguments).await?,
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

pub(super) fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match name {
        "kubernetes_restart" => {
            let RestartArguments { target } = arguments_of("kubernetes_restart", arguments)?;
            Ok(Action::Restart { target })
        }
        "kubernetes_rollback" => {
            let RollbackArguments { target, to_revision } = arguments_of("kubernetes_rollback", arguments)?;
            Ok(Action::Rollback { target, to_revision })
        }
        "kubernetes_scale" => {
            let ScaleArguments { target, replicas } = arguments_of("kubernetes_scale", arguments)?;
            Ok(Action::Scale { target, replicas })
        }
        other => Err(unknown(other, Purpose::Act)),
    }
}

fn cluster(observe: &Observe) -> Result<&dyn Cluster, ToolError> {
    observe.cluster.as_deref().ok_or(ToolError::Absent {
        tool: "kubernetes",
        setting: "one of tools.kubernetes.kubeconfig, in_cluster and url",
    })
}
