//! Starting on what an older release left behind, and refusing what a newer one did.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::Aegis;

/// A log of format 1, snapshots of format 1: no program since reads the log.
const FORMAT_1: &str = "data-0.1.0-snapshots-1.tar.gz";
/// A log of format 2, snapshots of format 2.
const FORMAT_2: &str = "data-0.1.0-log-2-snapshots-2.tar.gz";

/// An aegis on the data folder that an earlier program left (see PROVENANCE.md of the fixtures).
fn previous(folder: &Path, archive: &str) -> Aegis {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(archive);
    let aegis = Aegis::new(folder, "[topics]\npartitions = 1\n[archive]\nenabled = false\n");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .status()
        .unwrap();
    assert!(unpacked.success());
    aegis
}

/// The notification that the old release had taken in.
fn notification(folder: &Path) -> String {
    let path = folder.join("again.json");
    let alert = |name: &str, service: &str, severity: &str, at: &str, fingerprint: u8| {
        format!(
            r#"{{"status":"firing","labels":{{"alertname":"{name}","service":"{service}","severity":"{severity}"}},"annotations":{{}},"startsAt":"2026-11-01T00:0{at}:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"{fingerprint:016x}"}}"#
        )
    };
    let body = format!(
        r#"{{"version":"4","groupKey":"k","status":"firing","receiver":"r","truncatedAlerts":0,"groupLabels":{{}},"commonLabels":{{}},"commonAnnotations":{{}},"externalURL":"http://a","alerts":[{},{}]}}"#,
        alert("Down", "api", "critical", "0", 1),
        alert("Slow", "db", "warning", "1", 2)
    );
    std::fs::write(&path, body).unwrap();
    path.display().to_string()
}

/// `aegis upgrade --check --json`: exit code and the verdict per stage.
fn verdicts(aegis: &Aegis) -> (i32, Vec<(String, String, String)>) {
    let (code, out, err) = aegis.run(&["upgrade", "--check", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {err}"));
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let partitions = report["partitions"].as_array().unwrap();
    let rows = partitions
        .iter()
        .map(|one| (text(one, "stage"), text(one, "verdict"), text(one, "detail")));
    assert_eq!(report["starts"], code == 0);
    (code, rows.collect())
}

fn words(rows: &[(String, String, String)]) -> Vec<&str> {
    rows.iter().map(|(_, verdict, _)| verdict.as_str()).collect()
}

#[test]
fn a_log_of_a_format_that_nobody_reads_any_more_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = previous(folder.path(), FORMAT_1);
    let data = folder.path().join("data");
    let before = content(&data);
    let file = notification(folder.path());
    for arguments in [&["ingest", &file][..], &["run"], &["upgrade", "--check"]] {
        let (code, _, err) = aegis.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {err}");
        assert!(
            err.contains("format 1") && err.contains("another folder"),
            "{arguments:?}: {err}"
        );
    }
    assert!(content(&data) == before);
    // The tables are read without the log.
    let (code, out, err) = aegis.run(&["incidents"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("Down on api"), "{out}");
}

/// Every file below, with its bytes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(content(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

/// The stages of the previous program's folder, and `templates`, which it did not have.
const AS_IS: [&str; 6] = ["as_is", "from_log", "as_is", "as_is", "as_is", "as_is"];

#[test]
fn the_previous_programs_folder_starts_and_its_state_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = previous(folder.path(), FORMAT_2);
    let (code, rows) = verdicts(&aegis);
    // Its dedupe knew no terms, its correlate no commands; it had no templates, no crew and no gate.
    let first = vec!["as_is", "from_log", "migrates", "migrates", "from_log", "from_log"];
    assert_eq!((code, words(&rows)), (0, first), "{rows:?}");
    let file = notification(folder.path());
    let (code, out, err) = aegis.run(&["ingest", "--json", &file]);
    assert_eq!(code, 0, "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    // Both alerts are known to dedupe, both incidents to correlate.
    assert_eq!(
        (&summary["repeats"], &summary["incidents"], &summary["open"]),
        (&2.into(), &0.into(), &2.into())
    );
    let (code, rows) = verdicts(&aegis);
    assert_eq!((code, words(&rows)), (0, AS_IS.to_vec()), "{rows:?}");
    assert!(
        rows.iter()
            .filter(|(stage, ..)| stage != "templates")
            .all(|(_, _, detail)| detail.contains(".manifest, 0 records")),
        "{rows:?}"
    );
}

#[test]
fn changed_settings_are_taken_over_at_the_committed_offset_and_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = previous(folder.path(), FORMAT_2);
    let file = notification(folder.path());
    assert_eq!(aegis.run(&["ingest", &file]).0, 0);
    let other = aegis.env("AEGIS_CORRELATE__GAP", "10m");
    let (code, rows) = verdicts(&other);
    assert_eq!(
        (code, words(&rows)),
        (0, vec!["as_is", "from_log", "as_is", "new_settings", "as_is", "as_is"]),
        "{rows:?}"
    );

    // As after a crash: the newest snapshot that says which settings emitted lies before the committed offset.
    let snapshots = folder.path().join("data/snapshots/correlate/0");
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for entry in std::fs::read_dir(&snapshots).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
    }
    assert_eq!(other.run(&["ingest", &file]).0, 0);
    std::fs::remove_dir_all(&snapshots).unwrap();
    std::fs::rename(&kept, &snapshots).unwrap();
    let (code, rows) = verdicts(&other);
    assert_eq!(
        (code, words(&rows)),
        (1, vec!["as_is", "from_log", "as_is", "refused", "as_is", "as_is"]),
        "{rows:?}"
    );
    assert!(rows[3].2.contains(r#"gap was "15m", is "10m""#), "{rows:?}");

    let (code, _, err) = other.run(&["ingest", &file]);
    assert_eq!(code, 1);
    assert!(
        err.contains("nothing was written") && err.contains("with the previous settings"),
        "{err}"
    );
}

#[test]
fn a_newer_programs_snapshots_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = previous(folder.path(), FORMAT_2);
    let manifest = folder.path().join("data/snapshots/dedupe/0/0000000009.manifest");
    std::fs::write(&manifest, b"AEGM\x63a form of later").unwrap();
    let tables = || std::fs::read(folder.path().join("data/aegis.db")).unwrap();
    let before = tables();
    let (code, _, err) = aegis.run(&["ingest", &notification(folder.path())]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("has format 99") && err.contains("newer program"), "{err}");
    assert!(tables() == before);
    assert_eq!(aegis.run(&["upgrade", "--check"]).0, 1);
}

#[test]
fn looking_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    let (code, _, err) = aegis.run(&["upgrade", "--check"]);
    assert_eq!(code, 4, "{err}");
    assert!(!folder.path().join("data").exists());
}
