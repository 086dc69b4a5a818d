//! The storm of `aegis demo` is what `bench storm` makes.

use std::process::Command;

use serde_json::Value;

/// The bodies, whatever the order of their fields.
fn bodies(lines: &str) -> Vec<Value> {
    let bodies = lines.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    bodies.collect()
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
        bodies(shipped) == bodies(&made),
        "run: bench storm pipeline/assets/storm.ndjson"
    );
}
