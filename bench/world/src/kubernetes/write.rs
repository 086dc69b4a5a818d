//! What a PATCH of a workload does.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::patch::{self, Fault};
use super::{Cluster, text, time};
use crate::scenario::Kind;

/// Fields that are nobody's to change.
const FIXED: [&str; 4] = ["name", "namespace", "uid", "creationTimestamp"];

impl Cluster {
    /// The object after the patch; unless it is a dry run, the cluster follows it.
    pub(crate) fn patch(
        &mut self,
        kind: Kind,
        (namespace, name): (&str, &str),
        (patch_kind, body): (patch::Kind, &Value),
        dry_run: bool,
    ) -> Result<Value, Fault> {
        let plural = kind.plural();
        let current = self.get(plural, namespace, name).ok_or_else(|| Fault {
            code: 404,
            reason: "NotFound",
            message: format!("{plural}.apps {name:?} not found"),
        })?;
        let before = current.clone();
        let mut after = patch::apply(patch_kind, &before, body)?;
        if after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"] {
            return Err(Fault {
                code: 409,
                reason: "Conflict",
                message: format!(
                    "Operation cannot be fulfilled on {plural}.apps {name:?}: the object has been modified; please apply your changes to the latest version and try again"
                ),
            });
        }
        check(kind, name, &before, &after)?;
        // The status has an endpoint of its own, and the generation is counted.
        after["status"] = before["status"].clone();
        after["metadata"]["generation"] = before["metadata"]["generation"].clone();
        let spec_changed = after["spec"] != before["spec"];
        if spec_changed {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            after["metadata"]["generation"] = json!(generation + 1);
        }
        if dry_run || after == before {
            return Ok(after);
        }
        if after["spec"]["template"] != before["spec"]["template"] {
            self.record_revision(kind, &mut after, Utc::now());
            let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
            self.rollouts.insert(key.clone(), self.now + self.replace_every());
            self.released.insert(key, self.now);
            after["metadata"]["managedFields"] = managed(self.now);
            self.say(
                &after,
                &format!("{kind:?}"),
                "ScalingReplicaSet",
                "Scaled up a new revision",
                self.now,
            );
        }
        self.put(plural, after.clone());
        if after["spec"]["replicas"] != before["spec"]["replicas"] {
            self.scale(kind, &after);
        }
        let stored = self.get(plural, namespace, name).cloned().unwrap_or(after);
        Ok(stored)
    }
}

/// Who owns the template, since when.
pub(super) fn managed(at: DateTime<Utc>) -> Value {
    json!([{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "time": time(at),
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}}])
}

/// As the API validates it, as far as tools can go wrong.
fn check(kind: Kind, name: &str, before: &Value, after: &Value) -> Result<(), Fault> {
    let object = format!("{kind:?}.apps {name:?}");
    let undecodable = |what: &str| Fault {
        code: 400,
        reason: "BadRequest",
        message: format!("{kind:?} in version \"v1\" cannot be handled as a {kind:?}: json: cannot unmarshal {what}"),
    };
    let invalid = |what: &str| Fault {
        code: 422,
        reason: "Invalid",
        message: format!("{object} is invalid: {what}"),
    };
    for field in FIXED {
        if before["metadata"][field] != after["metadata"][field] {
            return Err(invalid(&format!("metadata.{field}: field is immutable")));
        }
    }
    for annotations in [
        &after["metadata"]["annotations"],
        &after["spec"]["template"]["metadata"]["annotations"],
    ] {
        let mut values = annotations.as_object().into_iter().flatten();
        if values.any(|(_, value)| !value.is_string()) {
            return Err(undecodable("a value of an annotation into a string"));
        }
    }
    match &after["spec"]["replicas"] {
        Value::Null => {}
        replicas if kind == Kind::DaemonSet => {
            return Err(undecodable(&format!("spec.replicas {replicas}: unknown field")));
        }
        replicas => match replicas.as_i64() {
            None => return Err(undecodable("spec.replicas into an int32")),
            Some(negative) if negative < 0 => {
                return Err(invalid("spec.replicas: must be greater than or equal to 0"));
            }
            Some(_) => {}
        },
    }
    let containers = after["spec"]["template"]["spec"]["containers"].as_array();
    if containers.is_none_or(Vec::is_empty) {
        return Err(invalid("spec.template.spec.containers: Required value"));
    }
    if containers
        .into_iter()
        .flatten()
        .any(|container| text(&container["image"]).is_empty())
    {
        return Err(invalid("spec.template.spec.containers[0].image: Required value"));
    }
    if before["spec"]["selector"] != after["spec"]["selector"] {
        return Err(invalid("spec.selector: field is immutable"));
    }
    Ok(())
}
