//! The generated pages are current, and the example means what no file means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipeline::cli::exit;
use pipeline::config::{Config, example, load, reference};

/// Compares the page with what is generated; writes it instead when `AEGIS_TEST_REGENERATE` is set.
fn check(page: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    if std::env::var_os("AEGIS_TEST_REGENERATE").is_some() {
        std::fs::write(&path, generated).expect("the page can be written");
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        current == generated,
        "docs/{page} is not current: AEGIS_TEST_REGENERATE=1 cargo test --release -p pipeline --test config_docs"
    );
}

#[test]
fn pages_are_current() {
    check("config.md", &reference());
    check("exit-codes.md", &exit::reference());
    let api = serde_json::to_string_pretty(&gateway::openapi()).expect("a document");
    check("openapi.json", &format!("{api}\n"));
}

/// Loads a file with the example in it, changed by `change`.
fn loaded(change: impl Fn(&str) -> String) -> (Config, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("aegis.toml");
    std::fs::write(&file, change(&example())).expect("a file");
    match load(Some(&file), &BTreeMap::new()) {
        Ok((config, warnings)) => (config, warnings.iter().map(ToString::to_string).collect()),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!("the example has faults:\n{}", faults.join("\n"))
        }
    }
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).expect("JSON")
}

#[test]
fn the_example_changes_nothing() {
    let (config, _) = loaded(str::to_owned);
    assert_eq!(json(&config), json(&Config::default()));
}

#[test]
fn what_the_example_shows_can_be_written() {
    // Uncomment every setting that has a default: the lines `#key = value` (comments have a blank after the #).
    let (config, _) = loaded(|text| {
        let defaults = json(&Config::default()).to_string();
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => {
                let key = setting.split(' ').next().unwrap_or_default();
                // Settings without a default show what could stand there, which needs its surroundings.
                if defaults.contains(&format!("\"{key}\":null")) {
                    line.to_owned()
                } else {
                    setting.to_owned()
                }
            }
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    assert_eq!(json(&config), json(&Config::default()));
}

#[test]
fn every_setting_is_described() {
    let undescribed: Vec<String> = reference()
        .lines()
        .filter(|line| line.starts_with("| `") && line.ends_with("|  |"))
        .map(str::to_owned)
        .collect();
    assert_eq!(undescribed, [""; 0], "a doc comment is missing");
}
