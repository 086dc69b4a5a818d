//! Suspects: changes of the same service shortly before an alert of an incident.
//!
//! ```text
//!        at − window              at
//!   ─────────[═══ changes ═════════]─────────►  event time of one service in one domain
//!   change.at ≤ alert.at ≤ change.at + window
//! ```
//!
//! A pair is found when its second half arrives, whichever that is, so the order of arrival does not matter. A change may go when
//! the watermark has passed its window and the lateness; an alert goes with its episode.

use std::collections::{BTreeMap, BTreeSet};

use model::{EpisodeId, SignalId, SignalRow};
use serde::{Deserialize, Serialize};
use stream::time::Instant;
use stream::{Table, Timers};

/// Changes kept per service. A service that changes more often within the window names its latest ones only.
const CHANGES: usize = 64;

/// A change, as far as a suspicion needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub signal: SignalId,
    pub at: i64,
    pub source: String,
    pub title: String,
}

/// Of one service, by time: source and title.
type Changes = BTreeMap<(i64, SignalId), (String, String)>;

/// Changes and alerts by service.
#[derive(Debug, Default)]
pub struct Suspects {
    pub changes: Table<String, Changes>,
    pub alerts: Table<String, BTreeSet<(i64, EpisodeId)>>,
    /// Service → when its earliest change may go.
    pub expiry: Timers<String>,
}

/// The length keeps a domain that contains a separator from posing as another.
pub fn slot(domain: &str, service: &str) -> String {
    format!("{}:{domain}:{service}", domain.len())
}

/// The domain of a slot.
pub fn domain_of(slot: &str) -> Option<&str> {
    let (length, rest) = slot.split_once(':')?;
    rest.get(..length.parse().ok()?)
}

impl Suspects {
    /// Takes a change in; returns the alerts that it precedes, or nothing if it is known.
    pub fn change(&mut self, row: &SignalRow<'_>, window: i64, lateness: i64) -> Vec<EpisodeId> {
        let Some(service) = row.service else { return Vec::new() };
        let slot = slot(&row.domain(), service);
        let changes = self.changes.entry(slot.clone()).or_default();
        let what = (row.source.to_owned(), row.title.to_owned());
        if changes.insert((row.event_at, row.id), what).is_some() {
            return Vec::new();
        }
        while changes.len() > CHANGES {
            changes.pop_first();
        }
        if let Some(((first, _), _)) = changes.first_key_value() {
            let at = first.saturating_add(window).saturating_add(lateness);
            self.expiry.set(slot.clone(), Instant(at));
        }
        let least = (row.event_at, EpisodeId(uuid::Uuid::nil()));
        let most = (row.event_at.saturating_add(window), EpisodeId(uuid::Uuid::max()));
        let Some(alerts) = self.alerts.get(&slot) else {
            return Vec::new();
        };
        alerts.range(least..=most).map(|(_, id)| *id).collect()
    }

    /// Notes where an alert stands.
    pub fn alert(&mut self, slot: String, at: i64, id: EpisodeId) {
        self.alerts.entry(slot).or_default().insert((at, id));
    }

    /// The changes that precede an alert at `at`, nearest first.
    pub fn preceding(&self, slot: &str, at: i64, window: i64) -> Vec<Change> {
        let Some(changes) = self.changes.get(slot) else {
            return Vec::new();
        };
        let least = (at.saturating_sub(window), SignalId(uuid::Uuid::nil()));
        let most = (at, SignalId(uuid::Uuid::max()));
        changes
            .range(least..=most)
            .rev()
            .map(|((at, signal), (source, title))| Change {
                signal: *signal,
                at: *at,
                source: source.clone(),
                title: title.clone(),
            })
            .collect()
    }

    pub fn forget_alert(&mut self, slot: &str, at: i64, id: EpisodeId) {
        if let Some(alerts) = self.alerts.get_mut(slot) {
            alerts.remove(&(at, id));
            if alerts.is_empty() {
                self.alerts.remove(slot);
            }
        }
    }

    /// Lets go of the changes that no alert can meet any more.
    pub fn expire(&mut self, watermark: Instant, window: i64, lateness: i64) {
        while let Some((_, slot)) = self.expiry.pop_due(watermark) {
            let Some(changes) = self.changes.get_mut(&slot) else {
                continue;
            };
            let due = |at: i64| Instant(at.saturating_add(window).saturating_add(lateness));
            while changes
                .first_key_value()
                .is_some_and(|((at, _), _)| due(*at) <= watermark)
            {
                changes.pop_first();
            }
            match changes.first_key_value() {
                Some(((at, _), _)) => self.expiry.set(slot, due(*at)),
                None => {
                    self.changes.remove(&slot);
                }
            }
        }
    }
}
