//! Bursts: alerts of a service that follow each other closely, told as one when silence ends them.
//!
//! It guarantees that a burst is told once, when the watermark reaches its end, whatever the order of arrival; and that none
//! falls behind the output watermark: as long as one is open, [`Operator::owes`] holds the watermark at its start.
//!
//! A row that comes when its burst is over goes to topic `late`. Rows without a service are suppressed.

use std::time::Duration;

use bytes::Bytes;
use model::{SignalBatch, SignalId, SignalRow};
use operators::late;
use operators::signals_out::decode_signals;
use serde::{Deserialize, Serialize};
use stream::log::{Record, TopicPartition};
use stream::operator::JsonRows;
use stream::state::{Placed, SessionWindows, StateCell};
use stream::{Context, Disposition, Instant, Operator, Reject};

const NAME: &str = "bursts";

/// A burst, as emitted (JSON, key: service). Times in microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    pub service: String,
    pub first_at: i64,
    pub last_at: i64,
    pub alerts: u64,
}

/// What is kept of an open burst.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    alerts: u64,
    /// The one item whose fate is open; the others are merged into it.
    held: SignalId,
}

/// The operator.
#[derive(Debug)]
pub struct Bursts {
    open: SessionWindows<String, Open>,
}

type Cx<'a> = Context<'a, JsonRows>;

impl Bursts {
    /// `silence`: what ends a burst.
    pub fn new(silence: Duration) -> Self {
        Bursts {
            open: SessionWindows::new(silence),
        }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let Some(service) = row.service else {
            return cx.item(Disposition::Suppressed { rule: "no-service" });
        };
        let at = Instant(row.event_at);
        let this = Open {
            alerts: 1,
            held: row.id,
        };
        let mut merged = Vec::new();
        let placed = self
            .open
            .add(at, cx.watermark(), &service.to_owned(), this, |burst, more| {
                burst.alerts += more.alerts;
                merged.push(more.held);
            });
        match placed {
            Placed::Late => return late::send(NAME, "burst-over", row, cx),
            Placed::Opened => cx.item(Disposition::Held),
            // The last one merged is this row; before it stands the burst that it connects to an earlier one, if any.
            Placed::Joined | Placed::Merged(_) => {
                let own = merged.pop().unwrap_or(row.id);
                cx.item(Disposition::Merged { id: own.0.as_u128() });
                for other in merged {
                    cx.accounting().release(Disposition::Merged { id: other.0.as_u128() });
                }
            }
        }
        if cx.behind(at) {
            cx.accounting().amended += 1;
        }
    }
}

impl Operator for Bursts {
    type In = SignalBatch;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        NAME
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        decode_signals(record)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("open", &mut self.open)]
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            self.on_row(&row, cx);
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some(session) = self.open.pop_closed(watermark) {
            let burst = Burst {
                service: session.key,
                first_at: session.first.0,
                last_at: session.last.0,
                alerts: session.value.alerts,
            };
            // A struct of strings and numbers: serialising it cannot fail.
            let value = serde_json::to_vec(&burst).map(Bytes::from).unwrap_or_default();
            cx.emit(burst.service.as_bytes(), &value);
            cx.accounting().release(Disposition::Forwarded);
        }
    }

    /// Every burst still to come begins no earlier than the oldest open one.
    fn owes(&self) -> Option<Instant> {
        self.open.earliest()
    }
}
