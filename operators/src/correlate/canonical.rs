//! The canonical form of incidents: what is the same for every order of arrival. See `docs/canonical.md`.

use std::collections::BTreeMap;

use model::{EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member};
use serde_json::{Value, json};

/// Folds facts into the canonical form: a list of incidents in order of canonical key. The facts may come in any order
/// and more than once; those of one incident are told apart by revision.
pub fn canonical(events: impl Iterator<Item = IncidentEvent>) -> Value {
    let mut incidents: BTreeMap<IncidentId, BTreeMap<u64, IncidentEvent>> = BTreeMap::new();
    for event in events {
        incidents
            .entry(event.incident.id)
            .or_default()
            .insert(event.incident.revision, event);
    }
    let mut forms: Vec<(String, Value)> = incidents
        .into_values()
        .filter_map(|facts| fold(facts.into_values()))
        .filter(|(incident, _)| incident.merged_into.is_none())
        .map(|(incident, members)| (incident.canonical_key.to_string(), form(&incident, members)))
        .collect();
    forms.sort_by(|a, b| a.0.cmp(&b.0));
    forms.into_iter().map(|(_, form)| form).collect()
}

/// The incident after its last fact, with its members as last told.
fn fold(facts: impl Iterator<Item = IncidentEvent>) -> Option<(Incident, BTreeMap<EpisodeId, Member>)> {
    let mut members = BTreeMap::new();
    let mut last = None;
    for event in facts {
        match event.fact {
            Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => {
                members.insert(member.episode, member);
            }
            Fact::Absorbed { members: absorbed, .. } => {
                members.extend(absorbed.into_iter().map(|member| (member.episode, member)));
            }
            Fact::Escalated { .. }
            | Fact::Resolved
            | Fact::Reopened { .. }
            | Fact::Merged { .. }
            | Fact::SuspectFound { .. }
            | Fact::Acknowledged { .. }
            | Fact::FindingAdded { .. }
            | Fact::PostmortemAdded { .. }
            | Fact::Closed { .. } => {}
        }
        last = Some(event.incident);
    }
    last.map(|incident| (incident, members))
}

fn form(incident: &Incident, members: BTreeMap<EpisodeId, Member>) -> Value {
    let mut members: Vec<_> = members
        .into_values()
        .map(|m| (m.dedup_key, m.starts_at, m.ends_at, m.severity))
        .collect();
    members.sort();
    let members: Vec<Value> = members
        .into_iter()
        .map(|(dedup_key, starts_at, ends_at, severity)| {
            json!({ "dedup_key": dedup_key, "starts_at": starts_at, "ends_at": ends_at, "severity": severity })
        })
        .collect();
    json!({
        "canonical_key": incident.canonical_key,
        "tenant": incident.tenant,
        "environment": incident.environment,
        "status": incident.status,
        "severity": incident.severity,
        "title": incident.title,
        "service": incident.service,
        "alert_id": incident.alert_id,
        "source": incident.source,
        "created_at": incident.created_at,
        "resolved_at": incident.resolved_at,
        "members": members,
    })
}
