//! Correlate: `transitions` → `incidents` and `notifications`. Groups firings into incidents.
//!
//! First rule: two firings belong together when they share a link (service, declared group, or the alert itself) and
//! their starts lie within [`CorrelateSettings::gap`] of each other. An incident is a connected component of such links
//! with at least one page-worthy member.
//!
//! It guarantees:
//!
//! * an incident opens with the first page-worthy signal, without waiting for a watermark; what comes later amends it;
//! * members, severity, end and canonical key do not depend on the order of arrival, as long as nothing falls behind the
//!   watermark by more than `lateness` ([`canonical()`] compares);
//! * an incident's id never changes; of two that turn out to be one, the one with the smaller canonical key lives on;
//! * it resolves when no member fires any more, and not before: one resolved member does not resolve the incident.
//!
//! It does not link across domains. Changes (deployments) are context, not members: those of the same service within
//! [`CorrelateSettings::suspect_window`] before an alert are named as suspects. What people and the crew say about an incident comes
//! as commands on the same input, and becomes facts in the order of the log.
//!
//! It It owes downstream nothing: a
//! fact amends an incident at any time, and readers order facts by revision, not by a watermark.

mod canonical;
mod commands;
mod facts;
mod graph;
mod links;
mod migrate;
mod naming;
mod spoken;
mod suspects;

use std::collections::BTreeMap;

use model::command::IncidentCommand;
use model::{
    EpisodeId, Fact, IncidentId, Origin, Severity, SignalBatch, SignalKind, SignalRow, TransitionKind, topics,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::log::{Record, TopicPartition};
use stream::operator::{JsonRows, MigrateError};
use stream::state::{SavedCells, StateCell};
use stream::time::{Instant, micros};
use stream::{Context, Disposition, Operator, Reject, Timers};

use crate::dedupe::end_of;
use crate::signals_out::decode_signals;
pub use canonical::canonical;
use facts::{Cause, settle, tell, tell_absorbed, tell_merged};
use graph::{Component, Graph, Opened};
use links::Evidence;
use spoken::Spoken;
use suspects::Suspects;

/// Settings of `[correlate]`. All spans are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelateSettings {
    /// Firings that share a link belong together when they start within this of each other. Shorter splits one outage
    /// into several incidents; longer glues unrelated ones of a service together.
    pub gap: HumanDuration,
    /// How long an incident that is over stays open for amendments after the watermark has passed its gap.
    pub lateness: HumanDuration,
    /// The least severity that opens an incident: `info`, `warning` or `critical`. Milder alerts join, but do not open.
    #[schemars(with = "String", extend("enum" = ["info", "warning", "critical"]))]
    pub page_severity: Severity,
    /// How long before an alert a change of the same service is named as a suspect.
    pub suspect_window: HumanDuration,
}

impl Default for CorrelateSettings {
    fn default() -> Self {
        CorrelateSettings {
            gap: HumanDuration::from_secs(900),
            lateness: HumanDuration::from_secs(300),
            page_severity: Severity::Warning,
            suspect_window: HumanDuration::from_secs(3_600),
        }
    }
}

/// The operator.
#[derive(Debug)]
pub struct Correlate {
    settings: CorrelateSettings,
    gap: i64,
    lateness: i64,
    page_severity: Severity,
    suspect_window: i64,
    graph: Graph,
    suspects: Suspects,
    /// Component → when it is quiet, or final.
    due: Timers<EpisodeId>,
}

type Cx<'a> = Context<'a, JsonRows>;

impl Correlate {
    pub fn new(settings: &CorrelateSettings) -> Self {
        Correlate {
            settings: settings.clone(),
            gap: micros(settings.gap.get()),
            lateness: micros(settings.lateness.get()),
            page_severity: settings.page_severity,
            suspect_window: micros(settings.suspect_window.get()),
            graph: Graph::default(),
            suspects: Suspects::default(),
            due: Timers::default(),
        }
    }

    fn on_row(&mut self, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let Some(transition) = row.transition else {
            return cx.reject(Reject {
                reason: "no_transition",
                detail: format!("signal {} did not come through dedupe", row.id),
                field: Some("/transition".to_owned()),
                index: None,
            });
        };
        if row.kind == SignalKind::Change {
            self.change(row, cx);
            return cx.item(Disposition::Suppressed { rule: "context" });
        }
        let id = transition.episode;
        let known = self.graph.episodes.contains(&id);
        match transition.kind {
            TransitionKind::Resolved if !known => cx.item(Disposition::Suppressed { rule: "orphan-resolve" }),
            TransitionKind::Updated if !known => cx.item(Disposition::Suppressed { rule: "incident-final" }),
            TransitionKind::Resolved => self.end(id, row, cx),
            TransitionKind::Acknowledged => self.acknowledge(id, row, cx),
            TransitionKind::New | TransitionKind::Reopened | TransitionKind::Revived if !known => {
                self.begin(id, row, cx)
            }
            TransitionKind::New | TransitionKind::Reopened | TransitionKind::Updated => self.update(id, row, cx),
            TransitionKind::Revived => {
                self.graph.revive(id);
                self.update(id, row, cx);
            }
        }
    }

