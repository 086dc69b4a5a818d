//! What tests do to pods.

use serde_json::{Value, json};

use super::{Cluster, Key, text, time};

impl Cluster {
    /// The container of this pod has died of `reason` (`Error`, `OOMKilled`) and waits to be started again.
    pub fn crash(&mut self, namespace: &str, pod: &str, reason: &str) {
        let at = time(self.now);
        self.change_pod(namespace, pod, |pod| {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "lastTransitionTime": at}]);
            let container = &mut pod["status"]["containerStatuses"][0];
            let restarts = container["restartCount"].as_u64().unwrap_or(0);
            container["restartCount"] = json!(restarts + 1);
            container["ready"] = json!(false);
            container["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}});
            container["lastState"] = json!({"terminated": {"reason": reason, "exitCode": 137, "finishedAt": at}});
        });
    }

    /// It runs again, and is ready.
    pub fn recover(&mut self, namespace: &str, pod: &str) {
        let at = time(self.now);
        self.change_pod(namespace, pod, |pod| {
            pod["status"]["phase"] = json!("Running");
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
            let container = &mut pod["status"]["containerStatuses"][0];
            container["ready"] = json!(true);
            container["state"] = json!({"running": {"startedAt": at}});
        });
    }

    /// It is deleted, and nobody starts another.
    pub fn delete_pod(&mut self, namespace: &str, pod: &str) {
        self.take_out(&("pods".to_owned(), namespace.to_owned(), pod.to_owned()));
    }

    /// A Warning about an object; of one that was said before, another occurrence.
    pub fn warn(&mut self, plural: &str, namespace: &str, name: &str, reason: &str, message: &str) {
        let Some(object) = self.get(plural, namespace, name).cloned() else {
            return;
        };
        let same = |event: &&Value| {
            event["involvedObject"]["uid"] == object["metadata"]["uid"]
                && event["reason"] == reason
                && event["message"] == message
        };
        let known = self.list("events", Some(namespace)).into_iter().find(same).cloned();
        match known {
            Some(mut event) => {
                event["count"] = json!(event["count"].as_u64().unwrap_or(0) + 1);
                event["lastTimestamp"] = json!(time(self.now));
                self.put("events", event);
            }
            None => {
                let kind = text(&object["kind"]);
                self.say_as("Warning", &object, (&kind, reason, message), self.now);
            }
        }
    }

    fn change_pod(&mut self, namespace: &str, pod: &str, change: impl FnOnce(&mut Value)) {
        let key: Key = ("pods".to_owned(), namespace.to_owned(), pod.to_owned());
        if let Some(mut object) = self.objects.get(&key).cloned() {
            change(&mut object);
            self.starting.remove(&key);
            self.put("pods", object);
        }
    }
}
