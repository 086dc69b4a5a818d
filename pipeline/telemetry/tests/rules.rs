//! The alert rules that are shipped, on their cases, by the real promtool; every alert has a case of each kind, and a runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands behind `word` on its lines.
fn named<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(word))
        .map(str::trim)
        .collect()
}

#[test]
fn promtool_agrees_with_every_case() {
    let Ok(promtool) = std::env::var("AEGIS_TEST_PROMTOOL_BIN") else {
        assert_ne!(
            std::env::var("AEGIS_TEST_REQUIRE").as_deref(),
            Ok("1"),
            "AEGIS_TEST_PROMTOOL_BIN is not set: run `make test`"
        );
        eprintln!("not run: AEGIS_TEST_PROMTOOL_BIN is not set (see scripts/test-services.sh)");
        return;
    };
    for (verb, file) in [("check", "aegis.rules.yml"), ("test", "aegis.rules.test.yml")] {
        let output = Command::new(&promtool)
            .args([verb, "rules", file])
            .current_dir(repository("dashboards/compose"))
            .output()
            .expect("promtool runs");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {file}: {said}");
    }
}

#[test]
fn every_alert_has_a_good_case_a_bad_case_and_a_runbook() {
    let (rules, cases) = (
        read("dashboards/compose/aegis.rules.yml"),
        read("dashboards/compose/aegis.rules.test.yml"),
    );
    let alerts: BTreeSet<&str> = named(&rules, "alert: ").into_iter().collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let mut tested: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in named(&cases, "name: ") {
        let (alert, what) = name.split_once(' ').expect("an alert and what it does");
        tested.entry(alert).or_default().insert(what);
    }
    let both = BTreeSet::from(["fires", "is silent"]);
    let runbooks = read("docs/guides/runbooks.md");
    let headings: BTreeSet<&str> = named(&runbooks, "## ").into_iter().collect();
    for alert in &alerts {
        assert_eq!(tested.get(alert), Some(&both), "{alert}");
        assert!(headings.contains(alert), "{alert} has no runbook");
        let link = format!("docs/guides/runbooks.md#{}", alert.to_lowercase());
        assert!(named(&rules, "runbook: ").contains(&link.as_str()), "{link}");
    }
    assert_eq!(tested.keys().copied().collect::<BTreeSet<_>>(), alerts);
}
