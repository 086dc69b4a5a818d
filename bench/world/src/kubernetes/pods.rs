//! The controllers: revisions, pods, statuses.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Cluster, Key, text, time};
use crate::scenario::Kind;

/// On replica sets and deployments.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// On daemon sets. The API server counts it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The label that tells the pods of one revision from those of another.
pub(super) fn revision_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "pod-template-hash",
        Kind::StatefulSet | Kind::DaemonSet => "controller-revision-hash",
    }
}

/// Ten characters that stand for a template.
pub(super) fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

impl Cluster {
    /// The replica set or controller revision of the workload's template: kept from before under a new number, or made.
    pub(super) fn record_revision(&mut self, kind: Kind, workload: &mut Value, at: DateTime<Utc>) {
        let plural = match kind {
            Kind::Deployment => "replicasets",
            Kind::StatefulSet | Kind::DaemonSet => "controllerrevisions",
        };
        let metadata = &workload["metadata"];
        let (namespace, uid) = (text(&metadata["namespace"]), metadata["uid"].clone());
        let owned = |object: &&Value| object["metadata"]["ownerReferences"][0]["uid"] == uid;
        let known: Vec<Value> = self
            .list(plural, Some(&namespace))
            .into_iter()
            .filter(owned)
            .cloned()
            .collect();
        let number = |object: &Value| match kind {
            Kind::Deployment => text(&object["metadata"]["annotations"][REVISION]).parse().unwrap_or(0),
            Kind::StatefulSet | Kind::DaemonSet => object["revision"].as_i64().unwrap_or(0),
        };
        let next = known.iter().map(number).max().unwrap_or(0) + 1;
        let hash = hash(&workload["spec"]["template"]);
        let name = format!("{}-{hash}", text(&workload["metadata"]["name"]));
        let kept = known
            .into_iter()
            .find(|object| text(&object["metadata"]["name"]) == name);
        let mut revision = kept.unwrap_or_else(|| self.new_revision(kind, workload, &hash, at));
        match kind {
            Kind::Deployment => {
                revision["metadata"]["annotations"][REVISION] = json!(next.to_string());
                workload["metadata"]["annotations"][REVISION] = json!(next.to_string());
            }
            Kind::StatefulSet => {
                revision["revision"] = json!(next);
                workload["status"]["updateRevision"] = json!(name);
            }
            Kind::DaemonSet => {
                revision["revision"] = json!(next);
                workload["metadata"]["annotations"][TEMPLATE_GENERATION] = json!(next.to_string());
            }
        }
        self.put(plural, revision);
    }

    fn new_revision(&self, kind: Kind, workload: &Value, hash: &str, at: DateTime<Utc>) -> Value {
        let mut labels = workload["spec"]["template"]["metadata"]["labels"].clone();
        labels[revision_label(kind)] = json!(hash);
        let metadata = json!({
            "name": format!("{}-{hash}", text(&workload["metadata"]["name"])),
            "namespace": workload["metadata"]["namespace"],
            "uid": uuid::Uuid::new_v4(),
            "creationTimestamp": time(at),
            "labels": labels,
            "annotations": {},
            "ownerReferences": [owner(workload)],
        });
        let mut template = workload["spec"]["template"].clone();
        match kind {
            Kind::Deployment => {
                template["metadata"]["labels"] = labels;
                json!({
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "metadata": metadata,
                    "spec": {"replicas": 0, "selector": workload["spec"]["selector"], "template": template},
                    "status": {"replicas": 0},
                })
            }
            Kind::StatefulSet | Kind::DaemonSet => {
                template["$patch"] = json!("replace");
                json!({
                    "apiVersion": "apps/v1",
                    "kind": "ControllerRevision",
                    "metadata": metadata,
                    "data": {"spec": {"template": template}},
                    "revision": 0,
                })
            }
        }
    }

    /// By name.
    pub(crate) fn pods_of(&self, kind: Kind, namespace: &str, name: &str) -> Vec<&Value> {
        let Some(workload) = self.get(kind.plural(), namespace, name) else {
            return Vec::new();
        };
        let uid = &workload["metadata"]["uid"];
        let sets: Vec<&Value> = self.list("replicasets", Some(namespace));
        let own = |pod: &&Value| {
            let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
            let set = sets.iter().find(|set| set["metadata"]["uid"] == *owner);
            owner == uid || set.is_some_and(|set| set["metadata"]["ownerReferences"][0]["uid"] == *uid)
        };
        self.list("pods", Some(namespace)).into_iter().filter(own).collect()
    }

