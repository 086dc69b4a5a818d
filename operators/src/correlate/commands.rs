//! Commands: what is said about an incident becomes a fact about it, in the order of the domain's log.
//!
//! A command counts once, by its id. One about an incident that was merged is about the one that it lives on in. One about an
//! incident that is final, or that never was, is suppressed and counted.

use model::command::{IncidentCommand, Order};
use model::{EpisodeId, Fact, IncidentId, SignalRow};
use stream::Disposition;

use super::facts::{Cause, tell};
use super::spoken::{Closed, Spoken};
use super::{Correlate, Cx};

/// The agent's name in `resolved_by`, as the column's readers know it.
const AGENT: &str = "agent";

impl Correlate {
    pub(super) fn on_command(&mut self, command: &IncidentCommand, cx: &mut Cx<'_>) {
        let Some((id, name)) = self.incident_of(command.incident_id) else {
            return cx.item(Disposition::Suppressed { rule: "incident-final" });
        };
        let at = command.at.timestamp_micros();
        let cause = Cause {
            at,
            observed_at: at,
            origin: None,
            watermark: cx.watermark(),
        };
        let spoken = self.graph.spoken.entry(id).or_default();
        if !spoken.hears(command.id) {
            return cx.item(Disposition::Merged {
                id: command.id.as_u128(),
            });
        }
        let fact = take_in(spoken, command);
        if let Some(opened) = self.graph.components.get_mut(&name).and_then(|c| c.incident.as_mut()) {
            opened.resolved |= matches!(command.order, Order::Resolve { .. });
        }
        tell(&mut self.graph, name, fact, cause, cx);
        cx.item(Disposition::Forwarded);
        self.arm(name);
    }

    /// Somebody took a member up where it came from: that is said of its incident, by `sender:SOURCE`, once.
    pub(super) fn acknowledge(&mut self, id: EpisodeId, row: &SignalRow<'_>, cx: &mut Cx<'_>) {
        let name = self.component_of(id);
        let incident = self
            .graph
            .components
            .get(&name)
            .and_then(|component| Some(component.incident.as_ref()?.id));
        let Some(incident) = incident else {
            let rule = match self.graph.episodes.contains(&id) {
                true => "acknowledged-no-incident",
                false => "orphan-acknowledge",
            };
            return cx.item(Disposition::Suppressed { rule });
        };
        let spoken = self.graph.spoken.entry(incident).or_default();
        if std::mem::replace(&mut spoken.acknowledged, true) {
            return cx.item(Disposition::Merged { id: row.id.0.as_u128() });
        }
        let cause = Cause {
            at: row.effective_at,
            observed_at: row.observed_at,
            origin: super::origin_of(row),
            watermark: cx.watermark(),
        };
        let by = format!("sender:{}", row.source);
        tell(&mut self.graph, name, Fact::Acknowledged { by }, cause, cx);
        cx.item(Disposition::Forwarded);
        self.arm(name);
    }

    /// What fires since after somebody closed the incident opens it again.
    pub(super) fn reopen(&mut self, name: EpisodeId, id: EpisodeId) {
        let Some(episode) = self.graph.episodes.get(&id).filter(|episode| episode.ends_at.is_none()) else {
            return;
        };
        let incident = self
            .graph
            .components
            .get(&name)
            .and_then(|c| Some(c.incident.as_ref()?.id));
        let Some(said) = incident.and_then(|id| Some((id, self.graph.spoken.get(&id)?.closed.as_ref()?.at))) else {
            return;
        };
        if episode.starts_at > said.1
            && let Some(spoken) = self.graph.spoken.get_mut(&said.0)
        {
            spoken.closed = None;
        }
    }

    /// The incident that `id` lives on in, and its component.
    fn incident_of(&self, id: IncidentId) -> Option<(IncidentId, EpisodeId)> {
        let opener = self.graph.spoken.get(&id)?.opener;
        let name = self.graph.episodes.get(&opener)?.component;
        let incident = self.graph.components.get(&name)?.incident.as_ref()?;
        Some((incident.id, name))
    }
}

fn take_in(spoken: &mut Spoken, command: &IncidentCommand) -> Fact {
    let by = command.by.clone();
    match &command.order {
        Order::Acknowledge => {
            spoken.acknowledged = true;
            Fact::Acknowledged { by }
        }
        Order::Resolve { resolution } => {
            spoken.closed = Some(Closed {
                at: command.at.timestamp_micros(),
            });
            spoken.resolution = Some(resolution.clone());
            spoken.resolved_by = Some(match by.split_once(':') {
                Some((AGENT, _)) => AGENT.to_owned(),
                _ => by.clone(),
            });
            Fact::Closed {
                by,
                resolution: resolution.clone(),
            }
        }
        Order::AddFinding { finding } => Fact::FindingAdded {
            by,
            finding: finding.clone(),
        },
        Order::AddPostmortem { postmortem } => {
            spoken.root_cause = Some(postmortem.root_cause.text.clone());
            Fact::PostmortemAdded {
                by,
                postmortem: postmortem.clone(),
            }
        }
    }
}
