//! The objects that a cluster begins with.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{Cluster, text, time};
use crate::scenario::{Kind, Workload};

/// Annotation of the pods that were there when the world began.
pub(crate) const SEEDED: &str = "world.example/seeded";

impl Cluster {
    pub(super) fn seed(&mut self, workload: &Workload) {
        let begun = self.now - TimeDelta::minutes(workload.released_minutes_ago.into());
        let labels = json!({"app": workload.name, "app.kubernetes.io/name": workload.name});
        let mut spec = json!({
            "selector": {"matchLabels": {"app": workload.name}},
            "template": template(workload, ""),
        });
        match workload.kind {
            Kind::DaemonSet => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
            Kind::StatefulSet => {
                spec["replicas"] = json!(workload.replicas);
                spec["updateStrategy"] = json!({"type": "RollingUpdate"});
                spec["serviceName"] = json!(workload.name);
            }
            Kind::Deployment => {
                spec["replicas"] = json!(workload.replicas);
                spec["strategy"] = json!({"type": "RollingUpdate"});
            }
        }
        let mut object = json!({
            "apiVersion": "apps/v1",
            "kind": format!("{:?}", workload.kind),
            "metadata": {
                "name": workload.name,
                "namespace": workload.namespace,
                "uid": uuid::Uuid::new_v4(),
                "generation": 0,
                "creationTimestamp": time(begun),
                "labels": labels,
                "annotations": {},
                "managedFields": super::write::managed(begun),
            },
            "spec": spec,
            "status": {"desiredNumberScheduled": workload.replicas},
        });
        for (index, image) in workload.images.iter().enumerate() {
            object["spec"]["template"] = template(workload, image);
            object["metadata"]["generation"] = json!(index + 1);
            let later = workload.images.len() - 1 - index;
            self.record_revision(workload.kind, &mut object, begun - TimeDelta::days(later as i64));
        }
        self.put(workload.kind.plural(), object.clone());
        for index in 0..workload.replicas {
            self.start_pod(workload.kind, &object, index, begun);
        }
        self.settle(workload, begun);
        self.update_statuses();
    }

    /// Ready since long ago; where it leaks, killed for it and started again.
    fn settle(&mut self, workload: &Workload, begun: DateTime<Utc>) {
        let pods: Vec<Value> = self
            .pods_of(workload.kind, &workload.namespace, &workload.name)
            .into_iter()
            .cloned()
            .collect();
        for mut pod in pods {
            let key = (
                "pods".to_owned(),
                workload.namespace.clone(),
                text(&pod["metadata"]["name"]),
            );
            self.starting.remove(&key);
            pod["metadata"]["annotations"][SEEDED] = json!("true");
            if workload.leaks {
                let status = &mut pod["status"]["containerStatuses"][0];
                status["restartCount"] = json!(4);
                status["lastState"] = json!({"terminated": {
                    "reason": "OOMKilled",
                    "exitCode": 137,
                    "startedAt": time(begun),
                    "finishedAt": time(self.now - TimeDelta::minutes(2)),
                }});
                let at = self.now - TimeDelta::minutes(2);
                self.say(
                    &pod,
                    "Pod",
                    "OOMKilling",
                    "Memory cgroup out of memory: Killed process 1 (java)",
                    at,
                );
            }
            self.objects.insert(key.clone(), pod);
            self.become_ready(&key);
            if workload.leaks
                && let Some(pod) = self.objects.get_mut(&key)
            {
                let again = time(self.now - TimeDelta::minutes(2));
                pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = json!(again);
            }
        }
    }
}

/// The pod template of a workload at one of its images.
pub(crate) fn template(workload: &Workload, image: &str) -> Value {
    let env: Vec<Value> = workload
        .env
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "metadata": {"labels": {"app": workload.name}},
        "spec": {
            "containers": [{
                "name": workload.name,
                "image": image,
                "env": env,
                "resources": {"limits": {"memory": workload.memory_limit_bytes.to_string()}},
            }],
            "restartPolicy": "Always",
        },
    })
}
