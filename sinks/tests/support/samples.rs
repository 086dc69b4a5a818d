//! Records as the stages write them.

#![allow(dead_code)] // Every test crate uses its own part.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::approval::{Approver, Grant};
use model::investigation::{Agent, Evidence, StepEvent, StepOutput, StepRequest, StepResult, StepStatus};
use model::proposal::{BlastRadius, Proposal, TargetState};
use model::remediation::{RemediationEvent, RemediationFact};
use model::{
    Action, CanonicalKey, EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member, Origin, Severity, Signal,
    SignalBatchBuilder, SignalId, SignalKind, SignalState, Status, Workload, WorkloadKind, topics,
};
use stream::{Instant, LogId, Offset, Progress, Record, SinkBatch, TopicPartition};
use uuid::Uuid;

pub const START: i64 = 1_760_000_000_000_000;

pub fn log() -> LogId {
    LogId("log-1".into())
}

pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(START + seconds * 1_000_000).unwrap()
}

pub fn signal(i: u64) -> Signal {
    Signal {
        id: SignalId::of(&[&i.to_le_bytes()]),
        tenant: "default".into(),
        environment: "prod".into(),
        source: "alertmanager".into(),
        kind: SignalKind::Alert,
        state: SignalState::Firing,
        dedup_key: format!("alertmanager:{i:016x}"),
        dedup_rule: "alertmanager/fingerprint@1".into(),
        event_at: START + i as i64,
        observed_at: START + 500_000,
        effective_at: START + i as i64,
        ends_at: None,
        severity: Severity::Critical,
        title: format!("alert {i}"),
        description: None,
        service: Some("checkout".into()),
        cluster: None,
        namespace: Some("prod".into()),
        group: Some("{}:{alertname=\"A\"}".into()),
        labels: r#"{"alertname":"A"}"#.into(),
        annotations: "{}".into(),
        extra: None,
        digest: i,
        origin: Origin {
            partition: 0,
            offset: i,
            index: 0,
        },
        transition: None,
    }
}

pub fn signals_record(offset: u64, signals: &[Signal]) -> Record {
    let mut builder = SignalBatchBuilder::new();
    signals.iter().for_each(|signal| builder.push(&signal.row()));
    record(offset, builder.finish().unwrap().encode().unwrap())
}

pub fn record(offset: u64, value: impl Into<Bytes>) -> Record {
    Record {
        offset: Offset(offset),
        key: None,
        value: value.into(),
        headers: vec![],
        timestamp: Instant(START),
    }
}

/// `record`, sent once more for `reader` alone.
pub fn redriven(record: Record, reader: &'static str) -> Record {
    let header = |name: &str, value: &'static str| (name.to_owned(), Bytes::from_static(value.as_bytes()));
    Record {
        headers: vec![header("aegis-kind", "redrive"), header("aegis-for", reader)],
        ..record
    }
}

pub fn progress(offset: u64) -> Record {
    let progress = Progress {
        stage: "normalize".into(),
        partition: 0,
        watermark: Instant(START),
        idle: false,
        tick_at: None,
    };
    let new = progress.to_record();
    Record {
        offset: Offset(offset),
        key: None,
        value: new.value,
        headers: new.headers,
        timestamp: new.timestamp,
    }
}

/// From the first record's offset (or `start`) to `next`.
pub fn batch(topic: &str, partition: u32, start: u64, next: u64, records: Vec<Record>) -> SinkBatch {
    SinkBatch {
        partition: TopicPartition::new(topic, partition),
        start: Offset(start),
        next: Offset(next),
        records,
    }
}

pub fn incident_id(name: &str) -> IncidentId {
    IncidentId::opened_by("default/prod", EpisodeId::of(name, START), 0)
}

pub fn member(name: &str) -> Member {
    Member {
        episode: EpisodeId::of(name, START),
        signal: SignalId::of(&[name.as_bytes()]),
        dedup_key: name.into(),
        source: "alertmanager".into(),
        title: format!("{name} is down"),
        severity: Severity::Warning,
        service: Some("checkout".into()),
        namespace: None,
        starts_at: at(0),
        ends_at: None,
        rule: "opened@1".into(),
        key: Some("service:prod/checkout".into()),
        linked_to: None,
        apart_ms: None,
    }
}

