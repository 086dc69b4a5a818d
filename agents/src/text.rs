//! Untrusted text, made fit to be shown: no control characters, no invisible or direction-changing ones, no secrets, not long.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};
use tools::redact::redact;

/// Longest text that is looked at, in characters: a line of megabytes must not cost megabytes of matching.
const LOOKED_AT: usize = 4_000;

/// Terminal escapes as a whole, so that their parameters do not stay behind as text.
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)").expect("a constant pattern")
});

/// Shorter values than the tools' own list of detectors hides, which is asked as well: titles come from no tool.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)\b((?:[a-z_-]*(?:password|passwd|secret|token|api[_-]?key))["']?\s*[=:]\s*["']?|bearer\s+)[^\s"',;&]+"#,
    )
    .expect("a constant pattern")
});

/// `text` in one line of at most `limit` characters.
pub fn line(text: &str, limit: usize) -> String {
    let shown = clean(text, |c| if c.is_whitespace() { Some(' ') } else { None });
    let words: Vec<&str> = shown.split_whitespace().collect();
    cut(&words.join(" "), limit)
}

/// `text` with its line breaks, at most `limit` characters.
pub fn block(text: &str, limit: usize) -> String {
    let shown = clean(text, |c| (c == '\n' || c == '\t').then_some(c));
    cut(&shown, limit)
}

/// The fields of an object; nothing of anything else.
pub fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn clean(text: &str, keep: impl Fn(char) -> Option<char>) -> String {
    let head: String = text.chars().take(LOOKED_AT).collect();
    let plain = ESCAPE.replace_all(&head, "");
    let visible: String = plain
        .chars()
        .filter_map(|c| keep(c).or_else(|| (!c.is_control() && !invisible(c)).then_some(c)))
        .collect();
    redact(&SECRET.replace_all(&visible, "${1}[redacted]"))
}

/// Zero-width characters, direction marks and tags: they make a reader see another text than a program reads.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let head: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{head}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown() {
        let check = |text: &str, expected: &str| assert_eq!(line(text, 60), expected, "{text:?}");
        check("plain  text\n\tand more", "plain text and more");
        check("\x1b[31mred\x1b[0m \x1b]0;title\x07done", "red done");
        check("safe\u{202e}gnp.exe\u{200b}", "safegnp.exe");
        check("password=hunter2 next", "password=[redacted] next");
        check(r#"{"api_key": "abc", "a": 1}"#, r#"{"api_key": [redacted], "a": 1}"#);
        check(
            "pushed ghp_0123456789abcdefghijABCDEFGHIJ456789 by kim",
            "pushed [redacted] by kim",
        );
        check("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]");
        check(&"x".repeat(100), &format!("{}…", "x".repeat(59)));
        assert_eq!(block("a\r\nb\x07", 60), "a\nb");
    }
}
