//! Log lines from senders: OTLP, Loki's push, plain text. Bytes become [`LogBatch`]es, one per service and set of labels, cut to
//! the size of a record.
//!
//! No I/O here: the dispatcher's doors (`webhook::logs`) and `aegis ingest` share it. A body that is not of its form is refused
//! as a whole, with the place; a single line that cannot be taken is counted and the first one's reason kept, for senders that
//! can be told so (OTLP). What is longer than the limits is cut and says so.

pub mod files;
pub mod lines;
pub mod loki;
pub mod otlp;
pub mod packed;
mod settings;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use model::logs::{Folder, cut};
use model::{LogBatch, LogLine, logs};
use stream::{Instant, NewRecord};

pub use settings::LogIntakeSettings;

/// Bytes of a record of `logs`. Kafka's default limit is 1 MiB; JSON's escapes may double a text.
const MAX_RECORD_BYTES: usize = 384 * 1024;
/// Bytes of one entry as sent, with its attributes. More, and entries made of nothing but attributes would take many times their
/// size in memory.
pub(crate) const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// Bytes of the name of a service, an environment, a cluster, a namespace. Longer ones are cut.
const MOST_NAME: usize = 256;

/// In which of two encodings a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Protobuf,
    Json,
}

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A fixed word.
    pub reason: &'static str,
    pub detail: String,
    /// `/streams/0/values/3`, or `line 1 column 7`; empty for all of it.
    pub place: String,
    pub too_large: bool,
}

impl Fault {
    pub(crate) fn bad(reason: &'static str, place: impl Into<String>, detail: impl Into<String>) -> Self {
        Fault {
            reason,
            detail: detail.into(),
            place: place.into(),
            too_large: false,
        }
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Fault {
            too_large: true,
            ..Fault::bad("too-large", "", detail)
        }
    }

    pub(crate) fn json(place: &str, error: &serde_json::Error) -> Self {
        let reason = if error.is_data() {
            "wrong-type"
        } else {
            "malformed-json"
        };
        let place = match (place, error.line()) {
            ("", line) if line > 0 => format!("line {line} column {}", error.column()),
            _ => place.to_owned(),
        };
        Fault::bad(reason, place, error.to_string())
    }
}

/// What became of a body.
#[derive(Debug, Default)]
pub struct Collected {
    pub batches: Vec<LogBatch>,
    pub lines: usize,
    pub rejected: u64,
    /// Why the first one was.
    pub first_rejection: Option<String>,
    /// Every line had a time of its own: the same bytes are the same lines.
    pub timed: bool,
}

/// Takes lines in, stream by stream.
pub struct Collector<'a> {
    settings: &'a LogIntakeSettings,
    /// Whether the value of a label or attribute may not be kept.
    hides: &'a (dyn Fn(&str) -> bool + Sync),
    tenant: &'a str,
    streams: Vec<(BTreeMap<String, String>, Folder)>,
    by_labels: BTreeMap<BTreeMap<String, String>, usize>,
    lines: usize,
    rejected: u64,
    first_rejection: Option<String>,
    timed: bool,
}

impl<'a> Collector<'a> {
    pub fn new(settings: &'a LogIntakeSettings, tenant: &'a str, hides: &'a (dyn Fn(&str) -> bool + Sync)) -> Self {
        Collector {
            settings,
            hides,
            tenant,
            streams: Vec::new(),
            by_labels: BTreeMap::new(),
            lines: 0,
            rejected: 0,
            first_rejection: None,
            timed: true,
        }
    }

    /// The stream of these labels; lines are put into it by its number.
    pub(crate) fn stream(&mut self, mut labels: BTreeMap<String, String>) -> Result<usize, Fault> {
        self.tidy(&mut labels);
        if let Some(known) = self.by_labels.get(&labels) {
            return Ok(*known);
        }
        let most = self.settings.max_streams;
        if self.streams.len() >= most {
            return Err(Fault::too_large(format!(
                "more than {most} streams (sets of labels) in one request"
            )));
        }
        self.by_labels.insert(labels.clone(), self.streams.len());
        self.streams.push((labels, Folder::default()));
        Ok(self.streams.len() - 1)
    }

    pub(crate) fn line(&mut self, stream: usize, mut line: LogLine) -> Result<(), Fault> {
        self.count()?;
        self.timed &= line.at.is_some();
        self.tidy(&mut line.attributes);
        if line.text.len() > self.settings.max_line_bytes {
            line.text = cut(&line.text, self.settings.max_line_bytes).into_owned();
        }
        if let Some((_, folder)) = self.streams.get_mut(stream) {
            folder.push(line);
        }
        Ok(())
    }

    /// A line that cannot be taken; `why` says where it stands.
    pub(crate) fn reject(&mut self, why: impl FnOnce() -> String) -> Result<(), Fault> {
        self.count()?;
        self.rejected += 1;
        self.first_rejection.get_or_insert_with(why);
        Ok(())
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.lines += 1;
        if self.lines > self.settings.max_lines {
            return Err(Fault::too_large(format!(
                "more than {} lines in one request",
                self.settings.max_lines
            )));
        }
        Ok(())
    }

