//! The hot lane: signals as Arrow columns, with a typed view.
//!
//! [`SignalBatch`] reads rows as [`SignalRow`]s that borrow from the columns; [`SignalBatchBuilder`] appends rows.
//! On the wire (`signals`, `transitions`) one record holds one batch: a version byte, the length of the Arrow IPC
//! record-batch message, the message, the body. The schema is not repeated: the version names it.
//!
//! A batch is checked as it is decoded (types, nulls, enum words), so that [`SignalBatch::row`] cannot fail.

mod wire;

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, TimestampMicrosecondBuilder, UInt8Array, UInt8Builder, UInt32Array, UInt32Builder,
    UInt64Array, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use uuid::Uuid;

use crate::{EpisodeId, Origin, Severity, SignalId, SignalKind, SignalRow, SignalState, Transition, TransitionKind};

/// Version of the columns; part of every encoded batch.
pub const SCHEMA_VERSION: u8 = 1;

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error(
        "signal batch of schema version {found}, this program reads {SCHEMA_VERSION}: upgrade it, or drain the topic first"
    )]
    Version { found: u8 },
    #[error("signal batch is cut short: {found} bytes, {wanted} announced")]
    Torn { found: usize, wanted: usize },
    #[error("signal batch column {column}: {problem}")]
    Column { column: &'static str, problem: String },
    #[error("signal batch: {0}")]
    Arrow(#[from] ArrowError),
}

const UTC: &str = "+00:00";

/// The columns, in order. Enum columns hold small integers on the wire; [`SignalBatch::to_sql_batch`] spells them out.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    let id = || DataType::FixedSizeBinary(16);
    let f = Field::new;
    Arc::new(Schema::new(vec![
        f("id", id(), false),
        f("tenant", DataType::Utf8, false),
        f("environment", DataType::Utf8, false),
        f("source", DataType::Utf8, false),
        f("kind", DataType::UInt8, false),
        f("state", DataType::UInt8, false),
        f("dedup_key", DataType::Utf8, false),
        f("dedup_rule", DataType::Utf8, false),
        f("event_at", time(), false),
        f("observed_at", time(), false),
        f("effective_at", time(), false),
        f("ends_at", time(), true),
        f("severity", DataType::UInt8, false),
        f("title", DataType::Utf8, false),
        f("description", DataType::Utf8, true),
        f("service", DataType::Utf8, true),
        f("cluster", DataType::Utf8, true),
        f("namespace", DataType::Utf8, true),
        f("group", DataType::Utf8, true),
        f("labels", DataType::Utf8, false),
        f("annotations", DataType::Utf8, false),
        f("extra", DataType::Utf8, true),
        f("digest", DataType::UInt64, false),
        f("raw_partition", DataType::UInt32, false),
        f("raw_offset", DataType::UInt64, false),
        f("raw_index", DataType::UInt32, false),
        f("transition", DataType::UInt8, true),
        f("episode", id(), true),
        f("repeats", DataType::UInt64, true),
    ]))
});

/// The schema of `signals` and `transitions`.
pub fn schema() -> SchemaRef {
    SCHEMA.clone()
}

const KINDS: [SignalKind; 5] = [
    SignalKind::Alert,
    SignalKind::Change,
    SignalKind::ClusterEvent,
    SignalKind::LogPattern,
    SignalKind::Security,
];
const STATES: [SignalState; 6] = [
    SignalState::Firing,
    SignalState::Resolved,
    SignalState::Event,
    SignalState::Triggered,
    SignalState::Cleared,
    SignalState::Acknowledged,
];
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
const TRANSITIONS: [TransitionKind; 6] = [
    TransitionKind::New,
    TransitionKind::Updated,
    TransitionKind::Resolved,
    TransitionKind::Reopened,
    TransitionKind::Acknowledged,
    TransitionKind::Revived,
];

/// A typed view over a record batch of [`schema`].
#[derive(Clone, Debug)]
pub struct SignalBatch {
    batch: RecordBatch,
    id: FixedSizeBinaryArray,
    tenant: StringArray,
    environment: StringArray,
    source: StringArray,
    kind: UInt8Array,
    state: UInt8Array,
    dedup_key: StringArray,
    dedup_rule: StringArray,
    event_at: TimestampMicrosecondArray,
    observed_at: TimestampMicrosecondArray,
    effective_at: TimestampMicrosecondArray,
    ends_at: TimestampMicrosecondArray,
    severity: UInt8Array,
    title: StringArray,
    description: StringArray,
    service: StringArray,
    cluster: StringArray,
    namespace: StringArray,
    group: StringArray,
    labels: StringArray,
    annotations: StringArray,
    extra: StringArray,
    digest: UInt64Array,
    raw_partition: UInt32Array,
    raw_offset: UInt64Array,
    raw_index: UInt32Array,
    transition: UInt8Array,
    episode: FixedSizeBinaryArray,
    repeats: UInt64Array,
}

