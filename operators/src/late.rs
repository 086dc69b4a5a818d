//! The late lane: a row that came when what it would have met may be gone goes to topic `late`, whole, counted by cause.
//!
//! The record is a batch of that one row, keyed by its dedup key. Its headers say who sent it there (`aegis-stage`), why
//! (`aegis-cause`), and where event time stood (`aegis-watermark`, microseconds since the epoch), so that it can be told how
//! late it was. Only operators that give results out for good send rows here; what can still be amended is amended
//! (docs/adr/0005, 0014).

use bytes::Bytes;
use model::{SignalBatchBuilder, SignalRow, topics};
use stream::log::NewRecord;
use stream::{Context, Disposition, Reject, RowBuffer};

/// Sends `row` there and accounts for it.
pub fn send<B: RowBuffer>(stage: &'static str, cause: &'static str, row: &SignalRow<'_>, cx: &mut Context<'_, B>) {
    match write(stage, cause, row, cx) {
        Ok(()) => cx.item(Disposition::Late { cause }),
        Err(reject) => cx.reject(reject),
    }
}

/// The same for one that was held until now. It was read from a batch, so it can be written as one.
pub fn release<B: RowBuffer>(stage: &'static str, cause: &'static str, row: &SignalRow<'_>, cx: &mut Context<'_, B>) {
    match write(stage, cause, row, cx) {
        Ok(()) => cx.accounting().release(Disposition::Late { cause }),
        Err(_) => cx.accounting().release(Disposition::Suppressed { rule: "unencodable" }),
    }
}

fn write<B: RowBuffer>(
    stage: &'static str,
    cause: &'static str,
    row: &SignalRow<'_>,
    cx: &mut Context<'_, B>,
) -> Result<(), Reject> {
    let mut one = SignalBatchBuilder::new();
    one.push(row);
    let value = match one.finish().and_then(|batch| batch.encode()) {
        Ok(value) => value,
        Err(error) => {
            return Err(Reject {
                reason: "unencodable",
                detail: error.to_string(),
                field: None,
                index: None,
            });
        }
    };
    let headers = vec![
        ("aegis-stage".to_owned(), Bytes::from_static(stage.as_bytes())),
        ("aegis-cause".to_owned(), Bytes::from_static(cause.as_bytes())),
        ("aegis-watermark".to_owned(), Bytes::from(cx.watermark().0.to_string())),
    ];
    let record = NewRecord {
        value: value.into(),
        headers,
        ..NewRecord::default()
    };
    cx.emit_side(
        &topics::LATE.into(),
        Bytes::copy_from_slice(row.dedup_key.as_bytes()),
        record,
    );
    Ok(())
}
