//! Facts: what one record of the log says, in fields that conditions name.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::approval::Approver;
use model::compliance::Source;
use model::evidence::FindingKind;
use model::investigation::StepResult;
use model::ledger::digest;
use model::remediation::{RemediationEvent, RemediationFact};
use model::{Fact as IncidentFact, IncidentEvent, IncidentId, Severity, Weakness, topics};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tools::redact::{redact, redact_json};

use crate::text;

/// Kinds of facts, as policies name them.
pub const KINDS: &[&str] = &[
    "change",
    "weakness",
    "acknowledged",
    "resolved",
    "remediation",
    "forged",
    "secret",
    "drift",
];

/// Something that happened, as policies see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// One of `KINDS`.
    pub kind: String,
    /// Which one: the same fact told twice has the same.
    pub subject: String,
    pub incident_id: Option<IncidentId>,
    pub tenant: String,
    pub environment: String,
    pub service: Option<String>,
    pub at: DateTime<Utc>,
    pub summary: String,
    pub fields: BTreeMap<String, Value>,
    pub source: Source,
}

/// What `deployments` and `compliance` tell of a signal.
#[derive(Deserialize)]
struct Projection {
    id: String,
    dedup_key: String,
    tenant: String,
    environment: String,
    source: String,
    severity: Severity,
    title: String,
    service: Option<String>,
    at: DateTime<Utc>,
    #[serde(default)]
    labels: Value,
    extra: Option<Value>,
}

/// A public projection of a signal: a change, or a weakness. The error says what it is not.
pub fn of_projection(topic: &str, record: &[u8]) -> Result<Option<Fact>, String> {
    let mut read: Projection = serde_json::from_slice(record).map_err(|fault| fault.to_string())?;
    redact_json(&mut read.labels);
    let title = text::line(&redact(&read.title), 200);
    let mut fields = json!({
        "source": read.source, "severity": read.severity, "environment": read.environment, "service": read.service,
        "at": read.at.to_rfc3339(), "title": title, "signal": read.id, "labels": read.labels,
    });
    let kind = match topic {
        topics::DEPLOYMENTS => "change",
        topics::COMPLIANCE => {
            if let Some(weakness) = Weakness::of(&read.dedup_key) {
                fields["kind"] = weakness.kind.into();
                fields["repository"] = weakness.repository.into();
                fields["number"] = weakness.number.into();
            } else if read.dedup_key.contains(":security_advisory:") {
                fields["kind"] = "security_advisory".into();
            }
            let state = read.extra.as_ref().and_then(|extra| extra["alert"]["state"].as_str());
            fields["ended"] = state.is_some_and(|state| state != "open").into();
            "weakness"
        }
        _ => return Ok(None),
    };
    let mut fact = fact(kind, read.id, read.at, title, fields, topic, record);
    (fact.tenant, fact.environment, fact.service) = (read.tenant, read.environment, read.service);
    Ok(Some(fact))
}

/// How fast somebody or something answered.
pub fn of_incident(event: &IncidentEvent, record: &[u8]) -> Option<Fact> {
    let incident = &event.incident;
    let security = Weakness::of(&incident.alert_id).is_some();
    let minutes = |at: DateTime<Utc>| (at - incident.created_at).num_milliseconds().max(0) as f64 / 60_000.0;
    let title = text::line(&redact(&incident.title), 200);
    let mut fields = json!({
        "severity": incident.severity, "environment": incident.environment, "service": incident.service, "security": security,
        "members": incident.members, "title": title, "at": event.at.to_rfc3339(),
    });
    let (kind, subject, at, words) = match &event.fact {
        IncidentFact::Acknowledged { by } => {
            fields["by"] = text::line(by, 100).into();
            fields["by_human"] = by.starts_with("human:").into();
            ("acknowledged", incident.id.to_string(), event.at, "acknowledged")
        }
        IncidentFact::Resolved | IncidentFact::Closed { .. } => {
            let at = incident.resolved_at.unwrap_or(event.at);
            (
                "resolved",
                format!("{}/{}", incident.id, at.timestamp_micros()),
                at,
                "over",
            )
        }
        _ => return None,
    };
    let after = minutes(at);
    fields["minutes"] = json!(after);
    let summary = format!("{title}: {words} after {after:.1} minutes");
    let mut fact = fact(kind, subject, at, summary, fields, topics::INCIDENTS, record);
    fact.incident_id = Some(incident.id);
    (fact.tenant, fact.environment) = (incident.tenant.clone(), incident.environment.clone());
    fact.service.clone_from(&incident.service);
    Some(fact)
}

