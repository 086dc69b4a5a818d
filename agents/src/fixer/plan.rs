//! The rules, in their order. The first that holds decides.
//!
//! | rule | asks for | action |
//! |---|---|---|
//! | change | a change within the window before the symptom, trouble that began after it, no rise of traffic that explains it; the running revision was made in that window, or a metric rose after the change; an earlier revision | rollback to it |
//! | memory | log lines, the metric or the cluster speak of memory, and the metric or the cluster is among them; with a rise of traffic and no process that ran out: as the next rule | restart |
//! | load | traffic rose before the symptom, and memory, CPU or response time is at its limit; not a daemon set; below the cap | one replica more |
//! | – | | none at the cluster; a deployment that failed may be run again ([`super::rerun`]) |

use chrono::{DateTime, TimeDelta, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::Evidence;
use model::{Action, WorkloadKind};
use tools::observe::Revision;

use super::Seen;
use crate::findings::{about, bad_level, began_after, collect, number, of_kind, time, yes};
use crate::measure::span;
use crate::metric_correlator::recent_changes;
use crate::pods::Health;
use crate::proposed::Planned;
use crate::settings::AgentSettings;
use crate::subject::{Subject, cite_change};
use crate::symptom::Symptom;

/// How far the clocks of the cluster and of a sender of changes may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// The findings, sorted for the rules.
struct Known<'a> {
    findings: &'a [Finding],
    health: Option<Health>,
    oom_lines: Option<&'a Finding>,
    traffic: Option<&'a Finding>,
    onset: DateTime<Utc>,
}

/// What to do, or why nothing.
pub fn plan(evidence: &Evidence, seen: &Seen, settings: &AgentSettings, now: DateTime<Utc>) -> Result<Planned, String> {
    let subject = Subject::of(evidence);
    if seen.state.replicas == 0 {
        return Err("the workload is scaled to no pods".to_owned());
    }
    let findings = evidence.findings.as_slice();
    let known = Known {
        findings,
        health: seen.health(subject.began_at),
        oom_lines: of_kind(findings, FindingKind::OutOfMemory)
            .find(|finding| number(finding, "count") >= f64::from(settings.oom_lines)),
        traffic: of_kind(findings, FindingKind::TrafficBeforeSymptom).next(),
        onset: of_kind(findings, FindingKind::MetricChange)
            .find_map(|finding| time(finding, "onset"))
            .unwrap_or(subject.began_at),
    };
    if let Some(planned) = by_change(evidence, seen, &known, settings, now) {
        return Ok(planned);
    }
    let (at_limit, memory) = (saturated(&known), memory_witness(&known));
    let ran_out = known.oom_lines.is_some() || known.health.as_ref().is_some_and(|health| health.oom_killed > 0);
    match (&memory, known.traffic) {
        (Some(_), Some(traffic)) if !ran_out => by_load(seen, traffic, &at_limit, settings),
        (Some(witness), _) => Ok(restart(seen, &known, witness, now)),
        (None, Some(traffic)) if !ran_out && !at_limit.is_empty() => by_load(seen, traffic, &at_limit, settings),
        _ => Err(why_nothing(&known)),
    }
}

fn by_change(
    evidence: &Evidence,
    seen: &Seen,
    known: &Known<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Option<Planned> {
    if known.traffic.is_some() {
        return None;
    }
    let window = span(settings.change_window.get());
    let (current, previous) = seen.last_two()?;
    // The nearest may be of something else, which the cluster saw nothing of: then the next one counts.
    let (suspect, before, trouble) = recent_changes(&evidence.suspects, known.onset, window)
        .into_iter()
        .find_map(|(suspect, before)| Some((suspect, before, trouble_after(suspect.at, current, known)?)))?;
    let mut citations = vec![cite_change(suspect), seen.cite_revisions(current, previous, now)];
    cite(&mut citations, trouble);
    Some(Planned {
        action: Action::Rollback {
            target: seen.workload.clone(),
            to_revision: Some(previous.number),
        },
        reason: format!(
            "The trouble began {} min after a change of the service, and no rise of traffic explains it. Revision {} was there before revision {}.",
            before.num_minutes(),
            previous.number,
            current.number
        ),
        citations,
    })
}

/// What began after a change at `at`; `None` where nothing did, or the cluster does not bear the change out.
fn trouble_after<'a>(at: DateTime<Utc>, current: &Revision, known: &Known<'a>) -> Option<Vec<&'a Finding>> {
    let trouble: Vec<&Finding> = known
        .findings
        .iter()
        .filter(|finding| began_after(finding, at))
        .collect();
    let witnessed = match current.created_at {
        Some(created) => at - SKEW <= created && created <= known.onset + SKEW,
        None => trouble.iter().any(|finding| finding.kind == FindingKind::MetricChange),
    };
    (witnessed && !trouble.is_empty()).then_some(trouble)
}

