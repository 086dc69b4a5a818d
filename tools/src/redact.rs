//! Secrets in what a tool answers, replaced before anybody sees the answer; and where they stood.
//!
//! One list of detectors (`redact/detectors.toml`) for both: it hides what looks like a credential, and what a name says is one
//! (`password=…`). It cannot hide a secret that looks like an ordinary word and has no name beside it. What was found is told by its
//! detector, its place and its length ([`Sighting`]): nothing of the secret leaves this module.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

mod detectors;
mod sightings;

pub use detectors::{Detector, detectors};
pub use sightings::{Sighting, in_diff, in_text};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// `text` without what looks like a secret.
pub fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for detector in detectors() {
        if let Cow::Owned(replaced) = detector.regex.replace_all(&text, detector.replacement.as_str()) {
            text = Cow::Owned(replaced);
        }
    }
    text.into_owned()
}

/// The name of a field, label or variable says that its value is a secret.
pub fn names_a_secret(name: &str) -> bool {
    static NAME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)(password|passwd|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key|account[_\-]?key|private[_\-]?key|signing[_\-]?key|credentials?|dsn)$",
        )
        .expect("a pattern of this file compiles")
    });
    NAME.is_match(name)
}

/// The value of the label or variable `name` as it may be shown.
pub fn redact_named(name: &str, value: &str) -> String {
    if names_a_secret(name) && !value.is_empty() {
        REDACTED.to_owned()
    } else {
        redact(value)
    }
}

/// Every text within `value`; what stands under a name that says so is hidden whole.
pub fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(text),
        Value::Array(items) => items.iter_mut().for_each(redact_json),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) => *text = redact_named(name, text),
                    other => redact_json(other),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// At most `limit` characters of `text`; what was cut is said.
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} more characters)", &text[..end], text[end..].chars().count()),
    }
}

#[cfg(test)]
mod tests;
