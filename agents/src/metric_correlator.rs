//! Metric correlator: when the symptom began, and what else happened before it: traffic, changes and what they brought, pods that die.

use chrono::{DateTime, TimeDelta, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::{Evidence, StepOutput};
use model::{Suspect, Workload};
use serde_json::json;
use tools::observe::Pod;

use crate::change_point::{Rise, Shape, shape};
use crate::deployed::{self, Deployed};
use crate::gather::{Asked, Gather};
use crate::measure::{self, Curve, span};
use crate::pods::{self, Health, RECENT};
use crate::settings::AgentSettings;
use crate::subject::{Subject, cite_change};
use crate::symptom::Symptom;
use crate::text::map;

/// Least rise of traffic that is told, in times of the usual. Less is the day's course.
const TRAFFIC_RISE: f64 = 1.3;

/// Changes that are told.
const CHANGES: usize = 3;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The alert's own symptom first; memory as well where log lines speak of it.
    pub curves: Vec<Measured>,
    pub traffic: Asked<Option<Curve>>,
    pub workload: Asked<Workload>,
    pub pods: Option<Asked<Vec<Pod>>>,
    /// What the nearest suspect brought, where a code host can tell.
    pub deployed: Option<Deployed>,
    pub at: DateTime<Utc>,
}

/// The curve of one symptom.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub symptom: Symptom,
    /// It is a level that the limits of the settings speak of, not only a trend (bytes, cores).
    pub leveled: bool,
    pub curve: Asked<Option<Curve>>,
}

pub async fn gather(
    evidence: &Evidence,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Facts {
    let subject = Subject::of(evidence);
    let to = now.max(subject.began_at);
    let asked = (subject.began_at - span(settings.metric_lookback.get()), to);
    let mut symptoms = vec![subject.symptom.unwrap_or(Symptom::Errors)];
    let memory_ran_out = evidence
        .findings
        .iter()
        .any(|finding| finding.kind == FindingKind::OutOfMemory);
    if memory_ran_out && !symptoms.contains(&Symptom::Memory) {
        symptoms.push(Symptom::Memory);
    }
    let mut curves = Vec::new();
    for symptom in symptoms {
        let of = symptom.settings(settings);
        let level = measure::curve(tools, &of.level, settings, &subject, asked).await;
        let leveled = !matches!(level, Ok(None));
        let curve = match level {
            Ok(None) => measure::curve(tools, &of.trend, settings, &subject, asked).await,
            known => known,
        };
        curves.push(Measured {
            symptom,
            leveled,
            curve,
        });
    }
    let traffic = measure::curve(tools, &settings.traffic, settings, &subject, asked).await;
    let workload = pods::find(tools, &subject).await;
    let pods = match &workload {
        Ok(workload) => Some(tools.pods(workload).await),
        Err(_) => None,
    };
    let deployed = deployed::gather(evidence, tools).await;
    Facts {
        curves,
        traffic,
        workload,
        pods,
        deployed,
        at: now,
    }
}

pub fn decide(evidence: &Evidence, facts: &Facts, settings: &AgentSettings) -> StepOutput {
    let mut output = StepOutput::default();
    let subject = Subject::of(evidence);
    let mut onset = None;
    for measured in &facts.curves {
        let what = format!("when the {} began to rise", measured.symptom.level_name());
        let Some((curve, rise)) = rise(&measured.curve, &what, &mut output.unknown) else {
            continue;
        };
        onset = onset.or(Some(rise.onset));
        output.findings.push(metric_change(measured, curve, &rise, settings));
    }
    let reference = onset.unwrap_or(subject.began_at);
    if let Some((curve, rise)) = rise(&facts.traffic, "whether traffic rose before", &mut output.unknown) {
        output
            .findings
            .extend(traffic_before(curve, &rise, reference, onset.is_some(), settings));
    }
    match (&facts.workload, &facts.pods) {
        (Ok(workload), Some(Ok(pods))) => {
            let health = Health::of(pods, subject.began_at - RECENT);
            if !health.well() {
                output.findings.push(unhealthy(workload, &health, facts.at));
            }
        }
        (Err(miss), _) | (_, Some(Err(miss))) => output.unknown.push(format!("how the pods are: {miss}")),
        (Ok(_), None) => {}
    }
    if let Some(deployed) = &facts.deployed {
        let why = match &deployed.brought {
            Ok(Ok(_)) => None,
            Ok(Err(why)) => Some(why.clone()),
            Err(miss) => Some(miss.to_string()),
        };
        let what = "what changed with the suspect deployment";
        output.unknown.extend(why.map(|why| format!("{what}: {why}")));
    }
    let recent = recent_changes(&evidence.suspects, reference, span(settings.change_window.get()));
    output.findings.extend(
        recent
            .iter()
            .take(CHANGES)
            .map(|(suspect, before)| change(suspect, *before, reference, facts.deployed.as_ref())),
    );
    output
}

/// Changes within `window` before `onset`, nearest first, with how long before.
pub fn recent_changes(suspects: &[Suspect], onset: DateTime<Utc>, window: TimeDelta) -> Vec<(&Suspect, TimeDelta)> {
    let mut recent: Vec<(&Suspect, TimeDelta)> = suspects
        .iter()
        .map(|suspect| (suspect, onset - suspect.at))
        .filter(|(_, before)| TimeDelta::zero() <= *before && *before <= window)
        .collect();
    recent.sort_by_key(|(suspect, before)| (*before, suspect.signal));
    recent
}

fn rise<'a>(curve: &'a Asked<Option<Curve>>, what: &str, unknown: &mut Vec<String>) -> Option<(&'a Curve, Rise)> {
    let curve = match curve {
        Ok(Some(curve)) => curve,
        Ok(None) => {
            unknown.push(format!("{what}: no series of it was found"));
            return None;
        }
        Err(miss) => {
            unknown.push(format!("{what}: {miss}"));
            return None;
        }
    };
    match shape(&curve.points) {
        Shape::Rose(rise) => Some((curve, rise)),
        Shape::Steady(_) => None,
        Shape::TooShort(points) => {
            unknown.push(format!("{what}: {points} points are too few to know what is usual"));
            None
        }
    }
}