impl SignalBatch {
    /// Checks and takes a record batch of [`schema`].
    pub fn new(batch: RecordBatch) -> Result<Self, BatchError> {
        fn column<A: Array + Clone + 'static>(batch: &RecordBatch, name: &'static str) -> Result<A, BatchError> {
            let array = batch.column_by_name(name).ok_or_else(|| BatchError::Column {
                column: name,
                problem: "is missing".into(),
            })?;
            let nullable = SCHEMA.field_with_name(name).is_ok_and(Field::is_nullable);
            if !nullable && array.null_count() > 0 {
                return Err(BatchError::Column {
                    column: name,
                    problem: format!("{} nulls", array.null_count()),
                });
            }
            array
                .as_any()
                .downcast_ref::<A>()
                .cloned()
                .ok_or_else(|| BatchError::Column {
                    column: name,
                    problem: format!("has type {}", array.data_type()),
                })
        }
        fn within(array: &UInt8Array, limit: usize, name: &'static str) -> Result<(), BatchError> {
            match array.iter().flatten().find(|code| usize::from(*code) >= limit) {
                Some(code) => Err(BatchError::Column {
                    column: name,
                    problem: format!("unknown code {code}"),
                }),
                None => Ok(()),
            }
        }
        let b = &batch;
        let view = SignalBatch {
            id: column(b, "id")?,
            tenant: column(b, "tenant")?,
            environment: column(b, "environment")?,
            source: column(b, "source")?,
            kind: column(b, "kind")?,
            state: column(b, "state")?,
            dedup_key: column(b, "dedup_key")?,
            dedup_rule: column(b, "dedup_rule")?,
            event_at: column(b, "event_at")?,
            observed_at: column(b, "observed_at")?,
            effective_at: column(b, "effective_at")?,
            ends_at: column(b, "ends_at")?,
            severity: column(b, "severity")?,
            title: column(b, "title")?,
            description: column(b, "description")?,
            service: column(b, "service")?,
            cluster: column(b, "cluster")?,
            namespace: column(b, "namespace")?,
            group: column(b, "group")?,
            labels: column(b, "labels")?,
            annotations: column(b, "annotations")?,
            extra: column(b, "extra")?,
            digest: column(b, "digest")?,
            raw_partition: column(b, "raw_partition")?,
            raw_offset: column(b, "raw_offset")?,
            raw_index: column(b, "raw_index")?,
            transition: column(b, "transition")?,
            episode: column(b, "episode")?,
            repeats: column(b, "repeats")?,
            batch,
        };
        within(&view.kind, KINDS.len(), "kind")?;
        within(&view.state, STATES.len(), "state")?;
        within(&view.severity, SEVERITIES.len(), "severity")?;
        within(&view.transition, TRANSITIONS.len(), "transition")?;
        if view.id.value_length() != 16 || view.episode.value_length() != 16 {
            return Err(BatchError::Column {
                column: "id",
                problem: "is not 16 bytes wide".into(),
            });
        }
        Ok(view)
    }

    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns as they are.
    pub fn record_batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// Row `i`; panics when `i >= len()`, as indexing does.
    pub fn row(&self, i: usize) -> SignalRow<'_> {
        fn text(array: &StringArray, i: usize) -> Option<&str> {
            array.is_valid(i).then(|| array.value(i))
        }
        SignalRow {
            id: SignalId(uuid_at(&self.id, i)),
            tenant: self.tenant.value(i),
            environment: self.environment.value(i),
            source: self.source.value(i),
            kind: KINDS[usize::from(self.kind.value(i))],
            state: STATES[usize::from(self.state.value(i))],
            dedup_key: self.dedup_key.value(i),
            dedup_rule: self.dedup_rule.value(i),
            event_at: self.event_at.value(i),
            observed_at: self.observed_at.value(i),
            effective_at: self.effective_at.value(i),
            ends_at: self.ends_at.is_valid(i).then(|| self.ends_at.value(i)),
            severity: SEVERITIES[usize::from(self.severity.value(i))],
            title: self.title.value(i),
            description: text(&self.description, i),
            service: text(&self.service, i),
            cluster: text(&self.cluster, i),
            namespace: text(&self.namespace, i),
            group: text(&self.group, i),
            labels: self.labels.value(i),
            annotations: self.annotations.value(i),
            extra: text(&self.extra, i),
            digest: self.digest.value(i),
            origin: Origin {
                partition: self.raw_partition.value(i),
                offset: self.raw_offset.value(i),
                index: self.raw_index.value(i),
            },
            transition: self.transition.is_valid(i).then(|| Transition {
                kind: TRANSITIONS[usize::from(self.transition.value(i))],
                episode: EpisodeId(if self.episode.is_valid(i) {
                    uuid_at(&self.episode, i)
                } else {
                    Uuid::nil()
                }),
                repeats: if self.repeats.is_valid(i) {
                    self.repeats.value(i)
                } else {
                    0
                },
            }),
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = SignalRow<'_>> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// Just the key and the effective time of row `i`: what a keyed operator needs before it looks further.
    pub fn key_and_time(&self, i: usize) -> (&str, i64) {
        (self.dedup_key.value(i), self.effective_at.value(i))
    }

    /// For SQL and Parquet: ids and enums as text.
    pub fn to_sql_batch(&self) -> Result<RecordBatch, BatchError> {
        let mut fields: Vec<Arc<Field>> = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        let spelled = |name: &str| -> Option<ArrayRef> {
            let uuids = |a: &FixedSizeBinaryArray| -> ArrayRef {
                Arc::new(StringArray::from_iter(
                    (0..a.len()).map(|i| a.is_valid(i).then(|| uuid_at(a, i).to_string())),
                ))
            };
            let words = |a: &UInt8Array, word: &dyn Fn(usize) -> &'static str| -> ArrayRef {
                Arc::new(StringArray::from_iter(
                    a.iter().map(|code| code.map(|c| word(usize::from(c)))),
                ))
            };
            Some(match name {
                "id" => uuids(&self.id),
                "episode" => uuids(&self.episode),
                "kind" => words(&self.kind, &|c| KINDS[c].as_str()),
                "state" => words(&self.state, &|c| STATES[c].as_str()),
                "severity" => words(&self.severity, &|c| SEVERITIES[c].as_str()),
                "transition" => words(&self.transition, &|c| TRANSITIONS[c].as_str()),
                _ => return None,
            })
        };
        for (field, column) in SCHEMA.fields().iter().zip(self.batch.columns()) {
            match spelled(field.name()) {
                Some(text) => {
                    fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, field.is_nullable())));
                    columns.push(text);
                }
                None => {
                    fields.push(field.clone());
                    columns.push(column.clone());
                }
            }
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// Bytes for the log.
    pub fn encode(&self) -> Result<Vec<u8>, BatchError> {
        wire::encode(&self.batch)
    }

    /// Reads what [`SignalBatch::encode`] wrote. Refuses torn, foreign and ill-typed bytes; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        Self::new(wire::decode(bytes)?)
    }
}

