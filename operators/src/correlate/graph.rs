//! Episodes and the components they form. Everything the operator remembers but its timers; decides, and emits nothing.
//!
//! A component is kept as a whole: its members in order of start, and running totals that only grow or count down, so
//! that a fact costs the same in an incident of one member and of a hundred thousand. Two components unite by moving the
//! smaller one's members, which moves each episode at most log n times.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use model::{
    CanonicalKey, EpisodeId, Incident, IncidentId, Member, Severity, SignalId, SignalRow, SignalState, Status,
};
use serde::{Deserialize, Serialize};
use stream::Table;
use stream::time::Instant;

use super::links::{Evidence, Index, Link, links_of, namespace_of};
use super::spoken::SpokenTable;

/// One firing (or event), as a member of a component. What the sender says of it may change; the fields are chosen so
/// that the order in which it was said does not matter: severity is the highest, links are all that were ever named,
/// the rest comes from the firing signal with the least id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Episode {
    /// Name of its component: always the id of one of the component's members.
    pub component: EpisodeId,
    pub signal: SignalId,
    pub dedup_key: String,
    pub source: String,
    pub title: String,
    pub service: Option<String>,
    pub severity: Severity,
    pub starts_at: i64,
    pub ends_at: Option<i64>,
    /// Events have no end of their own: they keep an incident open until here.
    pub quiet_at: Option<i64>,
    /// The latest (clamped) event time at which this episode still mattered.
    pub last_at: i64,
    pub links: Vec<Link>,
    pub evidence: Option<Evidence>,
    pub opened: bool,
}

/// Episodes linked to each other, directly or through others.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Component {
    pub tenant: String,
    pub environment: String,
    pub members: BTreeSet<(i64, EpisodeId)>,
    pub firing: u32,
    pub severity: Severity,
    /// Latest end of a member.
    pub ends_at: Option<i64>,
    pub quiet_at: Option<i64>,
    pub last_at: Option<i64>,
    /// Items held on account of a component without an incident.
    pub held: u64,
    pub incident: Option<Opened>,
}

/// What was said about a component's incident so far.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    pub id: IncidentId,
    pub revision: u64,
    pub resolved: bool,
    pub severity: Severity,
    /// The canonical key and the earliest member that it was made of.
    pub canonical: (EpisodeId, CanonicalKey),
}

/// All episodes and components of a partition, by domain.
#[derive(Debug, Default)]
pub struct Graph {
    pub episodes: Table<EpisodeId, Episode>,
    pub components: Table<EpisodeId, Component>,
    pub index: Index,
    pub spoken: SpokenTable,
}

impl Component {
    pub fn domain(&self) -> String {
        format!("{}/{}", self.tenant, self.environment)
    }

    /// Whether nothing fires, and events have been quiet for long enough.
    pub fn over(&self, watermark: Instant) -> bool {
        self.firing == 0 && self.quiet_at.is_none_or(|at| at <= watermark.0)
    }

    fn admit(&mut self, id: EpisodeId, episode: &Episode) {
        self.members.insert((episode.starts_at, id));
        self.firing += u32::from(episode.ends_at.is_none());
        self.take_note(episode);
    }

    fn take_note(&mut self, episode: &Episode) {
        self.severity = self.severity.max(episode.severity);
        self.ends_at = self.ends_at.max(episode.ends_at);
        self.quiet_at = self.quiet_at.max(episode.quiet_at);
        self.last_at = self.last_at.max(Some(episode.last_at));
    }
}

impl Graph {
    /// A new episode as a component of its own.
    pub fn begin(&mut self, id: EpisodeId, row: &SignalRow<'_>, gap: i64) {
        let clamped = row.event_at.min(row.effective_at);
        let event = row.state == SignalState::Event;
        let episode = Episode {
            component: id,
            signal: row.id,
            dedup_key: row.dedup_key.to_owned(),
            source: row.source.to_owned(),
            title: row.title.to_owned(),
            service: row.service.map(str::to_owned),
            severity: row.severity,
            starts_at: row.event_at,
            ends_at: event.then_some(row.event_at),
            quiet_at: event.then(|| clamped.saturating_add(gap)),
            last_at: clamped.saturating_add(gap),
            links: links_of(row),
            evidence: None,
            opened: false,
        };
        let mut component = Component {
            tenant: row.tenant.to_owned(),
            environment: row.environment.to_owned(),
            ..Component::default()
        };
        let domain = component.domain();
        episode
            .links
            .iter()
            .for_each(|link| self.index.insert(&domain, link, episode.starts_at, id));
        component.admit(id, &episode);
        self.components.insert(id, component);
        self.episodes.insert(id, episode);
    }

