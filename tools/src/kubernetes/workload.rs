//! A workload as the API server gives it, and what is read from it.

use model::proposal::TargetState;
use model::{Action, Workload, WorkloadKind};
use serde_json::{Value, json};

use super::TOOL;
use super::history::Entry;
use crate::ToolError;
use crate::hash::hash;
use crate::wire::Failure;

/// The plural that stands in paths.
pub(super) fn plural(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet => "daemonsets",
    }
}

/// The kind as it stands in objects and references.
pub(super) fn kind_name(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "Deployment",
        WorkloadKind::StatefulSet => "StatefulSet",
        WorkloadKind::DaemonSet => "DaemonSet",
    }
}

/// The workload that an action is about.
pub(super) fn target(action: &Action) -> Result<&Workload, ToolError> {
    let none = || ToolError::refused(TOOL, format!("{action} is about no workload"));
    action.workload().ok_or_else(none)
}

/// Path of the object itself. Names are checked: they become part of a path.
pub(super) fn path(cluster: &str, workload: &Workload) -> Result<String, ToolError> {
    if workload.cluster != cluster {
        let cause = format!("this is cluster `{cluster}`, not `{}`", workload.cluster);
        return Err(ToolError::refused(TOOL, cause));
    }
    check_name("namespace", &workload.namespace)?;
    check_name("name", &workload.name)?;
    Ok(format!(
        "/apis/apps/v1/namespaces/{}/{}/{}",
        workload.namespace,
        plural(workload.kind),
        workload.name
    ))
}

/// Names of Kubernetes (RFC 1123 subdomain): lower-case letters, digits, `-` and `.`.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), ToolError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    if bytes.len() <= 253
        && bytes.iter().copied().all(allowed)
        && outer(bytes.first().copied())
        && outer(bytes.last().copied())
    {
        return Ok(());
    }
    let cause = format!("{name:?} is no {what} of Kubernetes: lower-case letters, digits, - and .");
    Err(ToolError::refused(TOOL, cause))
}

/// A deployment, stateful set or daemon set.
pub(super) struct Object {
    pub kind: WorkloadKind,
    pub json: Value,
}

impl Object {
    /// An answer without the fields that every object has is no object.
    pub fn new(kind: WorkloadKind, json: Value) -> Result<Self, Failure> {
        let metadata = &json["metadata"];
        for field in ["uid", "name", "resourceVersion"] {
            if metadata[field].as_str().is_none_or(str::is_empty) {
                return Err(Failure::Garbled(format!("an object without metadata.{field}")));
            }
        }
        if !json["spec"]["template"].is_object() {
            return Err(Failure::Garbled("a workload without spec.template".to_owned()));
        }
        Ok(Object { kind, json })
    }

    pub fn uid(&self) -> &str {
        text(&self.json["metadata"]["uid"])
    }

    pub fn name(&self) -> &str {
        text(&self.json["metadata"]["name"])
    }

    pub fn resource_version(&self) -> &str {
        text(&self.json["metadata"]["resourceVersion"])
    }

    pub fn generation(&self) -> i64 {
        self.json["metadata"]["generation"].as_i64().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.json["metadata"]["annotations"][name].as_str()
    }

    pub fn template(&self) -> &Value {
        &self.json["spec"]["template"]
    }

    /// Pods that it wants.
    pub fn replicas(&self) -> u32 {
        match self.kind {
            WorkloadKind::DaemonSet => number(&self.json["status"]["desiredNumberScheduled"], 0),
            // Absent means 1.
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => number(&self.json["spec"]["replicas"], 1),
        }
    }

    fn ready(&self) -> u32 {
        match self.kind {
            WorkloadKind::DaemonSet => number(&self.json["status"]["numberReady"], 0),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => number(&self.json["status"]["readyReplicas"], 0),
        }
    }

    /// Pods of the newest template.
    fn updated(&self) -> u32 {
        match self.kind {
            WorkloadKind::DaemonSet => number(&self.json["status"]["updatedNumberScheduled"], 0),
            WorkloadKind::Deployment | WorkloadKind::StatefulSet => number(&self.json["status"]["updatedReplicas"], 0),
        }
    }

    /// The selector as a query writes it; `None` where it selects nothing that can be written.
    pub fn selector(&self) -> Option<String> {
        let selector = &self.json["spec"]["selector"];
        let mut terms = Vec::new();
        for (name, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            terms.push(format!("{name}={}", value.as_str()?));
        }
        for one in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = one["key"].as_str()?;
            let values: Vec<&str> = one["values"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let values = values.join(",");
            terms.push(match one["operator"].as_str()? {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            });
        }
        (!terms.is_empty()).then(|| terms.join(","))
    }

    /// How it stands, for `action`. `history` and `pods` are its revisions and pods where they were asked for.
    pub fn state(&self, action: &Action, history: &[Entry], current: Option<i64>, pods: &[String]) -> TargetState {
        let touched = match action {
            Action::Restart { .. } => self.template().clone(),
            Action::Rollback { to_revision, .. } => {
                // Which revision "the previous" means is part of what was agreed to.
                let to = super::history::target(history, current, *to_revision).map(|entry| entry.number);
                json!({"template": self.template(), "to": to})
            }
            Action::Scale { .. } => json!({"replicas": self.replicas()}),
            // `target` refuses what is about no workload.
            _ => Value::Null,
        };
        TargetState {
            uid: self.uid().to_owned(),
            generation: self.generation(),
            spec_hash: hash(&touched),
            resource_version: self.resource_version().to_owned(),
            replicas: self.replicas(),
            ready: self.ready(),
            detail: json!({
                "images": images(self.template()),
                "revision": current,
                "updated": self.updated(),
                "observed_generation": self.json["status"]["observedGeneration"],
                "pods": pods,
            }),
        }
    }
}

/// Images of a pod template, in the order of its containers.
pub(super) fn images(template: &Value) -> Vec<String> {
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .map(|container| text(&container["image"]).to_owned())
        .collect()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value, absent: u32) -> u32 {
    value
        .as_u64()
        .map_or(absent, |value| u32::try_from(value).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_fields_does_not_change_the_hash() {
        let read = |text: &str| hash(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"a":1,"b":{"c":[1,2]}}"#), read(r#"{"b":{"c":[1,2]},"a":1}"#));
        assert_ne!(read(r#"{"a":[1,2]}"#), read(r#"{"a":[2,1]}"#));
        assert_ne!(read(r#"{"a":"1"}"#), read(r#"{"a":1}"#));
    }

    #[test]
    fn names_that_would_leave_the_path_are_refused() {
        for name in ["", "a/b", "..", "a?x=1", "a b", "A", "-a", "a%2f", "ä"] {
            assert!(check_name("name", name).is_err(), "{name}");
        }
        check_name("name", "api-server.v2").unwrap();
    }

    #[test]
    fn selectors() {
        let check = |selector: Value, expected: Option<&str>| {
            let json = json!({
                "metadata": {"uid": "u", "name": "n", "resourceVersion": "1"},
                "spec": {"selector": selector, "template": {}},
            });
            let object = Object::new(WorkloadKind::Deployment, json).unwrap();
            assert_eq!(object.selector().as_deref(), expected);
        };
        check(json!({"matchLabels": {"app": "api"}}), Some("app=api"));
        check(
            json!({"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["x", "y"]},
                {"key": "b", "operator": "DoesNotExist"},
            ]}),
            Some("a in (x,y),!b"),
        );
        check(
            json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
            None,
        );
        check(json!({}), None);
    }
}
