//! Reference operator: which changes preceded an alert? Inner join of alerts (left) and changes (right) on the service,
//! all pairs with `left.at − before ≤ right.at ≤ left.at`.
//!
//! What may be pruned, and why (H = watermark − lateness: nothing before it is taken in any more):
//!
//! ```text
//!                 L.at − before             L.at
//!   ──────────────────[═══════ rights ════════]──────────────►  event time
//!                                             H > L.at: every right in reach has come.        Left may go.
//!
//!                    R.at                R.at + before
//!   ──────────────────[═══════ lefts ═════════]──────────────►  event time
//!                                             H > R.at + before: every left in reach has come. Right may go.
//! ```
//!
//! At equality both stay: a row exactly at H may still come.
//!
//! What that makes of a row behind the watermark, and nothing in between (docs/adr/0014):
//!
//! ```text
//!                  H                 watermark
//!   ───── late ────┼──── amended ────┼──── on time ──────────►  the row's event time
//! ```
//!
//! * **late**, before H: a partner may have been pruned, so it cannot be matched completely. It goes to topic `late`, whole,
//!   and is not joined with what happens to be left: half an answer looks like a whole one.
//! * **amended**, from H on: every partner that came is still here. It is matched completely and counted. For a left at
//!   `L ≥ H` the rights have `R + before ≥ L ≥ H`; for a right at `R ≥ H` the lefts have `L ≥ R ≥ H`; neither is pruned.
//!
//! Without lateness (the default) every row behind the watermark is late; upstream operators keep that from happening by
//! what they owe.
//!
//! A pair is emitted when its second half arrives. Pairs carry the left's time, which is never behind H, so without lateness
//! this operator owes nothing; with it, its amendments reach downstream up to the lateness behind the watermark, and
//! downstream needs as much. Rows without a service cannot join and are suppressed.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use model::{SignalBatch, SignalId, SignalKind, SignalRow};
use serde::{Deserialize, Serialize};
use stream::log::{Record, TopicPartition};
use stream::operator::JsonRows;
use stream::state::StateCell;
use stream::time::micros;
use stream::{Context, Disposition, Instant, Operator, Reject, Table, Timers};

use crate::late;
use crate::signals_out::decode_signals;

const NAME: &str = "interval_join";

/// A pair, as emitted (JSON, key: service). Times in microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    pub left_id: SignalId,
    pub right_id: SignalId,
    pub service: String,
    pub left_at: i64,
    pub right_at: i64,
}

/// Which input a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Alert,
    Change,
}

/// What waits for its other half, by time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Waiting {
    alerts: BTreeSet<(i64, SignalId)>,
    changes: BTreeSet<(i64, SignalId)>,
}

/// The operator.
#[derive(Debug)]
pub struct IntervalJoin {
    before: i64,
    lateness: Duration,
    services: Table<String, Waiting>,
    /// Service → when its next row may go.
    expiry: Timers<String>,
}

type Cx<'a> = Context<'a, JsonRows>;

impl IntervalJoin {
    /// `before`: how long before an alert a change may lie.
    pub fn new(before: Duration) -> Self {
        IntervalJoin {
            before: micros(before),
            lateness: Duration::ZERO,
            services: Table::default(),
            expiry: Timers::default(),
        }
    }

    /// How far behind the watermark a row may be and still be matched completely. Costs the memory of the rows of that span.
    pub fn with_lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let Some(service) = row.service else {
            return cx.item(Disposition::Suppressed { rule: "no-service" });
        };
        let at = Instant(row.event_at);
        if at < cx.watermark().saturating_sub(self.lateness) {
            return late::send(NAME, "partners-gone", row, cx);
        }
        if cx.behind(at) {
            cx.accounting().amended += 1;
        }
        let side = if row.kind == SignalKind::Change {
            Side::Change
        } else {
            Side::Alert
        };
        let waiting = match self.services.get_mut(service) {
            Some(waiting) => waiting,
            None => self.services.entry(service.to_owned()).or_default(),
        };
        let this = (row.event_at, row.id);
        let first_time = match side {
            Side::Alert => waiting.alerts.insert(this),
            Side::Change => waiting.changes.insert(this),
        };
        if !first_time {
            return cx.item(Disposition::Merged { id: row.id.0.as_u128() });
        }
        let (partners, reach) = match side {
            Side::Alert => (
                &waiting.changes,
                row.event_at.saturating_sub(self.before)..=row.event_at,
            ),
            Side::Change => (&waiting.alerts, row.event_at..=row.event_at.saturating_add(self.before)),
        };
        let (least, most) = (SignalId(uuid::Uuid::nil()), SignalId(uuid::Uuid::max()));
        for partner in partners.range((*reach.start(), least)..=(*reach.end(), most)) {
            let (left, right) = if side == Side::Alert {
                (this, *partner)
            } else {
                (*partner, this)
            };
            emit(service, left, right, cx);
        }
        cx.item(Disposition::Forwarded);
        self.arm(service);
    }

    /// The timer stands at the first watermark at which a row is out of reach: one past its last partner, and the lateness.
    fn arm(&mut self, service: &str) {
        let Some(waiting) = self.services.get(service) else {
            return;
        };
        let alert = waiting.alerts.first().map(|(at, _)| at.saturating_add(1));
        let change = waiting
            .changes
            .first()
            .map(|(at, _)| at.saturating_add(self.before).saturating_add(1));
        match alert.into_iter().chain(change).min() {
            Some(at) => self
                .expiry
                .set(service.to_owned(), Instant(at).saturating_add(self.lateness)),
            None => {
                self.services.remove(service);
            }
        }
    }
}

impl Operator for IntervalJoin {
    type In = SignalBatch;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        NAME
    }

    fn logic_version(&self) -> u32 {
        2
    }

    fn settings(&self) -> String {
        format!(r#"{{"before_us":{}}}"#, self.before)
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        decode_signals(record)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("services", &mut self.services), ("expiry", &mut self.expiry)]
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            self.on_row(&row, cx);
        }
    }

    fn on_watermark(&mut self, watermark: Instant, _: &mut Cx<'_>) {
        while let Some((_, service)) = self.expiry.pop_due(watermark) {
            let Some(waiting) = self.services.get_mut(&service) else {
                continue;
            };
            let horizon = watermark.saturating_sub(self.lateness);
            let out_of_reach = |at: i64| horizon > Instant(at) || watermark == Instant::MAX;
            while waiting.alerts.first().is_some_and(|(at, _)| out_of_reach(*at)) {
                waiting.alerts.pop_first();
            }
            while waiting
                .changes
                .first()
                .is_some_and(|(at, _)| out_of_reach(at.saturating_add(self.before)))
            {
                waiting.changes.pop_first();
            }
            self.arm(&service);
        }
    }
}

fn emit(service: &str, left: (i64, SignalId), right: (i64, SignalId), cx: &mut Cx<'_>) {
    let pair = Pair {
        left_id: left.1,
        right_id: right.1,
        service: service.to_owned(),
        left_at: left.0,
        right_at: right.0,
    };
    // A struct of strings and numbers: serialising it cannot fail.
    let value = serde_json::to_vec(&pair).map(Bytes::from).unwrap_or_default();
    cx.emit(service.as_bytes(), &value);
    cx.accounting().produce("pair");
}
