//! Triage: how bad is it, and is it worth an investigation?
//!
//! The alert's name picks a symptom, the symptom's metric says how bad it is now. The sender's severity is raised by the metric,
//! lowered by one level when the metric contradicts it, and kept where nothing could be measured.

use chrono::{DateTime, Utc};
use model::evidence::{Finding, FindingKind};
use model::investigation::{Evidence, StepOutput, Triage, TriageAction};
use model::{Severity, Status};
use serde_json::json;

use crate::gather::{Asked, Gather};
use crate::measure::{self, Level};
use crate::settings::AgentSettings;
use crate::subject::Subject;
use crate::symptom::Symptom;
use crate::text::map;
use crate::unmeasured;

/// Where the alert's name names no symptom: is it there, and does it fail?
const GENERAL: &[Symptom] = &[Symptom::Availability, Symptom::Errors];

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub levels: Vec<(Symptom, Asked<Option<Level>>)>,
    /// Why no series was found, as far as the metric store can say.
    pub unmeasured: Vec<String>,
}

pub async fn gather(
    evidence: &Evidence,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Facts {
    let subject = Subject::of(evidence);
    let symptoms = subject.symptom.as_ref().map_or(GENERAL, std::slice::from_ref);
    let mut levels = Vec::new();
    for symptom in symptoms {
        let expressions = &symptom.settings(settings).level;
        let level = measure::level(tools, expressions, settings, &subject, now).await;
        levels.push((*symptom, level));
    }
    let unmeasured = match levels.iter().all(|(_, level)| matches!(level, Ok(None))) {
        true => unmeasured::why(evidence, tools).await,
        false => Vec::new(),
    };
    Facts { levels, unmeasured }
}

pub fn decide(evidence: &Evidence, facts: &Facts, settings: &AgentSettings) -> StepOutput {
    let mut output = StepOutput::default();
    let mut worst: Option<(Severity, String)> = None;
    for (symptom, level) in &facts.levels {
        match level {
            Ok(Some(level)) => {
                let (severity, finding) = judge(*symptom, level, settings);
                if worst.as_ref().is_none_or(|(known, _)| severity > *known) {
                    worst = Some((severity, finding.summary.clone()));
                }
                output.findings.push(finding);
            }
            Ok(None) => output
                .unknown
                .push(format!("the {}: no series of it was found", symptom.level_name())),
            Err(miss) => output.unknown.push(format!("the {}: {miss}", symptom.level_name())),
        }
    }
    output.unknown.extend(facts.unmeasured.iter().cloned());
    output.triage = Some(verdict(evidence, worst));
    output
}

fn judge(symptom: Symptom, level: &Level, settings: &AgentSettings) -> (Severity, Finding) {
    let limits = symptom.settings(settings);
    let (severity, reached) = if level.value >= limits.critical {
        (
            Severity::Critical,
            format!("at or above {}", symptom.show(limits.critical)),
        )
    } else if level.value >= limits.warning {
        (
            Severity::Warning,
            format!("at or above {}", symptom.show(limits.warning)),
        )
    } else {
        (Severity::Info, format!("below {}", symptom.show(limits.warning)))
    };
    let shown = symptom.show(level.value);
    let summary = format!("The {} is {shown}, {reached}", symptom.level_name());
    let finding = Finding {
        kind: FindingKind::Impact,
        summary,
        facts: map(json!({
            "symptom": symptom.as_str(), "value": level.value, "level": severity.as_str(),
            "warning": limits.warning, "critical": limits.critical,
        })),
        citations: vec![level.cite(&format!("{} = {shown}", symptom.as_str()))],
    };
    (severity, finding)
}

fn verdict(evidence: &Evidence, measured: Option<(Severity, String)>) -> Triage {
    let incident = &evidence.incident;
    let said = incident.severity;
    let (severity, why) = match measured {
        Some((level, summary)) if level >= said => (level, summary),
        // The sender may know more than this one metric: its word falls by one level, not to what was measured.
        Some((Severity::Info, summary)) => (
            if said == Severity::Critical {
                Severity::Warning
            } else {
                Severity::Info
            },
            format!("The sender says {said}, but: {summary}"),
        ),
        Some((_, summary)) => (said, format!("The sender says {said}. {summary}")),
        None => (said, format!("Nothing could be measured; {said} is the sender's word")),
    };
    let over = incident.firing == 0 || incident.status == Status::Resolved;
    let action = if over || severity == Severity::Info {
        TriageAction::Watch
    } else {
        TriageAction::Investigate
    };
    let why = if over {
        format!("{why}; no member fires any more")
    } else {
        why
    };
    Triage { severity, action, why }
}
