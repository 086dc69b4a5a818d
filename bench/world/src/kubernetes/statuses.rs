//! The statuses of workloads: counts of pods, and the conditions of Deployments.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::pods::{hash, revision_label};
use super::{Cluster, Key, time};
use crate::scenario::Kind;

impl Cluster {
    /// Counts pods. A status that changed makes a new `resourceVersion`, as it does in a real cluster.
    pub(super) fn update_statuses(&mut self) {
        let keys: Vec<Key> = self
            .objects
            .keys()
            .filter(|(plural, _, _)| Kind::of_plural(plural).is_some())
            .cloned()
            .collect();
        for key in keys {
            let (Some(mut workload), Some(kind)) = (self.objects.get(&key).cloned(), Kind::of_plural(&key.0)) else {
                continue;
            };
            let wanted = json!(hash(&workload["spec"]["template"]));
            let pods = self.pods_of(kind, &key.1, &key.2);
            let ready = pods
                .iter()
                .filter(|pod| pod["status"]["conditions"][0]["status"] == "True")
                .count();
            let label = revision_label(kind);
            let updated = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"][label] == wanted)
                .count();
            let total = pods.len();
            let before = workload["status"].clone();
            let generation = workload["metadata"]["generation"].clone();
            let replicas = workload["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
            let status = &mut workload["status"];
            if kind == Kind::DaemonSet {
                status["currentNumberScheduled"] = json!(total);
                status["numberReady"] = json!(ready);
                status["numberAvailable"] = json!(ready);
                status["updatedNumberScheduled"] = json!(updated);
            } else {
                status["replicas"] = json!(total);
                status["readyReplicas"] = json!(ready);
                status["updatedReplicas"] = json!(updated);
            }
            if kind == Kind::StatefulSet && updated == total && updated == replicas && ready >= replicas {
                status["currentRevision"] = status["updateRevision"].clone();
            }
            status["observedGeneration"] = generation;
            if kind == Kind::Deployment {
                let all_new = updated == total && updated == replicas;
                let progress = self.progress(&key, &before, all_new, ready >= replicas);
                let available = if ready > 0 {
                    ("True", "MinimumReplicasAvailable")
                } else {
                    ("False", "MinimumReplicasUnavailable")
                };
                status["conditions"] = json!([
                    condition(&before, "Available", available, self.now),
                    condition(&before, "Progressing", progress, self.now),
                ]);
            }
            if workload["status"] != before {
                note_status(&mut workload, self.now);
                self.put(&key.0, workload);
            }
        }
    }

    /// Status and reason of the condition `Progressing`.
    fn progress(&self, key: &Key, before: &Value, all_new: bool, all_ready: bool) -> (&'static str, &'static str) {
        let done = ("True", "NewReplicaSetAvailable");
        let was_done = find(before, "Progressing").is_some_and(|known| known["reason"] == done.1);
        // A rollout that is done stays so while its pods come and go.
        if all_new && (all_ready || was_done) {
            return done;
        }
        let deadline = TimeDelta::milliseconds(self.scenario.progress_deadline_ms as i64);
        let late = self
            .released
            .get(key)
            .is_some_and(|began| *began + deadline <= self.now);
        match late {
            true => ("False", "ProgressDeadlineExceeded"),
            false => ("True", "ReplicaSetUpdated"),
        }
    }
}

/// Who wrote the status, and when, as the API server notes it.
fn note_status(workload: &mut Value, at: DateTime<Utc>) {
    let Some(entries) = workload["metadata"]["managedFields"].as_array_mut() else {
        return;
    };
    entries.retain(|entry| entry["subresource"] != "status");
    entries.push(
        json!({"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "time": time(at),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {"f:observedGeneration": {}}}, "subresource": "status"}),
    );
}

fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// The condition as it was, where it says the same.
fn condition(before: &Value, kind: &str, (status, reason): (&str, &str), now: DateTime<Utc>) -> Value {
    let known = find(before, kind);
    if let Some(known) = known.filter(|known| known["status"] == status && known["reason"] == reason) {
        return known.clone();
    }
    let same_status = known.filter(|known| known["status"] == status);
    let changed = same_status.map_or_else(|| json!(time(now)), |known| known["lastTransitionTime"].clone());
    json!({"type": kind, "status": status, "reason": reason, "lastUpdateTime": time(now), "lastTransitionTime": changed})
}