    fn begin(&mut self, id: EpisodeId, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        if cx.behind(Instant(row.effective_at)) {
            cx.accounting().amended += 1;
        }
        self.graph.begin(id, row, self.gap);
        self.place_alert(id, None);
        let links = self
            .graph
            .episodes
            .get(&id)
            .map(|episode| episode.links.clone())
            .unwrap_or_default();
        let reached = self.graph.reach(id, &links, self.gap);
        self.connect(id, reached, row, cx);
    }

    fn update(&mut self, id: EpisodeId, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let before = self.place_of(id);
        let fresh = self.graph.update(id, row);
        self.place_alert(id, before);
        self.tell_changed(id, cause(row, row.event_at, cx), cx);
        let reached = self.graph.reach(id, &fresh, self.gap);
        self.connect(id, reached, row, cx);
    }

    fn end(&mut self, id: EpisodeId, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let ends_at = end_of(row);
        if !self.graph.end(id, ends_at, ends_at.min(row.effective_at)) {
            return cx.item(Disposition::Merged { id: row.id.0.as_u128() });
        }
        let cause = cause(row, ends_at, cx);
        self.tell_changed(id, cause, cx);
        self.conclude(id, cause, cx);
    }

    fn tell_changed(&mut self, id: EpisodeId, cause: Cause, cx: &mut Cx<'_>) {
        let name = self.component_of(id);
        if let (true, Some(member)) = (self.opened(name), self.graph.member(id)) {
            tell(&mut self.graph, name, Fact::MemberChanged { member }, cause, cx);
        }
    }

    /// Unites the component of `id` with those it reaches, and opens an incident if that makes one.
    fn connect(&mut self, id: EpisodeId, reached: Vec<(EpisodeId, Evidence)>, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let cause = cause(row, row.event_at, cx);
        let own = self.component_of(id);
        let mut all = vec![own];
        all.extend(reached.iter().map(|(name, _)| *name));
        let incidents: Vec<EpisodeId> = all.iter().copied().filter(|name| self.opened(*name)).collect();
        let survivor = incidents.into_iter().min_by_key(|name| self.graph.canonical_key(*name));
        // Of several links, a new member shows the one to the incident that it joins.
        let shown = reached
            .iter()
            .find(|(name, _)| Some(*name) == survivor)
            .or(reached.first());
        if let (Some(episode), Some((_, evidence))) = (self.graph.episodes.get_mut(&id), shown) {
            episode.evidence.get_or_insert_with(|| evidence.clone());
        }
        match survivor {
            Some(survivor) => self.gather(survivor, &all, cause, cx),
            None if self.page_worthy(own) => self.open(id, &all, cause, cx),
            None => self.wait_together(&all),
        }
        self.conclude(id, cause, cx);
    }

    /// Brings the other components into the incident of `survivor`.
    fn gather(&mut self, survivor: EpisodeId, all: &[EpisodeId], cause: Cause, cx: &mut Cx<'_>) {
        let mut into = survivor;
        for other in all.iter().copied().filter(|name| *name != survivor) {
            self.due.cancel(&other);
            if self.opened(other) {
                into = self.absorb(into, other, cause, cx);
            } else if let Some(component) = self.graph.components.remove(&other) {
                self.enlist(into, component, None, cause, cx);
            }
        }
    }

    /// `id` opens an incident; the members of the other components, which waited for that, join.
    fn open(&mut self, id: EpisodeId, all: &[EpisodeId], cause: Cause, cx: &mut Cx<'_>) {
        let waiting: Vec<Component> = all
            .iter()
            .filter_map(|name| self.graph.components.remove(name))
            .collect();
        all.iter().for_each(|name| self.due.cancel(name));
        let Some(own) = waiting.first() else { return };
        let domain = own.domain();
        let component = Component {
            tenant: own.tenant.clone(),
            environment: own.environment.clone(),
            ..Component::default()
        };
        self.graph.components.insert(id, component);
        self.graph.move_into(id, id);
        if let Some(episode) = self.graph.episodes.get_mut(&id) {
            episode.opened = true;
        }
        let Some(canonical) = self.graph.canonical_key(id) else {
            return;
        };
        if let Some(component) = self.graph.components.get_mut(&id) {
            let incident = IncidentId::opened_by(&domain, id, 0);
            self.graph.spoken.insert(incident, Spoken::of(id));
            component.incident = Some(Opened {
                id: incident,
                revision: 0,
                resolved: false,
                severity: component.severity,
                canonical: (id, canonical),
            });
        }
        if let Some(member) = self.graph.member(id) {
            tell(&mut self.graph, id, Fact::Opened { member }, cause, cx);
        }
        for component in waiting {
            self.enlist(id, component, Some(id), cause, cx);
        }
    }

