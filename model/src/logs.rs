//! Log lines: the payload of `logs` and of `lines`.
//!
//! One record is one batch of lines of one service. `logs` is what senders said, the dispatcher's and Kafka producers'; `lines`
//! is what became of it: repeats of a delivery left out, each line with its template. Both have the same shape, and `lines`
//! says more: `observed_at`, `templates`, and for each line which of them it has.
//!
//! Text is text as it was sent; only what is longer than the entry's limit is cut, and says so. Lines of a stack trace are one
//! line of several rows ([`fold`]).

mod fold;
mod level;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use fold::{Folder, fold};
pub use level::Level;

/// Names of the headers of a record on `logs`.
pub mod header {
    /// Equal for the same batch sent again: it is taken once. Absent: every record is a batch of its own.
    pub const DELIVERY: &str = "aegis-delivery";
    /// Who brought it: `otlp`, `loki`, `lines`. For people.
    pub const SENDER: &str = "aegis-sender";
}

/// Payload of `logs` and `lines` (JSON, schema 1). Key: `tenant/service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBatch {
    pub schema: u32,
    pub tenant: String,
    /// Empty: the sender named none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub environment: String,
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What all lines share: resource attributes, stream labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub lines: Vec<LogLine>,
    /// On `lines`: when the batch was received, microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<i64>,
    /// On `lines`: the templates that its lines have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TemplateRef>,
}

/// One line, or the rows of one stack trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Microseconds since the epoch; absent: when it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// Absent: what the text sounds like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    pub text: String,
    /// 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// On `lines`: index into the batch's `templates`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<u32>,
}

/// A template as it stood when these lines were mined: its text may become more general, its id stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// 16 hex digits.
    pub id: String,
    pub text: String,
}

impl LogBatch {
    pub const SCHEMA: u32 = 1;

    /// The key of its record.
    pub fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.service)
    }

    /// Most bytes that it takes as a record.
    pub fn size(&self) -> usize {
        let names = [&self.tenant, &self.environment, &self.service];
        let maybe = [&self.cluster, &self.namespace];
        let names: usize = names
            .into_iter()
            .chain(maybe.into_iter().flatten())
            .map(|name| json_size(name))
            .sum();
        let templates: usize = self.templates.iter().map(TemplateRef::size).sum();
        192 + names + pairs_size(&self.labels) + templates + self.lines.iter().map(LogLine::size).sum::<usize>()
    }
}

/// Bytes of a text in JSON, with its quotes: an escape takes up to six.
fn json_size(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 1,
        0..=0x1f => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(escaped).sum::<usize>()
}

fn pairs_size(pairs: &BTreeMap<String, String>) -> usize {
    pairs
        .iter()
        .map(|(name, value)| 2 + json_size(name) + json_size(value))
        .sum()
}

impl TemplateRef {
    /// Most bytes that it takes in a record.
    pub fn size(&self) -> usize {
        24 + json_size(&self.id) + json_size(&self.text)
    }
}

impl LogLine {
    /// Most bytes that it takes in a record.
    pub fn size(&self) -> usize {
        let ids: usize = [&self.trace_id, &self.span_id]
            .into_iter()
            .flatten()
            .map(|id| json_size(id))
            .sum();
        160 + json_size(&self.text) + ids + pairs_size(&self.attributes)
    }

    /// The level that the sender gave, else what the text sounds like.
    pub fn level(&self) -> Level {
        self.level.unwrap_or_else(|| Level::detect(&self.text))
    }

    /// The row that says what happened: the first, or behind a Python traceback the last.
    pub fn message(&self) -> &str {
        let mut rows = self.text.lines().filter(|row| !row.trim().is_empty());
        let first = rows.next().unwrap_or_default();
        if first.trim_start().starts_with(fold::TRACEBACK) {
            return rows.next_back().unwrap_or(first);
        }
        first
    }
}

/// `text` cut to at most `most` bytes at a character's boundary, with a word about it; as it is when it is no longer.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(most);
    Cow::Owned(format!("{} [cut: {} more bytes]", &text[..end], text.len() - end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never edited: producers write this, and topics hold it.
    const SCHEMA_1: &str = r#"{"schema":1,"tenant":"default","environment":"prod","service":"checkout","namespace":"shop","labels":{"pod":"checkout-7f9"},"lines":[{"at":1760000000000000,"level":"error","text":"order 4711 failed","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","attributes":{"order.id":"4711"},"template":0},{"text":"plain"}],"observed_at":1760000000500000,"templates":[{"id":"00c0ffee00c0ffee","text":"order <num> failed"}]}"#;

    #[test]
    fn the_frozen_sample_is_read_and_written_as_it_is() {
        let batch: LogBatch = serde_json::from_str(SCHEMA_1).unwrap();
        assert_eq!(serde_json::to_string(&batch).unwrap(), SCHEMA_1);
        assert_eq!(batch.key(), "default/checkout");
        assert_eq!(batch.lines[0].level, Some(Level::Error));
    }

    #[test]
    fn the_least_that_a_producer_writes() {
        let least = r#"{"schema":1,"tenant":"t","service":"s","lines":[{"text":"x"}]}"#;
        let batch: LogBatch = serde_json::from_str(least).unwrap();
        assert_eq!(serde_json::to_string(&batch).unwrap(), least);
    }

    #[test]
    fn sizes_are_no_less_than_what_is_written() {
        let check = |text: &str| {
            let line = LogLine {
                at: Some(i64::MAX),
                level: Some(Level::Unknown),
                text: text.to_owned(),
                trace_id: Some(text.to_owned()),
                attributes: [(text.to_owned(), text.to_owned())].into(),
                template: Some(u32::MAX),
                ..LogLine::default()
            };
            let batch = LogBatch {
                schema: 1,
                tenant: text.to_owned(),
                service: text.to_owned(),
                cluster: Some(text.to_owned()),
                labels: [(text.to_owned(), text.to_owned())].into(),
                lines: vec![line.clone(), line],
                observed_at: Some(i64::MIN),
                templates: vec![TemplateRef {
                    id: text.to_owned(),
                    text: text.to_owned(),
                }],
                ..LogBatch::default()
            };
            let written = serde_json::to_vec(&batch).unwrap().len();
            assert!(
                (written..written + 600).contains(&batch.size()),
                "{} for {written}",
                batch.size()
            );
        };
        for text in [
            "",
            "plain",
            "\u{0}\u{1}\u{1f}\n\t\"\\",
            "\u{e9}\u{1f600}\u{7f}",
            &"\u{0}".repeat(1_000),
        ] {
            check(text);
        }
    }

    #[test]
    fn what_happened() {
        let check = |text: &str, expected| {
            let line = LogLine {
                text: text.to_owned(),
                ..LogLine::default()
            };
            assert_eq!(line.message(), expected);
        };
        check("one", "one");
        check("\nException in thread\n\tat a.B", "Exception in thread");
        check(
            "Traceback (most recent call last):\n  File \"x\"\nValueError: no\n",
            "ValueError: no",
        );
        check("", "");
    }

    #[test]
    fn cutting() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc [cut: 1 more bytes]");
        assert_eq!(cut("a\u{e9}b", 2), "a [cut: 3 more bytes]");
    }
}
