//! An object: what names it, its labels, and the service that it belongs to.

use serde_json::Value;

use super::{Place, filled};
use crate::normalize::fault::Fault;
use crate::normalize::json::{Pairs, Trail};
use crate::normalize::settings::NormalizeSettings;
use crate::normalize::time;

/// Most labels of an object that are kept. More is a mistake; ours come first.
const MAX_LABELS: usize = 100;

pub struct Object {
    pub value: Value,
}

impl Object {
    pub fn read(text: &str) -> Result<Self, Fault> {
        let value: Value = serde_json::from_str(text).map_err(|error| Fault::json(&error, &Trail::default()))?;
        match value {
            Value::Object(_) => Ok(Object { value }),
            _ => Err(Fault::new(
                "wrong_type",
                "",
                "is no object of Kubernetes: it must be a JSON object",
            )),
        }
    }

    /// A text that is not empty.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(filled)
    }

    pub fn first_text(&self, pointers: &[&str]) -> Option<&str> {
        pointers.iter().find_map(|pointer| self.text(pointer))
    }

    pub fn uid(&self) -> Result<&str, Fault> {
        let uid = self.text("/metadata/uid");
        uid.ok_or_else(|| Fault::missing("/metadata/uid", "it tells this object from one of the same name"))
    }

    /// Microseconds since 1970. `None` where there is none, or Go's zero time; a text that is no time is a fault.
    pub fn time(&self, pointer: &str) -> Result<Option<i64>, Fault> {
        match self.value.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => match time::parse(text) {
                Some(time::GO_ZERO) => Ok(None),
                Some(at) => Ok(Some(at)),
                None => Err(Fault::bad_time(pointer, text)),
            },
            Some(_) => Err(Fault::new("bad_time", pointer, "is no time")),
        }
    }

    /// The first of `pointers` at which there is a time.
    pub fn first_time(&self, pointers: &[&str]) -> Result<Option<i64>, Fault> {
        for pointer in pointers {
            if let Some(at) = self.time(pointer)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Its own labels, below `ours`.
    pub fn labels(&self, ours: Vec<(&str, Option<&str>)>, place: &Place<'_>) -> Pairs<'static> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let own = self.value.pointer("/metadata/labels").and_then(Value::as_object);
        for (name, value) in own.into_iter().flatten().take(MAX_LABELS) {
            pairs.extend(filled(value).map(|value| (name.clone(), value.to_owned())));
        }
        // Of two with one name the later counts.
        pairs.push(("cluster".to_owned(), place.cluster.clone().into_owned()));
        for (name, value) in ours {
            pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        Pairs::owned(pairs)
    }
}

/// The workload that owns a pod or a ReplicaSet: kind in lower case, and name.
pub fn owner(object: &Object) -> Option<(&'static str, String)> {
    let owners = object.value.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners
        .iter()
        .find(|owner| owner["controller"] == true)
        .or(owners.first())?;
    let name = filled(&owner["name"])?;
    match filled(&owner["kind"])? {
        "ReplicaSet" => {
            // Its Deployment, where it has one: the set is named by the hash of its template.
            let hash = object.text("/metadata/labels/pod-template-hash");
            let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            Some(match deployment {
                Some(deployment) => ("deployment", deployment.to_owned()),
                None => ("replicaset", name.to_owned()),
            })
        }
        "Deployment" => Some(("deployment", name.to_owned())),
        "StatefulSet" => Some(("statefulset", name.to_owned())),
        "DaemonSet" => Some(("daemonset", name.to_owned())),
        "Job" => Some(("job", name.to_owned())),
        _ => None,
    }
}

/// The Deployment that a pod or a ReplicaSet of this name is one of, as far as the name tells: Kubernetes ends them with random text of
/// letters that make no words.
pub fn deployment_of(kind: &str, name: &str) -> Option<String> {
    let random = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        let safe = |byte: u8| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte);
        lengths.contains(&part.len()) && part.bytes().all(safe)
    };
    let hashed = |name: &str| {
        let (deployment, hash) = name.rsplit_once('-')?;
        random(hash, 6..=10).then(|| deployment.to_owned())
    };
    match kind {
        "ReplicaSet" => hashed(name),
        "Pod" => {
            let (set, suffix) = name.rsplit_once('-')?;
            random(suffix, 5..=5).then(|| hashed(set))?
        }
        _ => None,
    }
}

/// The labels decide, as for everybody; else it is the workload's name.
pub fn service<'a>(labels: &'a Pairs<'_>, settings: &NormalizeSettings, workload: Option<&'a str>) -> Option<&'a str> {
    labels.first_of(&settings.service_labels).or(workload)
}
