//! Reference operator: which changes preceded an alert? Inner join of alerts (left) and changes (right) on the service,
//! all pairs with `left.at − before ≤ right.at ≤ left.at`.
//!
//! What may be pruned, and why (W = watermark: nothing before it is still to come):
//!
//! ```text
//!                 L.at − before             L.at
//!   ──────────────────[═══════ rights ════════]──────────────►  event time
//!                                             W > L.at: every right in reach has come.        Left may go.
//!
//!                    R.at                R.at + before
//!   ──────────────────[═══════ lefts ═════════]──────────────►  event time
//!                                             W > R.at + before: every left in reach has come. Right may go.
//! ```
//!
//! At equality both stay: a row exactly at the watermark may still come. A row that does come behind the watermark is
//! joined with what is left and counted as amended; upstream operators keep that from happening by what they owe.
//!
//! A pair is emitted when its second half arrives. Pairs carry the left's time, which is never behind the watermark, so
//! this operator owes nothing. Rows without a service cannot join and are suppressed.

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

use crate::signals_out::decode_signals;

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
            services: Table::default(),
            expiry: Timers::default(),
        }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let Some(service) = row.service else {
            return cx.item(Disposition::Suppressed { rule: "no-service" });
        };
        let side = if row.kind == SignalKind::Change {
            Side::Change
        } else {
            Side::Alert
        };
        if cx.behind(Instant(row.event_at)) {
            cx.accounting().amended += 1;
        }
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

    /// The timer stands at the first instant at which a row is out of reach: one past its last partner.
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
            Some(at) => self.expiry.set(service.to_owned(), Instant(at)),
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
        "interval_join"
    }

    fn logic_version(&self) -> u32 {
        1
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
            let out_of_reach = |at: i64| watermark > Instant(at) || watermark == Instant::MAX;
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
