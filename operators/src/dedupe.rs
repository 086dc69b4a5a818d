//! Dedupe: `signals` → `transitions`. Lets through what is new about an alert and counts the rest.
//!
//! It guarantees, per dedup key and whatever the order of arrival:
//!
//! * each firing (episode) is forwarded once as `New` or `Reopened`, a changed content as `Updated`, its end as
//!   `Resolved` (again if a later end is stated); everything else about it is a repeat, counted and not forwarded;
//! * `New` precedes `Resolved`: an end that comes before its firing is parked until the firing arrives, or until the
//!   watermark says that it will not; then the end goes out alone;
//! * a firing that arrives after its end (a retry, a peer that lags) does not fire again: event time decides;
//! * what is said of an alert without naming a firing (`waiting.rs`) is about the one that event time points to; an end or an acknowledgement
//!   that comes before its trigger waits for it, and lies on topic `late` when the wait is over;
//! * a firing with a term (`terms.rs`) is over at the latest term that was stated, unless its end is stated.
//!
//! Memory: an episode that fires is known until it ends; ended ones and events until [`DedupeSettings`] says. While something
//! is parked the output watermark stays at or before it. Nothing is ever dropped for being late.

mod episodes;
mod projection;
mod terms;
mod waiting;

use std::time::Duration;

use model::{Signal, SignalBatch, SignalRow, SignalState, Transition, TransitionKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::log::{Record, TopicPartition};
use stream::operator::MigrateError;
use stream::state::{SavedCells, StateCell};
use stream::time::{Instant, micros};
use stream::{Context, Disposition, Operator, Reject, Table, Timers};

use crate::signals_out::{SignalsOut, decode_signals};
pub(crate) use episodes::end_of;
use episodes::{AlertState, Evicted, Memory, Verdict};
pub use projection::Deployment;
use terms::Terms;
use waiting::Waiting;

/// Settings of `[dedupe]`. All spans are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DedupeSettings {
    /// How long a resolve or an acknowledgement that came before its firing waits for it. Shorter, and a sender whose retries take longer
    /// shows as an end without a beginning; longer, and event time downstream lags by as much while one waits.
    pub early_resolve_wait: HumanDuration,
    /// How long an ended firing stays known, so that a redelivery of it is a repeat. Senders redeliver for up to three
    /// days.
    pub resolved_memory: HumanDuration,
    /// How long a change or notice stays known. GitHub lets deliveries be sent again for three days.
    pub event_memory: HumanDuration,
    /// Firings remembered per alert. Beyond it the oldest ended one is forgotten before its time, and late statements
    /// about it are suppressed by rule `episode-forgotten`.
    pub max_episodes: usize,
}

impl Default for DedupeSettings {
    fn default() -> Self {
        DedupeSettings {
            early_resolve_wait: HumanDuration::from_secs(300),
            resolved_memory: HumanDuration::from_secs(3 * 86_400),
            event_memory: HumanDuration::from_secs(4 * 86_400),
            max_episodes: 1_024,
        }
    }
}

/// The operator.
#[derive(Debug)]
pub struct Dedupe {
    settings: DedupeSettings,
    wait: Duration,
    memory: Memory,
    max_episodes: usize,
    alerts: Table<String, AlertState>,
    /// Early resolves: (dedup key, start) → when the wait is over.
    parked: Timers<(String, i64)>,
    /// Dedup key → when its next episode may be forgotten.
    forget: Timers<String>,
    terms: Terms,
    waiting: Waiting,
}

type Cx<'a> = Context<'a, SignalsOut>;

impl Dedupe {
    pub fn new(settings: &DedupeSettings) -> Self {
        Dedupe {
            settings: settings.clone(),
            wait: settings.early_resolve_wait.get(),
            memory: Memory {
                resolved: micros(settings.resolved_memory.get()),
                event: micros(settings.event_memory.get()),
            },
            max_episodes: settings.max_episodes,
            alerts: Table::default(),
            parked: Timers::default(),
            forget: Timers::default(),
            terms: Terms::default(),
            waiting: Waiting::default(),
        }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        if waiting::names_no_firing(row.state) {
            return self.on_unstated(row, cx);
        }
        let wait_until = Instant(row.effective_at).saturating_add(self.wait);
        let overdue = wait_until <= cx.watermark();
        // Repeats are the bulk: they must not copy the key.
        let alert = match self.alerts.get_mut(row.dedup_key) {
            Some(alert) => alert,
            None => self.alerts.entry(row.dedup_key.to_owned()).or_default(),
        };
        let revived = self.terms.revives(row) && alert.revive(row.event_at);
        let verdict = match alert.judge(row, overdue) {
            Verdict::Repeat | Verdict::Forward { .. } if revived => Verdict::Forward {
                kind: TransitionKind::Revived,
                repeats: 0,
            },
            verdict => verdict,
        };
        match row.state {
            SignalState::Firing if alert.fires(row.event_at) => self.terms.hold(row, row.event_at),
            SignalState::Resolved => self.terms.forget(row.dedup_key, row.event_at),
            _ => {}
        }
        match verdict {
            Verdict::Repeat => return cx.item(Disposition::Merged { id: row.id.0.as_u128() }),
            Verdict::Forgotten => {
                return cx.item(Disposition::Suppressed {
                    rule: "episode-forgotten",
                });
            }
            Verdict::Forward { kind, repeats } => {
                forward(row, kind, repeats, cx);
                cx.item(Disposition::Forwarded);
            }
            Verdict::ForwardWithEnd { kind, end, was_parked } => {
                forward(row, kind, 0, cx);
                cx.item(Disposition::Forwarded);
                forward(&end.row(), TransitionKind::Resolved, 0, cx);
                if was_parked {
                    self.parked.cancel(&(row.dedup_key.to_owned(), row.event_at));
                    cx.accounting().release(Disposition::Forwarded);
                } else {
                    cx.accounting().produce("late-firing");
                }
            }
            Verdict::Park => {
                self.parked.set((row.dedup_key.to_owned(), row.event_at), wait_until);
                cx.item(Disposition::Held);
            }
        }
        if cx.behind(Instant(row.effective_at)) {
            cx.accounting().amended += 1;
        }
        self.make_room(row.dedup_key, cx);
        self.arm(row.dedup_key);
    }

