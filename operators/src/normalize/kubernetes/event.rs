//! Events of the core group and of `events.k8s.io`: one form read as the other.

use model::kubernetes::KEY_PREFIX;
use model::{SignalKind, SignalState};

use super::object::{Object, deployment_of, service};
use super::{Place, SOURCE};
use crate::normalize::canonical::push_json;
use crate::normalize::core::{Draft, Lane};
use crate::normalize::extra::{Extra, Item, Json};
use crate::normalize::fault::Fault;
use crate::normalize::json::Pairs;

/// Reasons of `Warning` Events after which something has died or is about to.
const CRITICAL: &[&str] = &[
    "SystemOOM",
    "OOMKilling",
    "NodeNotReady",
    "KubeletIsDown",
    "EvictionThresholdMet",
    "FreeDiskSpaceFailed",
    "KernelDeadlock",
    "ReadonlyFilesystem",
];
/// Reasons of `Warning` Events that come and go in every rollout. That it stays so, the state of the pod tells.
const PASSING: &[&str] = &[
    "Unhealthy",
    "ProbeWarning",
    "FailedScheduling",
    "BackOff",
    "DNSConfigForming",
    "FailedGetResourceMetric",
    "FailedComputeMetricsReplicas",
    "FailedToUpdateEndpoint",
    "FailedToUpdateEndpointSlices",
];

/// Members that are read, or that say nothing of their own.
const KNOWN: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "involvedObject",
    "regarding",
    "reason",
    "message",
    "note",
    "type",
    "eventTime",
    "firstTimestamp",
    "lastTimestamp",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "count",
    "deprecatedCount",
    "series",
    "reportingComponent",
    "reportingController",
    "reportingInstance",
    "source",
    "deprecatedSource",
    "action",
    "related",
];

pub fn emit(object: &Object, before: Option<u64>, place: &Place<'_>, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let uid = object.uid()?;
    let about = match object.value["regarding"].is_object() {
        true => "/regarding",
        false => "/involvedObject",
    };
    let of = |member: &str| object.text(&format!("{about}/{member}"));
    let (kind, name) = (of("kind"), of("name"));
    let reason = object.text("/reason").unwrap_or("Event");
    let severity = severity(object.text("/type"), reason);
    let deployment = match kind {
        Some("Deployment") => name.map(str::to_owned),
        _ => kind.zip(name).and_then(|(kind, name)| deployment_of(kind, name)),
    };
    let component = object.first_text(&[
        "/reportingController",
        "/reportingComponent",
        "/deprecatedSource/component",
        "/source/component",
    ]);
    let named = kind.map(str::to_ascii_lowercase);
    let mut ours = vec![
        ("namespace", of("namespace").or(object.text("/metadata/namespace"))),
        ("reason", Some(reason)),
        ("kind", kind),
        ("name", name),
        ("component", component),
        ("node", object.first_text(&["/deprecatedSource/host", "/source/host"])),
        ("deployment", deployment.as_deref()),
    ];
    if let Some(named @ ("pod" | "replicaset" | "statefulset" | "daemonset" | "job" | "node")) = named.as_deref() {
        ours.push((named, name));
    }
    let labels = object.labels(ours, place);
    let workload = match kind {
        Some("StatefulSet" | "DaemonSet" | "Job" | "CronJob" | "ReplicaSet") => deployment.as_deref().or(name),
        _ => deployment.as_deref(),
    };
    let title = match (kind, name) {
        (Some(kind), Some(name)) => format!("{reason} on {} {name}", kind.to_ascii_lowercase()),
        _ => reason.to_owned(),
    };
    let mut extra = members(object)?;
    let count = count(object);
    extra.text("uid", uid.to_owned(), true);
    // More occurrences are more than a repeat.
    extra.made("count", count.to_string(), true);
    let unknown_before = (count == 1).then_some(0);
    if let Some(before) = before.or(unknown_before) {
        // Counts of an Event that was made anew begin again.
        let new = if before < count { count - before } else { count };
        extra.made("occurrences", new.to_string(), false);
    }
    let event_at = happened_at(object)?.unwrap_or_else(|| {
        extra.text("time_from", "received_at", false);
        place.seen_at
    });
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::ClusterEvent,
        state: SignalState::Event,
        prefix: &[KEY_PREFIX],
        key: &[&place.cluster, "event", uid],
        rule: "kubernetes/event@1",
        event_at,
        ends_at: None,
        severity: Some(severity),
        title: Some(&title),
        description: object.first_text(&["/note", "/message"]),
        service: service(&labels, lane.settings, workload),
        environment: place.environment,
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    lane.emit(draft, &[SOURCE, " ", &place.cluster])
}

/// New types could be added, says the API: they are no warnings.
fn severity(kind: Option<&str>, reason: &str) -> &'static str {
    match kind {
        Some("Warning") if CRITICAL.contains(&reason) => "critical",
        Some("Warning") if PASSING.contains(&reason) => "info",
        Some("Warning") => "warning",
        _ => "info",
    }
}

/// The latest occurrence. `eventTime` is often null in core Events, and in a series it is the first.
fn happened_at(object: &Object) -> Result<Option<i64>, Fault> {
    object.first_time(&[
        "/series/lastObservedTime",
        "/eventTime",
        "/deprecatedLastTimestamp",
        "/lastTimestamp",
        "/deprecatedFirstTimestamp",
        "/firstTimestamp",
        "/metadata/creationTimestamp",
    ])
}

fn count(object: &Object) -> u64 {
    let places = ["/series/count", "/deprecatedCount", "/count"];
    let counted = places.iter().find_map(|place| object.value.pointer(place)?.as_u64());
    counted.unwrap_or(1).max(1)
}

/// What else it says, under the names of the newer form. Members that nobody knows are kept as they are, and make no other statement of it.
fn members(object: &Object) -> Result<Extra<'static>, Fault> {
    let mut extra = Extra::default();
    for (name, pointers) in [
        ("action", &["/action"][..]),
        ("reporting_instance", &["/reportingInstance"]),
        ("resource_version", &["/metadata/resourceVersion"]),
        ("regarding_uid", &["/regarding/uid", "/involvedObject/uid"]),
        ("field_path", &["/regarding/fieldPath", "/involvedObject/fieldPath"]),
    ] {
        if let Some(text) = object.first_text(pointers) {
            extra.text(name, text.to_owned(), name != "resource_version");
        }
    }
    for (name, value) in object.value.as_object().into_iter().flatten() {
        let related = name == "related" && value.is_object();
        if KNOWN.contains(&name.as_str()) && !related {
            continue;
        }
        let mut json = String::new();
        push_json(&mut json, &value.to_string()).map_err(|_| {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            Fault::new(
                "too_deep",
                &pointer,
                "is nested too deep, or holds half a surrogate pair",
            )
        })?;
        extra.items.push(Item {
            name: name.clone().into(),
            json: Json::Made(json.into()),
            stable: related,
        });
    }
    Ok(extra)
}
