//! What a record says to clients. A record that says nothing, or cannot be read, is passed over: the sinks tell of those.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use gateway::IncidentView;
use model::incident::{CANARY, IncidentEvent};
use model::investigation::{StepEvent, StepRequest, StepResult};
use model::remediation::RemediationEvent;
use model::topics;
use model::trace::trace_id;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stream::{Record, TopicPartition};
use uuid::Uuid;

use crate::Namespace;

/// What clients of one namespace are told.
#[derive(Clone, Debug)]
pub struct Message {
    pub namespace: Namespace,
    pub partition: u32,
    pub offset: u64,
    /// Microseconds since the epoch.
    pub at: i64,
    pub kind: &'static str,
    /// What it is about, where a newer message about the same says all that this one does.
    pub subject: Option<Uuid>,
    pub data: Arc<RawValue>,
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        let place = |message: &Message| (message.namespace, message.partition, message.offset);
        place(self) == place(other)
    }
}

/// As it is sent.
#[derive(Serialize)]
pub struct Delta<'a> {
    cursor: String,
    partition: u32,
    offset: u64,
    at: DateTime<Utc>,
    #[serde(rename = "type")]
    kind: &'static str,
    data: &'a RawValue,
}

impl Message {
    pub fn new(
        namespace: Namespace,
        partition: u32,
        offset: u64,
        at: i64,
        kind: &'static str,
        data: &impl Serialize,
    ) -> Option<Message> {
        let data = serde_json::value::to_raw_value(data).ok()?;
        Some(Message {
            namespace,
            partition,
            offset,
            at,
            kind,
            subject: None,
            data: data.into(),
        })
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Message>() + 4 * size_of::<usize>() + self.data.get().len()
    }

    /// For a client that is at `cursor` once it has it.
    pub fn told(&self, cursor: String) -> Delta<'_> {
        Delta {
            cursor,
            partition: self.partition,
            offset: self.offset,
            at: DateTime::from_timestamp_micros(self.at).unwrap_or_default(),
            kind: self.kind,
            data: &self.data,
        }
    }
}

/// `None` where clients are told nothing.
pub fn message(from: &TopicPartition, record: &Record) -> Option<Message> {
    if record.header(stream::progress::KIND_HEADER).is_some() {
        return None;
    }
    let tell = |namespace, at: DateTime<Utc>, kind, data: Value| {
        Message::new(
            namespace,
            from.partition,
            record.offset.0,
            at.timestamp_micros(),
            kind,
            &data,
        )
    };
    match &*from.topic {
        topics::INCIDENTS if record.header(topics::header::TYPE).is_some() => {
            let event: StepEvent = serde_json::from_slice(&record.value).ok()?;
            let (at, kind, data) = step(event)?;
            tell(Namespace::Agents, at, kind, data)
        }
        topics::INCIDENTS => {
            let event: IncidentEvent = serde_json::from_slice(&record.value).ok()?;
            // The dead-man's switch opens incidents that nobody is told of.
            if event.schema != IncidentEvent::SCHEMA || event.incident.environment == CANARY {
                return None;
            }
            let data = json!({ "incident": incident(&event), "fact": event.fact });
            let told = tell(Namespace::Incidents, event.at, event.fact.name(), data)?;
            Some(Message {
                subject: Some(event.incident.id.0),
                ..told
            })
        }
        topics::REMEDIATIONS => {
            let event: RemediationEvent = serde_json::from_slice(&record.value).ok()?;
            let data = json!({ "id": event.id, "incident_id": event.incident_id, "fact": event.fact });
            tell(Namespace::Remediations, event.at, event.fact.name(), data)
        }
        _ => None,
    }
}

/// The row that the tables have after `event`.
fn incident(event: &IncidentEvent) -> IncidentView {
    let incident = &event.incident;
    IncidentView {
        id: incident.id,
        trace_id: trace_id(incident.id),
        canonical_key: incident.canonical_key,
        revision: incident.revision,
        tenant: incident.tenant.clone(),
        environment: incident.environment.clone(),
        alert_id: incident.alert_id.clone(),
        source: incident.source.clone(),
        severity: incident.severity,
        status: incident.status,
        title: incident.title.clone(),
        service: incident.service.clone(),
        root_cause: incident.root_cause.clone(),
        resolution: incident.resolution.clone(),
        auto_resolved: incident.resolved_by.as_deref() == Some("agent"),
        resolved_by: incident.resolved_by.clone(),
        created_at: incident.created_at,
        updated_at: event.observed_at,
        resolved_at: incident.resolved_at,
        merged_into: incident.merged_into,
        members: incident.members,
        firing: incident.firing,
        metadata: Value::Object(serde_json::Map::new()),
    }
}

fn step(event: StepEvent) -> Option<(DateTime<Utc>, &'static str, Value)> {
    match event {
        StepEvent::Requested(request) => {
            let data =
                json!({ "incident_id": request.evidence.incident.id, "run": request.run, "step": asked(&request) });
            Some((request.requested_at, "requested", data))
        }
        StepEvent::Finished(result) => {
            let data = json!({ "incident_id": result.incident_id, "run": result.run, "step": answered(&result) });
            Some((result.at, "finished", data))
        }
        StepEvent::Ordered(order) => {
            let data = json!({ "incident_id": order.incident_id, "run": null, "step": null, "verb": order.verb, "by": order.by });
            Some((order.at, "ordered", data))
        }
        StepEvent::Remediation { .. } => None,
    }
}

/// A row of a step, without what it was given and found: those are asked for when somebody looks.
fn asked(request: &StepRequest) -> Value {
    json!({
        "id": request.id, "incident_id": request.evidence.incident.id, "agent": request.agent, "run": request.run,
        "attempt": request.attempt, "status": "running", "error": null, "tokens_used": null, "duration_ms": null,
        "created_at": request.requested_at, "finished_at": null,
    })
}

/// As [`asked`]; what only the request knows (attempt, beginning) is absent.
fn answered(result: &StepResult) -> Value {
    json!({
        "id": result.id, "incident_id": result.incident_id, "agent": result.agent, "run": result.run,
        "status": result.status, "error": (!result.error.is_empty()).then_some(&result.error),
        "tokens_used": result.tokens_used, "duration_ms": result.duration_ms, "finished_at": result.at,
    })
}