/// The event of incident `name` at `revision`; members as a test says, status from the fact.
pub fn event(name: &str, revision: u64, members: u32, fact: Fact) -> IncidentEvent {
    let resolved = matches!(fact, Fact::Resolved | Fact::Merged { .. });
    let merged_into = match &fact {
        Fact::Merged { into } => Some(*into),
        _ => None,
    };
    IncidentEvent {
        schema: IncidentEvent::SCHEMA,
        incident: Incident {
            id: incident_id(name),
            canonical_key: CanonicalKey::of("default/prod", EpisodeId::of(name, START)),
            revision,
            tenant: "default".into(),
            environment: "prod".into(),
            alert_id: name.into(),
            source: "alertmanager".into(),
            severity: Severity::Warning,
            status: if resolved { Status::Resolved } else { Status::Open },
            title: format!("{name} is down"),
            service: Some("checkout".into()),
            created_at: at(0),
            resolved_at: resolved.then(|| at(60)),
            resolved_by: None,
            merged_into,
            members,
            firing: if resolved { 0 } else { members },
            root_cause: None,
            resolution: None,
        },
        fact,
        at: at(revision as i64),
        observed_at: at(revision as i64 + 1),
        origin: None,
    }
}

pub fn event_record(offset: u64, event: &IncidentEvent) -> Record {
    record(offset, serde_json::to_vec(event).unwrap())
}

/// A step record on `incidents`.
pub fn typed(offset: u64, event: &StepEvent) -> Record {
    Record {
        headers: vec![(topics::header::TYPE.to_owned(), topics::header::STEP.into())],
        ..record(offset, serde_json::to_vec(event).unwrap())
    }
}

pub fn step_requested(name: &str) -> StepEvent {
    let opened = event(name, 1, 1, Fact::Opened { member: member(name) });
    StepEvent::Requested(Box::new(StepRequest {
        schema: StepRequest::SCHEMA,
        id: StepRequest::id_of(Uuid::from_u128(9), Agent::Triage, 1),
        run: Uuid::from_u128(9),
        agent: Agent::Triage,
        attempt: 1,
        evidence: Evidence {
            incident: opened.incident,
            members: vec![member(name)],
            suspects: Vec::new(),
            triage: None,
            findings: Vec::new(),
            unknown: Vec::new(),
            remediation: None,
        },
        requested_at: at(1),
        deadline_at: at(60),
    }))
}

pub fn step_finished(name: &str) -> StepEvent {
    finished(name, StepStatus::Success, 12)
}

/// The step's second answer.
pub fn late_answer(name: &str) -> StepEvent {
    finished(name, StepStatus::Timeout, 99)
}

fn finished(name: &str, status: StepStatus, duration_ms: u64) -> StepEvent {
    StepEvent::Finished(Box::new(StepResult {
        schema: StepResult::SCHEMA,
        id: StepRequest::id_of(Uuid::from_u128(9), Agent::Triage, 1),
        run: Uuid::from_u128(9),
        incident_id: incident_id(name),
        agent: Agent::Triage,
        status,
        error: String::new(),
        output: StepOutput::default(),
        tool_calls: Vec::new(),
        tokens_used: 0,
        duration_ms,
        at: at(2),
    }))
}

pub fn proposal(name: &str) -> Proposal {
    let action = Action::Restart {
        target: Workload {
            cluster: "default".into(),
            namespace: "production".into(),
            kind: WorkloadKind::Deployment,
            name: "api-server".into(),
        },
    };
    Proposal {
        id: Uuid::from_u128(7),
        incident_id: incident_id(name),
        tenant: "default".into(),
        environment: "prod".into(),
        plan_hash: action.plan_hash(),
        action,
        reason: "memory is exhausted".into(),
        citations: Vec::new(),
        dry_run: "+ restartedAt".into(),
        inverse: None,
        blast_radius: BlastRadius { workloads: 1, pods: 3 },
        target: TargetState {
            uid: "uid-1".into(),
            generation: 4,
            spec_hash: "abc".into(),
            resource_version: "77".into(),
            replicas: 3,
            ready: 3,
            detail: serde_json::Value::Null,
        },
        proposed_by: "agent:fixer".into(),
        proposed_at: at(0),
        expires_at: at(900),
    }
}

pub fn grant(proposal: &Proposal) -> Grant {
    Grant::of(proposal, Approver::Human { name: "ada".into() }, at(1), at(900))
}

pub fn remediation(proposal: &Proposal, seconds: i64, fact: RemediationFact) -> RemediationEvent {
    RemediationEvent::new(proposal.id, proposal.incident_id, at(seconds), fact)
}
