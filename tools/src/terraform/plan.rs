//! Terraform's JSON of plans and states (<https://developer.hashicorp.com/terraform/internals/json-format>), read without its values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::redact::{redact, shorten};

/// Most names of attributes told of one change.
const ATTRIBUTES: usize = 20;

/// What a plan says, by address and names of attributes; no value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub terraform_version: String,
    /// Resources that would be created, updated and destroyed; one that is replaced counts twice.
    pub add: u32,
    pub change: u32,
    pub destroy: u32,
    pub changes: Vec<Change>,
    /// What was changed behind Terraform's back, as it found out while planning (`resource_drift`).
    pub drift: Vec<Change>,
    /// Names of outputs that would change.
    pub outputs: Vec<String>,
    /// Terraform says that it can be applied.
    pub applyable: bool,
    /// Not everything could be planned: applying it is a step on the way.
    pub complete: bool,
    /// There are more changes than are told.
    pub cut: bool,
}

/// A resource that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `module.shop.aws_instance.web[0]`.
    pub address: String,
    /// `aws_instance`.
    pub kind: String,
    /// `create`, `update`, `delete`, `read`, `forget`.
    pub actions: Vec<String>,
    /// Names of the attributes that differ; of one that is created or destroyed none.
    pub attributes: Vec<String>,
}

impl Plan {
    /// `1 to add, 2 to change, 0 to destroy`.
    pub fn summary(&self) -> String {
        format!(
            "{} to add, {} to change, {} to destroy",
            self.add, self.change, self.destroy
        )
    }

    /// Changes that applying makes.
    pub fn touches(&self) -> u32 {
        self.add + self.change + self.destroy
    }

    /// For people: a line each.
    pub fn lines(&self) -> String {
        let line = |change: &Change| {
            let attributes = match change.attributes.as_slice() {
                [] => String::new(),
                names => format!(": {}", names.join(", ")),
            };
            format!("{} {}{attributes}", change.actions.join("/"), change.address)
        };
        let mut lines = vec![self.summary()];
        lines.extend(self.changes.iter().map(line));
        if self.cut {
            lines.push("…".to_owned());
        }
        lines.join("\n")
    }
}

