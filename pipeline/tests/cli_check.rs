//! `aegis check`, `aegis config` and `aegis completions`, run as a user runs them.

use std::path::Path;
use std::process::{Command, Output};

/// Runs aegis in `folder` with nothing in its environment but `variables`.
fn aegis(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aegis"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("aegis runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn nothing_configured() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = aegis(folder.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "ok: no configuration file, the defaults hold\n");
    assert_eq!(text(&output.stderr), "");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
    assert!(left.is_empty(), "check wrote something: {left:?}");
}

#[test]
fn faults_and_warnings() {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = "[log]\nknd = \"kafka\"\n\n[store]\npassword = \"hunter2\"\n";
    std::fs::write(folder.path().join("aegis.toml"), toml).expect("a file");
    let output = aegis(folder.path(), &["check"], &[("AEGIS_TOPICS__PARTITIONS", "0")]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
    let expected = "\
aegis.toml:2:1: error: log.knd: unknown key
  help: did you mean \"kind\"?
environment AEGIS_TOPICS__PARTITIONS: error: topics.partitions: 0 is out of range
  help: write an integer from 1 to 1024
2 faults in the configuration
";
    assert_eq!(text(&output.stderr), expected);

    let fixed = "[store]\npassword = \"hunter2\"\n";
    std::fs::write(folder.path().join("aegis.toml"), fixed).expect("a file");
    let output = aegis(folder.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "ok: aegis.toml\n");
    assert!(
        text(&output.stderr).starts_with("aegis.toml:2:12: warning: store.password: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("other.toml"), "[log]\nknd = 1\n").expect("a file");
    let output = aegis(folder.path(), &["check", "--json", "--config", "other.toml"], &[]);
    assert_eq!(output.status.code(), Some(3));
    let lines: Vec<serde_json::Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "error");
    assert_eq!(lines[0]["fault"]["key"], "log.knd");
    assert_eq!(lines[0]["fault"]["place"]["line"], 2);
}

#[test]
fn colours_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("aegis.toml"), "[lgo]\n").expect("a file");
    let coloured = |arguments: &[&str]| text(&aegis(folder.path(), arguments, &[]).stderr).contains('\u{1b}');
    assert!(!coloured(&["check"]), "nobody looks at a pipe");
    assert!(coloured(&["check", "--color", "always"]));
    assert!(!coloured(&["check", "--color", "never"]));
}

#[test]
fn other_commands_stop_at_a_faulty_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("aegis.toml"), "[lgo]\n").expect("a file");
    for arguments in [
        &["run"][..],
        &["incidents"],
        &["sql", "select 1"],
        &["ingest", "x.json"],
        &["demo"],
    ] {
        let output = aegis(folder.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(
            said.starts_with("aegis.toml:1:2: error: lgo: unknown key\n"),
            "{arguments:?}: {said}"
        );
    }
    let output = aegis(folder.path(), &["run", "--config", "missing.toml"], &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("missing.toml:1:1: error: cannot read the file"));
}

#[test]
fn example_and_docs() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = aegis(folder.path(), &["config", "example"], &[]);
    std::fs::write(folder.path().join("aegis.toml"), &example.stdout).expect("a file");
    let output = aegis(folder.path(), &["check"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let docs = aegis(folder.path(), &["config", "docs"], &[]);
    assert!(text(&docs.stdout).starts_with("# Configuration\n"));
}

#[test]
fn completions() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |shell: &str, expected: &str| {
        let output = aegis(folder.path(), &["completions", shell], &[]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        let script = text(&output.stdout);
        assert!(script.contains(expected), "{shell} lacks {expected:?}");
        assert!(script.contains("incidents") && script.contains("data-dir"), "{shell}");
    };
    check("bash", "complete -F _aegis");
    check("zsh", "#compdef aegis");
    check("fish", "complete -c aegis");
}
