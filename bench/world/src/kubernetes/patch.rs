//! The three patches of the API: JSON merge (RFC 7396), strategic merge (lists by name, `$patch`), JSON Patch (RFC 6902).

use serde_json::{Map, Value, json};

/// Which patch a request carries, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Merge,
    Strategic,
    Json,
}

/// Why a patch cannot be applied, as the status that the API answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}

impl Kind {
    pub fn of_content_type(content_type: &str) -> Option<Kind> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/merge-patch+json" => Some(Kind::Merge),
            "application/strategic-merge-patch+json" => Some(Kind::Strategic),
            "application/json-patch+json" => Some(Kind::Json),
            _ => None,
        }
    }
}

/// `object` with `patch` applied.
pub fn apply(kind: Kind, object: &Value, patch: &Value) -> Result<Value, Fault> {
    let mut patched = object.clone();
    match kind {
        Kind::Merge => merge(&mut patched, patch),
        Kind::Strategic => strategic(&mut patched, patch),
        Kind::Json => {
            let operations = patch
                .as_array()
                .ok_or_else(|| bad("a JSON patch is a list of operations"))?;
            for operation in operations {
                json_operation(&mut patched, operation)?;
            }
        }
    }
    Ok(patched)
}

fn bad(message: impl Into<String>) -> Fault {
    let message = message.into();
    Fault {
        code: 400,
        reason: "BadRequest",
        message,
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    let message = message.into();
    Fault {
        code: 422,
        reason: "Invalid",
        message,
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

fn strategic(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (target @ Value::Object(_), Value::Object(patch)) if patch.get("$patch") == Some(&json!("replace")) => {
            let kept = patch.iter().filter(|(name, _)| *name != "$patch");
            *target = Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    fields.remove(name);
                } else {
                    strategic(fields.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        // Containers, variables, volumes and ports are merged by their names.
        (Value::Array(items), Value::Array(patches)) if patches.iter().all(|item| item["name"].is_string()) => {
            for patch in patches {
                let place = items.iter().position(|item| item["name"] == patch["name"]);
                match (place, patch["$patch"] == "delete") {
                    (Some(place), true) => drop(items.remove(place)),
                    (Some(place), false) => strategic(&mut items[place], patch),
                    (None, true) => {}
                    (None, false) => items.push(patch.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn json_operation(target: &mut Value, operation: &Value) -> Result<(), Fault> {
    let path = operation["path"]
        .as_str()
        .ok_or_else(|| bad("an operation without a path"))?;
    let missing = || {
        invalid(format!(
            "the server rejected our request due to an error in our request: no {path}"
        ))
    };
    match operation["op"].as_str() {
        Some("test") => match target.pointer(path) == Some(&operation["value"]) {
            true => Ok(()),
            false => Err(invalid(format!("testing value {path} failed"))),
        },
        Some("replace") => {
            *target.pointer_mut(path).ok_or_else(missing)? = operation["value"].clone();
            Ok(())
        }
        Some(op @ ("add" | "remove")) => {
            let (parent, name) = path.rsplit_once('/').ok_or_else(missing)?;
            let name = name.replace("~1", "/").replace("~0", "~");
            match (target.pointer_mut(parent).ok_or_else(missing)?, op) {
                (Value::Object(fields), "add") => {
                    fields.insert(name, operation["value"].clone());
                    Ok(())
                }
                (Value::Object(fields), _) => fields.remove(&name).map(drop).ok_or_else(missing),
                (Value::Array(items), "add") if name == "-" => {
                    items.push(operation["value"].clone());
                    Ok(())
                }
                (Value::Array(items), "add") => {
                    let place = name
                        .parse()
                        .ok()
                        .filter(|place| *place <= items.len())
                        .ok_or_else(missing)?;
                    items.insert(place, operation["value"].clone());
                    Ok(())
                }
                (Value::Array(items), _) => {
                    let place: usize = name
                        .parse()
                        .ok()
                        .filter(|place| *place < items.len())
                        .ok_or_else(missing)?;
                    items.remove(place);
                    Ok(())
                }
                _ => Err(missing()),
            }
        }
        other => Err(bad(format!("the operation {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, patch: Value, expected: Result<Value, u16>) {
        let object = json!({"a": 1, "l": [{"name": "x", "v": 1}], "o": {"k": "v"}});
        let found = apply(kind, &object, &patch).map_err(|fault| fault.code);
        assert_eq!(found, expected, "{patch}");
    }

    #[test]
    fn patches() {
        check(
            Kind::Merge,
            json!({"a": null, "l": [], "o": {"m": 1}}),
            Ok(json!({"l": [], "o": {"k": "v", "m": 1}})),
        );
        check(
            Kind::Strategic,
            json!({"l": [{"name": "x", "w": 2}, {"name": "y"}], "o": {"$patch": "replace", "n": 1}}),
            Ok(json!({"a": 1, "l": [{"name": "x", "v": 1, "w": 2}, {"name": "y"}], "o": {"n": 1}})),
        );
        check(
            Kind::Json,
            json!([{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "/o/a~1b", "value": 2}, {"op": "remove", "path": "/l/0"}]),
            Ok(json!({"a": 1, "l": [], "o": {"k": "v", "a/b": 2}})),
        );
        check(Kind::Json, json!([{"op": "test", "path": "/a", "value": 2}]), Err(422));
        check(
            Kind::Json,
            json!([{"op": "replace", "path": "/none", "value": 2}]),
            Err(422),
        );
        check(Kind::Json, json!({}), Err(400));
    }
}