/// Reads `show -json` of a plan; `limit`: most changes told. The error says what is missing.
pub fn read(json: &Value, limit: usize) -> Result<Plan, String> {
    if !json["format_version"].is_string() || !json["planned_values"].is_object() {
        return Err("this is no plan: it has no planned_values".to_owned());
    }
    if json["errored"] == true {
        return Err("the plan ended with an error and cannot be believed".to_owned());
    }
    let listed = |name: &str| -> Result<Vec<Change>, String> {
        let entries = match &json[name] {
            Value::Null => &[][..],
            Value::Array(entries) => entries,
            _ => return Err(format!("{name} is no list")),
        };
        entries.iter().map(|entry| change(entry, name)).collect()
    };
    let acts = |change: &Change| {
        change
            .actions
            .iter()
            .any(|one| !matches!(one.as_str(), "no-op" | "read"))
    };
    let mut changes: Vec<Change> = listed("resource_changes")?.into_iter().filter(acts).collect();
    let mut drift: Vec<Change> = listed("resource_drift")?.into_iter().filter(acts).collect();
    let count = |action: &str| {
        let of = changes
            .iter()
            .filter(|change| change.actions.iter().any(|one| one == action));
        u32::try_from(of.count()).unwrap_or(u32::MAX)
    };
    let mut outputs: Vec<String> = json["output_changes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, change)| change["actions"] != serde_json::json!(["no-op"]))
        .map(|(name, _)| shown(name))
        .collect();
    outputs.sort();
    let plan = Plan {
        terraform_version: shown(json["terraform_version"].as_str().unwrap_or_default()),
        add: count("create"),
        change: count("update"),
        destroy: count("delete"),
        outputs,
        // Versions before 1.8 do not say.
        applyable: json["applyable"] != false,
        complete: json["complete"] != false,
        cut: changes.len() > limit || drift.len() > limit,
        changes: Vec::new(),
        drift: Vec::new(),
    };
    changes.truncate(limit);
    drift.truncate(limit);
    Ok(Plan { changes, drift, ..plan })
}

fn change(entry: &Value, list: &str) -> Result<Change, String> {
    let text = |value: &Value, name: &str| -> Result<String, String> {
        let found = value[name]
            .as_str()
            .ok_or_else(|| format!("an entry of {list} has no {name}"))?;
        Ok(shown(found))
    };
    let actions = entry["change"]["actions"].as_array();
    let actions = actions.ok_or_else(|| format!("an entry of {list} has no actions"))?;
    Ok(Change {
        address: text(entry, "address")?,
        kind: text(entry, "type")?,
        actions: actions.iter().filter_map(Value::as_str).map(shown).collect(),
        attributes: differing(&entry["change"]),
    })
}

/// Names of the attributes whose value is another, or is not known yet.
fn differing(change: &Value) -> Vec<String> {
    let (Some(before), Some(after)) = (change["before"].as_object(), change["after"].as_object()) else {
        return Vec::new();
    };
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let unknown = |name: &str| unknown(&change["after_unknown"][name]);
    let differs = |name: &&&String| before.get(**name) != after.get(**name) || unknown(name);
    let found = names.iter().filter(differs).take(ATTRIBUTES);
    found.map(|name| shown(name)).collect()
}

/// Something within is not known before it is applied.
fn unknown(value: &Value) -> bool {
    match value {
        Value::Bool(known) => *known,
        Value::Array(items) => items.iter().any(unknown),
        Value::Object(fields) => fields.values().any(unknown),
        _ => false,
    }
}

/// Address and values of every resource of a state (`values`) or of what is planned.
pub(super) fn resources(shown: &Value) -> Vec<(String, Map<String, Value>)> {
    let mut found = Vec::new();
    let mut modules = vec![&shown["values"]["root_module"]];
    while let Some(module) = modules.pop() {
        for resource in module["resources"].as_array().into_iter().flatten() {
            if let (Some(address), Some(values)) = (resource["address"].as_str(), resource["values"].as_object()) {
                found.push((address.to_owned(), values.clone()));
            }
        }
        modules.extend(module["child_modules"].as_array().into_iter().flatten());
    }
    found
}

/// Whether a state is what a plan would make of it: every resource that the plan touches is as it says, as far as it knew.
pub(super) fn carried_out(plan: &Value, state: &Value) -> bool {
    let standing: BTreeMap<String, Map<String, Value>> = resources(state).into_iter().collect();
    let changes = plan["resource_changes"].as_array().into_iter().flatten();
    let mut touched = 0;
    let fits = changes
        .filter(|entry| {
            entry["change"]["actions"]
                .as_array()
                .is_some_and(|actions| actions.iter().any(writes))
        })
        .all(|entry| {
            touched += 1;
            let address = entry["address"].as_str().unwrap_or_default();
            let change = &entry["change"];
            match change["after"].as_object() {
                None => !standing.contains_key(address),
                Some(after) => standing.get(address).is_some_and(|values| {
                    let known = |(name, _): &(&String, &Value)| !unknown(&change["after_unknown"][name.as_str()]);
                    after
                        .iter()
                        .filter(known)
                        .all(|(name, value)| values.get(name) == Some(value))
                }),
            }
        });
    // A plan that changes outputs alone leaves nothing to see here; the state's serial has told that something was written.
    fits && (touched > 0
        || plan["output_changes"]
            .as_object()
            .is_some_and(|outputs| !outputs.is_empty()))
}

fn writes(action: &Value) -> bool {
    !matches!(action.as_str(), Some("no-op" | "read") | None)
}

fn shown(text: &str) -> String {
    shorten(&redact(text), 300)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Recorded: see tests/fixtures/PROVENANCE.md.
    const RECORDED: &str = include_str!("../../tests/fixtures/terraform/plan_show.json");

    #[test]
    fn a_recorded_plan() {
        let json: Value = serde_json::from_str(RECORDED).unwrap();
        let plan = read(&json, 500).unwrap();
        assert_eq!(plan.summary(), "0 to add, 1 to change, 0 to destroy");
        assert_eq!(
            (plan.drift.len(), plan.outputs.as_slice(), plan.applyable),
            (0, &["r".to_owned()][..], true)
        );
        let change = &plan.changes[0];
        assert_eq!(
            (change.address.as_str(), change.kind.as_str()),
            ("terraform_data.deploy", "terraform_data")
        );
        assert_eq!(
            (change.actions.as_slice(), change.attributes.as_slice()),
            (
                &["update".to_owned()][..],
                &["input".to_owned(), "output".to_owned()][..]
            )
        );
        assert_eq!(
            plan.lines(),
            "0 to add, 1 to change, 0 to destroy\nupdate terraform_data.deploy: input, output"
        );
        assert!(!format!("{plan:?}").contains("checkout"), "values stay where they are");
    }

    #[test]
    fn drift_is_what_changed_behind_its_back() {
        let entry = |actions: Value| json!({"address": "a.b", "type": "a", "change": {"actions": actions, "before": {"n": 1}, "after": {"n": 2}}});
        let json = json!({"format_version": "1.2", "planned_values": {}, "resource_changes": [entry(json!(["no-op"])), entry(json!(["delete", "create"]))],
            "resource_drift": [entry(json!(["update"]))]});
        let plan = read(&json, 500).unwrap();
        assert_eq!((plan.add, plan.change, plan.destroy, plan.touches()), (1, 0, 1, 2));
        assert_eq!(plan.drift[0].attributes, ["n"]);
        let short = read(&json, 0).unwrap();
        assert!(short.cut && short.changes.is_empty() && short.touches() == 2);
    }

    #[test]
    fn what_is_no_plan() {
        let check = |json: Value, expected: &str| {
            let fault = read(&json, 10).unwrap_err();
            assert!(fault.contains(expected), "{fault}");
        };
        check(json!({}), "no plan");
        check(json!([]), "no plan");
        check(json!({"format_version": "1.0", "values": {}}), "no plan");
        let plan = |more: Value| {
            let mut plan = json!({"format_version": "1.2", "planned_values": {}});
            plan.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            plan
        };
        check(plan(json!({"errored": true})), "cannot be believed");
        check(plan(json!({"resource_changes": 7})), "is no list");
        check(plan(json!({"resource_changes": [{}]})), "no actions");
    }

    #[test]
    fn carried_out_or_not() {
        let plan: Value = serde_json::from_str(RECORDED).unwrap();
        let state = |values: Value| json!({"format_version": "1.0", "values": {"root_module": {"resources": [{"address": "terraform_data.deploy", "values": values}]}}});
        let id = "1868fe91-0eba-0e11-25b0-e180901b8732";
        let with = |replicas: u32| {
            json!({"id": id, "input": {"name": "checkout", "replicas": replicas},
                "output": {"name": "checkout", "replicas": replicas}, "triggers_replace": null})
        };
        assert!(carried_out(&plan, &state(with(3))));
        assert!(!carried_out(&plan, &state(with(9))));
        assert!(!carried_out(&plan, &json!({"format_version": "1.0"})));
        let mut destroys = plan.clone();
        destroys["resource_changes"][0]["change"] =
            json!({"actions": ["delete"], "before": {}, "after": null, "after_unknown": {}});
        assert!(carried_out(&destroys, &json!({"format_version": "1.0"})));
        assert!(!carried_out(&destroys, &state(with(3))));
    }
}
