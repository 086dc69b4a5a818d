//! Reading findings of earlier steps: by kind and by their facts, never by their text.

use chrono::{DateTime, Utc};
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
