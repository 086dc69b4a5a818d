//! `bench core` gives the reference answer on every log and partition count. Small here; the figures come from
//! `make bench`.

use std::process::Command;

use serde_json::Value;

fn bench(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .output()
        .expect("bench starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

/// Generated input in a folder of its own.
fn data(alerts: u32) -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let expected = bench(&[
        "generate",
        &folder.path().display().to_string(),
        "--alerts",
        &alerts.to_string(),
    ]);
    (folder, expected)
}

fn check(log: &str, partitions: u32, extra: &[&str]) {
    let (folder, expected) = data(20_000);
    let (path, partitions) = (folder.path().display().to_string(), partitions.to_string());
    let mut arguments = vec!["core", &path, "--log", log, "--partitions", &partitions];
    arguments.extend(extra);
    let answer = bench(&arguments);
    for field in ["alerts", "deduped", "joined"] {
        assert_eq!(answer[field], expected[field], "{field}: {answer}");
    }
    assert_eq!(answer["late"], 0, "{answer}");
}

#[test]
fn memory() {
    [1, 2, 4]
        .into_iter()
        .for_each(|partitions| check("memory", partitions, &[]));
}

#[test]
fn embedded() {
    check("embedded", 2, &[]);
}

#[test]
fn kafka() {
    match std::env::var("AEGIS_TEST_KAFKA") {
        Ok(servers) => check("kafka", 2, &["--kafka", &servers]),
        Err(_) if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|v| v == "1") => {
            panic!("AEGIS_TEST_KAFKA is not set: run the tests through `make test`")
        }
        Err(_) => eprintln!("not run: AEGIS_TEST_KAFKA is not set"),
    }
}

#[test]
fn the_shipped_pipeline_runs_over_the_same_alerts() {
    let (folder, _) = data(20_000);
    let answer = bench(&["pipeline", &folder.path().display().to_string()]);
    assert_eq!(answer["alerts"], 20_000);
    assert!(answer["incidents"].as_u64() > Some(0), "{answer}");
}
