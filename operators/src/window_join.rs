//! Reference operator: alerts (left) and changes (right) of a service that lie in the same window, all pairs, by event time.
//!
//! ```text
//!   event time ──►   │  R1   L1      R2     │        │      windows of one service (tumbling here)
//!                    └ (L1,R1)  (L1,R2) ────┘ emitted when the watermark reaches the window's end, left by left, right by right
//! ```
//!
//! Windows are tumbling, hopping or sessions; a session is of both sides together: an alert and a change bridge each other's
//! silence. In hopping windows a pair is emitted once per window that holds both halves.
//!
//! What may be pruned, and why: a window, whole, when it is emitted. No later row is needed for that. An answer is therefore
//! complete or not given: a row that comes when its window is gone goes to topic `late`, whole, and meets nobody. A row of
//! several windows (hopping) of which some are gone is taken into the others, which are complete with it, and counted as
//! amended; so is a row behind the watermark that begins a session, because one that is over might have held it.
//!
//! A row is held until the last of its windows is emitted, and then forwarded, paired or not. As long as a window is open,
//! [`Operator::owes`] holds the watermark at its start, so that no pair falls behind it. The price: a session that never falls
//! silent holds its partition's watermark, and a window of `l` lefts and `r` rights makes `l × r` pairs.
//!
//! Rows without a service cannot join and are suppressed; the same row again is merged.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use model::{SignalBatch, SignalId, SignalKind, SignalRow};
use serde::{Deserialize, Serialize};
use stream::log::{Record, TopicPartition};
use stream::operator::JsonRows;
use stream::state::{HoppingWindows, Placed, SessionWindows, StateCell, Taken};
use stream::{Context, Disposition, Instant, Operator, Reject, Windows};

use crate::late;
use crate::signals_out::decode_signals;

const NAME: &str = "window_join";

/// Which rows are of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// Of one width, side by side, aligned to the epoch.
    Tumbling { width: Duration },
    /// Of one width, one beginning every hop since the epoch.
    Hopping { width: Duration, hop: Duration },
    /// As long as less than `gap` lies between one row of the service and the next.
    Session { gap: Duration },
}

/// A pair, as emitted (JSON, key: service). Times in microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WindowPair {
    pub left_id: SignalId,
    pub right_id: SignalId,
    pub service: String,
    pub left_at: i64,
    pub right_at: i64,
    /// Start of the window that both lie in; of a session its first row.
    pub window_at: i64,
}

/// The rows of a service in a window, by time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sides {
    alerts: BTreeSet<(i64, SignalId)>,
    changes: BTreeSet<(i64, SignalId)>,
}

/// The operator.
#[derive(Debug)]
pub struct WindowJoin {
    kind: WindowKind,
    open: Open,
}

/// By service.
#[derive(Debug)]
enum Open {
    Tumbling(Windows<String, Sides>),
    Hopping(HoppingWindows<String, Sides>),
    Session(SessionWindows<String, Sides>),
}

/// What became of a row on its way into the windows.
enum Outcome {
    New { amended: bool },
    Repeated,
    Late,
}

type Cx<'a> = Context<'a, JsonRows>;

impl WindowJoin {
    pub fn new(kind: WindowKind) -> Self {
        let open = match kind {
            WindowKind::Tumbling { width } => Open::Tumbling(Windows::tumbling(width)),
            WindowKind::Hopping { width, hop } => Open::Hopping(HoppingWindows::new(width, hop)),
            WindowKind::Session { gap } => Open::Session(SessionWindows::new(gap)),
        };
        WindowJoin { kind, open }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let Some(service) = row.service else {
            return cx.item(Disposition::Suppressed { rule: "no-service" });
        };
        match self.open.take(row, service, cx.watermark()) {
            Outcome::Late => late::send(NAME, "window-closed", row, cx),
            Outcome::Repeated => cx.item(Disposition::Merged { id: row.id.0.as_u128() }),
            Outcome::New { amended } => {
                cx.item(Disposition::Held);
                cx.accounting().amended += u64::from(amended);
            }
        }
    }
}