fn uuid_at(array: &FixedSizeBinaryArray, i: usize) -> Uuid {
    Uuid::from_slice(array.value(i)).unwrap_or_default()
}

fn time_builder() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_timezone(UTC)
}

/// Collects rows into columns.
#[derive(Debug)]
pub struct SignalBatchBuilder {
    rows: usize,
    bytes: usize,
    id: FixedSizeBinaryBuilder,
    tenant: StringBuilder,
    environment: StringBuilder,
    source: StringBuilder,
    kind: UInt8Builder,
    state: UInt8Builder,
    dedup_key: StringBuilder,
    dedup_rule: StringBuilder,
    event_at: TimestampMicrosecondBuilder,
    observed_at: TimestampMicrosecondBuilder,
    effective_at: TimestampMicrosecondBuilder,
    ends_at: TimestampMicrosecondBuilder,
    severity: UInt8Builder,
    title: StringBuilder,
    description: StringBuilder,
    service: StringBuilder,
    cluster: StringBuilder,
    namespace: StringBuilder,
    group: StringBuilder,
    labels: StringBuilder,
    annotations: StringBuilder,
    extra: StringBuilder,
    digest: UInt64Builder,
    raw_partition: UInt32Builder,
    raw_offset: UInt64Builder,
    raw_index: UInt32Builder,
    transition: UInt8Builder,
    episode: FixedSizeBinaryBuilder,
    repeats: UInt64Builder,
}

