//! The reference `docs/config.md`, made of the doc comments of the settings structs.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::shape::{Shape, description, optional, schema_of};
use super::{Config, walk};

const PREFACE: &str = "\
# Configuration

This page is generated from the settings structs (`aegis config docs`); a test keeps it current.

Aegis reads one file: the one that `--config FILE` names, else `AEGIS_CONFIG`, else `aegis.toml` where it is started. Without a
file everything has the default below. `aegis check` finds all faults of a configuration at once; `aegis config example` prints
a file to start from.

- **Durations** are written `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h30m\"`, `\"7d\"`; **sizes** `\"512KiB\"`, `\"64MiB\"`, `\"10MB\"`. A bare number is
  refused.
- **Secrets** are given by reference: `{ env = \"NAME\" }` or `{ file = \"/path\" }` (a line feed at the end of the file does not
  count). Plain text works, with a warning from `aegis check`. The references work for every other plain string too, for example a database
  URL that holds a password. Secrets are never printed.
- **Environment variables** come before the file: `AEGIS_LOG__KIND=kafka` is `kind = \"kafka\"` in `[log]`; two underscores go
  one table deeper. Arrays and tables are written as in TOML, or as JSON: `AEGIS_LOG__KAFKA__BOOTSTRAP_SERVERS=[\"a:9092\"]`. A variable that
  begins with `AEGIS_` and names no setting is a fault. Not settings, and left alone: `AEGIS_CONFIG`, `AEGIS_TEST_*`, variables that a
  secret refers to, and those that Kubernetes sets for a service called `aegis`. There is no `AEGIS_LOG`: what is logged is
  `AEGIS_LOGGING__FILTER`, or `RUST_LOG`.
- **Options** of the command line (`--data-dir`) come before both.
";

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut page = PREFACE.to_owned();
    let schema = schema_of::<Config>();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    if let Shape::Table { keys, .. } = Shape::of(&schema) {
        for (name, table) in keys {
            section(&mut page, name, table, &defaults[name]);
        }
    }
    page
}

fn section(page: &mut String, path: &str, schema: &Json, defaults: &Json) {
    let Shape::Table { keys, required } = Shape::of(schema) else {
        return;
    };
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## `[{path}]`\n\n{}\n", description(schema));
    let (tables, settings): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, inner)| table_of(inner).is_some());
    if !settings.is_empty() {
        let _ = write!(
            page,
            "\n| key | what to write | default | meaning |\n|---|---|---|---|\n"
        );
    }
    for (name, setting) in settings {
        let default = if required.contains(&name.as_str()) {
            "required".to_owned()
        } else {
            shown(&defaults[name])
        };
        let wanted = if optional(setting) {
            format!("{} (optional)", wanted(setting))
        } else {
            wanted(setting)
        };
        let _ = writeln!(
            page,
            "| `{name}` | {} | {default} | {} |",
            cell(&wanted),
            cell(&meaning(setting))
        );
    }
    for (name, inner) in tables {
        let below = walk::join(path, name);
        match table_of(inner) {
            Some(Inner::Fixed) => section(page, &below, inner, &defaults[name]),
            Some(Inner::Named(each)) => {
                let _ = write!(page, "\n## `[{below}.NAME]`\n\n{}\n", description(inner));
                let before = page.len();
                section(page, &format!("{below}.NAME"), each, &Json::Null);
                strip_heading(page, before);
            }
            Some(Inner::Several(each)) => {
                let _ = write!(page, "\n## `[[{below}]]`\n\n{}\n", description(inner));
                let before = page.len();
                section(page, &below, each, &Json::Null);
                strip_heading(page, before);
            }
            None => {}
        }
    }
}

/// Drops the heading line that `section` wrote at `from`, because another one stands there already.
fn strip_heading(page: &mut String, from: usize) {
    let text = page.split_off(from);
    let body = text.trim_start().split_once('\n').map_or("", |(_, rest)| rest);
    page.push_str(body);
}

enum Inner<'a> {
    /// `[a.b]`
    Fixed,
    /// `[a.b.NAME]`
    Named(&'a Json),
    /// `[[a.b]]`
    Several(&'a Json),
}

/// Whether a setting has a section of its own.
fn table_of(schema: &Json) -> Option<Inner<'_>> {
    let is_table = |schema| matches!(Shape::of(schema), Shape::Table { .. });
    match Shape::of(schema) {
        Shape::Table { .. } => Some(Inner::Fixed),
        Shape::Map(inner) if is_table(inner) => Some(Inner::Named(inner)),
        Shape::Array(inner) if is_table(inner) => Some(Inner::Several(inner)),
        _ => None,
    }
}

fn wanted(schema: &Json) -> String {
    match Shape::of(schema) {
        Shape::Words(words) => words
            .iter()
            .map(|(word, _)| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Text { format: "duration" } => "duration".to_owned(),
        Shape::Text { format: "size" } => "size".to_owned(),
        Shape::Text { format: "secret" } => "secret".to_owned(),
        Shape::Text { .. } => "string".to_owned(),
        Shape::Array(items) => format!("array of: {}", wanted(items)),
        Shape::Map(inner) => format!("table of: {}", wanted(inner)),
        shape => shape
            .wanted()
            .trim_start_matches("an ")
            .trim_start_matches("a ")
            .to_owned(),
    }
}

fn meaning(schema: &Json) -> String {
    let mut text = description(schema).to_owned();
    if let Shape::Words(words) = Shape::of(schema) {
        for (word, meaning) in words.iter().filter(|(_, meaning)| !meaning.is_empty()) {
            let _ = write!(text, " `{word}`: {meaning}");
        }
    }
    text
}

fn shown(default: &Json) -> String {
    match default {
        Json::Null => "–".to_owned(),
        Json::String(text) if text.is_empty() => "empty".to_owned(),
        Json::Array(items) if items.is_empty() => "none".to_owned(),
        Json::Object(fields) if fields.is_empty() => "none".to_owned(),
        other => format!("`{other}`"),
    }
}

/// One line, with nothing that ends a table's cell.
fn cell(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
