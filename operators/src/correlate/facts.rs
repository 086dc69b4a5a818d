//! Facts on their way out: each raises the incident's revision by one and carries the incident as it stands after it.

use bytes::Bytes;
use model::{EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Notification, Origin, Status, ids, topics};
use stream::Context;
use stream::log::NewRecord;
use stream::operator::JsonRows;
use stream::time::Instant;

use super::graph::{Graph, time};

/// Members listed in one `absorbed` fact. More, and a record may pass a broker's limit of 1 MiB (a member takes some
/// hundred bytes of JSON); an absorption of more is told in several facts.
const MEMBERS_PER_FACT: usize = 512;

/// What all facts that one input leads to have in common.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// Event time.
    pub at: i64,
    pub observed_at: i64,
    /// Where its bytes stand on `events.raw`.
    pub origin: Option<Origin>,
    pub watermark: Instant,
}

type Cx<'a> = Context<'a, JsonRows>;

/// Emits `fact` about the incident of component `name`.
pub fn tell(graph: &mut Graph, name: EpisodeId, fact: Fact, cause: Cause, cx: &mut Cx<'_>) {
    if let Some(incident) = graph.next_revision(name) {
        send(incident, fact, cause, cx);
    }
}

/// The last fact of an incident whose component is about to become part of another.
pub fn tell_merged(graph: &mut Graph, name: EpisodeId, into: IncidentId, cause: Cause, cx: &mut Cx<'_>) {
    if let Some(incident) = graph.next_revision(name) {
        let resolved_at = incident.resolved_at.or(Some(time(cause.at)));
        let incident = Incident {
            status: Status::Resolved,
            merged_into: Some(into),
            resolved_at,
            ..incident
        };
        send(incident, Fact::Merged { into }, cause, cx);
    }
}

/// Tells of `members` (until now those of `other`) as members of component `name`. Every part carries the incident after
/// the whole absorption.
pub fn tell_absorbed(
    graph: &mut Graph,
    name: EpisodeId,
    other: IncidentId,
    members: &[EpisodeId],
    cause: Cause,
    cx: &mut Cx<'_>,
) {
    for part in members.chunks(MEMBERS_PER_FACT) {
        let members = part.iter().filter_map(|id| graph.member(*id)).collect();
        tell(graph, name, Fact::Absorbed { other, members }, cause, cx);
    }
}

/// Says what has changed since it was last said: a higher severity, everything over, or not over any more.
pub fn settle(graph: &mut Graph, name: EpisodeId, about: EpisodeId, cause: Cause, cx: &mut Cx<'_>) {
    let Some(component) = graph.components.get_mut(&name) else {
        return;
    };
    let closed = component
        .incident
        .as_ref()
        .and_then(|opened| graph.spoken.get(&opened.id))
        .is_some_and(|spoken| spoken.closed.is_some());
    let over = closed || component.over(cause.watermark);
    let (severity, ends_at) = (component.severity, component.ends_at);
    let Some(opened) = &mut component.incident else { return };
    let (from, was_over) = (opened.severity, opened.resolved);
    (opened.severity, opened.resolved) = (severity, over);
    // The status belongs to the facts behind this one.
    if severity > from {
        opened.resolved = was_over;
        tell(graph, name, Fact::Escalated { from }, cause, cx);
        if let Some(opened) = graph
            .components
            .get_mut(&name)
            .and_then(|component| component.incident.as_mut())
        {
            opened.resolved = over;
        }
    }
    match (was_over, over) {
        (false, true) => tell(
            graph,
            name,
            Fact::Resolved,
            Cause {
                at: ends_at.unwrap_or(cause.at),
                ..cause
            },
            cx,
        ),
        (true, false) => tell(graph, name, Fact::Reopened { episode: about }, cause, cx),
        _ => {}
    }
}

fn send(incident: Incident, fact: Fact, cause: Cause, cx: &mut Cx<'_>) {
    let event = match &fact {
        Fact::Opened { .. }
        | Fact::Escalated { .. }
        | Fact::Resolved
        | Fact::Reopened { .. }
        | Fact::Merged { .. }
        | Fact::Acknowledged { .. }
        | Fact::Closed { .. }
        | Fact::PostmortemAdded { .. } => Some(fact.name()),
        Fact::SignalJoined { .. }
        | Fact::MemberChanged { .. }
        | Fact::Absorbed { .. }
        | Fact::SuspectFound { .. }
        | Fact::FindingAdded { .. } => None,
    };
    if let Some(event) = event {
        notify(&incident, event, cause, cx);
    }
    let domain = format!("{}/{}", incident.tenant, incident.environment);
    let fact = IncidentEvent {
        schema: IncidentEvent::SCHEMA,
        incident,
        fact,
        at: time(cause.at),
        observed_at: time(cause.observed_at),
        origin: cause.origin,
    };
    cx.emit(domain.as_bytes(), &json(&fact));
    cx.accounting().produce("fact");
}

fn notify(incident: &Incident, event: &str, cause: Cause, cx: &mut Cx<'_>) {
    let notification = Notification {
        schema: Notification::SCHEMA,
        id: ids::derived(&format!("notification/{}/{}", incident.id, incident.revision)),
        incident_id: incident.id,
        revision: incident.revision,
        event: event.to_owned(),
        severity: incident.severity,
        status: incident.status,
        title: incident.title.clone(),
        service: incident.service.clone(),
        tenant: incident.tenant.clone(),
        environment: incident.environment.clone(),
        at: time(cause.at),
        remediation: None,
        plan_hash: None,
        detail: None,
    };
    let record = NewRecord {
        value: json(&notification),
        ..NewRecord::default()
    };
    cx.emit_side(
        &topics::NOTIFICATIONS.into(),
        Bytes::from(incident.id.to_string()),
        record,
    );
    cx.accounting().produce("notification");
}

/// Structs of strings, numbers and lists of such: serialising them cannot fail.
fn json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