    fn tidy(&self, values: &mut BTreeMap<String, String>) {
        for (name, value) in values {
            if (self.hides)(name) {
                "[redacted]".clone_into(value);
            } else if value.len() > self.settings.max_line_bytes {
                *value = cut(value, self.settings.max_line_bytes).into_owned();
            }
        }
    }

    /// Everything, in records' sizes.
    pub fn finish(self) -> Collected {
        let mut collected = Collected {
            lines: self.lines,
            rejected: self.rejected,
            first_rejection: self.first_rejection,
            timed: self.timed,
            ..Collected::default()
        };
        for (labels, folder) in self.streams {
            let lines = folder.finish();
            if lines.is_empty() {
                continue;
            }
            let named = |names: &[String]| {
                let found = names
                    .iter()
                    .find_map(|name| labels.get(name).filter(|value| !value.is_empty()));
                found.map(|name| cut(name, MOST_NAME).into_owned())
            };
            let head = LogBatch {
                schema: LogBatch::SCHEMA,
                tenant: self.tenant.to_owned(),
                environment: named(&self.settings.environment_labels).unwrap_or_default(),
                service: named(&self.settings.service_labels).unwrap_or_else(|| UNKNOWN_SERVICE.to_owned()),
                cluster: named(&self.settings.cluster_labels),
                namespace: named(&self.settings.namespace_labels),
                labels,
                ..LogBatch::default()
            };
            split(head, lines, &mut collected.batches);
        }
        collected
    }
}

/// Service of lines whose labels name none.
const UNKNOWN_SERVICE: &str = "unknown";

fn split(head: LogBatch, lines: Vec<LogLine>, batches: &mut Vec<LogBatch>) {
    let empty = head.size();
    let (mut batch, mut bytes) = (head.clone(), empty);
    for line in lines {
        if bytes + line.size() > MAX_RECORD_BYTES && !batch.lines.is_empty() {
            batches.push(std::mem::replace(&mut batch, head.clone()));
            bytes = empty;
        }
        bytes += line.size();
        batch.lines.push(line);
    }
    batches.push(batch);
}

/// The records of `logs` for what one body held. `delivery` names the body where the same bytes are the same lines.
pub fn records(batches: &[LogBatch], sender: &str, delivery: Option<&str>, now: Instant) -> Vec<NewRecord> {
    let record = |(part, batch): (usize, &LogBatch)| {
        let mut headers = vec![(
            logs::header::SENDER.to_owned(),
            Bytes::copy_from_slice(sender.as_bytes()),
        )];
        if let Some(delivery) = delivery {
            headers.push((
                logs::header::DELIVERY.to_owned(),
                Bytes::from(format!("{delivery}/{part}")),
            ));
        }
        NewRecord {
            key: Some(Bytes::from(batch.key())),
            // A struct of strings and numbers always encodes.
            value: serde_json::to_vec(batch).unwrap_or_default().into(),
            headers,
            timestamp: now,
        }
    };
    batches.iter().enumerate().map(record).collect()
}

/// Nanoseconds since the epoch as microseconds.
pub(crate) fn micros(nanos: u64) -> Option<i64> {
    (nanos > 0).then(|| i64::try_from(nanos / 1_000).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_the_same_labels_are_one_and_large_ones_are_split() {
        let settings = LogIntakeSettings::default();
        let hides = |name: &str| name == "password";
        let mut collector = Collector::new(&settings, "t", &hides);
        let labels = |service: &str| {
            let all = [("app", service), ("env", "prod"), ("password", "x")];
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        for n in 0..30 {
            let stream = collector.stream(labels(["a", "b"][n % 2])).unwrap();
            let line = LogLine {
                text: "x".repeat(50_000),
                ..LogLine::default()
            };
            collector.line(stream, line).unwrap();
        }
        let collected = collector.finish();
        let sizes: Vec<(&str, usize)> = collected
            .batches
            .iter()
            .map(|b| (b.service.as_str(), b.lines.len()))
            .collect();
        assert_eq!(sizes, [("a", 7), ("a", 7), ("a", 1), ("b", 7), ("b", 7), ("b", 1)]);
        let first = &collected.batches[0];
        assert_eq!(
            (first.environment.as_str(), first.labels["password"].as_str()),
            ("prod", "[redacted]")
        );
        assert!(!collected.timed);
    }

    #[test]
    fn limits() {
        let settings = LogIntakeSettings {
            max_lines: 2,
            max_streams: 1,
            max_line_bytes: 3,
            ..LogIntakeSettings::default()
        };
        let mut collector = Collector::new(&settings, "t", &|_| false);
        let stream = collector.stream(BTreeMap::new()).unwrap();
        assert!(
            collector
                .stream([("a".to_owned(), "b".to_owned())].into())
                .unwrap_err()
                .too_large
        );
        let line = || LogLine {
            text: "abcd".into(),
            ..LogLine::default()
        };
        collector.line(stream, line()).unwrap();
        collector.reject(|| "why".into()).unwrap();
        assert!(collector.line(stream, line()).unwrap_err().too_large);
        let collected = collector.finish();
        assert_eq!(collected.batches[0].lines[0].text, "abc [cut: 1 more bytes]");
        assert_eq!(
            (collected.batches[0].service.as_str(), collected.rejected),
            ("unknown", 1)
        );
    }
}