/// Who allowed what, and what nobody of this installation wrote.
pub fn of_remediation(event: &RemediationEvent, record: &[u8]) -> Option<Fact> {
    let mut made = match &event.fact {
        RemediationFact::Granted { grant, proposal } => {
            let by = match &grant.by {
                Approver::Rule { .. } => "rule",
                Approver::Human { .. } => "human",
            };
            let summary = format!(
                "{}: proposed by {}, granted by {}",
                proposal.action,
                proposal.proposed_by,
                grant.by.label()
            );
            let fields = json!({
                "action": proposal.action.kind().as_str(), "target": proposal.action.target_label(), "plan_hash": grant.plan_hash,
                "proposed_by": proposal.proposed_by, "granted_by": grant.by.label(), "granted_by_kind": by,
                "environment": proposal.environment, "at": grant.at.to_rfc3339(),
            });
            let summary = text::line(&redact(&summary), 300);
            let mut made = fact(
                "remediation",
                event.id.to_string(),
                grant.at,
                summary,
                fields,
                topics::REMEDIATIONS,
                record,
            );
            (made.tenant, made.environment) = (proposal.tenant.clone(), proposal.environment.clone());
            made
        }
        RemediationFact::Forged { kind, offset, why } => {
            let fields = json!({"kind": kind, "why": why, "at": event.at.to_rfc3339()});
            let summary = format!(
                "a record `{}` about remediation {} that nobody of this installation wrote",
                text::line(kind, 40),
                event.id
            );
            let subject = format!("{}/{offset}", event.id);
            fact(
                "forged",
                subject,
                event.at,
                summary,
                fields,
                topics::REMEDIATIONS,
                record,
            )
        }
        _ => return None,
    };
    made.incident_id = Some(event.incident_id);
    Some(made)
}

/// What the security auditor and the compliance checker found. `domain`: tenant and environment of the incident.
pub fn of_finding(result: &StepResult, domain: &str, record: &[u8]) -> Vec<Fact> {
    let (tenant, environment) = domain.split_once('/').unwrap_or((domain, ""));
    let mut facts = Vec::new();
    for (number, finding) in result.output.findings.iter().enumerate() {
        let kind = match finding.kind {
            FindingKind::SecretExposed => "secret",
            FindingKind::Drift => "drift",
            _ => continue,
        };
        let mut fields = Value::Object(finding.facts.clone());
        redact_json(&mut fields);
        fields["agent"] = result.agent.as_str().into();
        fields["citations"] = finding
            .citations
            .iter()
            .map(|one| one.id.as_str())
            .collect::<Vec<&str>>()
            .into();
        fields["environment"] = environment.into();
        let subject = format!("{}/{number}", result.id);
        let summary = text::line(&finding.summary, 300);
        let mut made = fact(kind, subject, result.at, summary, fields, topics::INCIDENTS, record);
        made.incident_id = Some(result.incident_id);
        (made.tenant, made.environment) = (tenant.to_owned(), environment.to_owned());
        facts.push(made);
    }
    facts
}

fn fact(
    kind: &str,
    subject: String,
    at: DateTime<Utc>,
    summary: String,
    fields: Value,
    topic: &str,
    record: &[u8],
) -> Fact {
    let fields: Map<String, Value> = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    Fact {
        kind: kind.to_owned(),
        subject,
        incident_id: None,
        tenant: String::new(),
        environment: String::new(),
        service: None,
        at,
        summary,
        fields: fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        source: Source {
            topic: topic.to_owned(),
            digest: digest(record),
        },
    }
}
