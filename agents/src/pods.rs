//! The workload of a service, and how its pods are.

use chrono::{DateTime, TimeDelta, Utc};
use model::Workload;
use model::evidence::Citation;
use tools::observe::Pod;

use crate::gather::{Asked, Gather, Miss};
use crate::subject::{Subject, kubernetes_name};
use crate::text;

/// Pods are told by name up to this many.
const TOLD: usize = 5;

/// The one workload that the cluster lists for the service. What it lists is held against what was asked: a name that is no name,
/// or another namespace, is no answer.
pub async fn find(tools: &mut Gather<'_>, subject: &Subject<'_>) -> Asked<Workload> {
    let Some(service) = subject.service else {
        return Err(Miss::Absent("the incident names no service".to_owned()));
    };
    if subject.ambiguous {
        return Err(Miss::Absent(
            "the members of the incident name several namespaces".to_owned(),
        ));
    }
    if !kubernetes_name(service) || !subject.namespace.is_none_or(kubernetes_name) {
        return Err(Miss::Absent(
            "the service or namespace of the incident is no name that Kubernetes knows".to_owned(),
        ));
    }
    let found = tools.find(subject.namespace, service).await?;
    choose(found, service, subject.namespace)
}

/// One workload, or why it cannot be told which.
pub fn choose(found: Vec<Workload>, service: &str, namespace: Option<&str>) -> Asked<Workload> {
    let mut fitting: Vec<Workload> = found
        .into_iter()
        .filter(|workload| kubernetes_name(&workload.name) && kubernetes_name(&workload.namespace))
        .filter(|workload| namespace.is_none_or(|name| workload.namespace == name))
        .collect();
    // Several that carry the label (a web server and its worker): the one that is called so.
    if fitting.len() > 1 && fitting.iter().any(|workload| workload.name == service) {
        fitting.retain(|workload| workload.name == service);
    }
    let several = fitting.len();
    let place = namespace.map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
    match (fitting.pop(), several) {
        (Some(workload), 1) => Ok(workload),
        (None, _) => Err(Miss::Refused(format!(
            "the cluster lists no workload of this service in {place}"
        ))),
        _ => Err(Miss::Refused(format!(
            "the cluster lists {several} workloads of this service in {place}"
        ))),
    }
}

/// Pods that were well, and not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub pods: usize,
    pub not_ready: usize,
    /// Restarted since shortly before the incident.
    pub restarted: usize,
    /// Of these, killed for memory.
    pub oom_killed: usize,
    pub names: Vec<String>,
}

impl Health {
    /// `since`: containers that were started before it ended for reasons that are not this incident's.
    pub fn of(pods: &[Pod], since: DateTime<Utc>) -> Self {
        let mut health = Health {
            pods: pods.len(),
            ..Health::default()
        };
        for pod in pods {
            let recent = pod.started_at.is_none_or(|at| at >= since);
            let restarted = pod.restarts > 0 && recent;
            let killed = restarted && pod.last_terminated.as_deref() == Some("OOMKilled");
            let not_ready = !pod.ready && pod.phase != "Succeeded";
            health.not_ready += usize::from(not_ready);
            health.restarted += usize::from(restarted);
            health.oom_killed += usize::from(killed);
            if not_ready || restarted {
                health.names.push(text::line(&pod.name, 80));
            }
        }
        health.names.sort();
        health
    }

    pub fn well(&self) -> bool {
        self.not_ready == 0 && self.restarted == 0
    }

    /// `2 of 3 pods: 1 not ready, 2 restarted (2 killed for memory)`.
    pub fn sentence(&self) -> String {
        format!(
            "{} pods: {} not ready, {} restarted ({} killed for memory)",
            self.pods, self.not_ready, self.restarted, self.oom_killed
        )
    }

    pub fn cite(&self, workload: &Workload, at: DateTime<Utc>) -> Citation {
        let names: Vec<&str> = self.names.iter().take(TOLD).map(String::as_str).collect();
        let excerpt = match names.as_slice() {
            [] => self.sentence(),
            names => format!("{}; {}", self.sentence(), names.join(", ")),
        };
        let query = format!("pods of {workload} in {}", workload.namespace);
        Citation::new("kubernetes", query, (at, at), &excerpt)
    }
}

/// How long before the incident a restart may lie to count as its own.
pub const RECENT: TimeDelta = TimeDelta::minutes(30);

#[cfg(test)]
mod tests {
    use super::*;
    use model::WorkloadKind;

    #[test]
    fn chosen() {
        let workload = |namespace: &str, name: &str| Workload {
            cluster: "default".into(),
            namespace: namespace.into(),
            kind: WorkloadKind::Deployment,
            name: name.into(),
        };
        let check = |found: &[(&str, &str)], namespace: Option<&str>, expected: Option<(&str, &str)>| {
            let found = found.iter().map(|(ns, name)| workload(ns, name)).collect();
            let chosen = choose(found, "api", namespace).ok();
            assert_eq!(chosen, expected.map(|(ns, name)| workload(ns, name)));
        };
        check(&[("prod", "api")], Some("prod"), Some(("prod", "api")));
        check(&[("prod", "api"), ("prod", "api-worker")], None, Some(("prod", "api")));
        check(&[("prod", "web"), ("prod", "worker")], None, None);
        check(&[("prod", "api"), ("staging", "api")], None, None);
        check(
            &[("prod", "api"), ("staging", "api")],
            Some("prod"),
            Some(("prod", "api")),
        );
        check(&[("kube-system", "api")], Some("prod"), None);
        check(&[("prod", "api; rm -rf /")], Some("prod"), None);
        check(&[], Some("prod"), None);
    }

    #[test]
    fn health() {
        let at = |minute: i64| DateTime::from_timestamp(1_800_000_000 + 60 * minute, 0).unwrap();
        let pod = |ready: bool, restarts: u32, why: &str, started: i64| Pod {
            name: "api-1".into(),
            uid: "u".into(),
            phase: "Running".into(),
            ready,
            restarts,
            last_terminated: Some(why.into()),
            started_at: Some(at(started)),
        };
        let health = Health::of(
            &[
                pod(true, 2, "OOMKilled", 5),
                pod(false, 0, "", -900),
                pod(true, 7, "OOMKilled", -900),
            ],
            at(0),
        );
        assert_eq!((health.not_ready, health.restarted, health.oom_killed), (1, 1, 1));
        assert!(Health::of(&[pod(true, 7, "Error", -900)], at(0)).well());
    }
}
