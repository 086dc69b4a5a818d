//! Reading findings of earlier steps: by kind and by their facts, never by their text.

use chrono::{DateTime, TimeDelta, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use serde_json::Value;

use crate::symptom::Symptom;

pub fn of_kind(findings: &[Finding], kind: FindingKind) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(move |finding| finding.kind == kind)
}

/// Whether the finding measured this symptom.
pub fn about(finding: &Finding, symptom: Symptom) -> bool {
    finding.facts.get("symptom").and_then(Value::as_str) == Some(symptom.as_str())
}

/// 0 where there is no such number.
pub fn number(finding: &Finding, name: &str) -> f64 {
    finding.facts.get(name).and_then(Value::as_f64).unwrap_or_default()
}

pub fn time(finding: &Finding, name: &str) -> Option<DateTime<Utc>> {
    finding.facts.get(name)?.as_str()?.parse().ok()
}

pub fn word<'a>(finding: &'a Finding, name: &str) -> Option<&'a str> {
    finding.facts.get(name).and_then(Value::as_str)
}

pub fn yes(finding: &Finding, name: &str) -> bool {
    finding.facts.get(name).and_then(Value::as_bool) == Some(true)
}

/// Lines that begin within this of what was read may have begun before.
const UNSEEN: TimeDelta = TimeDelta::minutes(1);

/// Whether a rise or lines are known to have begun after `at`. Lines as old as what was read may be older.
pub fn began_after(finding: &Finding, at: DateTime<Utc>) -> bool {
    match finding.kind {
        FindingKind::MetricChange => time(finding, "onset").is_some_and(|onset| onset >= at),
        FindingKind::ErrorLines | FindingKind::OutOfMemory => {
            let from = time(finding, "since").map_or(at, |since| at.max(since + UNSEEN));
            time(finding, "first_at").is_some_and(|first| first >= from)
        }
        FindingKind::Impact
        | FindingKind::TrafficBeforeSymptom
        | FindingKind::RecentChange
        | FindingKind::UnhealthyPods
        | FindingKind::SecurityAlert
        | FindingKind::SecretExposed
        | FindingKind::Drift => false,
    }
}

/// An impact at or above its warning.
pub fn bad_level(finding: &Finding) -> bool {
    finding.kind == FindingKind::Impact && matches!(word(finding, "level"), Some("warning" | "critical"))
}

/// Adds citations that are not there yet.
pub fn collect<'a>(citations: &mut Vec<Citation>, more: impl IntoIterator<Item = &'a Citation>) {
    for citation in more {
        if !citations.iter().any(|known| known.id == citation.id) {
            citations.push(citation.clone());
        }
    }
}
