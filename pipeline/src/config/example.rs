//! A commented `aegis.toml` with every setting at its default, to copy and change.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::shape::{Shape, description, schema_of};
use super::{Config, walk};

/// The text of the file. Every setting is commented out, so it means the same as no file at all.
pub fn example() -> String {
    let mut text = "# aegis.toml: every setting, with its default. Remove the # of what you change.\n\
                    # The reference is docs/config.md; `aegis check` finds all faults at once.\n"
        .to_owned();
    let schema = schema_of::<Config>();
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    if let Shape::Table { keys, .. } = Shape::of(&schema) {
        keys.iter()
            .for_each(|(name, table)| section(&mut text, name, table, &defaults[name]));
    }
    text
}

fn section(text: &mut String, path: &str, schema: &Json, defaults: &Json) {
    let Shape::Table { keys, .. } = Shape::of(schema) else {
        return;
    };
    text.push('\n');
    comment(text, description(schema));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[{path}]");
    let (tables, settings): (Vec<_>, Vec<_>) = keys
        .iter()
        .partition(|(_, inner)| matches!(Shape::of(inner), Shape::Table { .. }));
    for (name, setting) in settings {
        comment(text, description(setting));
        let _ = writeln!(text, "#{name} = {}", value(setting, &defaults[name]));
    }
    for (name, inner) in tables {
        section(text, &walk::join(path, name), inner, &defaults[name]);
    }
}

fn comment(text: &mut String, description: &str) {
    // Below a doc comment's line length, so that no line is broken twice.
    const WIDTH: usize = 110;
    let mut line = String::from("#");
    for word in description.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _ = writeln!(text, "{line}");
    }
}

/// The default, or where there is none what could stand there.
fn value(schema: &Json, default: &Json) -> String {
    match (default, Shape::of(schema)) {
        (Json::Null, Shape::Words(words)) => words.first().map(|(word, _)| format!("{word:?}")).unwrap_or_default(),
        (Json::Null, Shape::Text { format: "secret" }) => "{ env = \"NAME\" }".to_owned(),
        (Json::Null, Shape::Text { format: "size" }) => "\"1GiB\"".to_owned(),
        (Json::Null, Shape::Text { format: "duration" }) => "\"30s\"".to_owned(),
        (Json::Null, Shape::Text { .. }) => "\"\"".to_owned(),
        (Json::Null, Shape::Integer { least, .. }) => least.unwrap_or_default().to_string(),
        (Json::Null, Shape::Bool) => "false".to_owned(),
        (Json::Null, Shape::Array(_)) => "[]".to_owned(),
        (Json::Object(fields), _) => {
            let inner = fields
                .iter()
                .map(|(name, one)| format!("{} = {}", walk::join("", name), value(&Json::Null, one)));
            let inner: Vec<String> = inner.collect();
            if inner.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", inner.join(", "))
            }
        }
        (Json::Array(items), _) => {
            let items: Vec<String> = items.iter().map(|one| value(&Json::Null, one)).collect();
            format!("[{}]", items.join(", "))
        }
        // JSON's text, numbers and booleans are TOML's as well.
        (other, _) => other.to_string(),
    }
}
