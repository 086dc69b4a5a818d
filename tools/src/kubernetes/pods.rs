//! Pods of a workload, and what the cluster says about them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use model::WorkloadKind;
use serde_json::Value;

use super::api::{Api, Part};
use super::history::owned_by;
use super::workload::{Object, kind_name, text};
use crate::observe::{ClusterEvent, Pod};
use crate::redact::{redact, shorten};
use crate::wire::Failure;

/// Longest message of an event handed on, in characters.
const MESSAGE_LIMIT: usize = 1000;

/// Most events handed on, newest first.
const EVENTS_LIMIT: usize = 100;

/// Names and uids of the replica sets of a deployment; empty for the others, which own their pods themselves.
pub(super) struct Owners {
    sets: Vec<(String, String)>,
}

pub(super) async fn owners(api: &Api, namespace: &str, workload: &Object) -> Result<Owners, Failure> {
    if workload.kind != WorkloadKind::Deployment {
        return Ok(Owners { sets: Vec::new() });
    }
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    let selector = workload.selector().unwrap_or_default();
    let sets = api.list(&path, &[("labelSelector", &selector)], Part::Metadata).await?;
    let owned = sets.iter().filter(|set| owned_by(set, workload.uid()));
    let name_and_uid = |set: &Value| {
        let metadata = &set["metadata"];
        (text(&metadata["name"]).to_owned(), text(&metadata["uid"]).to_owned())
    };
    Ok(Owners {
        sets: owned.map(name_and_uid).collect(),
    })
}

/// By name. A selector may match pods of others, so the owner is looked at too.
pub(super) async fn of(api: &Api, namespace: &str, workload: &Object, owners: &Owners) -> Result<Vec<Pod>, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let selector = workload.selector().unwrap_or_default();
    let listed = api.list(&path, &[("labelSelector", &selector)], Part::Whole).await?;
    let own = |pod: &&Value| match workload.kind {
        WorkloadKind::Deployment => owners.sets.iter().any(|(_, uid)| owned_by(pod, uid)),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => owned_by(pod, workload.uid()),
    };
    let mut pods: Vec<Pod> = listed.iter().filter(own).map(pod).collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pods)
}

fn pod(json: &Value) -> Pod {
    let (metadata, status) = (&json["metadata"], &json["status"]);
    let containers = || status["containerStatuses"].as_array().into_iter().flatten();
    let conditions = || status["conditions"].as_array().into_iter().flatten();
    let leaving = metadata["deletionTimestamp"].is_string();
    let ready = conditions().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let terminated = |one: &Value| {
        let reasons = [
            &one["state"]["terminated"]["reason"],
            &one["lastState"]["terminated"]["reason"],
        ];
        reasons
            .into_iter()
            .find_map(|reason| reason.as_str().map(str::to_owned))
    };
    Pod {
        name: text(&metadata["name"]).to_owned(),
        uid: text(&metadata["uid"]).to_owned(),
        phase: match leaving {
            // As `kubectl` shows it: the phase itself stays Running until the pod is gone.
            true => "Terminating".to_owned(),
            false => text(&status["phase"]).to_owned(),
        },
        ready: ready && !leaving,
        restarts: containers()
            .filter_map(|one| one["restartCount"].as_u64())
            .sum::<u64>()
            .min(u32::MAX.into()) as u32,
        last_terminated: containers().find_map(terminated),
        started_at: began(status),
    }
}

/// Events about the workload, its replica sets and its pods, those that are gone too. The API cannot select them so, so those of the
/// namespace are looked through.
pub(super) async fn events(
    api: &Api,
    namespace: &str,
    workload: &Object,
    owners: &Owners,
) -> Result<Vec<ClusterEvent>, Failure> {
    let listed = api
        .list(&format!("/api/v1/namespaces/{namespace}/events"), &[], Part::Whole)
        .await?;
    let sets: BTreeSet<&str> = owners.sets.iter().map(|(name, _)| name.as_str()).collect();
    let about = |event: &&Value| {
        let object = &event["involvedObject"];
        let name = text(&object["name"]);
        match text(&object["kind"]) {
            "ReplicaSet" => sets.contains(name),
            // The names of pods are those of their owners, a dash and one word.
            "Pod" => name.rsplit_once('-').is_some_and(|(owner, _)| match workload.kind {
                WorkloadKind::Deployment => sets.contains(owner),
                WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => owner == workload.name(),
            }),
            kind => kind == kind_name(workload.kind) && name == workload.name(),
        }
    };
    let mut events: Vec<ClusterEvent> = listed.iter().filter(about).map(event).collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.last_at));
    events.truncate(EVENTS_LIMIT);
    Ok(events)
}

fn event(json: &Value) -> ClusterEvent {
    let count = json["series"]["count"].as_u64().or(json["count"].as_u64()).unwrap_or(1);
    let object = &json["involvedObject"];
    ClusterEvent {
        reason: text(&json["reason"]).to_owned(),
        message: shorten(&redact(text(&json["message"])), MESSAGE_LIMIT),
        object: format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"])),
        count: u32::try_from(count).unwrap_or(u32::MAX),
        last_at: last_at(json),
    }
}

/// Old and new senders write different fields, and leave the others null.
fn last_at(event: &Value) -> Option<DateTime<Utc>> {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().find_map(|time| time.as_str()?.parse().ok())
}

/// When its newest container began: a pod whose container was started again began again.
fn began(status: &Value) -> Option<DateTime<Utc>> {
    let containers = status["containerStatuses"].as_array().into_iter().flatten();
    let running = containers.filter_map(|one| text(&one["state"]["running"]["startedAt"]).parse().ok());
    running.max().or_else(|| text(&status["startTime"]).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from a real API server.
    #[test]
    fn captured_events() {
        let list: Value = serde_json::from_str(include_str!("../../tests/fixtures/kubernetes/events.json")).unwrap();
        let events: Vec<ClusterEvent> = list["items"].as_array().unwrap().iter().map(event).collect();
        assert!(events.iter().all(|event| event.last_at.is_some() && event.count > 0));
        assert_eq!(events[0].reason, "SuccessfulCreate");
        assert_eq!(events[0].object, "replicaset/checkout-6cfc78d855");
        assert_eq!(events[0].message, "Created pod: checkout-6cfc78d855-vkj9r");
    }

    #[test]
    fn captured_pods() {
        let list: Value = serde_json::from_str(include_str!("../../tests/fixtures/kubernetes/pods.json")).unwrap();
        let pods: Vec<Pod> = list["items"].as_array().unwrap().iter().map(pod).collect();
        assert_eq!(pods[0].name, "checkout-6cfc78d855-kvdh2");
        assert_eq!(
            (pods[0].phase.as_str(), pods[0].ready, pods[0].restarts),
            ("Pending", false, 0)
        );
    }
}
