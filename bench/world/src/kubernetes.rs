//! A Kubernetes API server and its controllers, in one state.
//!
//! ```text
//! PATCH template ─► generation + 1, a new revision ─► advance: one pod after another is replaced ─► ready a while later
//! PATCH replicas ─► generation + 1 ─► pods started or removed at once
//! every change   ─► history: what watches tell, from any resourceVersion that is not forgotten
//! ```

pub mod history;
mod mirror;
pub mod patch;
mod pods;
pub(crate) mod routes;
pub(crate) mod seed;
mod selector;
mod statuses;
mod trouble;
mod watch;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::scenario::{Kind, Scenario, Workload};

/// Requests a second that every service is sent.
pub(crate) const REQUESTS_PER_SECOND: f64 = 50.0;

/// Part of the requests that a failing pod answers with 500.
pub(crate) const FAILING_SHARE: f64 = 0.2;

/// Of its limit, the memory of a container that has used it up, and of any other.
pub(crate) const FULL_PERCENT: u64 = 95;
pub(crate) const USUAL_PERCENT: u64 = 30;

/// Plural, namespace, name.
pub type Key = (String, String, String);

/// All objects of a cluster.
pub struct Cluster {
    pub(crate) scenario: Scenario,
    objects: BTreeMap<Key, Value>,
    /// The last `resourceVersion` given out.
    version: u64,
    /// Rollouts that go on, and when each replaces its next pod.
    rollouts: BTreeMap<Key, DateTime<Utc>>,
    /// Pods that are not ready yet, and when they will be.
    starting: BTreeMap<Key, DateTime<Utc>>,
    requests: BTreeMap<(String, String), Requests>,
    now: DateTime<Utc>,
    history: history::History,
    /// Somebody else's cluster, which moves by itself.
    mirrored: bool,
    /// When the newest template of a Deployment was set.
    released: BTreeMap<Key, DateTime<Utc>>,
    /// Verbs and resources that nobody may use: `("list", "pods")`.
    pub forbidden: BTreeSet<(String, String)>,
    /// API groups that are not served, such as `events.k8s.io`.
    pub unserved: BTreeSet<String>,
}

/// What a service has answered since the world began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests {
    pub good: f64,
    pub bad: f64,
}

/// What a container uses.
#[derive(Clone, Debug)]
pub struct Usage {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub memory_bytes: u64,
    pub limit_bytes: u64,
    pub restarts: u64,
}

impl Kind {
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Kind::Deployment => "deployments",
            Kind::StatefulSet => "statefulsets",
            Kind::DaemonSet => "daemonsets",
        }
    }

    pub(crate) fn of_plural(plural: &str) -> Option<Kind> {
        [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet]
            .into_iter()
            .find(|kind| kind.plural() == plural)
    }
}

impl Cluster {
    /// A cluster in which everything of `scenario` has been running since its last release.
    pub fn new(scenario: Scenario, now: DateTime<Utc>) -> Self {
        let mut cluster = Cluster {
            objects: BTreeMap::new(),
            version: 1000,
            rollouts: BTreeMap::new(),
            starting: BTreeMap::new(),
            requests: BTreeMap::new(),
            now,
            history: history::History::default(),
            mirrored: false,
            released: BTreeMap::new(),
            forbidden: BTreeSet::new(),
            unserved: BTreeSet::new(),
            scenario: scenario.clone(),
        };
        for workload in &scenario.workloads {
            cluster.seed(workload);
        }
        cluster
    }

