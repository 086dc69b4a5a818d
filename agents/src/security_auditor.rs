//! The security auditor: what scanners say about the service, and secrets where they must not be, tied to the commit and to what runs.
//!
//! It works on incidents with an alert of GitHub's scanners among their members, and on those with a suspected change. Secrets are searched in
//! the lines that the change adds, in the service's log, and in the titles of alerts and changes. The tools search before they hide: what
//! comes here is which detector, where, and how long ([`Sighting`]). No secret reaches this module from a tool, and none leaves it.
//!
//! What it cannot say it does not say: a workload runs the commit where an image's tag names it, and nobody knows where none does.

mod place;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::{Evidence, StepOutput};
use model::{Member, Weakness};
use serde_json::json;
use tools::github::security::{AlertKind, Change, ChangeSecrets, OneAlert, SecurityAlert};
use tools::observe::LogQuery;
use tools::redact::{Sighting, in_text, redact};

use crate::gather::{Asked, Gather, Miss};
use crate::settings::AgentSettings;
use crate::subject::{Subject, cite_change, cite_member};
use crate::{deployed, measure, text};
pub use place::{Running, Runs, commit_of, running, short};

/// Alerts of scanners that are asked about. More: a question each, and an incident of a whole repository has hundreds.
const ALERTS: usize = 5;
/// Places that one finding names.
const PLACES: usize = 10;

/// What the tools said.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The members that scanners told of, and what the code host says of each.
    pub alerts: Vec<(Member, Asked<SecurityAlert>)>,
    /// Secrets that the suspected deployment added; `None` where there is none that the code host knows.
    pub change: Option<Asked<Result<ChangeSecrets, String>>>,
    pub lines: Option<Asked<Lines>>,
    pub running: Option<Asked<Running>>,
}

/// Secrets in log lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    pub query: String,
    pub span: (DateTime<Utc>, DateTime<Utc>),
    pub read: usize,
    /// When, and what.
    pub seen: Vec<(DateTime<Utc>, Sighting)>,
}

