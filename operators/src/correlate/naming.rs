//! Naming suspects: a fact for each change that preceded an alert of an incident, once per incident.

use model::{EpisodeId, Fact, SignalRow, Suspect};

use stream::time::Instant;

use super::facts::{Cause, tell};
use super::graph::time;
use super::suspects::{Change, domain_of, slot};
use super::{Correlate, Cx, cause};

impl Correlate {
    /// A change: it may precede alerts that are here already.
    pub(super) fn change(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let preceded = self.suspects.change(row, self.suspect_window, self.lateness);
        let change = Change {
            signal: row.id,
            at: row.event_at,
            source: row.source.to_owned(),
            title: row.title.to_owned(),
        };
        for id in preceded {
            let name = self.component_of(id);
            self.tell_suspect(name, id, &change, cause(row, row.event_at, cx), cx);
        }
    }

    /// Notes where an alert stands; `before` is where it stood until its sender named another service.
    pub(super) fn place_alert(&mut self, id: EpisodeId, before: Option<(String, i64)>) {
        let now = self.place_of(id);
        if now == before {
            return;
        }
        if let Some((slot, at)) = before {
            self.suspects.forget_alert(&slot, at, id);
        }
        if let Some((slot, at)) = now {
            self.suspects.alert(slot, at, id);
        }
    }

    /// Names the suspects of every member of an incident that were not named yet.
    pub(super) fn tell_suspects(&mut self, name: EpisodeId, about: &[EpisodeId], cause: Cause, cx: &mut Cx<'_>) {
        for id in about {
            let Some((slot, at)) = self.place_of(*id) else { continue };
            for change in self.suspects.preceding(&slot, at, self.suspect_window) {
                self.tell_suspect(name, *id, &change, cause, cx);
            }
        }
    }

    /// What was said about incidents that are here, and the changes of the domains that are `mine`.
    pub(super) fn carry_words(&mut self, from: &mut Correlate, mine: &dyn Fn(&[u8]) -> bool) {
        for (incident, spoken) in from.graph.spoken.sorted() {
            if self.graph.episodes.contains(&spoken.opener) {
                self.graph.spoken.insert(*incident, spoken.clone());
            }
        }
        for (slot, changes) in from.suspects.changes.sorted() {
            if domain_of(slot).is_some_and(|domain| mine(domain.as_bytes())) {
                self.suspects.changes.insert(slot.clone(), changes.clone());
            }
        }
        for (slot, alerts) in from.suspects.alerts.sorted() {
            if domain_of(slot).is_some_and(|domain| mine(domain.as_bytes())) {
                self.suspects.alerts.insert(slot.clone(), alerts.clone());
            }
        }
        while let Some((at, slot)) = from.suspects.expiry.pop_due(Instant::MAX) {
            if self.suspects.changes.contains(&slot) {
                self.suspects.expiry.set(slot, at);
            }
        }
    }

    fn tell_suspect(&mut self, name: EpisodeId, alert: EpisodeId, change: &Change, cause: Cause, cx: &mut Cx<'_>) {
        let Some(episode) = self.graph.episodes.get(&alert) else {
            return;
        };
        let Some(incident) = self
            .graph
            .components
            .get(&name)
            .and_then(|c| Some(c.incident.as_ref()?.id))
        else {
            return;
        };
        let suspect = Suspect {
            signal: change.signal,
            source: change.source.clone(),
            title: change.title.clone(),
            service: episode.service.clone().unwrap_or_default(),
            at: time(change.at),
            before_ms: episode.starts_at.saturating_sub(change.at) / 1_000,
        };
        if self
            .graph
            .spoken
            .entry(incident)
            .or_default()
            .suspects
            .insert(change.signal)
        {
            tell(&mut self.graph, name, Fact::SuspectFound { suspect }, cause, cx);
        }
    }

    /// The members of a component that is about to be forgotten meet no change any more.
    pub(super) fn forget_alerts(&mut self, name: EpisodeId) {
        let members: Vec<EpisodeId> = match self.graph.components.get(&name) {
            Some(component) => component.members.iter().map(|(_, id)| *id).collect(),
            None => return,
        };
        for id in members {
            if let Some((slot, at)) = self.place_of(id) {
                self.suspects.forget_alert(&slot, at, id);
            }
        }
    }

    /// Where an alert stands: its service in its domain, and its start.
    pub(super) fn place_of(&self, id: EpisodeId) -> Option<(String, i64)> {
        let episode = self.graph.episodes.get(&id)?;
        let domain = self.graph.components.get(&episode.component)?.domain();
        Some((slot(&domain, episode.service.as_deref()?), episode.starts_at))
    }
}