impl Open {
    fn take(&mut self, row: &SignalRow<'_>, service: &str, watermark: Instant) -> Outcome {
        let at = Instant(row.event_at);
        match self {
            Open::Tumbling(windows) => {
                if windows.end_of(at) <= watermark {
                    return Outcome::Late;
                }
                let sides = match windows.get_mut(at, service) {
                    Some(sides) => sides,
                    None => windows.slot(at, service.to_owned()).or_default(),
                };
                match sides.add(row) {
                    true => Outcome::New { amended: false },
                    false => Outcome::Repeated,
                }
            }
            Open::Hopping(windows) => {
                let mut new = false;
                let taken: Taken = windows.fold(at, watermark, &service.to_owned(), Sides::default, |sides| {
                    new |= sides.add(row);
                });
                match (taken.late(), new) {
                    (true, _) => Outcome::Late,
                    (false, true) => Outcome::New {
                        amended: taken.closed > 0,
                    },
                    (false, false) => Outcome::Repeated,
                }
            }
            Open::Session(windows) => {
                let mut this = Sides::default();
                this.add(row);
                let mut repeated = false;
                let placed = windows.add(at, watermark, &service.to_owned(), this, |sides, more| {
                    repeated |= !sides.merge(more);
                });
                match placed {
                    Placed::Late => Outcome::Late,
                    _ if repeated => Outcome::Repeated,
                    Placed::Opened => Outcome::New {
                        amended: at < watermark,
                    },
                    Placed::Joined | Placed::Merged(_) => Outcome::New { amended: false },
                }
            }
        }
    }

    /// The oldest window that `watermark` has closed: its start, and each service's rows in it.
    fn pop_closed(&mut self, watermark: Instant) -> Option<(Instant, Vec<(String, Sides)>)> {
        match self {
            Open::Tumbling(windows) => windows.pop_closed(watermark),
            Open::Hopping(windows) => windows.pop_closed(watermark),
            Open::Session(windows) => {
                let session = windows.pop_closed(watermark)?;
                Some((session.first, vec![(session.key, session.value)]))
            }
        }
    }

    /// How many of these rows lie in no window younger than the one that starts at `start`.
    fn done_with(&self, sides: &Sides, start: Instant) -> usize {
        match self {
            Open::Tumbling(_) | Open::Session(_) => sides.len(),
            Open::Hopping(windows) => {
                let newest = |at: i64| windows.starts_of(Instant(at)).last();
                sides.rows().filter(|(at, _)| newest(*at) == Some(start)).count()
            }
        }
    }
}

impl Sides {
    /// Whether the row is new here.
    fn add(&mut self, row: &SignalRow<'_>) -> bool {
        let this = (row.event_at, row.id);
        match row.kind {
            SignalKind::Change => self.changes.insert(this),
            _ => self.alerts.insert(this),
        }
    }

    /// Whether all of `more` is new here.
    fn merge(&mut self, more: Sides) -> bool {
        let together = self.len() + more.len();
        self.alerts.extend(more.alerts);
        self.changes.extend(more.changes);
        self.len() == together
    }

    fn len(&self) -> usize {
        self.alerts.len() + self.changes.len()
    }

    fn rows(&self) -> impl Iterator<Item = &(i64, SignalId)> {
        self.alerts.iter().chain(&self.changes)
    }
}

impl Operator for WindowJoin {
    type In = SignalBatch;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        NAME
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> String {
        match self.kind {
            WindowKind::Tumbling { width } => format!(r#"{{"tumbling_us":{}}}"#, width.as_micros()),
            WindowKind::Hopping { width, hop } => {
                format!(r#"{{"hopping_us":{},"hop_us":{}}}"#, width.as_micros(), hop.as_micros())
            }
            WindowKind::Session { gap } => format!(r#"{{"session_gap_us":{}}}"#, gap.as_micros()),
        }
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        decode_signals(record)
    }

    /// One cell, named after the kind: another kind of window cannot read it, and must not try.
    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        match &mut self.open {
            Open::Tumbling(windows) => vec![("tumbling", windows)],
            Open::Hopping(windows) => vec![("hopping", windows)],
            Open::Session(windows) => vec![("session", windows)],
        }
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            self.on_row(&row, cx);
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((start, services)) = self.open.pop_closed(watermark) {
            for (service, sides) in services {
                for left in &sides.alerts {
                    for right in &sides.changes {
                        emit(&service, start, *left, *right, cx);
                    }
                }
                for _ in 0..self.open.done_with(&sides, start) {
                    cx.accounting().release(Disposition::Forwarded);
                }
            }
        }
    }

    /// Every pair still to come lies in an open window.
    fn owes(&self) -> Option<Instant> {
        match &self.open {
            Open::Tumbling(windows) => windows.earliest(),
            Open::Hopping(windows) => windows.earliest(),
            Open::Session(windows) => windows.earliest(),
        }
    }
}

fn emit(service: &str, window: Instant, left: (i64, SignalId), right: (i64, SignalId), cx: &mut Cx<'_>) {
    let pair = WindowPair {
        left_id: left.1,
        right_id: right.1,
        service: service.to_owned(),
        left_at: left.0,
        right_at: right.0,
        window_at: window.0,
    };
    // A struct of strings and numbers: serialising it cannot fail.
    let value = serde_json::to_vec(&pair).map(Bytes::from).unwrap_or_default();
    cx.emit(service.as_bytes(), &value);
    cx.accounting().produce("pair");
}
