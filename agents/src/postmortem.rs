//! Postmortem writer: what is known about a closed incident, each sentence with its evidence; the rest is said to be not known.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use model::evidence::{Citation, Finding, FindingKind, Moment, Postmortem, Statement};
use model::investigation::{Evidence, StepOutput};
use model::remediation::{RemediationStatus, Standing};
use tools::observe::{Ticket, TicketAnswer, TicketQuery};

mod cause;
pub mod follow_up;

use crate::findings::{bad_level, collect, of_kind, time};
use crate::gather::{Asked, Gather};
use crate::subject::{Subject, cite_change, cite_member};
use crate::text;

/// Moments that are told. More is a log, not a timeline.
const MOMENTS: usize = 100;
/// Open questions that are told.
const QUESTIONS: usize = 20;
/// Members that a sentence about all of them cites.
const CITED_MEMBERS: usize = 5;

/// What a sentence begins with that needs no evidence.
pub const NOT_KNOWN: &str = "Not known";

/// Open tickets that are told.
const TICKETS: u32 = 5;

/// What is not in the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Open tickets about the service; `None` where there is nobody to ask, or no service.
    pub tickets: Option<Asked<TicketAnswer>>,
    /// What is to be done afterwards, as it would be written down; `None` where nothing is, or nowhere to write it.
    pub follow_up: Option<follow_up::FollowUp>,
    pub at: DateTime<Utc>,
}

pub async fn gather(evidence: &Evidence, tools: &mut Gather<'_>, now: DateTime<Utc>) -> Facts {
    let service = Subject::of(evidence).service.filter(|_| tools.has_tickets());
    let tickets = match service {
        None => None,
        Some(service) => {
            let query = TicketQuery {
                about: service.to_owned(),
                open: true,
                limit: TICKETS,
            };
            Some(tools.tickets(&query).await)
        }
    };
    let follow_up = match (&tickets, tools.follow_ups()) {
        (Some(Ok(answer)), Some(place)) => follow_up::gather(evidence, answer, &place, tools).await,
        _ => None,
    };
    Facts {
        tickets,
        follow_up,
        at: now,
    }
}

pub fn decide(evidence: &Evidence, facts: &Facts) -> StepOutput {
    let mut report = Report::default();
    let cause = cause::of(evidence);
    let root_cause = report.statement(cause.text, &cause.citations);
    let impact = impact(evidence, &mut report);
    let timeline = timeline(evidence, &mut report);
    let resolution = resolution(evidence, &mut report);
    let mut follow_ups: Vec<Statement> = cause
        .follow_ups
        .into_iter()
        .map(|text| report.statement(text, &cause.citations))
        .collect();
    follow_ups.extend(open_tickets(evidence, facts, &mut report));
    follow_ups.extend(open_questions(evidence));
    StepOutput {
        postmortem: Some(Postmortem {
            root_cause,
            impact,
            timeline,
            resolution,
            follow_ups,
            citations: report.citations,
        }),
        ..StepOutput::default()
    }
}

/// Everything that was cited so far.
#[derive(Default)]
struct Report {
    citations: Vec<Citation>,
}

impl Report {
    /// A sentence with its evidence. One that has none is not said.
    fn statement(&mut self, text: String, citations: &[Citation]) -> Statement {
        let known = !citations.is_empty() || text.starts_with(NOT_KNOWN);
        Statement {
            text: if known { text } else { format!("{NOT_KNOWN}.") },
            citations: self.cite(citations),
        }
    }

    fn cite(&mut self, citations: &[Citation]) -> Vec<String> {
        collect(&mut self.citations, citations);
        let ids: BTreeSet<&String> = citations.iter().map(|citation| &citation.id).collect();
        ids.into_iter().cloned().collect()
    }
}

fn impact(evidence: &Evidence, report: &mut Report) -> Statement {
    let measured: Vec<&Finding> = of_kind(&evidence.findings, FindingKind::Impact)
        .filter(|finding| bad_level(finding))
        .collect();
    let mut citations = members(evidence);
    let incident = &evidence.incident;
    let service = text::line(incident.service.as_deref().unwrap_or("no named service"), 80);
    let lasted = incident.resolved_at.map_or("; it is not over".to_owned(), |end| {
        format!(" for {} min", (end - incident.created_at).num_minutes().max(0))
    });
    let alerts = match incident.members {
        1 => "1 alert".to_owned(),
        members => format!("{members} alerts"),
    };
    let fired = format!("{alerts} of {service} fired{lasted}, at most {}", incident.severity);
    let text = if measured.is_empty() {
        format!("{fired}. How users were affected is not known.")
    } else {
        let summaries: Vec<&str> = measured.iter().map(|finding| finding.summary.as_str()).collect();
        format!("{}. {fired}.", summaries.join("; "))
    };
    collect(&mut citations, measured.iter().flat_map(|finding| &finding.citations));
    report.statement(text, &citations)
}

