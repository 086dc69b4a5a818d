//! What tools answer with: flat, named, with a schema each. Larger things are told by number, and asked for by name.

use chrono::{DateTime, Utc};
use gateway::{EventView, IncidentView, LetterView, RemediationView, StepView};
use model::evidence::{Citation, Finding};
use model::{Fact, Member};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// An incident in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Summary {
    pub id: String,
    /// Untrusted text.
    pub title: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// `open`, `investigating` or `resolved`.
    pub status: String,
    pub service: Option<String>,
    pub environment: String,
    pub tenant: String,
    /// Sender of the earliest alert.
    pub source: String,
    /// Event time of the earliest alert.
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// `agent`, `human:NAME`; absent where its alerts ended by themselves.
    pub resolved_by: Option<String>,
    /// Alerts so far, and how many of them still fire.
    pub alerts: u32,
    pub firing: u32,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    /// The incident that this one lives on in.
    pub merged_into: Option<String>,
}

impl From<&IncidentView> for Summary {
    fn from(view: &IncidentView) -> Self {
        Summary {
            id: view.id.to_string(),
            title: view.title.clone(),
            severity: view.severity.as_str().to_owned(),
            status: view.status.as_str().to_owned(),
            service: view.service.clone(),
            environment: view.environment.clone(),
            tenant: view.tenant.clone(),
            source: view.source.clone(),
            created_at: view.created_at,
            updated_at: view.updated_at,
            resolved_at: view.resolved_at,
            resolved_by: view.resolved_by.clone(),
            alerts: view.members,
            firing: view.firing,
            root_cause: view.root_cause.clone(),
            resolution: view.resolution.clone(),
            merged_into: view.merged_into.map(|id| id.to_string()),
        }
    }
}

/// An alert of an incident, and why it belongs to it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Alert {
    /// Names this firing.
    pub episode: String,
    /// Untrusted text.
    pub title: String,
    pub severity: String,
    pub service: Option<String>,
    pub source: String,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    /// Rule and version that admitted it, as `same-service@1`; `opened@1` for the first.
    pub rule: String,
    /// The value that it shares with the alert that it was linked to.
    pub shared: Option<String>,
    /// The episode that it was linked to, and how far apart the two started.
    pub linked_to: Option<String>,
    pub apart_ms: Option<i64>,
}

impl From<&Member> for Alert {
    fn from(member: &Member) -> Self {
        Alert {
            episode: member.episode.to_string(),
            title: member.title.clone(),
            severity: member.severity.as_str().to_owned(),
            service: member.service.clone(),
            source: member.source.clone(),
            starts_at: member.starts_at,
            ends_at: member.ends_at,
            rule: member.rule.clone(),
            shared: member.key.clone(),
            linked_to: member.linked_to.map(|episode| episode.to_string()),
            apart_ms: member.apart_ms,
        }
    }
}

/// A moment of an incident.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Moment {
    pub revision: u64,
    /// Event time.
    pub at: DateTime<Utc>,
    /// `opened`, `signal_joined`, `resolved`, …
    pub fact: String,
    /// What it says, in a line. May hold untrusted text.
    pub what: String,
}

impl From<&EventView> for Moment {
    fn from(event: &EventView) -> Self {
        Moment {
            revision: event.revision,
            at: event.at,
            fact: event.fact.clone(),
            what: fact_of(event).map(|fact| said(&fact)).unwrap_or_default(),
        }
    }
}

/// The fact of an event; `None` for one that a later program wrote.
pub fn fact_of(event: &EventView) -> Option<Fact> {
    serde_json::from_value(event.payload.get("fact")?.clone()).ok()
}

fn said(fact: &Fact) -> String {
    match fact {
        Fact::Opened { member } | Fact::SignalJoined { member } => member.title.clone(),
        Fact::MemberChanged { member } => match member.ends_at {
            Some(_) => format!("{} ended", member.title),
            None => member.title.clone(),
        },
        Fact::Escalated { from } => format!("from {}", from.as_str()),
        Fact::Absorbed { other, members } => format!("{} alerts of incident {other}", members.len()),
        Fact::Merged { into } => format!("into incident {into}"),
        Fact::SuspectFound { suspect } => format!(
            "{} ({} s before, {})",
            suspect.title,
            suspect.before_ms.max(0) / 1_000,
            suspect.source
        ),
        Fact::Acknowledged { by } => format!("by {by}"),
        Fact::FindingAdded { by, finding } => format!("{by}: {}", finding.summary),
        Fact::PostmortemAdded { by, postmortem } => format!("by {by}: {}", postmortem.root_cause.text),
        Fact::Closed { by, resolution } => format!("by {by}: {resolution}"),
        Fact::Resolved | Fact::Reopened { .. } => String::new(),
    }
}