fn metric_change(measured: &Measured, curve: &Curve, rise: &Rise, settings: &AgentSettings) -> Finding {
    let (symptom, leveled) = (measured.symptom, measured.leveled);
    let critical = symptom.settings(settings).critical;
    let show = |value: f64| {
        if leveled {
            symptom.show(value)
        } else {
            format!("{value:.3e}")
        }
    };
    let shown = format!(
        "usual {}, from {} on {}, at most {}",
        show(rise.usual),
        minute(rise.onset),
        show(rise.level),
        show(rise.peak)
    );
    Finding {
        kind: FindingKind::MetricChange,
        summary: format!("{} began to rise at {}: {shown}", symptom.as_str(), minute(rise.onset)),
        facts: map(json!({
            "symptom": symptom.as_str(), "onset": rise.onset, "usual": rise.usual, "level": rise.level,
            "peak": rise.peak, "factor": rise.factor(), "saturated": leveled && rise.peak >= critical,
            "points": curve.drawn(), "leveled": leveled,
        })),
        citations: vec![curve.cite(&shown)],
    }
}

fn traffic_before(
    curve: &Curve,
    rise: &Rise,
    reference: DateTime<Utc>,
    measured: bool,
    settings: &AgentSettings,
) -> Option<Finding> {
    let lag = reference - rise.onset;
    let factor = rise.factor();
    let before = TimeDelta::zero() < lag && lag <= span(settings.traffic_window.get());
    if !before || factor.is_some_and(|factor| factor < TRAFFIC_RISE) {
        return None;
    }
    let times = factor.map_or("from nothing".to_owned(), |factor| {
        format!("to {factor:.1} times the usual")
    });
    let minutes = lag.num_minutes();
    let of = if measured { "the symptom" } else { "the alert" };
    Some(Finding {
        kind: FindingKind::TrafficBeforeSymptom,
        summary: format!("Traffic rose {times}, {minutes} min before {of}"),
        facts: map(json!({
            "onset": rise.onset, "factor": factor, "lag_s": lag.num_seconds(), "lag_minutes": minutes,
            "before": if measured { "symptom" } else { "alert" }, "points": curve.drawn(),
        })),
        citations: vec![curve.cite(&format!(
            "usual {:.2}/s, from {} on {:.2}/s",
            rise.usual,
            minute(rise.onset),
            rise.level
        ))],
    })
}

fn unhealthy(workload: &Workload, health: &Health, at: DateTime<Utc>) -> Finding {
    Finding {
        kind: FindingKind::UnhealthyPods,
        summary: format!("{workload} has {}", health.sentence()),
        facts: map(json!({
            "pods": health.pods, "not_ready": health.not_ready, "restarted": health.restarted,
            "oom_killed": health.oom_killed, "names": health.names.iter().take(10).collect::<Vec<_>>(),
        })),
        citations: vec![health.cite(workload, at)],
    }
}

fn change(suspect: &Suspect, before: TimeDelta, onset: DateTime<Utc>, deployed: Option<&Deployed>) -> Finding {
    let citation: Citation = cite_change(suspect);
    let mut finding = Finding {
        kind: FindingKind::RecentChange,
        summary: format!("{} min before: {}", before.num_minutes(), citation.excerpt),
        facts: map(json!({
            "signal": suspect.signal, "at": suspect.at, "onset": onset, "before_s": before.num_seconds(),
        })),
        citations: vec![citation],
    };
    let of_it = deployed.filter(|deployed| deployed.suspect == suspect.signal);
    if let Some(Ok(Ok(brought))) = of_it.map(|deployed| &deployed.brought) {
        let sentence = brought.sentence();
        finding.summary.push_str(&format!("; {sentence}"));
        finding.facts.extend(map(json!({
            "repository": brought.comparison.repository, "commit": brought.deployment.commit,
            "commits": brought.comparison.total, "brought": sentence,
        })));
        finding.citations.push(brought.cite());
    }
    finding
}

/// `10:31Z`, for sentences.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%H:%MZ").to_string()
}
