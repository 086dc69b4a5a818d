//! Secrets in what a tool answers, replaced before anybody sees the answer.
//!
//! A list of shapes: it hides what looks like a credential, and what a name says is one (`password=…`). It cannot hide a secret
//! that looks like an ordinary word and has no name beside it.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Pattern and replacement. In order: a block before its lines, a scheme before the names, because the first hides the most.
const SHAPES: &[(&str, &str)] = &[
    // Keys in PEM; one whose end was cut off is hidden to the end of the text.
    (
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        REDACTED,
    ),
    // `Authorization: Bearer …`, and the scheme alone wherever it stands.
    (r"(?i)\b(bearer|basic)(\s+)[a-z0-9+/=._~\-]{8,}", "${1}${2}[redacted]"),
    // JSON Web Tokens: `{"` in base64 begins with `eyJ`.
    (
        r"\beyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*)?",
        REDACTED,
    ),
    // AWS access key ids.
    (r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA)[A-Z0-9]{16}\b", REDACTED),
    // GitHub, GitLab, Slack, Google, Stripe, npm, OpenAI-style keys.
    (
        r"\b(?:gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
        REDACTED,
    ),
    (r"\bglpat-[A-Za-z0-9_\-]{16,}", REDACTED),
    (r"\bxox[abeoprs]-[A-Za-z0-9\-]{8,}", REDACTED),
    (r"(https://hooks\.slack\.com/services/)[A-Za-z0-9/]+", "${1}[redacted]"),
    (r"\bAIza[A-Za-z0-9_\-]{30,}", REDACTED),
    (r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}", REDACTED),
    (r"\bnpm_[A-Za-z0-9]{30,}", REDACTED),
    (r"\bsk-[A-Za-z0-9_\-]{20,}", REDACTED),
    // Passwords in addresses: `postgres://user:password@host`.
    (r"(\b[a-zA-Z][a-zA-Z0-9+.\-]*://[^\s:/@]*:)[^\s/@]+@", "${1}[redacted]@"),
    // A name that says so, and its value: `password=…`, `"api_key": "…"`, `--token …`. A value in quotes ends with them; quotes
    // may be escaped, as in JSON within JSON.
    (
        r#"(?i)((?:password|passwd|passphrase|pwd|secret|token|api[_\-]?key|access[_\-]?key(?:[_\-]?id)?|account[_\-]?key|private[_\-]?key|signing[_\-]?key|credentials?)\\?["']?\s*(?:=>|[=:])\s*)(?:\\"[^"]*?\\"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'\\}\]\[)]+)"#,
        "${1}[redacted]",
    ),
    (
        r"(?i)(--(?:password|passwd|token|secret|api-key)\s+)[^\s\-][^\s]*",
        "${1}[redacted]",
    ),
];

static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    let compiled = SHAPES.iter().map(|(pattern, replacement)| {
        let regex = RegexBuilder::new(pattern).build();
        // A constant; the test below compiles every one.
        (regex.expect("a pattern of this file compiles"), *replacement)
    });
    compiled.collect()
});

/// `text` without what looks like a secret.
pub fn redact(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for (pattern, replacement) in PATTERNS.iter() {
        if let Cow::Owned(replaced) = pattern.replace_all(&text, *replacement) {
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