fn timeline(evidence: &Evidence, report: &mut Report) -> Vec<Moment> {
    let mut moments: Vec<(DateTime<Utc>, String, Vec<Citation>)> = Vec::new();
    for suspect in &evidence.suspects {
        let citation = cite_change(suspect);
        moments.push((suspect.at, format!("Change: {}", citation.excerpt), vec![citation]));
    }
    for member in &evidence.members {
        let citation = cite_member(member);
        moments.push((
            member.starts_at,
            format!("Alert: {}", citation.excerpt),
            vec![citation.clone()],
        ));
        if let Some(end) = member.ends_at {
            let text = format!("Alert over: {}", text::line(&member.title, 200));
            moments.push((end, text, vec![citation]));
        }
    }
    for finding in &evidence.findings {
        let moment = match finding.kind {
            FindingKind::TrafficBeforeSymptom => Some(("onset", "Traffic began to rise")),
            FindingKind::MetricChange => Some(("onset", "The symptom's metric began to rise")),
            FindingKind::OutOfMemory => Some(("first_at", "First log line that says memory ran out")),
            FindingKind::ErrorLines => Some(("first_at", "First error line")),
            FindingKind::Impact
            | FindingKind::RecentChange
            | FindingKind::UnhealthyPods
            | FindingKind::SecurityAlert
            | FindingKind::SecretExposed
            | FindingKind::Drift => None,
        };
        if let Some((at, text)) = moment.and_then(|(field, text)| Some((time(finding, field)?, text))) {
            moments.push((at, text.to_owned(), finding.citations.clone()));
        }
    }
    if let Some(standing) = &evidence.remediation {
        let text = format!(
            "Remediation {}: {}",
            words(standing.status),
            text::line(&standing.action.to_string(), 200)
        );
        moments.push((standing.at, text, vec![cite_remediation(standing)]));
    }
    moments.retain(|(_, _, citations)| !citations.is_empty());
    moments.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    moments.dedup_by(|a, b| a.0 == b.0 && a.1 == b.1);
    moments
        .into_iter()
        .take(MOMENTS)
        .map(|(at, text, citations)| Moment {
            at,
            text,
            citations: report.cite(&citations),
        })
        .collect()
}

fn resolution(evidence: &Evidence, report: &mut Report) -> Statement {
    let incident = &evidence.incident;
    if let Some(standing) = &evidence.remediation {
        let by = standing
            .by
            .as_deref()
            .map(|by| format!(", granted by {}", text::line(by, 80)))
            .unwrap_or_default();
        let action = text::line(&standing.action.to_string(), 200);
        let said = match standing.status {
            RemediationStatus::Verified => format!("Done: {action}{by}. It helped"),
            RemediationStatus::Unverified => format!("Done: {action}{by}. Whether it helped could not be told"),
            RemediationStatus::Executed => format!("Done: {action}{by}. Whether it helped is being checked"),
            RemediationStatus::RolledBack => format!("Done and taken back, because it made things worse: {action}{by}"),
            RemediationStatus::Denied => format!("Not done, it was denied: {action}"),
            status => format!("Proposed: {action}; it is {}", words(status)),
        };
        let over = match (&incident.resolved_at, standing.status) {
            (Some(_), RemediationStatus::Verified | RemediationStatus::Executed | RemediationStatus::Unverified) => "",
            (Some(_), _) => " The alerts ended without it",
            (None, _) => " The incident is not over",
        };
        let note = match text::line(&standing.note, 200) {
            note if note.is_empty() => ".".to_owned(),
            note => format!(": {note}."),
        };
        return report.statement(format!("{said}{note}{over}"), &[cite_remediation(standing)]);
    }
    match (&incident.resolution, incident.resolved_at) {
        (Some(resolution), Some(at)) => {
            let by = text::line(incident.resolved_by.as_deref().unwrap_or("somebody"), 80);
            let resolution = text::line(resolution, 400);
            let excerpt = format!("closed by {by}: {resolution}");
            let citation = Citation::new("incident", format!("incident {}", incident.id), (at, at), &excerpt);
            report.statement(format!("Closed by {by}: {resolution}"), &[citation])
        }
        (_, Some(_)) => report.statement(
            "The alerts ended; nothing was done by Aegis.".to_owned(),
            &members(evidence),
        ),
        (_, None) => report.statement(format!("{NOT_KNOWN}: the incident is not over."), &[]),
    }
}

/// Work that is written down already: each ticket is to be looked at before another one is written.
fn open_tickets(evidence: &Evidence, facts: &Facts, report: &mut Report) -> Vec<Statement> {
    let service = text::line(evidence.incident.service.as_deref().unwrap_or("the service"), 80);
    match &facts.tickets {
        None => Vec::new(),
        Some(Ok(answer)) => {
            let tell = |ticket: &Ticket| {
                let excerpt = format!(
                    "{}: {} ({})",
                    text::line(&ticket.key, 40),
                    text::line(&ticket.title, 200),
                    text::line(&ticket.status, 40)
                );
                let citation = Citation::new("jira", answer.query.clone(), (facts.at, facts.at), &excerpt);
                report.statement(format!("Open ticket about {service}: {excerpt}"), &[citation])
            };
            answer.tickets.iter().take(TICKETS as usize).map(tell).collect()
        }
        Some(Err(miss)) => vec![Statement {
            text: format!("{NOT_KNOWN}: which tickets are open about {service}: {miss}"),
            citations: Vec::new(),
        }],
    }
}

fn open_questions(evidence: &Evidence) -> Vec<Statement> {
    let mut seen = BTreeSet::new();
    evidence
        .unknown
        .iter()
        .map(|unknown| {
            format!(
                "{NOT_KNOWN}: {} ({})",
                text::line(&unknown.what, 300),
                unknown.agent.as_str()
            )
        })
        .filter(|text| seen.insert(text.clone()))
        .take(QUESTIONS)
        .map(|text| Statement {
            text,
            citations: Vec::new(),
        })
        .collect()
}

fn members(evidence: &Evidence) -> Vec<Citation> {
    evidence.members.iter().take(CITED_MEMBERS).map(cite_member).collect()
}

fn cite_remediation(standing: &Standing) -> Citation {
    let excerpt = text::line(
        &format!("{}: {}; {}", standing.action, words(standing.status), standing.note),
        600,
    );
    Citation::new(
        "remediation",
        format!("proposal {}", standing.proposal),
        (standing.at, standing.at),
        &excerpt,
    )
}

fn words(status: RemediationStatus) -> String {
    status.as_str().replace('_', " ")
}
