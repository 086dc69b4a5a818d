//! What a dry run would change, for people: one line a field, before and after.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::redact::{REDACTED, names_a_secret, redact_named, shorten};

/// Longest value shown, in characters.
const VALUE_LIMIT: usize = 200;

/// Most fields shown. More do not fit a message or a page.
const FIELDS_LIMIT: usize = 60;

/// `- path: before` and `+ path: after` of every field of labels, annotations and spec that differs.
pub(super) fn diff(before: &Value, after: &Value) -> String {
    let (before, after) = (fields(before), fields(after));
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| before.get(*path) != after.get(*path));
    if paths.is_empty() {
        return "nothing would change".to_owned();
    }
    let mut shown = String::new();
    for path in paths.iter().take(FIELDS_LIMIT) {
        for (sign, side) in [("-", &before), ("+", &after)] {
            if let Some(leaf) = side.get(*path) {
                let _ = writeln!(shown, "{sign} {path}: {}", leaf.shown());
            }
        }
    }
    if paths.len() > FIELDS_LIMIT {
        let _ = writeln!(shown, "… and {} more fields", paths.len() - FIELDS_LIMIT);
    }
    shown
}

/// A value, and the name that says what it is.
#[derive(PartialEq)]
struct Leaf {
    name: String,
    value: Value,
}

impl Leaf {
    fn shown(&self) -> String {
        match &self.value {
            Value::String(text) => shorten(&redact_named(&self.name, text), VALUE_LIMIT),
            _ if names_a_secret(&self.name) => REDACTED.to_owned(),
            other => shorten(&other.to_string(), VALUE_LIMIT),
        }
    }
}

fn fields(object: &Value) -> BTreeMap<String, Leaf> {
    let mut found = BTreeMap::new();
    for (path, value) in [
        ("metadata.labels", &object["metadata"]["labels"]),
        ("metadata.annotations", &object["metadata"]["annotations"]),
        ("spec", &object["spec"]),
    ] {
        collect(path, path, value, &mut found);
    }
    found
}

/// `name`: of the field, or of the variable whose value it is.
fn collect(path: &str, name: &str, value: &Value, found: &mut BTreeMap<String, Leaf>) {
    match value {
        Value::Null => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                let name = match (field.as_str(), fields.get("name")) {
                    ("value", Some(Value::String(variable))) => variable,
                    _ => field,
                };
                let path = match field.contains(['.', '/']) {
                    true => format!("{path}[{field}]"),
                    false => format!("{path}.{field}"),
                };
                collect(&path, name, value, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                // Containers, ports and variables are known by their names, wherever they stand.
                let place = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                collect(&format!("{path}[{place}]"), name, item, found);
            }
        }
        leaf => {
            let (name, value) = (name.to_owned(), leaf.clone());
            found.insert(path.to_owned(), Leaf { name, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_differ() {
        let before = json!({
            "metadata": {"resourceVersion": "1", "annotations": {"aegis.dev/attempt": "a"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{
                "name": "api",
                "image": "api:1",
                "env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "REGION", "value": "eu"}],
            }]}}},
            "status": {"replicas": 3},
        });
        let mut after = before.clone();
        after["metadata"]["resourceVersion"] = json!("2");
        after["metadata"]["annotations"]["aegis.dev/attempt"] = json!("b");
        after["spec"]["replicas"] = json!(5);
        after["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "DB_PASSWORD", "value": "hunter3"}]);
        after["status"]["replicas"] = json!(5);
        let expected = "\
- metadata.annotations[aegis.dev/attempt]: a
+ metadata.annotations[aegis.dev/attempt]: b
- spec.replicas: 3
+ spec.replicas: 5
- spec.template.spec.containers[api].env[DB_PASSWORD].value: [redacted]
+ spec.template.spec.containers[api].env[DB_PASSWORD].value: [redacted]
- spec.template.spec.containers[api].env[REGION].name: REGION
- spec.template.spec.containers[api].env[REGION].value: eu
";
        assert_eq!(diff(&before, &after), expected);
        assert_eq!(diff(&before, &before), "nothing would change");
    }
}
