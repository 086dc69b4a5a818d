//! What the crew says: steps on `incidents`, proposals on `remediations`, commands on `transitions`, messages on `notifications`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::command::{IncidentCommand, Order};
use model::investigation::StepEvent;
use model::proposal::Proposal;
use model::remediation::{RemediationEvent, RemediationFact, Standing};
use model::{Notification, Signer, ids, topics};
use stream::log::NewRecord;
use stream::time::Instant;

use super::case::Case;
use super::{Cx, json};
use crate::signed;

fn typed(kind: &'static str, value: Bytes) -> NewRecord {
    NewRecord {
        value,
        headers: vec![(topics::header::TYPE.to_owned(), Bytes::from_static(kind.as_bytes()))],
        ..NewRecord::default()
    }
}

pub fn step(signer: &Signer, domain: String, event: &StepEvent, cx: &mut Cx<'_>) {
    let record = typed(topics::header::STEP, json(event));
    let record = signed::signed(signer, topics::INCIDENTS, &domain, record, "");
    cx.emit_side(&topics::INCIDENTS.into(), Bytes::from(domain), record);
    cx.accounting().produce("step");
}

/// `name` makes the command's id: the same one told again counts once.
pub fn command(case: &Case, by: &str, at: DateTime<Utc>, name: &str, order: Order, cx: &mut Cx<'_>) {
    let command = IncidentCommand {
        schema: IncidentCommand::SCHEMA,
        id: ids::derived(&format!("command/{}/{name}", case.incident.id)),
        incident_id: case.incident.id,
        by: by.to_owned(),
        at,
        order,
    };
    let record = typed(topics::header::COMMAND, json(&command));
    cx.emit_side(&topics::TRANSITIONS.into(), Bytes::from(case.domain()), record);
    cx.accounting().produce("command");
}

pub fn propose(signer: &Signer, proposal: &Proposal, at: DateTime<Utc>, cx: &mut Cx<'_>) {
    let fact = RemediationFact::Proposed {
        proposal: Box::new(proposal.clone()),
    };
    let event = RemediationEvent::new(proposal.id, proposal.incident_id, at, fact);
    let (key, value) = (proposal.key(), json(&event));
    let record = NewRecord {
        value,
        ..NewRecord::default()
    };
    let record = signed::signed(signer, topics::REMEDIATIONS, &key, record, "");
    cx.emit_side(&topics::REMEDIATIONS.into(), Bytes::from(key), record);
    cx.accounting().produce("proposal");
}

/// One message per standing that people should hear of.
pub fn notify(case: &Case, standing: &Standing, at: DateTime<Utc>, cx: &mut Cx<'_>) {
    let incident = &case.incident;
    let word = standing.status.as_str();
    let message = Notification {
        schema: Notification::SCHEMA,
        id: ids::derived(&format!("notification/{}/{}/{word}", incident.id, standing.proposal)),
        incident_id: incident.id,
        revision: incident.revision,
        event: format!("remediation_{word}"),
        severity: incident.severity,
        status: incident.status,
        title: incident.title.clone(),
        service: incident.service.clone(),
        tenant: incident.tenant.clone(),
        environment: incident.environment.clone(),
        at,
        remediation: Some(standing.proposal),
        plan_hash: Some(standing.action.plan_hash()),
        detail: Some(format!("{}: {}", standing.action, standing.note)),
    };
    let record = NewRecord {
        value: json(&message),
        ..NewRecord::default()
    };
    cx.emit_side(
        &topics::NOTIFICATIONS.into(),
        Bytes::from(incident.id.to_string()),
        record,
    );
    cx.accounting().produce("notification");
}

/// The time of a watermark or a timer as a calendar time.
pub fn time(at: Instant) -> DateTime<Utc> {
    at.to_datetime()
}
