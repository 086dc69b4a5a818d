//! Rollouts and scalings of Deployments, StatefulSets and DaemonSets: changes of the service.

use model::kubernetes::rollout::{Outcome, Workload};
use model::kubernetes::{KEY_PREFIX, Says};
use model::{SignalKind, SignalState};
use serde_json::Value;

use super::object::{Object, service};
use super::{Place, SOURCE};
use crate::normalize::core::{Draft, Lane};
use crate::normalize::extra::Extra;
use crate::normalize::fault::Fault;
use crate::normalize::json::Pairs;
use crate::normalize::time;

/// What a workload that somebody pushes says: how its newest rollout stands.
pub fn outcome(workload: Workload, object: &Object) -> Says {
    let outcome = match workload {
        // As its condition says: that names a time of its own.
        Workload::Deployment => Some(workload.status(&object.value)),
        Workload::StatefulSet | Workload::DaemonSet => workload.outcome(&object.value),
    };
    match outcome {
        Some(Outcome::Completed) => Says::RolloutCompleted,
        Some(Outcome::Failed) => Says::RolloutFailed,
        Some(Outcome::Open) | None => Says::RolloutBegan,
    }
}

/// A change, before it is a signal.
struct Story {
    /// Behind the workload's uid.
    key: Vec<String>,
    rule: &'static str,
    /// `None`: the object does not say.
    at: Option<i64>,
    title: String,
    severity: &'static str,
}

pub fn emit(object: &Object, says: &Says, place: &Place<'_>, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let uid = object.uid()?;
    let name = object.text("/metadata/name").unwrap_or(uid);
    // Objects of lists do not say their kind: who has one from there says it.
    let workload = object
        .text("/kind")
        .and_then(Workload::of_kind)
        .unwrap_or(Workload::Deployment);
    let revision = workload.revision(&object.value).unwrap_or_else(|| "0".to_owned());
    let image = object.text("/spec/template/spec/containers/0/image");
    let story = story(object, says, workload, (name, &revision, image));
    let labels = object.labels(
        vec![
            (workload.word(), Some(name)),
            ("namespace", object.text("/metadata/namespace")),
            ("revision", Some(&revision)),
            ("image", image),
        ],
        place,
    );
    let mut extra = Extra::default();
    extra.text("uid", uid.to_owned(), true);
    for (name, pointer) in [
        ("resource_version", "/metadata/resourceVersion"),
        ("change_cause", "/metadata/annotations/kubernetes.io~1change-cause"),
    ] {
        if let Some(text) = object.text(pointer) {
            extra.text(name, text.to_owned(), false);
        }
    }
    let event_at = story.at.unwrap_or_else(|| {
        extra.text("time_from", "received_at", false);
        place.seen_at
    });
    let mut key = vec![&*place.cluster, workload.word(), uid];
    key.extend(story.key.iter().map(String::as_str));
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Change,
        state: SignalState::Event,
        prefix: &[KEY_PREFIX],
        key: &key,
        rule: story.rule,
        event_at,
        ends_at: None,
        severity: Some(story.severity),
        title: Some(&story.title),
        description: None,
        service: service(&labels, lane.settings, Some(name)),
        environment: place.environment,
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    lane.emit(draft, &[SOURCE, " ", &place.cluster])
}

fn story(
    object: &Object,
    says: &Says,
    workload: Workload,
    (name, revision, image): (&str, &str, Option<&str>),
) -> Story {
    let image = image.map(|image| format!(" ({})", image.rsplit('/').next().unwrap_or(image)));
    let rollout = format!("Rollout of {name} to revision {revision}{}", image.unwrap_or_default());
    let written_at = managed_at(object, "f:spec", Some("f:template"));
    let of = |word: &str| {
        let mut key = vec!["rollout".to_owned(), revision.to_owned()];
        // A rollback gives a StatefulSet the hash that it had before: when its template was written tells them apart.
        if workload == Workload::StatefulSet {
            let generation = || object.value.pointer("/metadata/generation").and_then(Value::as_i64);
            key.push(match written_at {
                Some(at) => (at / 1_000_000).to_string(),
                None => format!("g{}", generation().unwrap_or_default()),
            });
        }
        key.push(word.to_owned());
        key
    };
    let changed = |member: &str| {
        let condition = progressing(object)?;
        time::parse(condition[member].as_str()?).filter(|at| *at != time::GO_ZERO)
    };
    let completed_at = || match workload {
        Workload::Deployment => changed("lastUpdateTime").or_else(|| changed("lastTransitionTime")),
        // They have no conditions. The status was last written when it said so.
        Workload::StatefulSet | Workload::DaemonSet => managed_at(object, "f:status", None),
    };
    match says {
        Says::RolloutCompleted => Story {
            key: of("completed"),
            rule: "kubernetes/rollout@1",
            at: completed_at(),
            title: format!("{rollout}: completed"),
            severity: "info",
        },
        Says::RolloutFailed => Story {
            key: of("failed"),
            rule: "kubernetes/rollout@1",
            at: changed("lastTransitionTime").or_else(|| changed("lastUpdateTime")),
            title: format!("{rollout}: progress deadline exceeded"),
            severity: "warning",
        },
        Says::Scaled { from } => {
            let generation = object.value.pointer("/metadata/generation").and_then(Value::as_i64);
            let to = object
                .value
                .pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or(1);
            Story {
                key: vec!["scaled".to_owned(), generation.unwrap_or_default().to_string()],
                rule: "kubernetes/scaled@1",
                at: managed_at(object, "f:spec", Some("f:replicas")),
                title: format!("{name} scaled from {from} to {to}"),
                severity: "info",
            }
        }
        _ => Story {
            key: of("began"),
            rule: "kubernetes/rollout@1",
            at: written_at.or_else(|| changed("lastUpdateTime")),
            title: rollout,
            severity: "info",
        },
    }
}

fn progressing(object: &Object) -> Option<&Value> {
    let conditions = object.value.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Progressing")
}

/// When somebody last wrote this field of the specification or the status (any of it where `None`), or one beside it: the API server notes who
/// owns which fields, since when (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
fn managed_at(object: &Object, part: &str, field: Option<&str>) -> Option<i64> {
    let entries = object.value.pointer("/metadata/managedFields")?.as_array()?;
    let owning = entries.iter().filter(|entry| {
        let part = &entry["fieldsV1"][part];
        !field.map_or(part, |field| &part[field]).is_null()
    });
    owning
        .filter_map(|entry| time::parse(entry["time"].as_str()?))
        .filter(|at| *at != time::GO_ZERO)
        .max()
}