    /// What the sender says of a known episode now. Returns the links that it had not named before.
    pub fn update(&mut self, id: EpisodeId, row: &SignalRow<'_>) -> Vec<Link> {
        let Some(episode) = self.episodes.get_mut(&id) else {
            return Vec::new();
        };
        if row.id < episode.signal {
            episode.signal = row.id;
            episode.source = row.source.to_owned();
            episode.title = row.title.to_owned();
            episode.service = row.service.map(str::to_owned);
        }
        episode.severity = episode.severity.max(row.severity);
        let fresh: Vec<Link> = links_of(row)
            .into_iter()
            .filter(|link| !episode.links.contains(link))
            .collect();
        episode.links.extend(fresh.iter().cloned());
        if let Some(component) = self.components.get_mut(&episode.component) {
            component.take_note(episode);
            let domain = component.domain();
            fresh
                .iter()
                .for_each(|link| self.index.insert(&domain, link, episode.starts_at, id));
        }
        fresh
    }

    /// A known episode ended. Returns whether that is news: the first end, or a later one.
    pub fn end(&mut self, id: EpisodeId, ends_at: i64, clamped: i64) -> bool {
        let Some(episode) = self.episodes.get_mut(&id) else {
            return false;
        };
        if episode.quiet_at.is_some() || episode.ends_at.is_some_and(|known| known >= ends_at) {
            return false;
        }
        let first = episode.ends_at.is_none();
        episode.ends_at = Some(ends_at);
        episode.last_at = episode.last_at.max(clamped);
        if let Some(component) = self.components.get_mut(&episode.component) {
            component.firing -= u32::from(first);
            component.take_note(episode);
        }
        true
    }

    /// What counted as ended fires after all.
    pub fn revive(&mut self, id: EpisodeId) {
        let Some(episode) = self.episodes.get_mut(&id) else {
            return;
        };
        if episode.quiet_at.is_none()
            && episode.ends_at.take().is_some()
            && let Some(component) = self.components.get_mut(&episode.component)
        {
            component.firing += 1;
        }
    }

    /// Components other than its own that `links` of an episode reach, each with the first link found.
    pub fn reach(&self, id: EpisodeId, links: &[Link], gap: i64) -> Vec<(EpisodeId, Evidence)> {
        let Some(episode) = self.episodes.get(&id) else {
            return Vec::new();
        };
        let domain = self
            .components
            .get(&episode.component)
            .map(Component::domain)
            .unwrap_or_default();
        let mut reached: Vec<(EpisodeId, Evidence)> = Vec::new();
        for link in links {
            for evidence in self.index.nearest(&domain, link, (episode.starts_at, id), gap) {
                let Some(other) = self.episodes.get(&evidence.linked_to) else {
                    continue;
                };
                let known = other.component == episode.component || reached.iter().any(|(c, _)| *c == other.component);
                if !known {
                    reached.push((other.component, evidence));
                }
            }
        }
        reached
    }

    /// Moves one episode out of wherever it was counted into `to`.
    pub fn move_into(&mut self, to: EpisodeId, id: EpisodeId) {
        if let (Some(episode), Some(component)) = (self.episodes.get_mut(&id), self.components.get_mut(&to)) {
            episode.component = to;
            component.admit(id, episode);
        }
    }