    /// The members of a dissolved component without an incident (all but `except`) join the incident of `into`.
    fn enlist(
        &mut self,
        into: EpisodeId,
        dissolved: Component,
        except: Option<EpisodeId>,
        cause: Cause,
        cx: &mut Cx<'_>,
    ) {
        for _ in 0..dissolved.held {
            cx.accounting().release(Disposition::Forwarded);
        }
        for (_, id) in dissolved.members.into_iter().filter(|(_, id)| Some(*id) != except) {
            self.graph.move_into(into, id);
            if let Some(member) = self.graph.member(id) {
                tell(&mut self.graph, into, Fact::SignalJoined { member }, cause, cx);
            }
            self.tell_suspects(into, &[id], cause, cx);
        }
    }

    /// The incident of `other` becomes part of that of `into`. Returns the name of the united component.
    fn absorb(&mut self, into: EpisodeId, other: EpisodeId, cause: Cause, cx: &mut Cx<'_>) -> EpisodeId {
        let incident_of = |graph: &Graph, name| graph.components.get(&name).and_then(|c| Some(c.incident.as_ref()?.id));
        let (Some(survivor), Some(absorbed)) = (incident_of(&self.graph, into), incident_of(&self.graph, other)) else {
            return into;
        };
        tell_merged(&mut self.graph, other, survivor, cause, cx);
        // The entry of the absorbed one stays: its id keeps leading here.
        if let Some(said) = self.graph.spoken.get(&absorbed).cloned() {
            self.graph.spoken.entry(survivor).or_default().inherit(said);
        }
        let members: Vec<EpisodeId> = self
            .graph
            .components
            .get(&other)
            .map(|c| c.members.iter().map(|(_, id)| *id).collect())
            .unwrap_or_default();
        self.due.cancel(&into);
        let united = self.graph.unite(into, other);
        tell_absorbed(&mut self.graph, united, absorbed, &members, cause, cx);
        self.tell_suspects(united, &members, cause, cx);
        united
    }

    fn wait_together(&mut self, all: &[EpisodeId]) {
        all.iter().for_each(|name| self.due.cancel(name));
        if let Some((first, others)) = all.split_first() {
            others.iter().fold(*first, |into, other| self.graph.unite(into, *other));
        }
    }

    /// Behind everything that a row about `id` led to: status, the row's own account, the component's timer.
    fn conclude(&mut self, id: EpisodeId, cause: Cause, cx: &mut Cx<'_>) {
        let name = self.component_of(id);
        self.reopen(name, id);
        settle(&mut self.graph, name, id, cause, cx);
        match self.graph.components.get_mut(&name) {
            Some(component) if component.incident.is_none() => {
                component.held += 1;
                cx.item(Disposition::Held);
            }
            _ => {
                self.tell_suspects(name, &[id], cause, cx);
                cx.item(Disposition::Forwarded);
            }
        }
        self.arm(name);
    }

    fn arm(&mut self, name: EpisodeId) {
        match self
            .graph
            .components
            .get(&name)
            .and_then(|component| self.due_at(component))
        {
            Some(at) => self.due.set(name, at),
            None => self.due.cancel(&name),
        }
    }

    /// When event time changes something about a component: its events have been quiet, or it is final.
    fn due_at(&self, component: &Component) -> Option<Instant> {
        let unsettled = component.incident.as_ref().is_some_and(|incident| !incident.resolved);
        match (component.firing, unsettled) {
            (0, true) => component.quiet_at.map(Instant),
            (0, false) => component.last_at.map(|at| Instant(at.saturating_add(self.lateness))),
            _ => None,
        }
    }

    fn component_of(&self, id: EpisodeId) -> EpisodeId {
        self.graph.episodes.get(&id).map_or(id, |episode| episode.component)
    }

    fn opened(&self, name: EpisodeId) -> bool {
        self.graph
            .components
            .get(&name)
            .is_some_and(|component| component.incident.is_some())
    }

    fn page_worthy(&self, name: EpisodeId) -> bool {
        self.graph
            .components
            .get(&name)
            .is_some_and(|component| component.severity >= self.page_severity)
    }
}

