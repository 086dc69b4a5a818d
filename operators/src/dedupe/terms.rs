//! Terms: until when a firing is said to hold unless it is said again (Alertmanager's API: `endsAt` in the future; docs/adr/0030).
//!
//! The latest term of a firing counts, whatever the order in which terms were stated. When the watermark passes it and no end was
//! stated, the firing ended at its term. A later term stated after that revives it: the firing had not ended, its repetition was late.
//! A stated end is stronger than any term. Statements without a term (the same alert by another door) change none.

use model::{Signal, SignalRow, SignalState, TransitionKind};
use serde::{Deserialize, Serialize};
use stream::time::Instant;
use stream::{Table, Timers};

use super::{Cx, Dedupe, forward};

/// The terms of all firings that have one.
#[derive(Debug, Default)]
pub struct Terms {
    /// By dedup key, in order of start.
    pub held: Table<String, Vec<Term>>,
    /// What the end will be told with, by (dedup key, start). Apart from the terms, which move with every repetition: a snapshot costs
    /// what changed.
    pub ends: Table<(String, i64), Signal>,
    /// (Dedup key, start) → when the term is over; of one that expired, when that is forgotten.
    pub expiry: Timers<(String, i64)>,
}

/// One firing's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    starts_at: i64,
    until: i64,
    expired: bool,
}

impl Terms {
    /// Whether the row states a later term of a firing that expired.
    pub fn revives(&self, row: &SignalRow<'_>) -> bool {
        let Some(until) = row.ends_at.filter(|_| row.state == SignalState::Firing) else {
            return false;
        };
        self.held
            .get(row.dedup_key)
            .and_then(|terms| terms.iter().find(|term| term.starts_at == row.event_at))
            .is_some_and(|term| term.expired && until > term.until)
    }

    /// The row states that the firing that began then holds, until its term if it has one.
    pub fn hold(&mut self, row: &SignalRow<'_>, starts_at: i64) {
        let Some(until) = row.ends_at else { return };
        let terms = match self.held.get_mut(row.dedup_key) {
            Some(terms) => terms,
            None => self.held.entry(row.dedup_key.to_owned()).or_default(),
        };
        match terms.binary_search_by_key(&starts_at, |term| term.starts_at) {
            Ok(at) if terms[at].until >= until => return,
            Ok(at) => (terms[at].until, terms[at].expired) = (until, false),
            Err(at) => {
                let term = Term {
                    starts_at,
                    until,
                    expired: false,
                };
                terms.insert(at, term);
                let name = (row.dedup_key.to_owned(), starts_at);
                self.ends.insert(name, end(row, starts_at, until));
            }
        }
        self.expiry.set((row.dedup_key.to_owned(), starts_at), Instant(until));
    }

    /// The firing's end was stated.
    pub fn forget(&mut self, key: &str, starts_at: i64) {
        let Some(terms) = self.held.get_mut(key) else { return };
        terms.retain(|term| term.starts_at != starts_at);
        if terms.is_empty() {
            self.held.remove(key);
        }
        let name = (key.to_owned(), starts_at);
        self.ends.remove(&name);
        self.expiry.cancel(&name);
    }

    /// Takes over what belongs to the keys that are `mine`.
    pub fn carry(&mut self, mut from: Terms, mine: &dyn Fn(&[u8]) -> bool) {
        for (key, terms) in from.held.sorted() {
            if mine(key.as_bytes()) {
                self.held.insert(key.clone(), terms.clone());
            }
        }
        for (name, signal) in from.ends.sorted() {
            if mine(name.0.as_bytes()) {
                self.ends.insert(name.clone(), signal.clone());
            }
        }
        while let Some((at, key)) = from.expiry.pop_due(Instant::MAX) {
            if mine(key.0.as_bytes()) {
                self.expiry.set(key, at);
            }
        }
    }
}

/// The end of the firing, as far as the row says who fires; what was said of it is not repeated.
fn end(row: &SignalRow<'_>, starts_at: i64, until: i64) -> Signal {
    let end = SignalRow {
        state: SignalState::Resolved,
        event_at: starts_at,
        ends_at: Some(until),
        annotations: "{}",
        extra: None,
        ..*row
    };
    end.to_signal()
}

impl Dedupe {
    /// Ends what was not said again in time, and forgets what ended so long ago.
    pub(super) fn expire(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((at, name)) = self.terms.expiry.pop_due(watermark) {
            let (key, starts_at) = &name;
            let ended = self
                .alerts
                .get_mut(key)
                .and_then(|alert| alert.expire(*starts_at, at.0));
            let terms = self.terms.held.get_mut(key);
            let term = terms.and_then(|terms| terms.iter_mut().find(|term| term.starts_at == *starts_at));
            let signal = self.terms.ends.get(&name);
            let (Some(repeats), Some(term), Some(signal)) = (ended, term, signal) else {
                self.terms.forget(key, *starts_at);
                continue;
            };
            term.expired = true;
            let end = SignalRow {
                ends_at: Some(at.0),
                effective_at: at.0,
                ..signal.row()
            };
            forward(&end, TransitionKind::Resolved, repeats, cx);
            cx.accounting().produce("expiry");
            self.arm(key);
            let known_until = at.0.saturating_add(self.memory.resolved);
            self.terms.expiry.set(name, Instant(known_until));
        }
    }
}
