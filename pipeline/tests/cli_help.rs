//! Every command explains itself, with examples.

use std::process::Command;

use pipeline::cli::command;

fn aegis(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_aegis"))
        .args(arguments)
        .output()
        .expect("aegis runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

#[test]
fn the_command_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn every_command_has_help_and_examples() {
    let tree = command();
    let mut names: Vec<Vec<&str>> = Vec::new();
    for one in tree.get_subcommands() {
        names.push(vec![one.get_name()]);
        names.extend(
            one.get_subcommands()
                .map(|below| vec![one.get_name(), below.get_name()]),
        );
    }
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        for flag in ["-h", "--help"] {
            let arguments: Vec<&str> = name.iter().copied().chain([flag]).collect();
            let (text, code) = aegis(&arguments);
            assert_eq!(code, Some(0), "{arguments:?}");
            let example = format!("\n  aegis {}", name[0]);
            assert!(
                text.contains("Examples:") && text.contains(&example),
                "{arguments:?} has no example:\n{text}"
            );
            assert!(
                text.contains("--config") && text.contains("--color"),
                "{arguments:?} hides the global options"
            );
        }
    }
}

#[test]
fn help_lists_the_exit_codes() {
    let (text, code) = aegis(&["--help"]);
    assert_eq!(code, Some(0));
    for exit in pipeline::cli::Exit::ALL {
        assert!(
            text.contains(&format!("  {}  {}: ", exit.code(), exit.name())),
            "{} is missing",
            exit.name()
        );
    }
}

#[test]
fn usage_errors() {
    let check = |arguments: &[&str], said: &str| {
        let (text, code) = aegis(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    };
    check(&["incidentz"], "incidents");
    check(
        &["incidents", "--severity", "bad"],
        "[possible values: critical, warning, info]",
    );
    check(&["incidents", "--limit", "0"], "1..=10000");
    check(&["incidents", "some-id", "--status", "open"], "cannot be used with");
    check(&["sql", "select 1", "--json", "--csv"], "cannot be used with");
    check(&["ingest"], "<FILE>...");
    check(&["ingest", "--from", "nagios", "-"], "alertmanager");
    check(
        &["run", "--roles", "dispatcher"],
        "the embedded log belongs to one process",
    );
    check(&[], "Usage: aegis");
}

#[test]
fn version() {
    let (text, code) = aegis(&["--version"]);
    assert_eq!(
        (text.trim(), code),
        (concat!("aegis ", env!("CARGO_PKG_VERSION")), Some(0))
    );
}
