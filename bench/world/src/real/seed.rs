//! A scenario's workloads on a real cluster: each revision by itself, so that there is a history, and what a kubelet would have
//! reported since.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::RealCluster;
use crate::kubernetes::seed::{SEEDED, template};
use crate::scenario::{Kind, Scenario, Workload};

/// Longest until the pods of a workload are ready.
const ROLLOUT: &str = "--timeout=180s";

impl RealCluster {
    /// Makes the namespaces of the scenario anew, with everything in them running at its last image.
    ///
    /// # Errors
    /// The cluster does not take it, or does not get there.
    pub fn seed(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let mut namespaces: Vec<&str> = scenario.workloads.iter().map(|one| one.namespace.as_str()).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces.iter().try_for_each(|name| self.fresh_namespace(name))?;
        for workload in &scenario.workloads {
            self.deploy(workload).with_context(|| workload.name.clone())?;
        }
        let now = Utc::now();
        for workload in &scenario.workloads {
            for pod in self.pods(&workload.namespace, &workload.name)? {
                self.settle(workload, &pod, now)?;
            }
        }
        Ok(())
    }

    fn deploy(&self, workload: &Workload) -> anyhow::Result<()> {
        let last = workload.images.len() - 1;
        for (index, image) in workload.images.iter().enumerate() {
            // Earlier revisions need no pods to be remembered.
            let replicas = if index == last { workload.replicas } else { 0 };
            self.apply(&manifest(workload, image, replicas).to_string())?;
            let name = format!("{}/{}", workload.kind.plural(), workload.name);
            self.kubectl(&["-n", &workload.namespace, "rollout", "status", &name, ROLLOUT], "")?;
        }
        Ok(())
    }

    /// Marked as one of those that were there at the start; where its workload leaks, killed for it and started again.
    fn settle(&self, workload: &Workload, pod: &Value, now: DateTime<Utc>) -> anyhow::Result<()> {
        let name = pod["metadata"]["name"].as_str().context("a pod without a name")?;
        let mark = format!("{SEEDED}=true");
        self.kubectl(&["-n", &workload.namespace, "annotate", "pod", name, &mark], "")?;
        if !workload.leaks {
            return Ok(());
        }
        let again = super::pods::time(now - TimeDelta::minutes(2));
        self.report(&workload.namespace, name, |status| {
            let container = &mut status["containerStatuses"][0];
            container["restartCount"] = json!(4);
            container["lastState"] = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137,
                "startedAt": super::pods::time(now - TimeDelta::minutes(30)), "finishedAt": again}});
            container["state"] = json!({"running": {"startedAt": again}});
        })?;
        self.say(
            pod,
            "Warning",
            "OOMKilling",
            "Memory cgroup out of memory: Killed process 1 (java)",
        )
    }
}

fn manifest(workload: &Workload, image: &str, replicas: u32) -> Value {
    let mut template = template(workload, image);
    // The API server asks for what `kubectl create deployment` would write.
    template["spec"]["terminationGracePeriodSeconds"] = json!(1);
    let mut spec = json!({"selector": {"matchLabels": {"app": workload.name}}, "template": template});
    if workload.kind != Kind::DaemonSet {
        spec["replicas"] = json!(replicas);
    }
    if workload.kind == Kind::StatefulSet {
        spec["serviceName"] = json!(workload.name);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": format!("{:?}", workload.kind),
        "metadata": {"name": workload.name, "namespace": workload.namespace,
            "labels": {"app": workload.name, "app.kubernetes.io/name": workload.name}},
        "spec": spec,
    })
}