    fn make_room(&mut self, key: &str, cx: &mut Cx<'_>) {
        let Some(alert) = self.alerts.get_mut(key) else { return };
        if let Some(Evicted {
            starts_at,
            parked: Some(signal),
        }) = alert.evict(self.max_episodes)
        {
            self.parked.cancel(&(key.to_owned(), starts_at));
            release_alone(&signal, cx);
        }
    }

    /// Sets the timer that forgets this alert's next episode.
    fn arm(&mut self, key: &str) {
        let Some(alert) = self.alerts.get(key) else { return };
        match alert.forget_at(self.memory) {
            Some(at) => self.forget.set(key.to_owned(), Instant(at)),
            None => self.forget.cancel(&key.to_owned()),
        }
    }
}

impl Operator for Dedupe {
    type In = SignalBatch;
    type Out = SignalsOut;

    fn name(&self) -> &'static str {
        "dedupe"
    }

    fn logic_version(&self) -> u32 {
        2
    }

    /// Version 1 knew neither terms nor what names no firing; all else is as it was.
    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        if from != 1 {
            return Err(MigrateError::NoWay { from });
        }
        cells.read("alerts", &mut self.alerts)?;
        cells.read("parked", &mut self.parked)?;
        cells.read("forget", &mut self.forget)?;
        Ok(())
    }

    fn settings(&self) -> String {
        // A struct of durations and numbers always encodes.
        serde_json::to_string(&self.settings).unwrap_or_default()
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<SignalBatch, Reject> {
        decode_signals(record)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![
            ("alerts", &mut self.alerts),
            ("parked", &mut self.parked),
            ("forget", &mut self.forget),
            ("terms", &mut self.terms.held),
            ("ends", &mut self.terms.ends),
            ("expiry", &mut self.terms.expiry),
            ("waiting", &mut self.waiting.statements),
            ("waits", &mut self.waiting.until),
        ]
    }

    /// Alerts, waits and timers are all named by the dedup key, by which `signals` is partitioned.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let mut from = Dedupe::new(&self.settings);
        for (name, cell) in from.cells() {
            cells.read(name, cell)?;
        }
        for (key, alert) in from.alerts.sorted() {
            if mine(key.as_bytes()) {
                self.alerts.insert(key.clone(), alert.clone());
            }
        }
        while let Some((at, key)) = from.parked.pop_due(Instant::MAX) {
            if mine(key.0.as_bytes()) {
                self.parked.set(key, at);
            }
        }
        while let Some((at, key)) = from.forget.pop_due(Instant::MAX) {
            if mine(key.as_bytes()) {
                self.forget.set(key, at);
            }
        }
        self.terms.carry(from.terms, mine);
        self.waiting.carry(from.waiting, mine);
        Ok(())
    }

    /// What is parked.
    fn held(&self) -> u64 {
        (self.parked.len() + self.waiting.until.len()) as u64
    }

    fn on_batch(&mut self, batch: &SignalBatch, cx: &mut Cx<'_>) {
        for row in batch.rows() {
            self.on_row(&row, cx);
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((_, (key, starts_at))) = self.parked.pop_due(watermark) {
            let waited = self
                .alerts
                .get_mut(&key)
                .and_then(|alert| alert.give_up_waiting(starts_at));
            if let Some(signal) = waited {
                release_alone(&signal, cx);
                self.arm(&key);
            }
        }
        self.give_up_waiting(watermark, cx);
        self.expire(watermark, cx);
        while let Some((_, key)) = self.forget.pop_due(watermark) {
            let Some(alert) = self.alerts.get_mut(&key) else {
                continue;
            };
            alert.forget(watermark.0, self.memory);
            if alert.is_empty() {
                self.alerts.remove(&key);
            } else {
                self.arm(&key);
            }
        }
    }

    /// The earliest of what is parked.
    fn owes(&self) -> Option<Instant> {
        let parked = [self.parked.earliest(), self.waiting.until.earliest()];
        let earliest = parked.into_iter().flatten().min();
        earliest.map(|at| at.saturating_sub(self.wait))
    }
}

fn forward(row: &SignalRow<'_>, kind: TransitionKind, repeats: u64, cx: &mut Cx<'_>) {
    let row = SignalRow {
        // A term is dedupe's business: what goes on fires until it is said to be over.
        ends_at: row.ends_at.filter(|_| row.state != SignalState::Firing),
        transition: Some(Transition {
            kind,
            episode: row.episode(),
            repeats,
        }),
        ..*row
    };
    cx.emit(row.domain().as_bytes(), &row);
    // `Reopened` is a matter of arrival: to the projections it is as new.
    if matches!(kind, TransitionKind::New | TransitionKind::Reopened)
        && let Some((topic, key, record)) = projection::project(&row)
    {
        cx.emit_side(&topic.into(), key, record);
    }
}

/// An early resolve goes out without its firing.
fn release_alone(signal: &Signal, cx: &mut Cx<'_>) {
    forward(&signal.row(), TransitionKind::Resolved, 0, cx);
    cx.accounting().release(Disposition::Forwarded);
}
