//! The storm of `aegis demo` is what `bench storm` makes.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// The requests, in an order of their own: neither that of fields nor that of requests at the same time says anything.
fn requests(lines: &str) -> Vec<String> {
    let request = |line: &str| {
        let mut request: Value = serde_json::from_str(line).expect("JSON");
        let body = request["raw_body"].as_str().expect("a body");
        request["raw_body"] = serde_json::from_str(body).expect("a body of JSON");
        sorted(&request)
    };
    let mut requests: Vec<String> = lines.lines().map(request).collect();
    requests.sort();
    requests
}

fn sorted(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, String> = fields.iter().map(|(name, field)| (name, sorted(field))).collect();
            format!("{fields:?}")
        }
        Value::Array(items) => format!("{:?}", items.iter().map(sorted).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}

#[test]
fn the_shipped_recording_is_what_this_makes() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("storm.ndjson");
    let status = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("storm")
        .arg(&made)
        .status();
    assert!(status.expect("bench starts").success());
    let made = std::fs::read_to_string(made).unwrap();
    let shipped = include_str!("../../pipeline/assets/storm.ndjson");
    assert!(
        requests(shipped) == requests(&made),
        "run: bench storm pipeline/assets/storm.ndjson"
    );
}
