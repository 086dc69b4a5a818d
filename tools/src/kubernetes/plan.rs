//! From an action and what is there to one merge patch.

use chrono::{DateTime, SecondsFormat, Utc};
use model::{Action, WorkloadKind};
use serde_json::{Map, Value, json};

use super::act::RESTARTED_AT;
use super::history::{self, Entry};
use super::workload::Object;

/// A change, made for one state of its target.
pub(super) struct Plan {
    /// RFC 7396; without `metadata`.
    pub patch: Value,
    /// What takes it back.
    pub inverse: Option<Action>,
    /// What it does, for people.
    pub note: String,
}

/// Why there is nothing to do, or no way to do it, is the error.
pub(super) fn plan(action: &Action, workload: &Object, history: &[Entry], now: DateTime<Utc>) -> Result<Plan, String> {
    let Some(target) = action.workload() else {
        return Err(format!("{action} is about no workload"));
    };
    let replaces_pods = !matches!(action, Action::Scale { .. });
    if replaces_pods && workload.json["spec"]["paused"] == true {
        return Err(format!(
            "{target} is paused, so no pod would be replaced: resume it first"
        ));
    }
    if replaces_pods && workload.json["spec"]["updateStrategy"]["type"] == "OnDelete" {
        return Err(format!(
            "{target} replaces a pod only when somebody deletes it (updateStrategy OnDelete)"
        ));
    }
    match action {
        Action::Restart { .. } => {
            let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
            Ok(Plan {
                patch: json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: at}}}}}),
                inverse: None,
                note: format!("{} pods of {target} are replaced", workload.replicas()),
            })
        }
        Action::Rollback { to_revision, .. } => {
            let current = history::current(workload, history);
            let Some(entry) = history::target(history, current, *to_revision) else {
                let kept: Vec<String> = history.iter().map(|entry| entry.number.to_string()).collect();
                let wanted =
                    to_revision.map_or("an earlier revision".to_owned(), |number| format!("revision {number}"));
                return Err(format!("{target} has not kept {wanted}; kept: {}", kept.join(", ")));
            };
            let patch = merge_patch(workload.template(), &entry.template);
            if patch.as_object().is_some_and(Map::is_empty) {
                return Err(format!(
                    "{target} has the template of revision {} already",
                    entry.number
                ));
            }
            Ok(Plan {
                patch: json!({"spec": {"template": patch}}),
                inverse: current.map(|number| Action::Rollback {
                    target: target.clone(),
                    to_revision: Some(number),
                }),
                note: format!("{target} returns to revision {}", entry.number),
            })
        }
        Action::Scale { replicas, .. } => {
            let now = workload.replicas();
            if workload.kind == WorkloadKind::DaemonSet {
                return Err(format!("{target} has a pod on every node: it cannot be scaled"));
            }
            if *replicas == now {
                return Err(format!("{target} has {now} replicas already"));
            }
            Ok(Plan {
                patch: json!({"spec": {"replicas": replicas}}),
                inverse: Some(Action::Scale {
                    target: target.clone(),
                    replicas: now,
                }),
                note: format!("{target} goes from {now} to {replicas} replicas"),
            })
        }
        _ => Err(format!("{action} is nothing that is done to a workload")),
    }
}

/// The merge patch that makes `to` of `from`: what is gone becomes null, lists are replaced whole.
pub(super) fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, wanted) in to {
        match from.get(name) {
            Some(there) if there == wanted => {}
            Some(there @ Value::Object(_)) if wanted.is_object() => {
                patch.insert(name.clone(), merge_patch(there, wanted));
            }
            _ => {
                patch.insert(name.clone(), wanted.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7396, section 2.
    fn apply(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        let fields = target.as_object_mut().unwrap();
        for (name, value) in patch {
            if value.is_null() {
                fields.remove(name);
            } else {
                apply(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
    }

    #[test]
    fn the_patch_makes_the_one_of_the_other() {
        let check = |from: Value, to: Value, expected: Value| {
            let patch = merge_patch(&from, &to);
            assert_eq!(patch, expected);
            let mut made = from;
            apply(&mut made, &patch);
            assert_eq!(made, to);
        };
        check(json!({"a": 1}), json!({"a": 1}), json!({}));
        check(
            json!({"a": 1, "b": {"c": 2}}),
            json!({"b": {"c": 3}}),
            json!({"a": null, "b": {"c": 3}}),
        );
        check(json!({"l": [1, 2]}), json!({"l": [1]}), json!({"l": [1]}));
        check(json!({"a": {"x": 1}}), json!({"a": "text"}), json!({"a": "text"}));
        check(json!({}), json!({"a": {"b": {}}}), json!({"a": {"b": {}}}));
    }
}
