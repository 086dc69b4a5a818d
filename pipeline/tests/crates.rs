//! Which crate may import which: the table of the design, held against what cargo says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Crate, and the crates of this workspace that it may import. A new edge is the expensive change: it needs an ADR.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("stream", &[]),
    ("sources", &["model", "stream"]),
    ("operators", &["model", "stream"]),
    ("embedding", &["stream"]),
    ("sinks", &["model", "stream", "tools"]),
    ("vectors", &["model", "stream", "embedding"]),
    ("tools", &["model", "stream"]),
    ("agents", &["model", "stream", "tools"]),
    ("sql", &["model", "stream"]),
    ("wire", &["stream", "sql"]),
    ("gateway", &["model", "stream", "sql", "sinks", "shared"]),
    ("shared", &["stream"]),
    // Nothing that acts is within its reach: not the tools, not the sinks.
    ("mcp", &["model", "stream", "gateway"]),
    ("live", &["model", "stream", "gateway", "shared"]),
    // A page and a door: whoever opens it says what stands beside the page.
    ("dashboard", &["stream"]),
    (
        "pipeline",
        &[
            "model",
            "stream",
            "sources",
            "operators",
            "sinks",
            "sql",
            "wire",
            "gateway",
            "shared",
            "mcp",
            "live",
            "dashboard",
            "tools",
            "agents",
            "telemetry",
            "embedding",
            "vectors",
        ],
    ),
    ("telemetry", &["model", "stream"]),
    (
        "bench",
        &[
            "model",
            "stream",
            "sources",
            "operators",
            "sinks",
            "sql",
            "gateway",
            "tools",
            "agents",
            "pipeline",
            "world",
        ],
    ),
    ("world", &[]),
    ("fuzz", &["model", "stream", "sources", "operators"]),
];

struct Package {
    name: String,
    /// Of the folder that holds its manifest.
    folder: String,
    /// Normal and build dependencies; tests may use what they like.
    imports: BTreeSet<String>,
}

fn packages() -> Vec<Package> {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("cargo writes JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let package = |package: &serde_json::Value| {
        let manifest = text(&package["manifest_path"]);
        let folder = Path::new(&manifest)
            .parent()
            .and_then(Path::file_name)
            .expect("a folder");
        let dependencies = package["dependencies"].as_array().expect("a list");
        Package {
            name: text(&package["name"]),
            folder: folder.to_string_lossy().into_owned(),
            imports: dependencies
                .iter()
                .filter(|one| one["kind"] != "dev")
                .map(|one| text(&one["name"]))
                .collect(),
        }
    };
    metadata["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(package)
        .collect()
}

#[test]
fn every_crate_is_in_the_table_and_every_row_is_a_crate() {
    let found: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    let listed: BTreeSet<String> = MAY_IMPORT.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, listed);
}

#[test]
fn nobody_imports_what_it_may_not() {
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages() {
        let allowed = table.get(package.name.as_str()).copied().unwrap_or_default();
        for import in package
            .imports
            .iter()
            .filter(|import| table.contains_key(import.as_str()))
        {
            if !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", package.name));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn folders_are_named_as_their_crates() {
    for package in packages() {
        assert_eq!(package.folder, package.name);
    }
}
