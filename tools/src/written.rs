//! What an action writes for people: the bounds of its texts, and how it is shown before anybody grants it.

use std::fmt::Write as _;

use crate::ToolError;
use crate::redact::redact;

/// Longest title. GitHub takes 256 characters, Jira 255.
const TITLE_CHARS: usize = 250;
/// Longest text. It is shown whole to whoever grants it: more is read by nobody.
const BODY_CHARS: usize = 10_000;
/// Most labels, and the longest. GitHub takes 50 characters.
const LABELS: usize = 10;
const LABEL_CHARS: usize = 50;

/// The texts of an action.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written<'a> {
    pub title: Option<&'a str>,
    pub body: &'a str,
    pub labels: &'a [String],
}

impl Written<'_> {
    /// Nothing that is empty, too long, invisible, or looks like a secret.
    pub fn check(&self, tool: &'static str) -> Result<(), ToolError> {
        let fault = self.fault();
        fault.map_or(Ok(()), |fault| Err(ToolError::refused(tool, fault)))
    }

    fn fault(&self) -> Option<String> {
        if let Some(title) = self.title {
            let chars = title.chars().count();
            if title.trim().is_empty() || chars > TITLE_CHARS || title.chars().any(char::is_control) {
                return Some(format!(
                    "title has {chars} characters: 1 to {TITLE_CHARS} in one line are written"
                ));
            }
        }
        let chars = self.body.chars().count();
        let breaks = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r');
        if self.body.trim().is_empty() || chars > BODY_CHARS || self.body.chars().any(breaks) {
            return Some(format!(
                "body has {chars} characters: 1 to {BODY_CHARS}, without control characters, are written"
            ));
        }
        let label = |label: &&String| {
            label.is_empty()
                || label.chars().count() > LABEL_CHARS
                || label.chars().any(|c| c.is_control() || c.is_whitespace() || c == ',')
        };
        if let Some(label) = self.labels.iter().find(label) {
            return Some(format!(
                "labels holds {label:?}: a label has 1 to {LABEL_CHARS} characters, no blanks and no commas"
            ));
        }
        if self.labels.len() > LABELS {
            return Some(format!(
                "labels has {} labels: at most {LABELS} are set",
                self.labels.len()
            ));
        }
        let secret = |text: &str| redact(text) != text;
        for (field, found) in [
            ("title", self.title.is_some_and(secret)),
            ("body", secret(self.body)),
            ("labels", self.labels.iter().any(|label| secret(label))),
        ] {
            if found {
                return Some(format!(
                    "{field} holds what looks like a secret: take it out, others will read it"
                ));
            }
        }
        None
    }

    /// Every line that would be written, behind `+`.
    pub fn preview(&self, heading: &str) -> String {
        let mut shown = format!("{heading}\n");
        // Writing to a string cannot fail.
        if let Some(title) = self.title {
            let _ = writeln!(shown, "+ title: {title}");
        }
        if !self.labels.is_empty() {
            let _ = writeln!(shown, "+ labels: {}", self.labels.join(", "));
        }
        for line in self.body.lines() {
            let _ = writeln!(shown, "+ {line}");
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let check = |title: &str, body: &str, labels: &[&str], expected: Option<&str>| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            let written = Written {
                title: Some(title),
                body,
                labels: &labels,
            };
            let fault = written.fault();
            match expected {
                None => assert_eq!(fault, None),
                Some(word) => assert!(fault.as_ref().is_some_and(|fault| fault.starts_with(word)), "{fault:?}"),
            }
        };
        check("Heap", "It grows.\n\n- look", &["api-server"], None);
        check(" ", "b", &[], Some("title"));
        check("a\nb", "b", &[], Some("title"));
        check(&"ä".repeat(250), &"ö".repeat(10_000), &[], None);
        check(&"ä".repeat(251), "b", &[], Some("title"));
        check("t", "", &[], Some("body"));
        check("t", "\u{1b}[31m", &[], Some("body"));
        check("t", &"o".repeat(10_001), &[], Some("body"));
        check("t", "b", &["a b"], Some("labels holds"));
        check("t", "b", &["a"; 11], Some("labels has 11"));
        check(
            "t",
            "password=hunter2",
            &[],
            Some("body holds what looks like a secret"),
        );
    }

    #[test]
    fn everything_is_shown() {
        let labels = ["x".to_owned(), "y".to_owned()];
        let written = Written {
            title: Some("Heap"),
            body: "one\n\ntwo",
            labels: &labels,
        };
        assert_eq!(
            written.preview("a new issue in shop/api:"),
            "a new issue in shop/api:\n+ title: Heap\n+ labels: x, y\n+ one\n+ \n+ two\n"
        );
    }
}