    /// The object itself, as the API gives it.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects
            .get(&(plural.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    /// Objects of one kind, by namespace and name.
    pub fn list(&self, plural: &str, namespace: Option<&str>) -> Vec<&Value> {
        let of_kind = self
            .objects
            .iter()
            .filter(|((kind, of, _), _)| kind == plural && namespace.is_none_or(|namespace| namespace == of));
        of_kind.map(|(_, object)| object).collect()
    }

    /// Moves rollouts, pods and counters on. Time that goes backwards is no time.
    pub fn advance(&mut self, now: DateTime<Utc>) {
        let now = now.max(self.now);
        self.serve(now);
        self.now = now;
        if self.mirrored {
            return;
        }
        for key in self.rollouts.keys().cloned().collect::<Vec<_>>() {
            while let Some(at) = self.rollouts.get(&key).copied().filter(|at| *at <= now) {
                match self.replace_one(&key, at) {
                    true => self.rollouts.insert(key.clone(), at + self.replace_every()),
                    false => self.rollouts.remove(&key),
                };
            }
        }
        let ready: Vec<Key> = self
            .starting
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in ready {
            self.starting.remove(&key);
            self.become_ready(&key);
        }
        self.update_statuses();
    }

    fn replace_every(&self) -> TimeDelta {
        // At least one millisecond: a rollout that goes on for ever must not stop the time.
        TimeDelta::milliseconds(self.scenario.replace_every_ms.max(1) as i64)
    }

    /// Requests since the last look, shared among the pods that were there then.
    fn serve(&mut self, now: DateTime<Utc>) {
        let seconds = (now - self.now).as_seconds_f64();
        for workload in self.scenario.workloads.clone() {
            let pods = self.pods_of(workload.kind, &workload.namespace, &workload.name);
            let failing = pods.iter().filter(|pod| failing(&workload, pod)).count();
            let share = if pods.is_empty() {
                0.0
            } else {
                failing as f64 / pods.len() as f64
            };
            let bad = REQUESTS_PER_SECOND * seconds * share * FAILING_SHARE;
            let counted = self.requests.entry((workload.namespace, workload.name)).or_default();
            counted.bad += bad;
            counted.good += REQUESTS_PER_SECOND * seconds - bad;
        }
    }

    /// Of every workload of the scenario.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&Workload, Requests)> {
        self.scenario.workloads.iter().map(|workload| {
            let counted = self.requests.get(&(workload.namespace.clone(), workload.name.clone()));
            (workload, counted.copied().unwrap_or_default())
        })
    }

    /// Of every container. A pod that was there at the start has its memory full where its workload leaks.
    pub fn usage(&self) -> Vec<Usage> {
        let mut usage = Vec::new();
        for workload in &self.scenario.workloads {
            for pod in self.pods_of(workload.kind, &workload.namespace, &workload.name) {
                let percent = if exhausted(workload, pod) {
                    FULL_PERCENT
                } else {
                    USUAL_PERCENT
                };
                usage.push(Usage {
                    namespace: workload.namespace.clone(),
                    pod: text(&pod["metadata"]["name"]),
                    container: workload.name.clone(),
                    memory_bytes: workload.memory_limit_bytes / 100 * percent,
                    limit_bytes: workload.memory_limit_bytes,
                    restarts: pod["status"]["containerStatuses"][0]["restartCount"]
                        .as_u64()
                        .unwrap_or_default(),
                });
            }
        }
        usage
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn put(&mut self, plural: &str, mut object: Value) {
        object["metadata"]["resourceVersion"] = json!(self.next_version());
        let key = (
            plural.to_owned(),
            text(&object["metadata"]["namespace"]),
            text(&object["metadata"]["name"]),
        );
        let before = self.objects.insert(key, object.clone());
        let change = match before {
            Some(_) => history::Change::Modified,
            None => history::Change::Added,
        };
        self.history.push(self.version, plural, change, object);
    }

    /// The object, which is no more.
    fn take_out(&mut self, key: &Key) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        object["metadata"]["resourceVersion"] = json!(self.next_version());
        self.history
            .push(self.version, &key.0, history::Change::Deleted, object.clone());
        Some(object)
    }

    /// An event about `object`.
    fn say(&mut self, object: &Value, kind: &str, reason: &str, message: &str, at: DateTime<Utc>) {
        self.say_as("Normal", object, (kind, reason, message), at);
    }

    fn say_as(
        &mut self,
        event_type: &str,
        object: &Value,
        (kind, reason, message): (&str, &str, &str),
        at: DateTime<Utc>,
    ) {
        let metadata = &object["metadata"];
        let name = format!("{}.{:x}", text(&metadata["name"]), self.version);
        let at = time(at);
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "uid": uuid::Uuid::new_v4(),
                "creationTimestamp": at,
            },
            "involvedObject": {
                "kind": kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message,
            "type": event_type,
            "count": 1,
            "eventTime": null,
            "firstTimestamp": at,
            "lastTimestamp": at,
        });
        self.put("events", event);
    }
}

/// Started with the world, before anybody restarted it.
fn exhausted(workload: &Workload, pod: &Value) -> bool {
    workload.leaks && pod["metadata"]["annotations"][seed::SEEDED] == "true"
}

fn failing(workload: &Workload, pod: &Value) -> bool {
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    exhausted(workload, pod) || workload.failing_images.iter().any(|failing| failing == image)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
