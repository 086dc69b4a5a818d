//! Signals on the wire: rows into records of `signals` and `transitions`, and back.

use std::fmt;

use model::{SignalBatch, SignalBatchBuilder, SignalRow};
use stream::{Instant, NewRecord, Record, Reject, RowBuffer};

/// Bytes of a record at which the next row starts another. Kafka's default limit is 1 MiB; far smaller records cost headers
/// and columns per row.
const MAX_RECORD_BYTES: usize = 512 * 1024;
/// Rows of a record, for the memory that a reader needs at once.
const MAX_RECORD_ROWS: usize = 4_096;

/// Collects signals for one output partition; a record holds one batch and has no key (its rows differ in theirs).
#[derive(Debug, Default)]
pub struct SignalsOut {
    /// Created with the first row: an idle partition costs nothing.
    builder: Option<SignalBatchBuilder>,
    /// Full batches, encoded.
    sealed: Vec<Result<Vec<u8>, String>>,
    sealed_bytes: usize,
    sealed_rows: usize,
    open_bytes: usize,
}

impl SignalsOut {
    fn seal(&mut self) {
        let Some(builder) = self.builder.as_mut().filter(|builder| !builder.is_empty()) else {
            return;
        };
        self.sealed_rows += builder.len();
        let encoded = builder
            .finish()
            .and_then(|batch| batch.encode())
            .map_err(|e| e.to_string());
        self.sealed_bytes += encoded.as_ref().map_or(0, Vec::len);
        self.open_bytes = 0;
        self.sealed.push(encoded);
    }
}

impl RowBuffer for SignalsOut {
    type Row<'a> = SignalRow<'a>;

    fn push(&mut self, _key: &[u8], row: &SignalRow<'_>) {
        let bytes = size_of_row(row);
        let full = self
            .builder
            .as_ref()
            .is_some_and(|builder| builder.len() == MAX_RECORD_ROWS);
        if full || self.open_bytes + bytes > MAX_RECORD_BYTES {
            self.seal();
        }
        self.open_bytes += bytes;
        self.builder.get_or_insert_with(SignalBatchBuilder::new).push(row);
    }

    fn rows(&self) -> usize {
        self.sealed_rows + self.builder.as_ref().map_or(0, SignalBatchBuilder::len)
    }

    fn bytes(&self) -> usize {
        self.sealed_bytes + self.open_bytes
    }

    fn drain(&mut self, timestamp: Instant) -> Result<Vec<NewRecord>, String> {
        self.seal();
        (self.sealed_bytes, self.sealed_rows) = (0, 0);
        let sealed = std::mem::take(&mut self.sealed);
        sealed
            .into_iter()
            .map(|bytes| {
                Ok(NewRecord {
                    key: None,
                    value: bytes?.into(),
                    headers: Vec::new(),
                    timestamp,
                })
            })
            .collect()
    }
}

/// Bytes of a row in an encoded batch, about: texts, and what the fixed columns and offsets take.
fn size_of_row(row: &SignalRow<'_>) -> usize {
    let optional = [
        row.description,
        row.service,
        row.cluster,
        row.namespace,
        row.group,
        row.extra,
    ];
    let required = [
        row.tenant,
        row.environment,
        row.source,
        row.dedup_key,
        row.dedup_rule,
        row.title,
        row.labels,
        row.annotations,
    ];
    192 + required.iter().map(|text| text.len()).sum::<usize>()
        + optional.iter().flatten().map(|text| text.len()).sum::<usize>()
}

/// Reads a record of `signals` or `transitions`. Bytes that are no batch are refused as `bad_batch`.
pub fn decode_signals(record: &Record) -> Result<SignalBatch, Reject> {
    SignalBatch::decode(&record.value).map_err(|error| refuse(&error))
}

fn refuse(error: &dyn fmt::Display) -> Reject {
    Reject {
        reason: "bad_batch",
        detail: error.to_string(),
        field: None,
        index: None,
    }
}
