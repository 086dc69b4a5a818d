//! How the rollout of a workload stands, as the object tells. A Deployment says it in a condition. StatefulSets and DaemonSets have none; they
//! count pods, and are read as `kubectl rollout status` reads them
//! (<https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go>).

use serde_json::Value;

/// On Deployments: the number of their template.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// On DaemonSets: the number of their template. Called deprecated since 2017; the API server still counts it, and nothing else does.
const TEMPLATE_GENERATION: &str = "/metadata/annotations/deprecated.daemonset.template.generation";

/// What is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// How its newest rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Open,
    /// Every pod is of the newest template, and ready.
    Completed,
    /// The progress deadline has passed. Only Deployments have one.
    Failed,
}

impl Workload {
    /// By the `kind` of an object.
    pub fn of_kind(kind: &str) -> Option<Self> {
        match kind {
            "Deployment" => Some(Workload::Deployment),
            "StatefulSet" => Some(Workload::StatefulSet),
            "DaemonSet" => Some(Workload::DaemonSet),
            _ => None,
        }
    }

    /// In keys and as a label.
    pub fn word(self) -> &'static str {
        match self {
            Workload::Deployment => "deployment",
            Workload::StatefulSet => "statefulset",
            Workload::DaemonSet => "daemonset",
        }
    }

    /// What names the newest template: a number, which goes up, or of a StatefulSet the hash of its template, which a rollback gives again. `None`
    /// where its controller has not said yet.
    pub fn revision(self, object: &Value) -> Option<String> {
        let text = |pointer: &str| {
            let found = object.pointer(pointer)?.as_str()?;
            (!found.is_empty()).then(|| found.to_owned())
        };
        match self {
            Workload::Deployment => text(REVISION),
            Workload::StatefulSet => {
                let revision = text("/status/updateRevision")?;
                let name = text("/metadata/name").unwrap_or_default();
                let hash = revision.strip_prefix(&name).and_then(|rest| rest.strip_prefix('-'));
                Some(hash.unwrap_or(&revision).to_owned())
            }
            // The generation counts the update strategy's changes as well, which are rare.
            Workload::DaemonSet => text(TEMPLATE_GENERATION).or_else(|| {
                let generation = object.pointer("/metadata/generation")?.as_i64()?;
                Some(generation.to_string())
            }),
        }
    }

    /// `None` while the controller has not seen the newest specification: what the status says is of the one before.
    pub fn outcome(self, object: &Value) -> Option<Outcome> {
        let count = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
        let observed = count("/status/observedGeneration") >= count("/metadata/generation");
        observed.then(|| self.status(object))
    }

    /// What the status says, of whichever specification.
    pub fn status(self, object: &Value) -> Outcome {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
        let count = |pointer: &str| number(pointer).unwrap_or(0);
        let completed = match self {
            Workload::Deployment => return progress(object),
            Workload::StatefulSet => {
                let wanted = number("/spec/replicas").unwrap_or(1);
                let status = &object["status"];
                let partition = count("/spec/updateStrategy/rollingUpdate/partition");
                let updated = count("/status/updatedReplicas") >= wanted - partition
                    || (status["updateRevision"].is_string() && status["currentRevision"] == status["updateRevision"]);
                updated && count("/status/readyReplicas") >= wanted
            }
            Workload::DaemonSet => {
                let wanted = count("/status/desiredNumberScheduled");
                count("/status/updatedNumberScheduled") >= wanted && count("/status/numberAvailable") >= wanted
            }
        };
        match completed {
            true => Outcome::Completed,
            false => Outcome::Open,
        }
    }
}

fn progress(deployment: &Value) -> Outcome {
    let conditions = deployment["status"]["conditions"].as_array().into_iter().flatten();
    let reason = conditions
        .filter(|condition| condition["type"] == "Progressing")
        .find_map(|condition| condition["reason"].as_str());
    match reason {
        Some("NewReplicaSetAvailable") => Outcome::Completed,
        Some("ProgressDeadlineExceeded") => Outcome::Failed,
        _ => Outcome::Open,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(workload: Workload, object: &Value, revision: Option<&str>, outcome: Option<Outcome>) {
        let found = (workload.revision(object), workload.outcome(object));
        assert_eq!(found, (revision.map(str::to_owned), outcome), "{object}");
    }

    #[test]
    fn deployments() {
        let with = |seen: i64, reason: &str| {
            json!({"metadata": {"generation": 2, "annotations": {"deployment.kubernetes.io/revision": "7"}},
                "status": {"observedGeneration": seen, "conditions": [{"type": "Available"}, {"type": "Progressing", "reason": reason}]}})
        };
        let check = |object: &Value, outcome| check(Workload::Deployment, object, Some("7"), outcome);
        check(&with(1, "NewReplicaSetAvailable"), None);
        check(&with(2, "NewReplicaSetAvailable"), Some(Outcome::Completed));
        check(&with(2, "ProgressDeadlineExceeded"), Some(Outcome::Failed));
        check(&with(2, "ReplicaSetUpdated"), Some(Outcome::Open));
    }

    #[test]
    fn stateful_sets() {
        let with = |(wanted, partition): (i64, i64), (updated, ready): (i64, i64), current: &str| {
            json!({"metadata": {"name": "db", "generation": 3},
                "spec": {"replicas": wanted, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
                "status": {"observedGeneration": 3, "updatedReplicas": updated, "readyReplicas": ready,
                    "currentRevision": current, "updateRevision": "db-5c9f"}})
        };
        let check = |object: Value, outcome| check(Workload::StatefulSet, &object, Some("5c9f"), Some(outcome));
        check(with((3, 0), (1, 3), "db-old"), Outcome::Open);
        check(with((3, 0), (3, 2), "db-old"), Outcome::Open);
        check(with((3, 0), (3, 3), "db-old"), Outcome::Completed);
        check(with((3, 0), (0, 3), "db-5c9f"), Outcome::Completed);
        check(with((3, 2), (1, 3), "db-old"), Outcome::Completed);
        check(with((0, 0), (0, 0), "db-old"), Outcome::Completed);
        // It was made a moment ago.
        let new = json!({"metadata": {"name": "db", "generation": 1}, "status": {"replicas": 0}});
        super::tests::check(Workload::StatefulSet, &new, None, None);
    }

    #[test]
    fn daemon_sets() {
        let with = |annotations: Value, desired: i64, updated: i64, available: Option<i64>| {
            json!({"metadata": {"generation": 5, "annotations": annotations},
                "status": {"observedGeneration": 5, "desiredNumberScheduled": desired, "updatedNumberScheduled": updated, "numberAvailable": available}})
        };
        let numbered = || json!({"deprecated.daemonset.template.generation": "4"});
        let check =
            |object: Value, revision, outcome| check(Workload::DaemonSet, &object, Some(revision), Some(outcome));
        check(with(numbered(), 3, 2, Some(3)), "4", Outcome::Open);
        check(with(numbered(), 3, 3, None), "4", Outcome::Open);
        check(with(numbered(), 3, 3, Some(3)), "4", Outcome::Completed);
        check(with(json!({}), 0, 0, None), "5", Outcome::Completed);
    }

    #[test]
    fn what_is_no_workload_says_nothing() {
        for odd in [
            json!(null),
            json!([]),
            json!({"status": 5, "metadata": {"generation": "x"}}),
        ] {
            for workload in [Workload::Deployment, Workload::StatefulSet, Workload::DaemonSet] {
                assert_eq!(workload.revision(&odd), None);
            }
        }
    }
}
