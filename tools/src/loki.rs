//! Log lines by Loki's `query_range`, and the labels that they carry: <https://grafana.com/docs/loki/latest/reference/loki-http-api/>.
//!
//! Which label holds the service's name differs from place to place, so several are tried until one has lines. Levels are known
//! where the sender set `level`, or where Loki recognised one (`detected_level`).

pub mod logql;

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::ToolError;
use crate::observe::{LabelAnswer, LabelQuery, LogAnswer, LogLine, LogQuery, Logs};
use crate::redact::{in_text, redact, redact_named, shorten};
use crate::settings::{LokiSettings, label_name};
use crate::wire::{Failure, Http};

const TOOL: &str = "loki";

/// Labels, or values of one, that are handed on. More: the label is no name of anything, as that of a request.
const LABELS: usize = 500;
const LABEL_CHARS: usize = 200;

/// A Loki.
pub struct Loki {
    http: Http,
    service_labels: Vec<String>,
    max_lines: u32,
    max_line_chars: usize,
}

impl Loki {
    pub fn new(settings: &LokiSettings) -> Result<Self, ToolError> {
        let (token, limit) = (settings.token.clone(), settings.max_answer_bytes);
        let mut http = Http::new(TOOL, &settings.url, token, settings.timeout(), limit)?;
        if let Some(tenant) = &settings.tenant {
            let value = HeaderValue::try_from(tenant)
                .map_err(|_| ToolError::refused(TOOL, "no header can carry the tenant's name"))?;
            http = http.with_header(HeaderName::from_static("x-scope-orgid"), value);
        }
        Ok(Loki {
            http,
            service_labels: settings.service_labels.clone(),
            max_lines: settings.max_lines,
            max_line_chars: settings.max_line_chars,
        })
    }

    /// One line more than asked for, so that it is seen whether there are more.
    async fn ask(&self, logql: &str, query: &LogQuery, limit: u32) -> Result<Vec<LogLine>, ToolError> {
        let (from, to, limit) = (
            nanoseconds(query.from)?,
            nanoseconds(query.to)?,
            (limit + 1).to_string(),
        );
        let parameters = [
            ("query", logql),
            ("start", &from),
            ("end", &to),
            ("limit", &limit),
            ("direction", "backward"),
        ];
        let answer: Answer = self
            .http
            .get("/loki/api/v1/query_range", &parameters)
            .await
            .map_err(|failure| failure.of_a_question(TOOL))?;
        let mut lines = Vec::new();
        for stream in answer.data.result {
            for entry in stream.values {
                lines.push(
                    self.line(&stream.stream, entry)
                        .map_err(|failure| failure.of_a_question(TOOL))?,
                );
            }
        }
        // Each stream is in order; all of them together are not.
        lines.sort_by_key(|line| std::cmp::Reverse(line.at));
        Ok(lines)
    }

    fn line(&self, labels: &BTreeMap<String, String>, entry: Entry) -> Result<LogLine, Failure> {
        let nanoseconds: i64 = entry
            .at
            .parse()
            .map_err(|_| Failure::Garbled(format!("a line at {:?}", entry.at)))?;
        let own = |name: &str| {
            entry.metadata["structuredMetadata"][name]
                .as_str()
                .or(entry.metadata[name].as_str())
        };
        let level = ["level", "detected_level", "severity"]
            .iter()
            .find_map(|name| own(name).or_else(|| labels.get(*name).map(String::as_str)))
            .filter(|level| *level != "unknown");
        Ok(LogLine {
            at: DateTime::from_timestamp_nanos(nanoseconds),
            level: level.map(str::to_lowercase),
            // Hidden before it is cut: a token cut in half is no longer recognised.
            text: shorten(&redact(&entry.text), self.max_line_chars),
            secrets: in_text(&entry.text, "the line"),
        })
    }
}

#[async_trait]
impl Logs for Loki {
    fn name(&self) -> &'static str {
        TOOL
    }

    async fn search(&self, query: &LogQuery) -> Result<LogAnswer, ToolError> {
        if query.service.is_empty() || query.limit == 0 || query.to <= query.from {
            let cause = "a search names a service, asks for at least one line, and ends after it starts";
            return Err(ToolError::refused(TOOL, cause));
        }
        let limit = query.limit.min(self.max_lines);
        let mut asked = Vec::new();
        for label in &self.service_labels {
            let logql = logql::of(label, query).map_err(|cause| ToolError::refused(TOOL, cause))?;
            let mut lines = self.ask(&logql, query, limit).await?;
            if !lines.is_empty() {
                let cut = lines.len() > limit as usize;
                lines.truncate(limit as usize);
                return Ok(LogAnswer {
                    query: logql,
                    lines,
                    cut,
                });
            }
            asked.push(logql);
        }
        // Nothing under any label: every question asked, one a line, so that each can be asked again.
        Ok(LogAnswer {
            query: asked.join("\n"),
            lines: Vec::new(),
            cut: false,
        })
    }

    async fn labels(&self, query: &LabelQuery) -> Result<LabelAnswer, ToolError> {
        if query.to <= query.from {
            return Err(ToolError::refused(TOOL, "a question for labels ends after it starts"));
        }
        let path = match &query.name {
            None => "/loki/api/v1/labels".to_owned(),
            Some(name) if label_name(name) => format!("/loki/api/v1/label/{name}/values"),
            Some(name) => {
                let cause = format!("{name:?} is no label of Loki: letters, digits and _, and no digit first");
                return Err(ToolError::refused(TOOL, cause));
            }
        };
        let (from, to) = (nanoseconds(query.from)?, nanoseconds(query.to)?);
        let answer: Result<Labels, _> = self.http.get(&path, &[("start", &from), ("end", &to)]).await;
        let found = answer.and_then(|answer| match answer.status.as_str() {
            "success" => Ok(answer.data),
            other => Err(Failure::Garbled(format!("the status {other:?} within a 200"))),
        });
        let mut values = found.map_err(|failure| failure.of_a_question(TOOL))?;
        values.sort();
        values.dedup();
        let cut = values.len() > LABELS;
        values.truncate(LABELS);
        let values = values.iter().map(|value| match &query.name {
            Some(name) => shorten(&redact_named(name, value), LABEL_CHARS),
            None => shorten(&redact(value), LABEL_CHARS),
        });
        Ok(LabelAnswer {
            values: values.collect(),
            cut,
        })
    }
}

fn nanoseconds(at: DateTime<Utc>) -> Result<String, ToolError> {
    at.timestamp_nanos_opt()
        .map(|at| at.to_string())
        .ok_or_else(|| ToolError::refused(TOOL, format!("{at} is out of the range of time that Loki knows")))
}

/// Names, or values, of labels. A Loki that knows none leaves `data` out.
#[derive(Deserialize)]
struct Labels {
    status: String,
    #[serde(default)]
    data: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    data: Streams,
}

#[derive(Deserialize)]
struct Streams {
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    stream: BTreeMap<String, String>,
    values: Vec<Entry>,
}

/// `[nanoseconds, line]`, and since Loki 3 a third element with the labels of the line alone.
#[derive(Deserialize)]
#[serde(from = "EntryParts")]
struct Entry {
    at: String,
    text: String,
    metadata: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EntryParts {
    Plain(String, String),
    WithMetadata(String, String, Value),
}

impl From<EntryParts> for Entry {
    fn from(parts: EntryParts) -> Self {
        let (at, text, metadata) = match parts {
            EntryParts::Plain(at, text) => (at, text, Value::Null),
            EntryParts::WithMetadata(at, text, metadata) => (at, text, metadata),
        };
        Entry { at, text, metadata }
    }
}