impl Operator for Correlate {
    type In = Entry;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "correlate"
    }

    fn logic_version(&self) -> u32 {
        2
    }

    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        migrate::take_over(self, from, cells)
    }

    fn settings(&self) -> String {
        // A struct of durations and a word always encodes.
        serde_json::to_string(&self.settings).unwrap_or_default()
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<Entry, Reject> {
        match record.header(topics::header::TYPE) {
            None => decode_signals(record).map(Box::new).map(Entry::Signals),
            Some(_) => decode_command(record).map(Box::new).map(Entry::Command),
        }
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        let Graph {
            episodes,
            components,
            index,
            spoken,
        } = &mut self.graph;
        vec![
            ("episodes", episodes),
            ("components", components),
            ("index", &mut index.0),
            ("due", &mut self.due),
            ("spoken", spoken),
            ("changes", &mut self.suspects.changes),
            ("alerts", &mut self.suspects.alerts),
            ("change_expiry", &mut self.suspects.expiry),
        ]
    }

    /// A component lies in one domain, by which `transitions` is partitioned; its members, what finds them, and its timer go with it.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let mut from = Correlate::new(&self.settings);
        for (name, cell) in from.cells() {
            cells.read(name, cell)?;
        }
        let mut due: BTreeMap<EpisodeId, Instant> = BTreeMap::new();
        while let Some((at, name)) = from.due.pop_due(Instant::MAX) {
            due.insert(name, at);
        }
        for (name, component) in from.graph.components.sorted() {
            let domain = component.domain();
            if !mine(domain.as_bytes()) {
                continue;
            }
            for (starts_at, id) in &component.members {
                let Some(episode) = from.graph.episodes.get(id) else {
                    continue;
                };
                for link in &episode.links {
                    self.graph.index.insert(&domain, link, *starts_at, *id);
                }
                self.graph.episodes.insert(*id, episode.clone());
            }
            self.graph.components.insert(*name, component.clone());
            if let Some(at) = due.get(name) {
                self.due.set(*name, *at);
            }
        }
        self.carry_words(&mut from, mine);
        Ok(())
    }

    /// What waits for an incident, by component.
    fn held(&self) -> u64 {
        let components = self.graph.components.sorted();
        components.into_iter().map(|(_, component)| component.held).sum()
    }

    fn on_batch(&mut self, entry: &Entry, cx: &mut Cx<'_>) {
        match entry {
            Entry::Signals(batch) => batch.rows().for_each(|row| self.on_row(&row, cx)),
            Entry::Command(command) => self.on_command(command, cx),
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        self.suspects.expire(watermark, self.suspect_window, self.lateness);
        while let Some((at, name)) = self.due.pop_due(watermark) {
            let Some(newest) = self.graph.components.get(&name).and_then(|c| Some(c.members.last()?.1)) else {
                continue;
            };
            settle(
                &mut self.graph,
                name,
                newest,
                Cause {
                    at: at.0,
                    observed_at: watermark.0,
                    origin: None,
                    watermark,
                },
                cx,
            );
            match self
                .graph
                .components
                .get(&name)
                .and_then(|component| self.due_at(component))
            {
                Some(next) if next > watermark => self.due.set(name, next),
                Some(_) => self.forget(name, cx),
                None => {}
            }
        }
    }
}

impl Correlate {
    /// A component that is over and out of reach: its incident is final, or it never had one.
    fn forget(&mut self, name: EpisodeId, cx: &mut Cx<'_>) {
        self.forget_alerts(name);
        let held = self.graph.forget(name).map_or(0, |component| component.held);
        for _ in 0..held {
            cx.accounting().release(Disposition::Suppressed {
                rule: "not-page-worthy",
            });
        }
    }
}

/// A record of `transitions`.
#[derive(Debug)]
pub enum Entry {
    Signals(Box<SignalBatch>),
    Command(Box<IncidentCommand>),
}

fn decode_command(record: &Record) -> Result<IncidentCommand, Reject> {
    let refuse = |detail: String| Reject {
        reason: "bad_command",
        detail,
        field: None,
        index: None,
    };
    let command: IncidentCommand = serde_json::from_slice(&record.value).map_err(|error| refuse(error.to_string()))?;
    match command.schema {
        IncidentCommand::SCHEMA => Ok(command),
        other => Err(refuse(format!(
            "schema {other} is not known here: send schema 1, or upgrade"
        ))),
    }
}

fn cause(row: &SignalRow<'_>, at: i64, cx: &Cx<'_>) -> Cause {
    Cause {
        at,
        observed_at: row.observed_at,
        origin: origin_of(row),
        watermark: cx.watermark(),
    }
}

/// Patterns of log lines come from another topic.
fn origin_of(row: &SignalRow<'_>) -> Option<Origin> {
    (row.kind != SignalKind::LogPattern).then_some(row.origin)
}
