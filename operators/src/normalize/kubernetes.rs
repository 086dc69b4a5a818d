//! What a Kubernetes cluster says: objects that the watch wrote down, and objects that somebody pushes.
//!
//! A record of the watch carries a header ([`model::kubernetes::Sighting`]) that says what is new about its object, and becomes one
//! signal. Without the header a body is an Event, a workload, a list of them, or an array of them; each element becomes one signal.
//!
//! | object | signal |
//! |---|---|
//! | Event `Warning` | something that happened (`cluster_event`), severity by its reason |
//! | Event of any other type | the same, `info` |
//! | Deployment, StatefulSet, DaemonSet whose template changed, whose rollout came to an end, that is scaled | a change of the service |
//! | pod, Deployment, ReplicaSet with a trouble | an alert that fires and is resolved; only the watch can say that |
//!
//! Core Events and those of `events.k8s.io` are the same objects in two forms, and become the same signal. Counts are cumulative: each new
//! count is an occurrence of its own, and `occurrences` in `extra` is how many are new, where that is known.
//!
//! Of an Event all members are kept; of other objects what names them, as the whole of them stands in `events.raw`.

mod alert;
mod change;
mod event;
mod object;

use std::borrow::Cow;

use model::RawEvent;
use model::kubernetes::rollout::Workload;
use model::kubernetes::{HEADER, Says, Sighting};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::object::Object;
use super::core::Lane;
use super::fault::Fault;
use super::json::Trail;

pub const SOURCE: &str = "kubernetes";

/// Where the dispatcher keeps the header in which who pushes names the cluster.
const CLUSTER_HEADER: &str = "http-x-aegis-cluster";

/// The cluster of objects that nobody names one for.
const CLUSTER: &str = "default";

/// Where an object comes from.
struct Place<'a> {
    cluster: Cow<'a, str>,
    environment: Option<&'a str>,
    /// When it was seen, in microseconds.
    seen_at: i64,
}

/// Whether the watch wrote it down.
pub fn sighted(event: &RawEvent) -> bool {
    event.headers.iter().any(|(name, _)| name == HEADER)
}

pub fn decode(event: &RawEvent, text: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let header = |wanted: &str| {
        let found = event.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    if let Some(sighting) = header(HEADER) {
        let sighting: Sighting = serde_json::from_str(sighting).map_err(|error| {
            Fault::new(
                "bad_value",
                "",
                format!("header {HEADER} is not what the watch writes: {error}"),
            )
        })?;
        let place = Place {
            cluster: Cow::Borrowed(&sighting.cluster),
            environment: sighting.environment.as_deref(),
            seen_at: event.received_at,
        };
        return said(&Object::read(text)?, &sighting.says, &place, lane);
    }
    let place = Place {
        cluster: header(CLUSTER_HEADER).map_or(Cow::Borrowed(CLUSTER), cleaned),
        environment: None,
        seen_at: event.received_at,
    };
    let list: List<'_> = match text.trim_start().starts_with('[') {
        true => List {
            items: serde_json::from_str(text).map_err(|error| Fault::json(&error, &Trail::default()))?,
        },
        false => serde_json::from_str(text).map_err(|error| Fault::json(&error, &Trail::default()))?,
    };
    match list.items {
        Some(items) => {
            let pointer = if text.trim_start().starts_with('[') {
                ""
            } else {
                "/items"
            };
            lane.elements(text, pointer, &items, |lane, text| pushed(text, &place, lane));
            Ok(())
        }
        None => pushed(text, &place, lane),
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// An object that says by itself what it is.
fn pushed(text: &str, place: &Place<'_>, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut object = Object::read(text)?;
    // A line of a recorded watch.
    if matches!(object.text("/type"), Some("ADDED" | "MODIFIED" | "DELETED")) && object.value["object"].is_object() {
        object.value = object.value["object"].take();
    }
    let has = |name: &str| object.value[name].is_object();
    match object.text("/kind") {
        Some("Event") => said(&object, &Says::Event { before: None }, place, lane),
        None if has("involvedObject") || has("regarding") => said(&object, &Says::Event { before: None }, place, lane),
        Some(kind) if let Some(workload) = Workload::of_kind(kind) => {
            said(&object, &change::outcome(workload, &object), place, lane)
        }
        Some(kind) => {
            let shown: String = kind.chars().take(40).collect();
            let detail = format!(
                "is {shown:?}: Events, Deployments, StatefulSets and DaemonSets are taken from who pushes; what is wrong with a pod, and that it is over, only the watch \
                 ([sources.kubernetes]) can tell"
            );
            Err(Fault::new("bad_value", "/kind", detail))
        }
        None => Err(Fault::missing(
            "/kind",
            "it says what object this is, unless there is an `involvedObject` or `regarding`",
        )),
    }
}

fn said(object: &Object, says: &Says, place: &Place<'_>, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    match says {
        Says::Event { before } => event::emit(object, *before, place, lane),
        Says::Began { trouble } => alert::emit(object, trouble, None, place, lane),
        Says::Ended { trouble, ends_at } => alert::emit(object, trouble, Some(*ends_at), place, lane),
        Says::RolloutBegan | Says::RolloutCompleted | Says::RolloutFailed | Says::Scaled { .. } => {
            change::emit(object, says, place, lane)
        }
    }
}

/// A name of a cluster that a key can hold as it is.
fn cleaned(name: &str) -> Cow<'_, str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name.len() <= 63 && name.chars().all(allowed) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(
            name.chars()
                .take(63)
                .map(|c| if allowed(c) { c } else { '_' })
                .collect(),
        ),
    }
}

/// The text of a value that is one.
fn filled(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}