    /// A pod of the workload's template; `index` names it where it belongs to a stateful set.
    pub(super) fn start_pod(&mut self, kind: Kind, workload: &Value, index: u32, at: DateTime<Utc>) {
        let template = &workload["spec"]["template"];
        let hash = hash(template);
        let (namespace, name) = (
            text(&workload["metadata"]["namespace"]),
            text(&workload["metadata"]["name"]),
        );
        let random = uuid::Uuid::new_v4().simple().to_string();
        let pod_name = match kind {
            Kind::Deployment => format!("{name}-{hash}-{}", &random[..5]),
            Kind::StatefulSet => format!("{name}-{index}"),
            Kind::DaemonSet => format!("{name}-{}", &random[..5]),
        };
        let set = self.get("replicasets", &namespace, &format!("{name}-{hash}"));
        let owner = owner(set.filter(|_| kind == Kind::Deployment).unwrap_or(workload));
        let mut labels = template["metadata"]["labels"].clone();
        labels[revision_label(kind)] = json!(hash);
        let mut annotations = template["metadata"]["annotations"].clone();
        if annotations.is_null() {
            annotations = json!({});
        }
        let container = &template["spec"]["containers"][0];
        let image = text(&container["image"]);
        let broken = self
            .scenario
            .workloads
            .iter()
            .any(|one| one.broken_images.contains(&image));
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod_name,
                "namespace": namespace,
                "uid": uuid::Uuid::new_v4(),
                "creationTimestamp": time(at),
                "labels": labels,
                "annotations": annotations,
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
            "status": {
                "phase": "Pending",
                "startTime": time(at),
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": time(at)}],
                "containerStatuses": [{
                    "name": container["name"],
                    "image": container["image"],
                    "ready": false,
                    "restartCount": 0,
                    "state": {"waiting": {"reason": if broken { "ImagePullBackOff" } else { "ContainerCreating" }}},
                    "lastState": {},
                }],
            },
        });
        if !broken {
            let ready_at = at + TimeDelta::milliseconds(self.scenario.ready_after_ms as i64);
            self.starting
                .insert(("pods".to_owned(), namespace, pod_name.clone()), ready_at);
        }
        self.say(
            &pod,
            "Pod",
            "Started",
            &format!("Started container {}", text(&container["name"])),
            at,
        );
        self.put("pods", pod);
    }

    pub(super) fn become_ready(&mut self, key: &Key) {
        let Some(mut pod) = self.objects.get(key).cloned() else {
            return;
        };
        pod["status"]["phase"] = json!("Running");
        pod["status"]["conditions"] =
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": time(self.now)}]);
        let started = pod["status"]["startTime"].clone();
        let container = &mut pod["status"]["containerStatuses"][0];
        container["ready"] = json!(true);
        container["state"] = json!({"running": {"startedAt": started}});
        self.put("pods", pod);
    }

    /// Replaces one pod of an older template; `false` when none is left.
    pub(super) fn replace_one(&mut self, key: &Key, at: DateTime<Utc>) -> bool {
        let (Some(workload), Some(kind)) = (self.objects.get(key).cloned(), Kind::of_plural(&key.0)) else {
            return false;
        };
        let wanted = json!(hash(&workload["spec"]["template"]));
        let pods = self.pods_of(kind, &key.1, &key.2);
        let old = pods
            .into_iter()
            .find(|pod| pod["metadata"]["labels"][revision_label(kind)] != wanted);
        let Some(name) = old.map(|pod| text(&pod["metadata"]["name"])) else {
            return false;
        };
        self.remove_pod(&key.1, &name, at);
        let index = name
            .rsplit('-')
            .next()
            .and_then(|index| index.parse().ok())
            .unwrap_or_default();
        self.start_pod(kind, &workload, index, at);
        true
    }

    fn remove_pod(&mut self, namespace: &str, name: &str, at: DateTime<Utc>) {
        let key = ("pods".to_owned(), namespace.to_owned(), name.to_owned());
        self.starting.remove(&key);
        if let Some(pod) = self.take_out(&key) {
            self.say(&pod, "Pod", "Killing", "Stopping container", at);
        }
    }

    /// Starts or removes pods until there are as many as the workload wants.
    pub(super) fn scale(&mut self, kind: Kind, workload: &Value) {
        let (namespace, name) = (
            text(&workload["metadata"]["namespace"]),
            text(&workload["metadata"]["name"]),
        );
        let wanted = workload["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
        let mut names: Vec<String> = self
            .pods_of(kind, &namespace, &name)
            .into_iter()
            .map(|pod| text(&pod["metadata"]["name"]))
            .collect();
        while names.len() > wanted {
            if let Some(last) = names.pop() {
                self.remove_pod(&namespace, &last, self.now);
            }
        }
        for index in names.len()..wanted {
            self.start_pod(kind, workload, index as u32, self.now);
        }
    }
}

fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
