//! Reference operator: per alert and tumbling window, the earliest signal survives.
//!
//! ```text
//!   event time ──►   |  a3  a1' a2       |   b1        |        window of width W
//!                    └ candidate: least (event_at, id) ┘ emitted when the watermark reaches the window's end
//! ```
//!
//! It guarantees that the survivor does not depend on the order of arrival, and that no survivor falls behind the output
//! watermark: as long as a window is open, [`Operator::owes`] holds the watermark at its start. (An engine that lets its
//! watermark pass the window's contents loses the survivors in the next event-time join.)
//!
//! Changes pass through at once. A row whose window is closed goes to the topic `late`, whole. A row without a service
//! is keyed by its dedup key.

use std::time::Duration;

use model::{Signal, SignalBatch, SignalKind, SignalRow};
use stream::log::{Record, TopicPartition};
use stream::state::StateCell;
use stream::{Context, Disposition, Instant, Operator, Reject, Windows};

use crate::late;
use crate::signals_out::{SignalsOut, decode_signals};

const NAME: &str = "window_dedupe";

/// The operator.
#[derive(Debug)]
pub struct WindowDedupe {
    width: Duration,
    /// Per open window and dedup key: the earliest signal so far.
    candidates: Windows<String, Signal>,
}

type Cx<'a> = Context<'a, SignalsOut>;

impl WindowDedupe {
    /// `width` of the tumbling windows, aligned to the epoch.
    pub fn new(width: Duration) -> Self {
        WindowDedupe {
            width,
            candidates: Windows::tumbling(width),
        }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let at = Instant(row.event_at);
        if row.kind == SignalKind::Change {
            emit(row, cx);
            return cx.item(Disposition::Forwarded);
        }
        if self.candidates.end_of(at) <= cx.watermark() {
            return late::send(NAME, "window-closed", row, cx);
        }
        match self.candidates.get_mut(at, row.dedup_key) {
            None => {
                self.candidates
                    .slot(at, row.dedup_key.to_owned())
                    .or_insert_with(|| row.to_signal());
                cx.item(Disposition::Held);
            }
            Some(candidate) if (row.event_at, row.id) < (candidate.event_at, candidate.id) => {
                let loser = std::mem::replace(candidate, row.to_signal());
                cx.item(Disposition::Held);
                cx.accounting().release(Disposition::Merged {
                    id: loser.id.0.as_u128(),
                });
            }
            Some(_) => cx.item(Disposition::Merged { id: row.id.0.as_u128() }),
        }
    }
}

impl Operator for WindowDedupe {
    type In = SignalBatch;
    type Out = SignalsOut;

    fn name(&self) -> &'static str {
        NAME
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> String {
        format!(r#"{{"width_us":{}}}"#, self.width.as_micros())
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        decode_signals(record)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("candidates", &mut self.candidates)]
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            self.on_row(&row, cx);
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((_, survivors)) = self.candidates.pop_closed(watermark) {
            for (_, survivor) in survivors {
                emit(&survivor.row(), cx);
                cx.accounting().release(Disposition::Forwarded);
            }
        }
    }

    /// Every survivor still to come lies in an open window.
    fn owes(&self) -> Option<Instant> {
        self.candidates.earliest()
    }
}

fn emit(row: &SignalRow<'_>, cx: &mut Cx<'_>) {
    cx.emit(row.service.unwrap_or(row.dedup_key).as_bytes(), row);
}
