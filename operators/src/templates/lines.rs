//! Records of `lines`: the lines of a batch with their templates, none larger than a broker takes.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{LogBatch, LogLine, TemplateRef, logs, topics};
use stream::{Context, Instant, NewRecord};

use super::hex;
use crate::signals_out::SignalsOut;

type Cx<'a> = Context<'a, SignalsOut>;

/// Bytes of a record of `lines` at which the next line starts another. Kafka's default limit is 1 MiB.
const MAX_RECORD_BYTES: usize = 512 * 1024;
/// Bytes to which the text of a line is cut that would not fit into a record: what Kafka producers write has no other limit, and
/// JSON may write a byte as six.
const MAX_TEXT_BYTES: usize = MAX_RECORD_BYTES / 8;

/// A record of `lines` under construction.
pub(super) struct Out {
    batch: LogBatch,
    places: BTreeMap<u64, u32>,
    bytes: usize,
}

impl Out {
    /// For lines of the batch `from`.
    pub fn new(from: &LogBatch, environment: &str, received_at: Instant) -> Self {
        let mut batch = LogBatch {
            schema: LogBatch::SCHEMA,
            environment: environment.to_owned(),
            observed_at: Some(received_at.0),
            lines: Vec::new(),
            templates: Vec::new(),
            ..from.clone()
        };
        if batch.size() > MAX_RECORD_BYTES / 2 {
            batch.labels = too_large("labels");
        }
        Out {
            bytes: batch.size(),
            batch,
            places: BTreeMap::new(),
        }
    }

    /// Puts a line in, written at `at`, of template `id`; `text` is asked for where the record does not have it yet.
    pub fn push(&mut self, line: &LogLine, at: i64, id: u64, text: impl FnOnce() -> Option<String>, cx: &mut Cx<'_>) {
        let mut kept = LogLine {
            at: Some(at),
            level: Some(line.level()),
            ..line.clone()
        };
        if kept.size() > MAX_RECORD_BYTES / 2 {
            kept.text = logs::cut(&kept.text, MAX_TEXT_BYTES).into_owned();
        }
        if kept.size() > MAX_RECORD_BYTES {
            kept.attributes = too_large("attributes");
            (kept.trace_id, kept.span_id) = (None, None);
        }
        if self.bytes + kept.size() > MAX_RECORD_BYTES {
            self.finish(cx);
        }
        let place = *self.places.entry(id).or_insert_with(|| {
            let template = TemplateRef {
                id: hex(id),
                text: text().unwrap_or_default(),
            };
            self.bytes += template.size();
            self.batch.templates.push(template);
            self.batch.templates.len() as u32 - 1
        });
        kept.template = Some(place);
        self.bytes += kept.size();
        self.batch.lines.push(kept);
    }

    /// Sends what is in it.
    pub fn finish(&mut self, cx: &mut Cx<'_>) {
        if self.batch.lines.is_empty() {
            return;
        }
        // A struct of strings and numbers always encodes.
        let value = serde_json::to_vec(&self.batch).unwrap_or_default();
        let record = NewRecord {
            value: value.into(),
            ..NewRecord::default()
        };
        cx.emit_side(&topics::LINES.into(), Bytes::from(self.batch.key()), record);
        self.batch.lines.clear();
        self.batch.templates.clear();
        self.places.clear();
        self.bytes = self.batch.size();
    }
}

/// In place of what makes a record too large: it is in `logs`, as it was sent.
fn too_large(what: &str) -> BTreeMap<String, String> {
    [("aegis.cut".to_owned(), format!("{what} left out: too large"))].into()
}
