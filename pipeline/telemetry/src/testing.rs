//! One incident as records, for the tests of this crate.

use bytes::Bytes;
use model::investigation::{Agent, StepEvent, StepOutput, StepResult, StepStatus, ToolCall};
use model::{
    CanonicalKey, EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member, Notification, Origin, RawEvent,
    Severity, SignalId, Status, ids, topics,
};
use stream::time::Instant;
use stream::{Offset, Record};

/// When the first webhook came.
pub const AT: i64 = 1_795_000_000_000_000;
pub const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub fn id() -> IncidentId {
    IncidentId(ids::derived("incident"))
}

pub fn origin(offset: u64, index: u32) -> Origin {
    Origin {
        partition: 2,
        offset,
        index,
    }
}

pub fn record(offset: u64, value: &impl serde::Serialize, headers: &[(&str, &str)]) -> Record {
    Record {
        offset: Offset(offset),
        key: None,
        value: serde_json::to_vec(value).unwrap().into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        timestamp: Instant(AT),
    }
}

/// A webhook, `seconds` after the first.
pub fn raw(seconds: i64) -> RawEvent {
    RawEvent {
        sender: "alertmanager".into(),
        received_at: AT + seconds * 1_000_000,
        verdict: "bearer".into(),
        headers: vec![("http-traceparent".into(), CALLER.into())],
        body: Bytes::from_static(b"{}"),
        ..RawEvent::default()
    }
}

pub fn fact(revision: u64, fact: Fact, origin: Option<Origin>) -> IncidentEvent {
    let at = Instant(AT + revision as i64 * 1_000_000).to_datetime();
    IncidentEvent {
        schema: 1,
        incident: Incident {
            id: id(),
            canonical_key: CanonicalKey::default(),
            revision,
            tenant: "default".into(),
            environment: "prod".into(),
            alert_id: "a".into(),
            source: "alertmanager".into(),
            severity: Severity::Critical,
            status: Status::Open,
            title: "High Memory Usage, token=hunter2secret".into(),
            service: Some("api-server".into()),
            created_at: at,
            resolved_at: None,
            resolved_by: None,
            merged_into: None,
            members: 1,
            firing: 1,
            root_cause: None,
            resolution: None,
        },
        fact,
        at,
        observed_at: at,
        origin,
    }
}

pub fn member(name: &str) -> Member {
    Member {
        episode: EpisodeId::of(name, 0),
        signal: SignalId::of(&[name.as_bytes()]),
        dedup_key: name.into(),
        source: "alertmanager".into(),
        title: name.into(),
        severity: Severity::Critical,
        service: None,
        namespace: None,
        starts_at: Instant(AT).to_datetime(),
        ends_at: None,
        rule: "opened@1".into(),
        key: None,
        linked_to: None,
        apart_ms: None,
    }
}

pub fn step(status: StepStatus) -> StepEvent {
    let call = |tool: &str, outcome| ToolCall {
        tool: tool.into(),
        arguments: serde_json::json!({"query": "up", "password": "hunter2secret"}),
        outcome,
        duration_ms: 20,
        after_ms: Some(30),
    };
    StepEvent::Finished(Box::new(StepResult {
        schema: 1,
        id: ids::derived("step"),
        run: ids::derived("run"),
        incident_id: id(),
        agent: Agent::LogAnalyst,
        status,
        error: if status == StepStatus::Success {
            String::new()
        } else {
            "no answer".into()
        },
        output: StepOutput::default(),
        tool_calls: vec![
            call("loki.query", Ok("12 lines".into())),
            call("kubernetes.pods", Err("away".into())),
        ],
        tokens_used: 0,
        duration_ms: 100,
        at: Instant(AT + 5_000_000).to_datetime(),
    }))
}

pub fn notification(revision: u64, remediation: Option<uuid::Uuid>) -> Notification {
    Notification {
        schema: 1,
        id: ids::derived(&format!("notification/{revision}")),
        incident_id: id(),
        revision,
        event: "opened".into(),
        severity: Severity::Critical,
        status: Status::Open,
        title: "t".into(),
        service: None,
        tenant: "default".into(),
        environment: "prod".into(),
        at: Instant(AT).to_datetime(),
        remediation,
        plan_hash: None,
        detail: None,
    }
}

/// The incident's records, by topic.
pub fn story() -> Vec<(&'static str, Record)> {
    let opened = fact(
        1,
        Fact::Opened {
            member: member("memory"),
        },
        Some(origin(7, 0)),
    );
    let joined = fact(
        2,
        Fact::SignalJoined {
            member: member("latency"),
        },
        Some(origin(7, 1)),
    );
    let acknowledged = fact(3, Fact::Acknowledged { by: "agent".into() }, None);
    vec![
        (topics::INCIDENTS, record(0, &opened, &[])),
        (topics::INCIDENTS, record(1, &joined, &[])),
        (topics::INCIDENTS, record(2, &acknowledged, &[])),
        (
            topics::INCIDENTS,
            record(
                3,
                &step(StepStatus::Success),
                &[(topics::header::TYPE, topics::header::STEP)],
            ),
        ),
        (topics::NOTIFICATIONS, record(0, &notification(1, None), &[])),
    ]
}