impl Default for SignalBatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SignalBatchBuilder {
    pub fn new() -> Self {
        SignalBatchBuilder {
            rows: 0,
            bytes: 0,
            id: FixedSizeBinaryBuilder::new(16),
            tenant: StringBuilder::new(),
            environment: StringBuilder::new(),
            source: StringBuilder::new(),
            kind: UInt8Builder::new(),
            state: UInt8Builder::new(),
            dedup_key: StringBuilder::new(),
            dedup_rule: StringBuilder::new(),
            event_at: time_builder(),
            observed_at: time_builder(),
            effective_at: time_builder(),
            ends_at: time_builder(),
            severity: UInt8Builder::new(),
            title: StringBuilder::new(),
            description: StringBuilder::new(),
            service: StringBuilder::new(),
            cluster: StringBuilder::new(),
            namespace: StringBuilder::new(),
            group: StringBuilder::new(),
            labels: StringBuilder::new(),
            annotations: StringBuilder::new(),
            extra: StringBuilder::new(),
            digest: UInt64Builder::new(),
            raw_partition: UInt32Builder::new(),
            raw_offset: UInt64Builder::new(),
            raw_index: UInt32Builder::new(),
            transition: UInt8Builder::new(),
            episode: FixedSizeBinaryBuilder::new(16),
            repeats: UInt64Builder::new(),
        }
    }

    pub fn push(&mut self, row: &SignalRow<'_>) {
        self.rows += 1;
        self.bytes += 160
            + row.dedup_key.len()
            + row.title.len()
            + row.description.map_or(0, str::len)
            + row.labels.len()
            + row.annotations.len()
            + row.extra.map_or(0, str::len);
        // Appending 16 bytes to a 16-byte column cannot fail.
        let _ = self.id.append_value(row.id.0.as_bytes());
        self.tenant.append_value(row.tenant);
        self.environment.append_value(row.environment);
        self.source.append_value(row.source);
        self.kind.append_value(row.kind as u8);
        self.state.append_value(row.state as u8);
        self.dedup_key.append_value(row.dedup_key);
        self.dedup_rule.append_value(row.dedup_rule);
        self.event_at.append_value(row.event_at);
        self.observed_at.append_value(row.observed_at);
        self.effective_at.append_value(row.effective_at);
        self.ends_at.append_option(row.ends_at);
        self.severity.append_value(row.severity as u8);
        self.title.append_value(row.title);
        self.description.append_option(row.description);
        self.service.append_option(row.service);
        self.cluster.append_option(row.cluster);
        self.namespace.append_option(row.namespace);
        self.group.append_option(row.group);
        self.labels.append_value(row.labels);
        self.annotations.append_value(row.annotations);
        self.extra.append_option(row.extra);
        self.digest.append_value(row.digest);
        self.raw_partition.append_value(row.origin.partition);
        self.raw_offset.append_value(row.origin.offset);
        self.raw_index.append_value(row.origin.index);
        match row.transition {
            Some(t) => {
                self.transition.append_value(t.kind as u8);
                let _ = self.episode.append_value(t.episode.0.as_bytes());
                self.repeats.append_value(t.repeats);
            }
            None => {
                self.transition.append_null();
                self.episode.append_null();
                self.repeats.append_null();
            }
        }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// About how many bytes the encoded batch will take.
    pub fn approximate_bytes(&self) -> usize {
        self.bytes
    }

    /// The batch; the builder is empty afterwards and may be used again.
    pub fn finish(&mut self) -> Result<SignalBatch, BatchError> {
        self.rows = 0;
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.tenant.finish()),
            Arc::new(self.environment.finish()),
            Arc::new(self.source.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.state.finish()),
            Arc::new(self.dedup_key.finish()),
            Arc::new(self.dedup_rule.finish()),
            Arc::new(self.event_at.finish()),
            Arc::new(self.observed_at.finish()),
            Arc::new(self.effective_at.finish()),
            Arc::new(self.ends_at.finish()),
            Arc::new(self.severity.finish()),
            Arc::new(self.title.finish()),
            Arc::new(self.description.finish()),
            Arc::new(self.service.finish()),
            Arc::new(self.cluster.finish()),
            Arc::new(self.namespace.finish()),
            Arc::new(self.group.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(self.annotations.finish()),
            Arc::new(self.extra.finish()),
            Arc::new(self.digest.finish()),
            Arc::new(self.raw_partition.finish()),
            Arc::new(self.raw_offset.finish()),
            Arc::new(self.raw_index.finish()),
            Arc::new(self.transition.finish()),
            Arc::new(self.episode.finish()),
            Arc::new(self.repeats.finish()),
        ];
        SignalBatch::new(RecordBatch::try_new(schema(), columns)?)
    }
}

#[cfg(test)]
mod tests;