pub async fn gather(
    evidence: &Evidence,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Facts {
    let mut alerts = Vec::new();
    let told = evidence
        .members
        .iter()
        .filter_map(|member| Some((member, Weakness::of(&member.dedup_key)?)));
    for (member, weakness) in told.take(ALERTS) {
        let asked = match alert_of(weakness) {
            Some(one) => tools.security_alert(&one).await,
            None => Err(Miss::Absent(format!("{}s cannot be asked for", weakness.kind))),
        };
        alerts.push((member.clone(), asked));
    }
    let subject = Subject::of(evidence);
    let change = change(evidence, tools).await;
    let (mut lines, mut runs) = (None, None);
    if let Some(service) = subject.service {
        let from = subject.began_at - measure::span(settings.log_lookback.get());
        lines = Some(read_lines(service, (from, now), tools, settings).await);
        runs = Some(running(service, subject.namespace, tools).await);
    }
    Facts {
        alerts,
        change,
        lines,
        running: runs,
    }
}

fn alert_of(weakness: Weakness<'_>) -> Option<OneAlert> {
    let kind = AlertKind::ALL.into_iter().find(|kind| kind.event() == weakness.kind)?;
    Some(OneAlert {
        repository: weakness.repository.to_owned(),
        kind,
        number: weakness.number,
    })
}

async fn change(evidence: &Evidence, tools: &mut Gather<'_>) -> Option<Asked<Result<ChangeSecrets, String>>> {
    let (repository, pair) = deployed::pair(evidence, tools).await?;
    Some(match pair {
        Ok(Ok((deployment, before))) => {
            let change = Change {
                repository,
                base: before.commit,
                head: deployment.commit,
            };
            tools.secrets_in_change(&change).await.map(Ok)
        }
        Ok(Err(why)) => Ok(Err(why)),
        Err(miss) => Err(miss),
    })
}

async fn read_lines(
    service: &str,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
) -> Asked<Lines> {
    let query = LogQuery {
        service: service.to_owned(),
        from,
        to,
        min_level: None,
        contains: None,
        limit: settings.log_lines,
    };
    let answer = tools.logs(&query).await?;
    let seen = answer
        .lines
        .iter()
        .flat_map(|line| line.secrets.iter().map(|sighting| (line.at, sighting.clone())));
    Ok(Lines {
        query: answer.query.clone(),
        span: (from, to),
        read: answer.lines.len(),
        seen: seen.collect(),
    })
}

pub fn decide(evidence: &Evidence, facts: &Facts) -> StepOutput {
    let mut output = StepOutput::default();
    let running = match &facts.running {
        Some(Ok(running)) => Some(running),
        Some(Err(miss)) => {
            output.unknown.push(format!("what runs: {miss}"));
            None
        }
        None => None,
    };
    for (member, asked) in &facts.alerts {
        if let Err(miss) = asked {
            let title = text::line(&member.title, 100);
            output
                .unknown
                .push(format!("what the code host says of {title:?}: {miss}"));
        }
        output.findings.push(weakness(member, asked.as_ref().ok(), running));
    }
    match &facts.change {
        Some(Ok(Ok(change))) => {
            output.findings.extend(in_change(evidence, change, running));
            if change.cut || change.unseen > 0 {
                let what = format!(
                    "secrets in {} files of the change that the code host shows no lines of",
                    change.unseen
                );
                output.unknown.push(what);
            }
        }
        Some(Ok(Err(why))) => output.unknown.push(format!("secrets in the suspected change: {why}")),
        Some(Err(miss)) => output.unknown.push(format!("secrets in the suspected change: {miss}")),
        None => {}
    }
    match &facts.lines {
        Some(Ok(lines)) => output.findings.extend(in_lines(lines, running)),
        Some(Err(miss)) => output.unknown.push(format!("secrets in the log: {miss}")),
        None => {}
    }
    output.findings.extend(in_events(evidence));
    output
}

/// What a scanner told, with what the code host says of it.
fn weakness(member: &Member, alert: Option<&SecurityAlert>, running: Option<&Running>) -> Finding {
    let told = Weakness::of(&member.dedup_key);
    let (repository, kind) = told.map_or(("", ""), |one| (one.repository, one.kind));
    let mut citations = vec![cite_member(member)];
    let mut words = vec![text::line(&redact(&member.title), 200)];
    let mut facts = json!({
        "repository": repository, "kind": kind, "number": told.map(|one| one.number), "severity": member.severity, "secret": told.is_some_and(|one| one.secret()),
    });
    if let Some(alert) = alert {
        let path = alert.path.as_deref().map(|path| match alert.line {
            Some(line) => format!("{}:{line}", text::line(path, 120)),
            None => text::line(path, 120),
        });
        for (name, value) in [
            ("cve", &alert.cve),
            ("package", &alert.package),
            ("affected", &alert.affected),
            ("fixed_in", &alert.fixed_in),
            ("rule", &alert.rule),
            ("path", &path),
            ("commit", &alert.commit),
        ] {
            if let Some(value) = value {
                facts[name] = text::line(value, 200).into();
            }
        }
        facts["state"] = text::line(&alert.state, 40).into();
        words.extend(alert.cve.as_deref().map(|cve| text::line(cve, 40)));
        words.extend(
            alert
                .fixed_in
                .as_deref()
                .map(|version| format!("fixed in {}", text::line(version, 40))),
        );
        words.extend(path.map(|path| format!("in {path}")));
        words.extend(alert.commit.as_deref().map(|sha| format!("at {}", short(sha))));
        let excerpt = format!(
            "{}, {}: {}",
            alert.kind.event(),
            text::line(&alert.state, 40),
            words.join(", ")
        );
        let at = alert.created_at.unwrap_or(member.starts_at);
        let path = format!("/repos/{repository}/{kind}/{}", alert.number);
        citations.push(Citation::new("github", path, (at, at), &excerpt));
    }
    if let Some(running) = running {
        words.push(running.tie(alert.and_then(|alert| alert.commit.as_deref()), &mut facts));
        citations.extend(running.cite(member.starts_at));
    }
    Finding {
        kind: FindingKind::SecurityAlert,
        summary: format!("{}.", words.join(", ")),
        facts: text::map(facts),
        citations,
    }
}

fn in_change(evidence: &Evidence, change: &ChangeSecrets, running: Option<&Running>) -> Option<Finding> {
    if change.sightings.is_empty() {
        return None;
    }
    let ChangeSecrets {
        repository, base, head, ..
    } = change;
    let mut facts = json!({"where": "change", "repository": repository, "commit": head});
    let mut summary = format!(
        "The change {} to {} of {repository} adds {}",
        short(base),
        short(head),
        places(&change.sightings, &mut facts)
    );
    let at = evidence.incident.created_at;
    let path = format!("/repos/{repository}/compare/{base}...{head}");
    let mut citations = vec![Citation::new("github", path, (at, at), &listed(&change.sightings))];
    if let Some(running) = running {
        summary = format!("{summary}, {}", running.tie(Some(head), &mut facts));
        citations.extend(running.cite(at));
    }
    Some(Finding {
        kind: FindingKind::SecretExposed,
        summary: format!("{summary}. Revoke it: what was pushed stays in the history."),
        facts: text::map(facts),
        citations,
    })
}

fn in_lines(lines: &Lines, running: Option<&Running>) -> Option<Finding> {
    let (first, _) = lines.seen.iter().min_by_key(|(at, _)| *at)?;
    let last = lines.seen.iter().map(|(at, _)| *at).max().unwrap_or(*first);
    let sightings: Vec<Sighting> = lines
        .seen
        .iter()
        .map(|(at, sighting)| Sighting {
            place: format!("the line of {}", at.to_rfc3339()),
            ..sighting.clone()
        })
        .collect();
    let mut facts = json!({"where": "log", "lines": lines.seen.len(), "first_at": first, "last_at": last});
    let mut summary = format!(
        "Of {} log lines some hold {}",
        lines.read,
        places(&sightings, &mut facts)
    );
    let mut citations = vec![Citation::new(
        "logs",
        lines.query.clone(),
        lines.span,
        &listed(&sightings),
    )];
    if let Some(running) = running {
        summary = format!("{summary}, {}", running.tie(None, &mut facts));
        citations.extend(running.cite(*first));
    }
    Some(Finding {
        kind: FindingKind::SecretExposed,
        summary: format!("{summary}. Revoke it: whoever reads the log has it."),
        facts: text::map(facts),
        citations,
    })
}

/// Titles of alerts and changes: what people and rules write into them goes to every channel.
fn in_events(evidence: &Evidence) -> Option<Finding> {
    let mut sightings = Vec::new();
    let mut citations = Vec::new();
    for member in &evidence.members {
        let found = in_text(&member.title, &format!("the title of signal {}", member.signal));
        if !found.is_empty() {
            citations.push(cite_member(member));
            sightings.extend(found);
        }
    }
    for suspect in &evidence.suspects {
        let found = in_text(&suspect.title, &format!("the title of change {}", suspect.signal));
        if !found.is_empty() {
            citations.push(cite_change(suspect));
            sightings.extend(found);
        }
    }
    if sightings.is_empty() {
        return None;
    }
    let mut facts = json!({"where": "event"});
    let summary = format!(
        "Titles of alerts or changes hold {}. Revoke it.",
        places(&sightings, &mut facts)
    );
    Some(Finding {
        kind: FindingKind::SecretExposed,
        summary,
        facts: text::map(facts),
        citations,
    })
}

/// `2 × github-token, 1 × private-key (src/a.rs:3, …)`; the same into the facts.
fn places(sightings: &[Sighting], facts: &mut serde_json::Value) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sighting in sightings {
        *counts.entry(&sighting.detector).or_default() += 1;
    }
    let kinds: Vec<String> = counts
        .iter()
        .map(|(detector, count)| format!("{count} × {detector}"))
        .collect();
    let named: Vec<String> = sightings
        .iter()
        .take(3)
        .map(|one| text::line(&one.place, 120))
        .collect();
    facts["detectors"] = counts.keys().copied().collect::<Vec<&str>>().into();
    facts["count"] = sightings.len().into();
    let told: Vec<_> = sightings
        .iter()
        .take(PLACES)
        .map(|one| json!({"detector": one.detector, "place": text::line(&one.place, 160), "mask": one.mask}))
        .collect();
    facts["places"] = told.into();
    format!("{} ({})", kinds.join(", "), named.join(", "))
}

fn listed(sightings: &[Sighting]) -> String {
    let line = |one: &Sighting| format!("{} in {}: {}", one.detector, text::line(&one.place, 160), one.mask);
    sightings
        .iter()
        .take(PLACES)
        .map(line)
        .collect::<Vec<String>>()
        .join("; ")
}
