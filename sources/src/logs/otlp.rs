//! OTLP logs, protobuf and JSON: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>, `opentelemetry/proto/logs/v1/logs.proto`.
//!
//! Read as the specification says: unknown fields are passed over, ids are hex in JSON, 64-bit numbers strings or numbers, and
//! a record that cannot be taken is counted in `partial_success` and does not take its neighbours with it. A record without a body
//! and without an event name says nothing and is rejected. Resource attributes become the labels of a batch; the scope's name, and
//! the record's attributes, stay with the line.

mod json;
mod protobuf;

use std::collections::BTreeMap;

use model::{Level, LogLine};

use super::{Collector, Fault, Form};

pub use protobuf::{answer, status};

/// Reads a body into `collector`.
pub fn read(form: Form, body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    match form {
        Form::Protobuf => protobuf::read(body, collector),
        Form::Json => json::read(body, collector),
    }
}

/// A record of either encoding, as far as a line has it.
#[derive(Debug, Default)]
struct Said {
    at: Option<i64>,
    number: i32,
    word: String,
    text: String,
    event: String,
    trace_id: String,
    span_id: String,
    attributes: BTreeMap<String, String>,
}

impl Said {
    /// `None`: it says nothing.
    fn line(self, scope: &str) -> Option<LogLine> {
        let level = Level::from_number(self.number).or_else(|| Level::from_word(&self.word));
        let text = if self.text.is_empty() {
            self.event.clone()
        } else {
            self.text
        };
        if text.is_empty() {
            return None;
        }
        let mut attributes = self.attributes;
        if !scope.is_empty() {
            attributes.insert("scope.name".to_owned(), scope.to_owned());
        }
        if !self.event.is_empty() {
            attributes.insert("event.name".to_owned(), self.event);
        }
        let id = |text: String| (!text.is_empty()).then_some(text);
        Some(LogLine {
            at: self.at,
            level,
            text,
            trace_id: id(self.trace_id),
            span_id: id(self.span_id),
            attributes,
            template: None,
        })
    }
}

/// Puts one record in, or counts it as rejected.
fn take(
    said: Result<Said, String>,
    scope: &str,
    stream: usize,
    place: impl Fn() -> String,
    collector: &mut Collector<'_>,
) -> Result<(), Fault> {
    match said.map(|said| said.line(scope)) {
        Ok(Some(line)) => collector.line(stream, line),
        Ok(None) => collector.reject(|| format!("{}: neither a body nor an event name", place())),
        Err(problem) => collector.reject(|| format!("{}: {problem}", place())),
    }
}
