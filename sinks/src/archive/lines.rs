//! Log lines as archive columns: one row per line, with its template as it stood when the line was mined.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use model::{LogBatch, LogLine, TemplateRef};
use stream::Record;

use crate::sql::clamp_micros;

const UTC: &str = "+00:00";

static LINES: LazyLock<SchemaRef> = LazyLock::new(|| {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    let f = Field::new;
    Arc::new(Schema::new(vec![
        f("at", time(), false),
        f("observed_at", time(), false),
        f("tenant", DataType::Utf8, false),
        f("environment", DataType::Utf8, false),
        f("service", DataType::Utf8, false),
        f("cluster", DataType::Utf8, true),
        f("namespace", DataType::Utf8, true),
        f("level", DataType::Utf8, false),
        f("text", DataType::Utf8, false),
        f("template", DataType::Utf8, true),
        f("pattern", DataType::Utf8, true),
        f("trace_id", DataType::Utf8, true),
        f("span_id", DataType::Utf8, true),
        f("labels", DataType::Utf8, false),
        f("attributes", DataType::Utf8, false),
        f("log_partition", DataType::Int64, false),
        f("log_offset", DataType::Int64, false),
        f("log_index", DataType::Int64, false),
    ]))
});

/// The lines of a record of `lines`; `None` for a batch of none.
pub fn read(partition: u32, record: &Record) -> Result<Option<RecordBatch>, String> {
    let batch: LogBatch = serde_json::from_slice(&record.value).map_err(|e| e.to_string())?;
    if batch.schema != LogBatch::SCHEMA {
        return Err(format!(
            "schema {} of log lines is not {}",
            batch.schema,
            LogBatch::SCHEMA
        ));
    }
    if batch.lines.is_empty() {
        return Ok(None);
    }
    let rows = batch.lines.len();
    let observed_at = batch.observed_at.unwrap_or(record.timestamp.0);
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))) };
    let maybe = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from_iter(std::iter::repeat_n(text, rows))) };
    let texts = |pick: &dyn Fn(&LogLine) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(batch.lines.iter().map(pick)))
    };
    let options = |pick: &dyn Fn(&LogLine) -> Option<String>| -> ArrayRef {
        Arc::new(StringArray::from_iter(batch.lines.iter().map(pick)))
    };
    let times = |pick: &dyn Fn(&LogLine) -> i64| -> ArrayRef {
        let times =
            TimestampMicrosecondArray::from_iter_values(batch.lines.iter().map(|line| clamp_micros(pick(line))));
        Arc::new(times.with_timezone(UTC))
    };
    let ints = |value: i64| -> ArrayRef { Arc::new(Int64Array::from_value(value, rows)) };
    let template = |line: &LogLine| -> Option<&TemplateRef> { batch.templates.get(line.template? as usize) };
    // A map of texts always encodes.
    let json = |map: &std::collections::BTreeMap<String, String>| serde_json::to_string(map).unwrap_or_default();
    let columns: Vec<ArrayRef> = vec![
        times(&|line| line.at.unwrap_or(observed_at)),
        times(&|_| observed_at),
        same(&batch.tenant),
        same(&batch.environment),
        same(&batch.service),
        maybe(batch.cluster.as_deref()),
        maybe(batch.namespace.as_deref()),
        texts(&|line| line.level().as_str().to_owned()),
        texts(&|line| line.text.clone()),
        options(&|line| template(line).map(|template| template.id.clone())),
        options(&|line| template(line).map(|template| template.text.clone())),
        options(&|line| line.trace_id.clone()),
        options(&|line| line.span_id.clone()),
        same(&json(&batch.labels)),
        texts(&|line| json(&line.attributes)),
        ints(partition.into()),
        ints(i64::try_from(record.offset.0).unwrap_or(i64::MAX)),
        Arc::new(Int64Array::from_iter_values(0..rows as i64)),
    ];
    RecordBatch::try_new(LINES.clone(), columns)
        .map(Some)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;
    use stream::{Instant, Offset};

    use super::*;

    fn record(value: &str) -> Record {
        Record {
            offset: Offset(9),
            key: None,
            value: value.to_owned().into(),
            headers: Vec::new(),
            timestamp: Instant(5),
        }
    }

    #[test]
    fn rows() {
        let body = r#"{"schema":1,"tenant":"t","environment":"prod","service":"s","observed_at":7,
            "lines":[{"at":6,"level":"error","text":"a","template":0},{"text":"INFO b"}],"templates":[{"id":"x","text":"a"}]}"#;
        let rows = read(3, &record(body)).unwrap().unwrap();
        let text = |name: &str, row| {
            rows.column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .value(row)
                .to_owned()
        };
        assert_eq!((text("level", 0), text("level", 1)), ("error".into(), "info".into()));
        assert_eq!((text("pattern", 0), text("template", 0)), ("a".into(), "x".into()));
        assert_eq!(rows.num_rows(), 2);
        assert!(read(3, &record("rubbish")).is_err());
        assert!(read(3, &record(r#"{"schema":2,"tenant":"t","service":"s","lines":[]}"#)).is_err());
        assert_eq!(
            read(3, &record(r#"{"schema":1,"tenant":"t","service":"s","lines":[]}"#)),
            Ok(None)
        );
    }
}
