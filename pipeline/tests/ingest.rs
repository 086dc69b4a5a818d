//! `aegis ingest` without a daemon: any order of files gives the same incidents; with one: the files are handed over.

mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::Aegis;

/// What an incident is, without what depends on arrival (see docs/canonical.md).
const CANONICAL: &str = "select canonical_key, tenant, environment, alert_id, source, severity, status, title, service, created_at, resolved_at, members, firing \
     from incidents where merged_into is null order by canonical_key";
const MEMBERS: &str = "select i.canonical_key, m.dedup_key, m.starts_at, m.ends_at, m.severity, m.title from incident_members m \
     join incidents i on i.id = m.incident_id order by 1, 2, 3";

fn recordings() -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../operators/tests/fixtures");
    let mut files = Vec::new();
    for folder in ["alertmanager", "alertmanager-grouped", "flaky"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("fixtures").flatten();
        files.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|e| e == "json")),
        );
    }
    files.sort();
    assert_eq!(files.len(), 23);
    files.into_iter().map(|path| path.display().to_string()).collect()
}

fn ingest(aegis: &Aegis, files: &[String]) -> Value {
    let mut arguments = vec!["ingest", "--from", "alertmanager", "--json"];
    arguments.extend(files.iter().map(String::as_str));
    let (code, out, err) = aegis.run(&arguments);
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).expect("one JSON object")
}

#[test]
fn recorded_notifications_give_the_same_incidents_in_any_order() {
    let files = recordings();
    let mut orders = vec![files.clone(), files.iter().rev().cloned().collect()];
    // Deterministic shuffles: every k-th file, k prime to 23.
    for step in [5, 7, 11, 16] {
        orders.push(
            (0..files.len())
                .map(|i| files[i * step % files.len()].clone())
                .collect(),
        );
    }
    let mut reference: Option<(Vec<Value>, Vec<Value>)> = None;
    for (n, order) in orders.iter().enumerate() {
        for partitions in [1, 4] {
            let folder = tempfile::tempdir().unwrap();
            let aegis = Aegis::new(folder.path(), &format!("[topics]\npartitions = {partitions}\n"));
            let summary = ingest(&aegis, order);
            assert_eq!(
                (&summary["bodies"], &summary["dead_lettered"]),
                (&Value::from(23), &Value::from(0))
            );
            let canonical = (aegis.sql(CANONICAL), aegis.sql(MEMBERS));
            match &reference {
                None => {
                    // Five alerts, each told many times. Nobody ever told that checkout's ended.
                    assert_eq!(canonical.1.len(), 5, "{:#?}", canonical.1);
                    let open: Vec<&Value> = canonical.0.iter().filter(|row| row["status"] != "resolved").collect();
                    assert_eq!(open.len(), 1, "{:#?}", canonical.0);
                    assert_eq!(open[0]["service"], "checkout");
                    reference = Some(canonical);
                }
                Some(reference) => assert_eq!(&canonical, reference, "order {n}, {partitions} partitions"),
            }
        }
    }
}

#[test]
fn the_same_files_again_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    ingest(&aegis, &recordings());
    let before = (aegis.sql(CANONICAL), aegis.sql(MEMBERS));
    let again = ingest(&aegis, &recordings());
    assert_eq!(again["incidents"], 0);
    assert_eq!((aegis.sql(CANONICAL), aegis.sql(MEMBERS)), before);
}

/// Files of one call are one replay, in any order; those of separate calls are subject to lateness, and the summary counts.
#[test]
fn the_summary_says_how_many_rows_were_late() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, day: u32| {
        let body = format!(
            r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{"alertname":"{name}","service":"{name}"}},"startsAt":"2026-11-{day}T00:00:00Z"}}]}}"#
        );
        let path = folder.path().join(name);
        std::fs::write(&path, body).unwrap();
        path.display().to_string()
    };
    let (old, new, older) = (file("old", 19), file("new", 20), file("older", 18));
    let aegis = Aegis::new(&folder.path().join("home"), "");
    assert_eq!(ingest(&aegis, &[new, old])["late"], 0);
    let late = ingest(&aegis, std::slice::from_ref(&older));
    assert_eq!(
        (&late["late"], &late["incidents"]),
        (&Value::from(1), &Value::from(1)),
        "late, and not lost"
    );
    // A repeat is a repeat, whenever it comes.
    let repeat = ingest(&aegis, &[older]);
    assert_eq!(
        (&repeat["late"], &repeat["repeats"]),
        (&Value::from(0), &Value::from(1))
    );
}

#[test]
fn a_running_daemon_takes_the_files_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    let summary = ingest(&aegis, &recordings());
    assert_eq!(
        (&summary["daemon"], &summary["bodies"]),
        (&Value::from(true), &Value::from(23))
    );
    support::wait_for("the members", std::time::Duration::from_secs(30), || {
        (aegis.sql("select count(*) as n from incident_members")[0]["n"] == 5).then_some(())
    });
    use std::os::unix::fs::PermissionsExt as _;
    let socket = folder.path().join("data/aegis.sock");
    assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_read_is_said_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    let bad = folder.path().join("bad.json");
    std::fs::write(&bad, b"{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\"}]}").unwrap();
    let (code, out, _) = aegis.run(&["ingest", "--from", "alertmanager", &bad.display().to_string()]);
    assert_eq!(code, 6, "{out}");
    let letters = aegis.sql("select reason, detail, body_base64 from dead_letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(!letters[0]["detail"].as_str().unwrap().is_empty());
    let (code, _, err) = aegis.run(&["ingest", "/does/not/exist.json"]);
    assert_eq!(code, 4, "{err}");
}

#[test]
fn a_data_folder_may_be_named_from_where_one_stands() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aegis"));
    let output = command
        .current_dir(folder.path())
        .args(["--data-dir", "data", "ingest", "--from", "alertmanager", "--json"])
        .args(&recordings()[..2])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(folder.path().join("data/archive/LOG_ID").exists(), "{err}");
}