    /// Unites two components, moving the smaller one. The incident of `a` stays. Returns the name of the union.
    pub fn unite(&mut self, a: EpisodeId, b: EpisodeId) -> EpisodeId {
        let (Some(mut first), Some(second)) = (self.components.remove(&a), self.components.remove(&b)) else {
            return a;
        };
        let incident = first.incident.take();
        let (name, mut large, small) = if first.members.len() >= second.members.len() {
            (a, first, second)
        } else {
            (b, second, first)
        };
        large.incident = incident;
        large.held += small.held;
        for (_, id) in &small.members {
            if let Some(episode) = self.episodes.get_mut(id) {
                episode.component = name;
                large.admit(*id, episode);
            }
        }
        self.components.insert(name, large);
        name
    }

    /// Forgets a component and its members; returns it.
    pub fn forget(&mut self, name: EpisodeId) -> Option<Component> {
        let component = self.components.remove(&name)?;
        let domain = component.domain();
        for (starts_at, id) in &component.members {
            if let Some(episode) = self.episodes.remove(id) {
                if episode.opened {
                    self.spoken.remove(&IncidentId::opened_by(&domain, *id, 0));
                }
                episode
                    .links
                    .iter()
                    .for_each(|link| self.index.remove(&domain, link, *starts_at, *id));
            }
        }
        Some(component)
    }

    /// A member as facts show it.
    pub fn member(&self, id: EpisodeId) -> Option<Member> {
        let episode = self.episodes.get(&id)?;
        let evidence = episode.evidence.as_ref();
        let rule = match evidence {
            _ if episode.opened => "opened@1",
            Some(evidence) => evidence.rule.as_str(),
            None => "first@1",
        };
        Some(Member {
            episode: id,
            signal: episode.signal,
            dedup_key: episode.dedup_key.clone(),
            source: episode.source.clone(),
            title: episode.title.clone(),
            severity: episode.severity,
            service: episode.service.clone(),
            namespace: namespace_of(&episode.links, episode.service.as_deref()),
            starts_at: time(episode.starts_at),
            ends_at: episode.ends_at.map(time),
            rule: rule.to_owned(),
            key: evidence.map(|evidence| evidence.key.clone()),
            linked_to: evidence.map(|evidence| evidence.linked_to),
            apart_ms: evidence.map(|evidence| evidence.apart / 1_000),
        })
    }

    /// The canonical key of a component as it stands.
    pub fn canonical_key(&mut self, name: EpisodeId) -> Option<CanonicalKey> {
        let component = self.components.get_mut(&name)?;
        let earliest = component.members.first()?.1;
        let domain = component.domain();
        match &mut component.incident {
            Some(incident) if incident.canonical.0 == earliest => Some(incident.canonical.1),
            incident => {
                let key = CanonicalKey::of(&domain, earliest);
                if let Some(incident) = incident {
                    incident.canonical = (earliest, key);
                }
                Some(key)
            }
        }
    }

    /// The incident of a component after one more fact: its revision rises.
    pub fn next_revision(&mut self, name: EpisodeId) -> Option<Incident> {
        let canonical_key = self.canonical_key(name)?;
        let component = self.components.get_mut(&name)?;
        let earliest = self.episodes.get(&component.members.first()?.1)?;
        let opened = component.incident.as_mut()?;
        opened.revision += 1;
        let incident = Incident {
            id: opened.id,
            canonical_key,
            revision: opened.revision,
            tenant: component.tenant.clone(),
            environment: component.environment.clone(),
            alert_id: earliest.dedup_key.clone(),
            source: earliest.source.clone(),
            severity: component.severity,
            status: if opened.resolved {
                Status::Resolved
            } else {
                Status::Open
            },
            title: earliest.title.clone(),
            service: earliest.service.clone(),
            created_at: time(earliest.starts_at),
            resolved_at: if opened.resolved {
                component.ends_at.map(time)
            } else {
                None
            },
            resolved_by: None,
            merged_into: None,
            members: component.members.len() as u32,
            firing: component.firing,
            root_cause: None,
            resolution: None,
        };
        Some(match self.spoken.get(&incident.id) {
            Some(spoken) => spoken.upon(incident),
            None => incident,
        })
    }
}

/// Microseconds since the epoch as a calendar time.
pub fn time(at: i64) -> DateTime<Utc> {
    Instant(at).to_datetime()
}
