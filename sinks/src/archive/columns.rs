//! Records to archive columns.
//!
//! A signal keeps the columns of [`model::SignalBatch::to_sql_batch`], an incident fact those below, a log line those of `lines`; all have
//! `log_partition` and `log_offset`. Times are within years 1 to 9999, as in the SQL tables.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use model::{IncidentEvent, SignalBatch, topics};
use stream::{Record, SinkBatch, SinkReject};

use super::ArchiveSink;
use crate::sql::clamp_micros;

const UTC: &str = "+00:00";

static INCIDENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    let f = Field::new;
    Arc::new(Schema::new(vec![
        f("incident_id", DataType::Utf8, false),
        f("revision", DataType::Int64, false),
        f("at", time(), false),
        f("observed_at", time(), false),
        f("fact", DataType::Utf8, false),
        f("tenant", DataType::Utf8, false),
        f("environment", DataType::Utf8, false),
        f("severity", DataType::Utf8, false),
        f("status", DataType::Utf8, false),
        f("title", DataType::Utf8, false),
        f("service", DataType::Utf8, true),
        // The record as it stands in the log.
        f("payload", DataType::Utf8, false),
        f("log_partition", DataType::Int64, false),
        f("log_offset", DataType::Int64, false),
    ]))
});

/// The rows of `batch`, and the records that have none because they cannot be read.
pub(super) fn read(batch: &SinkBatch) -> (Vec<RecordBatch>, Vec<SinkReject>) {
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    let mut events: Vec<(&Record, IncidentEvent)> = Vec::new();
    let reject = |record: &Record, detail: String| SinkReject {
        partition: batch.partition.clone(),
        offset: record.offset,
        reason: "undecodable",
        detail,
    };
    // Steps of the crew stand between the facts of `incidents`; they have tables of their own.
    let data = |record: &&Record| {
        stream::progress::is_data_for(record, ArchiveSink::STAGE) && record.header(topics::header::TYPE).is_none()
    };
    for record in batch.records.iter().filter(data) {
        if &*batch.partition.topic == topics::SIGNALS {
            match signals(batch.partition.partition, record) {
                Ok(signals) => rows.push(signals),
                Err(detail) => rejects.push(reject(record, detail)),
            }
        } else if &*batch.partition.topic == topics::LINES {
            match super::lines::read(batch.partition.partition, record) {
                Ok(lines) => rows.extend(lines),
                Err(detail) => rejects.push(reject(record, detail)),
            }
        } else {
            match serde_json::from_slice(&record.value) {
                Ok(event) => events.push((record, event)),
                Err(e) => rejects.push(reject(record, e.to_string())),
            }
        }
    }
    if !events.is_empty() {
        match incidents(batch.partition.partition, &events) {
            Ok(events) => rows.push(events),
            Err(e) => rejects.extend(events.iter().map(|(record, _)| reject(record, e.to_string()))),
        }
    }
    (rows, rejects)
}

/// The rows of a record of topic `signals`, as the archive keeps them. Errors say what is wrong with the record.
pub fn signals(partition: u32, record: &Record) -> Result<RecordBatch, String> {
    let batch = SignalBatch::decode(&record.value)
        .and_then(|batch| batch.to_sql_batch())
        .map_err(|e| e.to_string())?;
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = batch.columns().iter().map(within_calendar).collect();
    for (name, value) in [
        ("log_partition", partition.into()),
        ("log_offset", signed(record.offset.0)),
    ] {
        fields.push(Arc::new(Field::new(name, DataType::Int64, false)));
        columns.push(Arc::new(Int64Array::from_value(value, batch.num_rows())));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| e.to_string())
}

fn incidents(partition: u32, events: &[(&Record, IncidentEvent)]) -> Result<RecordBatch, ArrowError> {
    fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    }
    let times = |pick: &dyn Fn(&IncidentEvent) -> i64| -> ArrayRef {
        let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|(_, e)| clamp_micros(pick(e))));
        Arc::new(times.with_timezone(UTC))
    };
    let ints = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            events.iter().map(|(_, e)| e.incident.id.to_string()),
        )),
        ints(events.iter().map(|(_, e)| signed(e.incident.revision)).collect()),
        times(&|e| e.at.timestamp_micros()),
        times(&|e| e.observed_at.timestamp_micros()),
        text(events.iter().map(|(_, e)| e.fact.name())),
        text(events.iter().map(|(_, e)| e.incident.tenant.as_str())),
        text(events.iter().map(|(_, e)| e.incident.environment.as_str())),
        text(events.iter().map(|(_, e)| e.incident.severity.as_str())),
        text(events.iter().map(|(_, e)| e.incident.status.as_str())),
        text(events.iter().map(|(_, e)| e.incident.title.as_str())),
        Arc::new(StringArray::from_iter(
            events.iter().map(|(_, e)| e.incident.service.as_deref()),
        )),
        Arc::new(StringArray::from_iter_values(
            events.iter().map(|(r, _)| String::from_utf8_lossy(&r.value)),
        )),
        ints(vec![partition.into(); events.len()]),
        ints(events.iter().map(|(r, _)| signed(r.offset.0)).collect()),
    ];
    RecordBatch::try_new(INCIDENTS.clone(), columns)
}

fn within_calendar(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) if times.iter().flatten().any(|at| clamp_micros(at) != at) => {
            let clamped: TimestampMicrosecondArray = times.unary(clamp_micros);
            Arc::new(clamped.with_data_type(times.data_type().clone()))
        }
        _ => column.clone(),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
