//! Looking at a cluster. The only PATCH here is a dry run.

use async_trait::async_trait;
use chrono::Utc;
use model::approval::pods_touched;
use model::proposal::{BlastRadius, TargetState};
use model::{Action, Workload, WorkloadKind};
use serde_json::{Value, json};

use super::api::{Api, Mode, Part};
use super::diff::diff;
use super::history::{self, Entry};
use super::plan::plan;
use super::workload::{Object, check_name, path, plural, target, text};
use super::{TOOL, pods};
use crate::ToolError;
use crate::observe::{Cluster, ClusterEvent, DryRun, Pod, Revision};
use crate::wire::Failure;

/// Labels that hold an application's name, as is usual.
const NAME_LABELS: [&str; 3] = ["app", "app.kubernetes.io/name", "service"];

const KINDS: [WorkloadKind; 3] = [
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
];

/// Most names of pods in a state.
const PODS_SHOWN: usize = 20;

/// Looks at one cluster.
pub struct Observer {
    api: Api,
}

impl Observer {
    pub fn new(api: Api) -> Self {
        Observer { api }
    }

    async fn workload(&self, workload: &Workload) -> Result<Object, ToolError> {
        read(&self.api, workload).await
    }

    /// The history where `action` needs it.
    async fn history(&self, action: &Action, workload: &Object) -> Result<Vec<Entry>, ToolError> {
        relevant_history(&self.api, action, workload).await
    }

    async fn pods_of(&self, namespace: &str, workload: &Object) -> Result<Vec<Pod>, Failure> {
        let owners = pods::owners(&self.api, namespace, workload).await?;
        pods::of(&self.api, namespace, workload, &owners).await
    }

    async fn stands(&self, action: &Action, target: &Workload, workload: &Object, history: &[Entry]) -> TargetState {
        let namespace = &target.namespace;
        let current = match history {
            [] => workload
                .annotation("deployment.kubernetes.io/revision")
                .and_then(|number| number.parse().ok()),
            _ => history::current(workload, history),
        };
        // For the reader's eye alone: without them the state still says what a grant is bound to.
        let pods = self.pods_of(namespace, workload).await.unwrap_or_default();
        let names: Vec<String> = pods.into_iter().take(PODS_SHOWN).map(|pod| pod.name).collect();
        workload.state(action, history, current, &names)
    }
}

#[async_trait]
impl Cluster for Observer {
    async fn find(&self, namespace: Option<&str>, name: &str) -> Result<Vec<Workload>, ToolError> {
        check_name("name", name)?;
        let scope = match namespace {
            Some(namespace) => {
                check_name("namespace", namespace)?;
                format!("/apis/apps/v1/namespaces/{namespace}")
            }
            None => "/apis/apps/v1".to_owned(),
        };
        let mut queries = vec![("fieldSelector", format!("metadata.name={name}"))];
        // A longer name is no value of a label.
        if name.len() <= 63 {
            queries.extend(NAME_LABELS.map(|label| ("labelSelector", format!("{label}={name}"))));
        }
        let mut found = Vec::new();
        for kind in KINDS {
            let path = format!("{scope}/{}", plural(kind));
            for (selector, value) in &queries {
                let listed = self
                    .api
                    .list(&path, &[(*selector, value)], Part::Metadata)
                    .await
                    .map_err(asked)?;
                found.extend(listed.iter().map(|one| Workload {
                    cluster: self.api.cluster().to_owned(),
                    namespace: text(&one["metadata"]["namespace"]).to_owned(),
                    kind,
                    name: text(&one["metadata"]["name"]).to_owned(),
                }));
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        let target = target(action)?;
        let workload = self.workload(target).await?;
        let history = self.history(action, &workload).await?;
        Ok(self.stands(action, target, &workload, &history).await)
    }

    async fn pods(&self, workload: &Workload) -> Result<Vec<Pod>, ToolError> {
        let object = self.workload(workload).await?;
        self.pods_of(&workload.namespace, &object).await.map_err(asked)
    }

    async fn events(&self, workload: &Workload) -> Result<Vec<ClusterEvent>, ToolError> {
        let object = self.workload(workload).await?;
        let owners = pods::owners(&self.api, &workload.namespace, &object)
            .await
            .map_err(asked)?;
        let events = pods::events(&self.api, &workload.namespace, &object, &owners).await;
        events.map_err(asked)
    }

    async fn revisions(&self, workload: &Workload) -> Result<Vec<Revision>, ToolError> {
        let object = self.workload(workload).await?;
        let history = history::of(&self.api, &workload.namespace, &object)
            .await
            .map_err(asked)?;
        Ok(history.iter().map(Entry::shown).collect())
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        let target = target(action)?;
        let workload = self.workload(target).await?;
        let history = self.history(action, &workload).await?;
        let plan = plan(action, &workload, &history, Utc::now()).map_err(|cause| ToolError::refused(TOOL, cause))?;
        let mut patch = plan.patch;
        merge_into(
            &mut patch,
            json!({"metadata": {"resourceVersion": workload.resource_version()}}),
        );
        let path = path(self.api.cluster(), target)?;
        let after = self.api.patch(&path, &patch, Mode::DryRun).await.map_err(asked)?;
        let after = Object::new(workload.kind, after).map_err(asked)?;
        let target = self.stands(action, target, &workload, &history).await;
        Ok(DryRun {
            diff: diff(&workload.json, &after.json),
            inverse: plan.inverse,
            blast_radius: BlastRadius {
                workloads: 1,
                pods: pods_touched(action, &target),
            },
            target,
        })
    }
}

fn asked(failure: Failure) -> ToolError {
    failure.of_a_question(TOOL)
}

pub(super) async fn read(api: &Api, workload: &Workload) -> Result<Object, ToolError> {
    let path = path(api.cluster(), workload)?;
    let json = api.get(&path).await.map_err(asked)?;
    Object::new(workload.kind, json).map_err(asked)
}

pub(super) async fn relevant_history(api: &Api, action: &Action, workload: &Object) -> Result<Vec<Entry>, ToolError> {
    match action {
        Action::Rollback { target, .. } => history::of(api, &target.namespace, workload).await.map_err(asked),
        _ => Ok(Vec::new()),
    }
}

/// `more` laid over `patch`, object by object.
pub(super) fn merge_into(patch: &mut Value, more: Value) {
    match (patch, more) {
        (Value::Object(patch), Value::Object(more)) => {
            for (name, value) in more {
                merge_into(patch.entry(name).or_insert(Value::Null), value);
            }
        }
        (patch, more) => *patch = more,
    }
}