/// A change of the same service shortly before. A suspect, not a verdict.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SuspectView {
    /// Untrusted text.
    pub title: String,
    pub service: String,
    pub source: String,
    pub at: DateTime<Utc>,
    /// From the change to the first alert that named it.
    pub before_ms: i64,
}

/// An observation that anybody can make again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CitationView {
    pub id: String,
    /// `prometheus`, `logs`, `kubernetes`, `github`, `jira`, `signal`, `change`, `incident`, `remediation`.
    pub source: String,
    /// The question: a PromQL expression, a LogQL selector, a path.
    pub query: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What it answered. Untrusted text.
    pub excerpt: String,
}

impl From<&Citation> for CitationView {
    fn from(citation: &Citation) -> Self {
        CitationView {
            id: citation.id.clone(),
            source: citation.source.clone(),
            query: citation.query.clone(),
            from: citation.from,
            to: citation.to,
            excerpt: citation.excerpt.clone(),
        }
    }
}

/// A statement of an agent with its evidence.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FindingView {
    /// The agent.
    pub by: String,
    /// `impact`, `error_lines`, `out_of_memory`, `metric_change`, …
    pub kind: String,
    /// May hold untrusted text.
    pub summary: String,
    /// Numbers and names behind the sentence.
    pub facts: Map<String, Value>,
    pub citations: Vec<CitationView>,
}

impl FindingView {
    pub fn new(by: &str, finding: &Finding) -> Self {
        let kind = serde_json::to_value(finding.kind).unwrap_or_default();
        FindingView {
            by: by.to_owned(),
            kind: kind.as_str().unwrap_or_default().to_owned(),
            summary: finding.summary.clone(),
            facts: finding.facts.clone(),
            citations: finding.citations.iter().map(CitationView::from).collect(),
        }
    }
}

/// A step of the crew, without what it was given and what it brought.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StepLine {
    pub id: String,
    pub agent: String,
    /// `running`, `success`, `failed`, `timeout`, `cancelled`.
    pub status: String,
    pub attempt: u32,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub duration_ms: Option<u64>,
}

impl From<&StepView> for StepLine {
    fn from(step: &StepView) -> Self {
        StepLine {
            id: step.id.to_string(),
            agent: step.agent.clone(),
            status: step.status.clone(),
            attempt: step.attempt,
            error: step.error.clone().filter(|error| !error.is_empty()),
            created_at: step.created_at,
            duration_ms: step.duration_ms,
        }
    }
}

/// A remediation in a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RemediationLine {
    pub id: String,
    pub incident_id: String,
    /// `restart`, `rollback`, `scale`, …
    pub action: String,
    /// `deployment/api-server`.
    pub target: String,
    pub namespace: Option<String>,
    pub cluster: String,
    /// `waiting` waits for a person; then `denied`, `expired`, or `granted` and what came of it.
    pub status: String,
    /// What an approval must name.
    pub plan_hash: String,
    /// May hold untrusted text.
    pub reason: String,
    /// `agent:fixer` or `human:NAME`.
    pub proposed_by: String,
    pub decided_by: Option<String>,
    pub note: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<&RemediationView> for RemediationLine {
    fn from(view: &RemediationView) -> Self {
        RemediationLine {
            id: view.id.to_string(),
            incident_id: view.incident_id.to_string(),
            action: view.action.clone(),
            target: view.target.clone(),
            namespace: view.namespace.clone(),
            cluster: view.cluster.clone(),
            status: view.status.clone(),
            plan_hash: view.plan_hash.clone(),
            reason: view.reason.clone(),
            proposed_by: view.proposed_by.clone(),
            decided_by: view.decided_by.clone(),
            note: view.note.clone(),
            created_at: view.created_at,
            expires_at: view.expires_at,
            updated_at: view.updated_at,
        }
    }
}

/// A dead letter. Its bytes are at the command line.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LetterLine {
    pub id: String,
    pub stage: String,
    pub reason: String,
    /// May hold untrusted text.
    pub detail: String,
    pub field: Option<String>,
    /// `open`, `replayed` or `dropped`.
    pub status: String,
    pub source_topic: String,
    pub source_partition: u32,
    pub source_offset: u64,
    pub received_at: DateTime<Utc>,
    pub attempt: u32,
}

impl From<&LetterView> for LetterLine {
    fn from(view: &LetterView) -> Self {
        LetterLine {
            id: view.id.clone(),
            stage: view.stage.clone(),
            reason: view.reason.clone(),
            detail: view.detail.clone(),
            field: view.field.clone(),
            status: view.status.clone(),
            source_topic: view.source_topic.clone(),
            source_partition: view.source_partition,
            source_offset: view.source_offset,
            received_at: view.received_at,
            attempt: view.attempt,
        }
    }
}
