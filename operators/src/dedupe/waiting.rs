//! What names no firing: `triggered`, `cleared`, `acknowledged` (docs/adr/0031). Which firing it is about is decided in
//! `episodes/unstated.rs`; here is what follows: rows on `transitions` that name the firing, and the wait of what came before its
//! trigger.
//!
//! Early ends and acknowledgements are parked for [`early_resolve_wait`](super::DedupeSettings::early_resolve_wait) of event time. The
//! trigger takes them with it, acknowledgements first. When the wait is over they go to topic `late` (cause `no-trigger`).

use model::{Signal, SignalRow, SignalState, TransitionKind};
use serde::{Deserialize, Serialize};
use stream::time::{Instant, micros};
use stream::{Disposition, Table, Timers};

use super::episodes::Said;
use super::{Cx, Dedupe, end_of, forward};
use crate::late;

/// Statements of one alert that wait at a time. More: whoever floods one key costs memory; fewer: honest ones (a few people that
/// acknowledge, an end) would be turned away.
const PER_ALERT: usize = 16;

/// Cause under which it is late.
const NO_TRIGGER: &str = "no-trigger";

/// Early ends and acknowledgements.
#[derive(Debug, Default)]
pub struct Waiting {
    /// By dedup key; each content once.
    pub statements: Table<String, Vec<Parked>>,
    /// (Dedup key, content) → when the wait is over.
    pub until: Timers<(String, u64)>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parked(Box<Signal>);

impl Parked {
    /// When it was said.
    fn said_at(&self) -> i64 {
        said_at(&self.0.row())
    }
}

fn said_at(row: &SignalRow<'_>) -> i64 {
    match row.state {
        SignalState::Cleared => end_of(row),
        _ => row.event_at,
    }
}

pub fn names_no_firing(state: SignalState) -> bool {
    matches!(
        state,
        SignalState::Triggered | SignalState::Cleared | SignalState::Acknowledged
    )
}

impl Waiting {
    /// Takes over what belongs to the keys that are `mine`.
    pub fn carry(&mut self, mut from: Waiting, mine: &dyn Fn(&[u8]) -> bool) {
        for (key, parked) in from.statements.sorted() {
            if mine(key.as_bytes()) {
                self.statements.insert(key.clone(), parked.clone());
            }
        }
        while let Some((at, key)) = from.until.pop_due(Instant::MAX) {
            if mine(key.0.as_bytes()) {
                self.until.set(key, at);
            }
        }
    }

    fn take(&mut self, key: &str, digest: u64) -> Option<Parked> {
        let parked = self.statements.get_mut(key)?;
        let at = parked.iter().position(|one| one.0.digest == digest)?;
        let taken = parked.remove(at);
        if parked.is_empty() {
            self.statements.remove(key);
        }
        Some(taken)
    }
}

impl Dedupe {
    pub(super) fn on_unstated(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let wait = micros(self.wait);
        let known = self.alerts.get_mut(row.dedup_key);
        let said = match (row.state, known) {
            (SignalState::Triggered, known) => match known {
                Some(alert) => alert.triggered(row),
                None => self.alerts.entry(row.dedup_key.to_owned()).or_default().triggered(row),
            },
            (SignalState::Cleared, Some(alert)) => alert.cleared(row, wait),
            (_, Some(alert)) => alert.acknowledged(row, wait),
            (_, None) => Said::Unknown,
        };
        match said {
            Said::Begins(kind) => {
                let first = kind == TransitionKind::New;
                forward(&about(row, row.event_at, None), kind, 0, cx);
                cx.item(Disposition::Forwarded);
                self.terms.hold(row, row.event_at);
                self.meet(row, first, cx);
            }
            Said::About { starts_at, kind, .. } => {
                self.tell_about(row, said, cx);
                cx.item(Disposition::Forwarded);
                if kind == TransitionKind::Updated {
                    self.hold_again(row, starts_at);
                }
            }
            Said::Repeat { starts_at } => {
                self.hold_again(row, starts_at);
                return cx.item(Disposition::Merged { id: row.id.0.as_u128() });
            }
            Said::Unknown => return self.park(row, cx),
            Said::Forgotten => {
                return cx.item(Disposition::Suppressed {
                    rule: "episode-forgotten",
                });
            }
        }
        if cx.behind(Instant(row.effective_at)) {
            cx.accounting().amended += 1;
        }
        self.make_room(row.dedup_key, cx);
        self.arm(row.dedup_key);
    }

