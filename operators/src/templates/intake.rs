//! What a record of `logs` says: its lines, those that cannot be read as refusals, and where it came from.

use model::{LogBatch, LogLine, dead_letter, logs};
use serde::Deserialize;
use serde_json::value::RawValue;
use stream::log::{Record, TopicPartition};
use stream::{Instant, Reject};

/// Bytes of a name: names are in keys and ids.
const MOST_NAME: usize = 512;

/// A record, read.
#[derive(Debug)]
pub struct Intake {
    /// Without its lines.
    pub batch: LogBatch,
    /// Each with its place among all lines of the record.
    pub lines: Vec<(u32, LogLine)>,
    pub refused: Vec<Reject>,
    /// What makes a repeat of the record known; `None`: nothing does.
    pub delivery: Option<u128>,
    pub received_at: Instant,
    pub partition: u32,
    pub offset: u64,
}

/// Reads a record. A batch that is none is refused as a whole, a bad line alone.
pub fn read(record: &Record, from: &TopicPartition) -> Result<Intake, Reject> {
    // A batch is read in one go; only where that fails is each line looked at.
    let (mut batch, mut refused) = (LogBatch::default(), Vec::new());
    let mut lines: Vec<(u32, LogLine)> = Vec::new();
    match serde_json::from_slice::<LogBatch>(&record.value) {
        Ok(mut whole) => {
            lines.extend((0..).zip(std::mem::take(&mut whole.lines)));
            batch = whole;
        }
        Err(_) => one_by_one(&record.value, &mut batch, &mut lines, &mut refused)?,
    }
    check(&batch)?;
    let header = |name: &str| record.header(name).and_then(|value| std::str::from_utf8(value).ok());
    let again = header(dead_letter::header::ATTEMPT);
    if let Some(items) = header(dead_letter::header::ITEMS) {
        // The other lines were taken when these were refused.
        let wanted: Vec<u32> = items.split(',').filter_map(|item| item.trim().parse().ok()).collect();
        lines.retain(|(index, _)| wanted.contains(index));
        refused.retain(|reject| reject.index.is_some_and(|index| wanted.contains(&index)));
    }
    let delivery = header(logs::header::DELIVERY).map(|delivery| {
        let parts = [
            delivery.as_bytes(),
            batch.tenant.as_bytes(),
            again.unwrap_or_default().as_bytes(),
        ];
        model::SignalId::of(&parts).0.as_u128()
    });
    Ok(Intake {
        batch,
        lines,
        refused,
        delivery,
        received_at: record.timestamp,
        partition: from.partition,
        offset: record.offset.0,
    })
}

/// A batch whose lines are not looked at.
#[derive(Deserialize)]
struct Envelope<'a> {
    schema: u32,
    tenant: String,
    #[serde(default)]
    environment: String,
    service: String,
    cluster: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

fn one_by_one(
    body: &[u8],
    batch: &mut LogBatch,
    lines: &mut Vec<(u32, LogLine)>,
    refused: &mut Vec<Reject>,
) -> Result<(), Reject> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|error| Reject {
        reason: if error.is_data() {
            "wrong_type"
        } else {
            "malformed_json"
        },
        detail: format!("no batch of log lines: {error}; docs/topics.md shows one"),
        field: None,
        index: None,
    })?;
    for (index, line) in (0..).zip(envelope.lines) {
        match serde_json::from_str(line.get()) {
            Ok(line) => lines.push((index, line)),
            Err(error) => refused.push(Reject {
                reason: "bad_line",
                detail: format!("/lines/{index}: {error}"),
                field: Some(format!("/lines/{index}")),
                index: Some(index),
            }),
        }
    }
    *batch = LogBatch {
        schema: envelope.schema,
        tenant: envelope.tenant,
        environment: envelope.environment,
        service: envelope.service,
        cluster: envelope.cluster,
        namespace: envelope.namespace,
        labels: envelope.labels,
        ..LogBatch::default()
    };
    Ok(())
}

fn check(batch: &LogBatch) -> Result<(), Reject> {
    let refuse = |reason, field: &str, detail: String| {
        Err(Reject {
            reason,
            detail,
            field: Some(field.to_owned()),
            index: None,
        })
    };
    if batch.schema != LogBatch::SCHEMA {
        let detail = format!(
            "schema {} is not {}, which this program reads",
            batch.schema,
            LogBatch::SCHEMA
        );
        return refuse("unsupported_version", "/schema", detail);
    }
    for (field, value) in [("/tenant", &batch.tenant), ("/service", &batch.service)] {
        if value.is_empty() {
            return refuse(
                "missing_field",
                field,
                format!("{field} is empty: it is part of the key"),
            );
        }
    }
    let names = [
        ("/tenant", Some(&batch.tenant)),
        ("/environment", Some(&batch.environment)),
        ("/service", Some(&batch.service)),
        ("/cluster", batch.cluster.as_ref()),
        ("/namespace", batch.namespace.as_ref()),
    ];
    for (field, name) in names {
        if name.is_some_and(|name| name.len() > MOST_NAME) {
            return refuse("too_large", field, format!("{field} is over {MOST_NAME} bytes"));
        }
    }
    Ok(())
}
