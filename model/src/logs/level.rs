//! How bad a line is by its sender's word, its number, or the sound of its text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Levels, mildest first. `Unknown` is what nobody gave and no text betrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    #[default]
    Unknown,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// Bytes of a text in which its level is looked for: it stands at the front. Longer, and words of the message count as levels.
const FRONT: usize = 160;

impl Level {
    /// From the mildest.
    pub const ALL: [Level; 7] = [
        Level::Unknown,
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
        Level::Fatal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// OpenTelemetry's severity number, 1 to 24: <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21..=24 => Level::Fatal,
            _ => return None,
        })
    }

    /// A word for a level, in any case. `None` for any other word.
    pub fn from_word(word: &str) -> Option<Self> {
        const WORDS: &[(&str, Level)] = &[
            ("trace", Level::Trace),
            ("verbose", Level::Trace),
            ("finest", Level::Trace),
            ("debug", Level::Debug),
            ("dbg", Level::Debug),
            ("fine", Level::Debug),
            ("info", Level::Info),
            ("information", Level::Info),
            ("informational", Level::Info),
            ("notice", Level::Info),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("fatal", Level::Fatal),
            ("critical", Level::Fatal),
            ("crit", Level::Fatal),
            ("emerg", Level::Fatal),
            ("emergency", Level::Fatal),
            ("alert", Level::Fatal),
            ("panic", Level::Fatal),
            ("unknown", Level::Unknown),
        ];
        let known = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim()));
        known.map(|(_, level)| *level)
    }

    /// What a text sounds like: a level's word at its front, in capitals, in brackets, behind `level=` or before a colon;
    /// else the name of an exception.
    pub fn detect(text: &str) -> Self {
        let front = &text.as_bytes()[..text.len().min(FRONT)];
        let mut at = 0;
        while at < front.len() {
            if !front[at].is_ascii_alphabetic() {
                at += 1;
                continue;
            }
            let end = front[at..]
                .iter()
                .position(|byte| !byte.is_ascii_alphabetic())
                .map_or(front.len(), |length| at + length);
            if let Some(level) = said(front, at, end) {
                return level;
            }
            at = end;
        }
        exception(text)
    }
}

/// The level that the word `front[at..end]` says, when it stands as a level does.
fn said(front: &[u8], at: usize, end: usize) -> Option<Level> {
    // The longest word is `informational`; nothing else is worth a look.
    if !(3..=13).contains(&(end - at)) {
        return None;
    }
    let word = std::str::from_utf8(&front[at..end]).ok()?;
    let before = at.checked_sub(1).map(|i| front[i]);
    let after = front.get(end).copied();
    let alone = !matches!(before, Some(b'_' | b'-' | b'.' | b'/')) && !matches!(after, Some(b'_' | b'-' | b'.' | b'/'));
    let capitals = word.bytes().all(|byte| byte.is_ascii_uppercase());
    let bracketed = matches!((before, after), (Some(b'['), Some(b']')) | (Some(b'<'), Some(b'>')));
    let named = {
        let head = front[..at].trim_ascii_end();
        let head = head.strip_suffix(b"\"").unwrap_or(head);
        let head = head
            .strip_suffix(b"=")
            .or_else(|| head.strip_suffix(b":"))
            .map(<[u8]>::trim_ascii_end);
        head.map(|head| head.strip_suffix(b"\"").unwrap_or(head))
            .is_some_and(|head| {
                [&b"level"[..], b"lvl", b"severity"]
                    .iter()
                    .any(|name| head.ends_with(name))
            })
    };
    let opens = at == 0 && after == Some(b':');
    if alone && (capitals || bracketed || named || opens) {
        Level::from_word(word).filter(|level| *level != Level::Unknown)
    } else {
        None
    }
}

/// Programs that die say so without a level.
fn exception(text: &str) -> Level {
    let head = text.trim_start().lines().next().unwrap_or_default();
    let thrown = |word: &str| {
        let name = word.strip_suffix(':').unwrap_or(word);
        let last = name.rsplit('.').next().unwrap_or(name);
        last.len() > 5 && (last.ends_with("Error") || last.ends_with("Exception"))
    };
    const PHRASES: &[&str] = &[
        "Traceback (most recent",
        "Out of memory",
        "out of memory",
        "OOMKilled",
        "Segmentation fault",
    ];
    if PHRASES.iter().any(|phrase| head.contains(phrase)) || head.split_whitespace().take(12).any(thrown) {
        return Level::Error;
    }
    Level::Unknown
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Level::from_word(word).ok_or_else(|| {
            format!("{word:?} is no level: write one of trace, debug, info, warn, error, fatal, unknown")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sound_of_a_text() {
        let check = |text, expected| assert_eq!(Level::detect(text), expected, "{text}");
        check("2026-11-23 10:00:00 ERROR cannot connect", Level::Error);
        check("081109 203615 148 INFO dfs.DataNode: x", Level::Info);
        check("[Sun Dec 04 04:47:44 2005] [error] mod_jk child", Level::Error);
        check("ts=1 level=warn msg=\"x\"", Level::Warn);
        check(r#"{"level":"fatal","msg":"x"}"#, Level::Fatal);
        check(r#"{"severity" : "ERROR"}"#, Level::Error);
        check("panic: runtime error: index out of range", Level::Fatal);
        check("Error: no such file", Level::Error);
        check("java.lang.OutOfMemoryError: Java heap space", Level::Error);
        check(
            "Exception in thread \"main\" java.lang.IllegalStateException: x",
            Level::Error,
        );
        check("Out of memory: Killed process 4711 (java)", Level::Error);
        check("ValueError: no", Level::Error);
        check("Traceback (most recent call last):\n  File", Level::Error);
        check("the error was mended", Level::Unknown);
        check("GET /error/ERROR-7 200", Level::Unknown);
        check("listening on :8080", Level::Unknown);
        check("", Level::Unknown);
        check("\u{e9}\u{e9} ERROR", Level::Error);
    }

    #[test]
    fn words_and_numbers() {
        assert_eq!(Level::from_word(" Warning "), Some(Level::Warn));
        assert_eq!(Level::from_word("banana"), None);
        assert_eq!(Level::from_number(17), Some(Level::Error));
        assert_eq!(Level::from_number(0), None);
        assert!(Level::Error > Level::Info && Level::Unknown < Level::Trace);
        for level in Level::ALL {
            assert_eq!(Level::from_word(level.as_str()), Some(level));
        }
    }
}