/// What outside the log shows that memory is short.
struct Witness<'a> {
    findings: Vec<&'a Finding>,
    /// The cluster killed pods for memory.
    killed: usize,
}

fn memory_witness<'a>(known: &Known<'a>) -> Option<Witness<'a>> {
    let findings: Vec<&Finding> = known
        .findings
        .iter()
        .filter(|finding| {
            (about(finding, Symptom::Memory) && (bad_level(finding) || rose_to_limit(finding)))
                // A rise without a known limit is enough only where processes say that they ran out.
                || (about(finding, Symptom::Memory)
                    && finding.kind == FindingKind::MetricChange
                    && known.oom_lines.is_some())
        })
        .collect();
    let killed = known.health.as_ref().map_or(0, |health| health.oom_killed);
    (!findings.is_empty() || killed > 0).then_some(Witness { findings, killed })
}

fn restart(seen: &Seen, known: &Known<'_>, witness: &Witness<'_>, now: DateTime<Utc>) -> Planned {
    let mut reasons = Vec::new();
    let mut citations = Vec::new();
    if let Some(lines) = known.oom_lines {
        reasons.push(format!("{} log lines say that memory ran out", number(lines, "count")));
    }
    if !witness.findings.is_empty() {
        reasons.push("the metric shows that memory is short".to_owned());
    }
    if witness.killed > 0 {
        reasons.push(format!("the cluster killed {} pods for memory", witness.killed));
    }
    cite(
        &mut citations,
        known.oom_lines.into_iter().chain(witness.findings.iter().copied()),
    );
    if let Some(health) = &known.health {
        citations.push(health.cite(&seen.workload, now));
    }
    Planned {
        action: Action::Restart {
            target: seen.workload.clone(),
        },
        reason: format!(
            "Relief, not a cure: {}. New processes start with empty memory.",
            reasons.join("; ")
        ),
        citations,
    }
}

fn by_load(seen: &Seen, traffic: &Finding, at_limit: &[&Finding], settings: &AgentSettings) -> Result<Planned, String> {
    if seen.workload.kind == WorkloadKind::DaemonSet {
        return Err("traffic rose, but a daemon set has one pod for each node and cannot be scaled".to_owned());
    }
    let replicas = seen.state.replicas.saturating_add(1);
    if replicas > settings.max_replicas {
        return Err(format!(
            "traffic rose, but {replicas} replicas are more than the {} that may be proposed (max_replicas)",
            settings.max_replicas
        ));
    }
    let mut citations = Vec::new();
    cite(&mut citations, [traffic].into_iter().chain(at_limit.iter().copied()));
    Ok(Planned {
        action: Action::Scale {
            target: seen.workload.clone(),
            replicas,
        },
        reason: format!(
            "Traffic rose {} min before the symptom, and the service is at its limit. One replica more than the {} it has.",
            number(traffic, "lag_minutes"),
            seen.state.replicas
        ),
        citations,
    })
}

/// Levels and rises of what a replica more would relieve.
fn saturated<'a>(known: &Known<'a>) -> Vec<&'a Finding> {
    known
        .findings
        .iter()
        .filter(|finding| {
            [Symptom::Memory, Symptom::Cpu, Symptom::Latency]
                .iter()
                .any(|symptom| about(finding, *symptom))
        })
        .filter(|finding| bad_level(finding) || rose_to_limit(finding))
        .collect()
}

fn why_nothing(known: &Known<'_>) -> String {
    let has = |kind| of_kind(known.findings, kind).next().is_some();
    if known.oom_lines.is_some() {
        "log lines say that memory ran out, but neither the metrics nor the cluster show it, and log lines alone move nothing".to_owned()
    } else if has(FindingKind::TrafficBeforeSymptom) {
        "traffic rose, but nothing shows that the service is at its limit".to_owned()
    } else if has(FindingKind::RecentChange) {
        "a change is suspected, but no trouble that began after it, or no earlier revision, is known".to_owned()
    } else if has(FindingKind::ErrorLines) {
        "the errors that were found have no cause that a restart, a rollback or a replica more would remove".to_owned()
    } else {
        "nothing was found that a restart, a rollback or a replica more would remove".to_owned()
    }
}

fn rose_to_limit(finding: &Finding) -> bool {
    finding.kind == FindingKind::MetricChange && yes(finding, "saturated")
}

fn cite<'a>(citations: &mut Vec<Citation>, findings: impl IntoIterator<Item = &'a Finding>) {
    collect(citations, findings.into_iter().flat_map(|finding| &finding.citations));
}
