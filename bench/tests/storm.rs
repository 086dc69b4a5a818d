//! The storm of `aegis demo` is what `bench storm` makes.

use std::process::Command;

#[test]
fn the_shipped_recording_is_what_this_makes() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("storm.ndjson");
    let status = Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("storm")
        .arg(&made)
        .status();
    assert!(status.expect("bench starts").success());
    let shipped = include_str!("../../pipeline/assets/storm.ndjson");
    assert!(
        shipped == std::fs::read_to_string(made).unwrap(),
        "run: bench storm pipeline/assets/storm.ndjson"
    );
}
