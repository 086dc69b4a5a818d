//! What is wrong with a pod, a Deployment or a ReplicaSet: an alert that fires from its start to its end.

use model::kubernetes::{KEY_PREFIX, Trouble};
use model::{SignalKind, SignalState};
use serde_json::Value;

use super::object::{Object, owner, service};
use super::{Place, SOURCE, filled};
use crate::normalize::core::{Draft, Lane};
use crate::normalize::extra::Extra;
use crate::normalize::fault::Fault;
use crate::normalize::json::Pairs;

pub fn emit(
    object: &Object,
    trouble: &Trouble,
    ends_at: Option<i64>,
    place: &Place<'_>,
    lane: &mut Lane<'_, '_>,
) -> Result<(), Fault> {
    let uid = object.uid()?;
    let kind = match object.text("/kind") {
        Some("Pod") => "pod",
        Some("Deployment") => "deployment",
        Some("ReplicaSet") => "replicaset",
        _ => {
            return Err(Fault::new(
                "bad_value",
                "/kind",
                "is neither Pod nor Deployment nor ReplicaSet",
            ));
        }
    };
    let name = object.text("/metadata/name");
    let owner = owner(object);
    let container = trouble.container.as_deref();
    let owned = owner.as_ref().map(|(kind, name)| (*kind, Some(name.as_str())));
    let mut ours = vec![
        (kind, name),
        ("namespace", object.text("/metadata/namespace")),
        ("node", object.text("/spec/nodeName")),
        ("container", container),
        ("reason", Some(trouble.kind.as_str())),
    ];
    ours.extend(owned);
    let labels = object.labels(ours, place);
    let workload = match owner.as_ref() {
        Some((_, name)) => Some(name.as_str()),
        // As the signal that began it said, where only that is left of the object.
        None => labels.first_of(&["deployment", "statefulset", "daemonset", "replicaset", "job", "pod"]),
    };
    let mut title = format!("{} of {kind} {}", trouble.kind.as_str(), name.unwrap_or(uid));
    if let Some(container) = container {
        title.push_str(&format!(" (container {container})"));
    }
    let mut extra = Extra::default();
    extra.text("uid", uid.to_owned(), true);
    if let Some(version) = object.text("/metadata/resourceVersion") {
        extra.text("resource_version", version.to_owned(), false);
    }
    let description = ends_at.is_none().then(|| explained(object, container)).flatten();
    // The words of an error change while the trouble goes on (back-off 10s, 20s): they are not what is wrong.
    if let Some(text) = &description {
        extra.text("message", text.clone(), false);
    }
    let mut key = vec![&*place.cluster, kind, uid, trouble.kind.as_str()];
    key.extend(container);
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Alert,
        state: match ends_at {
            None => SignalState::Firing,
            Some(_) => SignalState::Resolved,
        },
        prefix: &[KEY_PREFIX],
        key: &key,
        rule: "kubernetes/trouble@1",
        event_at: trouble.since,
        ends_at,
        severity: Some(trouble.kind.severity().as_str()),
        title: Some(&title),
        description: None,
        service: service(&labels, lane.settings, workload),
        environment: place.environment,
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    lane.emit(draft, &[SOURCE, " ", &place.cluster])
}

/// What the object says about it: the container that waits or died, or a condition.
fn explained(object: &Object, container: Option<&str>) -> Option<String> {
    let statuses = ["/status/containerStatuses", "/status/initContainerStatuses"];
    let named = statuses
        .iter()
        .filter_map(|list| object.value.pointer(list)?.as_array())
        .flatten()
        .find(|status| container.is_some() && filled(&status["name"]) == container);
    if let Some(status) = named {
        let messages = [
            &status["state"]["waiting"]["message"],
            &status["state"]["terminated"]["message"],
            &status["lastState"]["terminated"]["message"],
        ];
        return messages.into_iter().find_map(filled).map(str::to_owned);
    }
    let conditions = object.value.pointer("/status/conditions")?.as_array()?;
    let telling = |condition: &&Value| {
        let bad = if condition["type"] == "ReplicaFailure" {
            "True"
        } else {
            "False"
        };
        condition["status"] == bad && filled(&condition["message"]).is_some()
    };
    filled(&conditions.iter().find(telling)?["message"]).map(str::to_owned)
}
