//! What a kubelet would report of containers.

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::RealCluster;

impl RealCluster {
    /// Pods with label `app`, by name.
    ///
    /// # Errors
    /// The API server does not answer.
    pub fn pods(&self, namespace: &str, app: &str) -> anyhow::Result<Vec<Value>> {
        let mut list = self.json(&["-n", namespace, "get", "pods", "-l", &format!("app={app}")])?;
        serde_json::from_value(list["items"].take()).context("a list of pods")
    }

    /// Another status of a pod.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn report(&self, namespace: &str, pod: &str, change: impl Fn(&mut Value)) -> anyhow::Result<()> {
        let mut object = self.json(&["-n", namespace, "get", "pod", pod])?;
        change(&mut object["status"]);
        // The newest wins, as it does for a kubelet's patches.
        object["metadata"]["resourceVersion"].take();
        let arguments = ["-n", namespace, "replace", "--subresource=status", "-f", "-"];
        self.kubectl(&arguments, &object.to_string()).map(drop)
    }

    /// Its first container has died of `reason` (`Error`, `OOMKilled`) and waits to be started again.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn crash(&self, namespace: &str, pod: &str, reason: &str) -> anyhow::Result<()> {
        let at = time(Utc::now());
        self.report(namespace, pod, |status| {
            readiness(status, "False", &at);
            let container = &mut status["containerStatuses"][0];
            let restarts = container["restartCount"].as_u64().unwrap_or(0);
            let started = container["state"]["running"]["startedAt"].clone();
            container["restartCount"] = json!(restarts + 1);
            container["ready"] = json!(false);
            container["started"] = json!(false);
            container["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}});
            container["lastState"] =
                json!({"terminated": {"reason": reason, "exitCode": 137, "startedAt": started, "finishedAt": at}});
        })
    }

    /// It runs again, and is ready.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn recover(&self, namespace: &str, pod: &str) -> anyhow::Result<()> {
        let at = time(Utc::now());
        self.report(namespace, pod, |status| {
            readiness(status, "True", &at);
            let container = &mut status["containerStatuses"][0];
            container["ready"] = json!(true);
            container["started"] = json!(true);
            container["state"] = json!({"running": {"startedAt": at}});
        })
    }

    /// An Event about an object.
    ///
    /// # Errors
    /// The API server does not take it.
    pub fn say(&self, object: &Value, event_type: &str, reason: &str, message: &str) -> anyhow::Result<()> {
        let metadata = &object["metadata"];
        let at = time(Utc::now());
        let name = format!(
            "{}.{}",
            metadata["name"].as_str().unwrap_or_default(),
            uuid::Uuid::new_v4().simple()
        );
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": object["apiVersion"], "kind": object["kind"], "namespace": metadata["namespace"],
                "name": metadata["name"], "uid": metadata["uid"]},
            "reason": reason, "message": message, "type": event_type, "count": 1, "firstTimestamp": at, "lastTimestamp": at,
            "source": {"component": "kubelet"},
        });
        self.kubectl(&["create", "-f", "-"], &event.to_string()).map(drop)
    }
}

fn readiness(status: &mut Value, ready: &str, at: &str) {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition["type"] == "Ready" || condition["type"] == "ContainersReady" {
            condition["status"] = json!(ready);
            condition["lastTransitionTime"] = json!(at);
        }
    }
}

pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