    /// A trigger that is about a firing which is on states its term.
    fn hold_again(&mut self, row: &SignalRow<'_>, starts_at: i64) {
        let fires = self
            .alerts
            .get(row.dedup_key)
            .is_some_and(|alert| alert.fires(starts_at));
        if row.state == SignalState::Triggered && fires {
            self.terms.hold(row, starts_at);
        }
    }

    /// Forwards what is news about a known firing.
    fn tell_about(&mut self, row: &SignalRow<'_>, said: Said, cx: &mut Cx<'_>) {
        let Said::About {
            starts_at,
            kind,
            repeats,
            ends_at,
        } = said
        else {
            return;
        };
        forward(&about(row, starts_at, ends_at), kind, repeats, cx);
        if kind == TransitionKind::Resolved {
            self.terms.forget(row.dedup_key, starts_at);
        }
    }

    fn park(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let until = Instant(row.effective_at).saturating_add(self.wait);
        let parked = match self.waiting.statements.get_mut(row.dedup_key) {
            Some(parked) => parked,
            None if until <= cx.watermark() => return late::send("dedupe", NO_TRIGGER, row, cx),
            None => self.waiting.statements.entry(row.dedup_key.to_owned()).or_default(),
        };
        let same = parked.iter_mut().find(|one| one.0.digest == row.digest);
        if let Some(kept) = same {
            // Said again: the earliest counts, as it would behind its trigger, and of equal ones the lesser id.
            if (said_at(row), row.id) < (kept.said_at(), kept.0.id) {
                *kept = Parked(Box::new(row.to_signal()));
                self.waiting.until.set((row.dedup_key.to_owned(), row.digest), until);
            }
            return cx.item(Disposition::Merged { id: row.id.0.as_u128() });
        }
        if until <= cx.watermark() || parked.len() >= PER_ALERT {
            return late::send("dedupe", NO_TRIGGER, row, cx);
        }
        parked.push(Parked(Box::new(row.to_signal())));
        self.waiting.until.set((row.dedup_key.to_owned(), row.digest), until);
        cx.item(Disposition::Held);
    }

    /// A firing began with `trigger`: what waited for it is about it. `first`: nothing was known of the alert before.
    fn meet(&mut self, trigger: &SignalRow<'_>, first: bool, cx: &mut Cx<'_>) {
        let wait = micros(self.wait);
        let Some(parked) = self.waiting.statements.get(trigger.dedup_key) else {
            return;
        };
        // As `episodes/unstated.rs` will judge: what it would not take stays.
        let near = |one: &&Parked| {
            let slack = if first || one.0.state == SignalState::Acknowledged {
                wait
            } else {
                0
            };
            trigger.event_at <= one.said_at().saturating_add(slack)
        };
        let mut met: Vec<Parked> = parked.iter().filter(near).cloned().collect();
        met.sort_by_key(|one| (one.0.state == SignalState::Cleared, one.said_at(), one.0.id));
        for Parked(signal) in met {
            self.waiting.take(&signal.dedup_key, signal.digest);
            self.waiting.until.cancel(&(signal.dedup_key.clone(), signal.digest));
            let row = signal.row();
            let Some(alert) = self.alerts.get_mut(&signal.dedup_key) else {
                continue;
            };
            let said = match row.state {
                SignalState::Cleared => alert.cleared(&row, wait),
                _ => alert.acknowledged(&row, wait),
            };
            match said {
                Said::About { .. } => {
                    self.tell_about(&row, said, cx);
                    cx.accounting().release(Disposition::Forwarded);
                }
                // A second end, older than the first that was taken.
                _ => cx.accounting().release(Disposition::Merged { id: row.id.0.as_u128() }),
            }
        }
    }

    /// The wait of what came early is over, and no trigger came.
    pub(super) fn give_up_waiting(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((_, (key, digest))) = self.waiting.until.pop_due(watermark) {
            if let Some(Parked(signal)) = self.waiting.take(&key, digest) {
                late::release("dedupe", NO_TRIGGER, &signal.row(), cx);
            }
        }
    }
}

/// The statement as one about the firing that began then.
fn about<'a>(row: &SignalRow<'a>, starts_at: i64, ends_at: Option<i64>) -> SignalRow<'a> {
    SignalRow {
        state: match row.state {
            SignalState::Cleared => SignalState::Resolved,
            SignalState::Acknowledged => SignalState::Acknowledged,
            _ => SignalState::Firing,
        },
        event_at: starts_at,
        ends_at,
        ..*row
    }
}
