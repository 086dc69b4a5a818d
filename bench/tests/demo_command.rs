//! `bench demo-oom` as people start it. What it shows is held to its word by `pipeline/tests/demo_oom.rs`, which runs the same code; here it
//! is the command: it ends with 0, prints the time of every stage, and leaves nothing behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Started with a folder for its temporary files; `None` without Prometheus.
fn demo(temporary: &Path) -> Option<Child> {
    let name = "AEGIS_TEST_PROMTOOL_BIN";
    if std::env::var_os(name).is_none() {
        let required = std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is not set: run the tests through `make test`");
        eprintln!("not run: {name} is not set (see scripts/test-services.sh)");
        return None;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.arg("demo-oom").env("TMPDIR", temporary);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Some(child.expect("bench starts"))
}

/// Processes whose command line names `folder`.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let all = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let lines = all.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(&folder)).collect()
}

fn nothing_is_left(temporary: &Path) {
    assert_eq!(processes_in(temporary), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(temporary).unwrap().count(), 0, "the folder is gone");
}

#[test]
fn it_ends_well_and_prints_the_time_of_every_stage() {
    let temporary = tempfile::tempdir().unwrap();
    let Some(child) = demo(temporary.path()) else { return };
    let output = child.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    for stage in [
        "alert fires",
        "incident opened",
        "suspect",
        "triage",
        "log analyst",
        "metric correlator",
        "fixer",
        "executed",
        "verified",
        "postmortem",
        "resolved",
        "Slack",
    ] {
        let line = out
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("✓ {stage}")));
        let line = line.unwrap_or_else(|| panic!("no {stage} in\n{out}"));
        assert!(line.contains(" ms ") || line.contains(" s "), "{line}");
    }
    assert!(
        !out.contains('✗') && !out.contains('\u{1b}'),
        "plain where it is piped:\n{out}"
    );
    nothing_is_left(temporary.path());
}

#[test]
fn told_to_stop_it_stops_what_it_started() {
    let temporary = tempfile::tempdir().unwrap();
    let Some(mut child) = demo(temporary.path()) else {
        return;
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Alertmanager at")), "it gets that far");
    assert!(!processes_in(temporary.path()).is_empty());
    let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(told.success());
    // Read on, so that it is not held up by a full pipe.
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    nothing_is_left(temporary.path());
}
