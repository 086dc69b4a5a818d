//! Severity: three levels, and the words senders use for them.

use serde::{Deserialize, Serialize};

/// How bad. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    #[default]
    Info,
    Warning,
    Critical,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// Reads a sender's word, ignoring case. `None` for a word nobody agreed on; the caller decides and keeps the word.
    pub fn from_sender(word: &str) -> Option<Self> {
        const CRITICAL: &[&str] = &[
            "critical",
            "crit",
            "page",
            "fatal",
            "emergency",
            "emerg",
            "alert",
            "disaster",
            "sev0",
            "sev1",
            "p0",
            "p1",
            "high",
            "error",
        ];
        const WARNING: &[&str] = &["warning", "warn", "major", "medium", "average", "sev2", "p2", "minor"];
        const INFO: &[&str] = &[
            "info",
            "information",
            "informational",
            "notice",
            "low",
            "none",
            "debug",
            "ok",
            "sev3",
            "sev4",
            "p3",
            "p4",
            "p5",
            "ticket",
        ];
        let is = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word.trim()));
        if is(CRITICAL) {
            Some(Severity::Critical)
        } else if is(WARNING) {
            Some(Severity::Warning)
        } else if is(INFO) {
            Some(Severity::Info)
        } else {
            None
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Severity {
    type Err = String;

    /// Only the three names of the schema.
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "info" => Ok(Severity::Info),
            "warning" => Ok(Severity::Warning),
            "critical" => Ok(Severity::Critical),
            other => Err(format!("severity {other:?} is none of critical, warning, info")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let check = |word, expected| assert_eq!(Severity::from_sender(word), expected, "{word}");
        check("CRITICAL", Some(Severity::Critical));
        check(" page ", Some(Severity::Critical));
        check("high", Some(Severity::Critical));
        check("Warn", Some(Severity::Warning));
        check("none", Some(Severity::Info));
        check("banana", None);
    }
}
