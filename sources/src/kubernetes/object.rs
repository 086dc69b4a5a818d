//! An object as JSON: the few things that are asked of every one, and what is taken out before it is stored.

use serde_json::Value;

/// The annotation in which `kubectl apply` repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// In place of a value that is not stored.
const REDACTED: &str = "[redacted]";

pub fn uid(object: &Value) -> Option<&str> {
    filled(&object["metadata"]["uid"])
}

pub fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default()
}

/// A text that is not empty.
pub fn filled(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

/// A time in microseconds since the epoch; `None` for what is none.
pub fn time(value: &Value) -> Option<i64> {
    let at = chrono::DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    // Go's zero time means "none".
    Some(at.timestamp_micros()).filter(|at| *at > 0)
}

/// The first condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// When a workload's rollout last moved, as far as it tells: its template was written, or its progress changed.
pub fn moved_at(workload: &Value) -> Option<i64> {
    let entries = workload["metadata"]["managedFields"].as_array().into_iter().flatten();
    let written = entries
        .filter(|entry| !entry["fieldsV1"]["f:spec"]["f:template"].is_null())
        .filter_map(|entry| time(&entry["time"]));
    let progress = condition(workload, "Progressing").and_then(|one| time(&one["lastUpdateTime"]));
    written.chain(progress).max()
}

/// Takes out what may be secret and says nothing about how things stand: values of environment variables, and the annotation that
/// repeats them.
pub fn redact(object: &mut Value) {
    let annotations = object.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    for spec in ["/spec", "/spec/template/spec"] {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let containers = object
                .pointer_mut(&format!("{spec}/{list}"))
                .and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let variables = container.get_mut("env").and_then(Value::as_array_mut);
                for variable in variables.into_iter().flatten() {
                    if let Some(value) = variable.get_mut("value") {
                        *value = Value::from(REDACTED);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        let mut deployment = json!({
            "metadata": {"annotations": {LAST_APPLIED: "{\"password\":\"hunter2\"}", "a": "b"}},
            "spec": {"template": {"spec": {
                "containers": [{"name": "app", "env": [{"name": "PASSWORD", "value": "hunter2"}, {"name": "X", "valueFrom": {}}]}],
                "initContainers": [{"env": [{"name": "Y", "value": "hunter2"}]}],
            }}},
        });
        redact(&mut deployment);
        let text = deployment.to_string();
        assert!(
            !text.contains("hunter2") && text.contains("PASSWORD") && text.contains("valueFrom"),
            "{text}"
        );
        assert_eq!(deployment["metadata"]["annotations"], json!({"a": "b"}));
        // What has none of it stays as it is.
        for mut other in [
            json!({}),
            json!([]),
            json!({"metadata": 1, "spec": {"containers": 5}}),
            json!(null),
        ] {
            let before = other.clone();
            redact(&mut other);
            assert_eq!(other, before);
        }
    }

    #[test]
    fn times() {
        assert_eq!(time(&json!("1970-01-01T00:00:01Z")), Some(1_000_000));
        assert_eq!(time(&json!("1970-01-01T00:00:01.000002Z")), Some(1_000_002));
        for none in [json!(null), json!("0001-01-01T00:00:00Z"), json!("soon"), json!(5)] {
            assert_eq!(time(&none), None, "{none}");
        }
    }
}
