//! The revisions of a workload: replica sets of a deployment, controller revisions of the others.

use chrono::{DateTime, Utc};
use model::WorkloadKind;
use serde_json::Value;

use super::api::{Api, Part};
use super::workload::{Object, images, text};
use crate::observe::Revision;
use crate::redact::redact;
use crate::wire::Failure;

/// On replica sets and on the deployment itself.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// One revision and its pod template.
pub(super) struct Entry {
    pub number: i64,
    /// Of the replica set or controller revision.
    pub name: String,
    pub template: Value,
    pub created_at: Option<DateTime<Utc>>,
    pub change_cause: Option<String>,
}

impl Entry {
    pub fn shown(&self) -> Revision {
        Revision {
            number: self.number,
            images: images(&self.template),
            created_at: self.created_at,
            change_cause: self.change_cause.as_deref().map(redact),
        }
    }
}

/// Newest first.
pub(super) async fn of(api: &Api, namespace: &str, workload: &Object) -> Result<Vec<Entry>, Failure> {
    let plural = match workload.kind {
        WorkloadKind::Deployment => "replicasets",
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => "controllerrevisions",
    };
    let selector = workload.selector().unwrap_or_default();
    let path = format!("/apis/apps/v1/namespaces/{namespace}/{plural}");
    let listed = api.list(&path, &[("labelSelector", &selector)], Part::Whole).await?;
    let owned = listed.into_iter().filter(|one| owned_by(one, workload.uid()));
    let mut history: Vec<Entry> = owned.filter_map(|one| entry(workload.kind, &one)).collect();
    history.sort_by_key(|entry| std::cmp::Reverse(entry.number));
    Ok(history)
}

/// `None`: without a number it is no revision (yet).
fn entry(kind: WorkloadKind, json: &Value) -> Option<Entry> {
    let metadata = &json["metadata"];
    let (number, template) = match kind {
        WorkloadKind::Deployment => {
            let mut template = json["spec"]["template"].clone();
            // Set by the controller, which sets it again.
            if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
                labels.remove("pod-template-hash");
            }
            (text(&metadata["annotations"][REVISION]).parse().ok()?, template)
        }
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
            let mut template = json["data"]["spec"]["template"].clone();
            // The revision is kept as a strategic merge patch.
            if let Some(fields) = template.as_object_mut() {
                fields.remove("$patch");
            }
            (json["revision"].as_i64()?, template)
        }
    };
    template.is_object().then(|| Entry {
        number,
        name: text(&metadata["name"]).to_owned(),
        template,
        created_at: text(&metadata["creationTimestamp"]).parse().ok(),
        change_cause: metadata["annotations"]["kubernetes.io/change-cause"]
            .as_str()
            .map(str::to_owned),
    })
}

/// Number of the revision that the workload is on.
pub(super) fn current(workload: &Object, history: &[Entry]) -> Option<i64> {
    let named = |name: &str| {
        history
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.number)
    };
    let known = match workload.kind {
        WorkloadKind::Deployment => workload.annotation(REVISION).and_then(|number| number.parse().ok()),
        WorkloadKind::StatefulSet => named(text(&workload.json["status"]["updateRevision"])),
        WorkloadKind::DaemonSet => None,
    };
    known.or_else(|| history.first().map(|entry| entry.number))
}

/// The revision that a rollback returns to; `to` `None` is the one before the current.
pub(super) fn target(history: &[Entry], current: Option<i64>, to: Option<i64>) -> Option<&Entry> {
    match to {
        Some(number) => history.iter().find(|entry| entry.number == number),
        None => history
            .iter()
            .find(|entry| current.is_some_and(|current| entry.number < current)),
    }
}

pub(super) fn owned_by(json: &Value, uid: &str) -> bool {
    let owners = json["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| text(&owner["uid"]) == uid)
}
