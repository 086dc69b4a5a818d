//! What is to be done after an incident, proposed as a ticket: one for an incident, with everything that the postmortem names.
//!
//! | open tickets about the service | proposed |
//! |---|---|
//! | one about this incident | nothing: it is written down |
//! | one with our label, about another incident | a comment below it: it happened again |
//! | none of these | a new ticket |
//!
//! Project and issue type come from the settings, labels from the settings and from structured labels of the alert. What the ticket says are
//! the sentences of the postmortem. A human reads it whole before it is written.

use chrono::{DateTime, TimeDelta, Utc};
use model::Action;
use model::investigation::{Evidence, StepOutput, StepRequest};
use model::{IncidentId, Proposal};
use tools::observe::{DryRun, FollowUps, Ticket, TicketAnswer};

use super::{Facts, cause};
use crate::gather::{Asked, Gather};
use crate::proposed::{Planned, proposal};
use crate::subject::Subject;
use crate::text;

/// Label of every ticket that is proposed here.
pub const LABEL: &str = "aegis-follow-up";
/// Longest text that is proposed, in characters. It fits a proposal's dry run with room for its title.
const TEXT_CHARS: usize = 3_000;
/// How long it can be granted: whoever was woken at night looks at it when the week has begun.
const TTL: TimeDelta = TimeDelta::days(3);

/// A ticket or comment that would be written, and what its system says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowUp {
    pub planned: Planned,
    pub dry_run: Asked<DryRun>,
}

pub async fn gather(
    evidence: &Evidence,
    open: &TicketAnswer,
    place: &FollowUps,
    tools: &mut Gather<'_>,
) -> Option<FollowUp> {
    let planned = plan(evidence, open, place)?;
    let dry_run = tools.dry_run(&planned.action).await;
    Some(FollowUp { planned, dry_run })
}

/// What would be written; `None` where nothing is to be done, or it is written down already.
pub fn plan(evidence: &Evidence, open: &TicketAnswer, place: &FollowUps) -> Option<Planned> {
    let cause = cause::of(evidence);
    let service = Subject::of(evidence).service?;
    if cause.follow_ups.is_empty() || cause.citations.is_empty() {
        return None;
    }
    let own = incident_label(evidence.incident.id);
    let bears = |ticket: &&Ticket, label: &str| ticket.labels.iter().any(|one| one == label);
    if open.tickets.iter().any(|ticket| bears(&ticket, &own)) {
        return None;
    }
    let name = text::line(service, 80);
    let date = evidence.incident.created_at.format("%Y-%m-%d");
    let body = body(evidence, &cause.text, &cause.follow_ups, evidence.incident.created_at);
    let written = open
        .tickets
        .iter()
        .find(|ticket| bears(ticket, LABEL) && bears(ticket, service));
    let (action, reason) = match written {
        Some(ticket) => (
            Action::JiraComment {
                ticket: ticket.key.clone(),
                body: format!("It happened again on {date}.\n\n{body}"),
            },
            format!(
                "The postmortem names what is to be done about {name}, and a ticket about it is open: it is told there that it happened again."
            ),
        ),
        None => (
            Action::JiraIssue {
                project: place.project.clone(),
                kind: place.kind.clone(),
                title: format!("After the incident of {name} on {date}"),
                body,
                labels: [LABEL.to_owned(), own].into_iter().chain(label(service)).collect(),
            },
            format!("The postmortem names what is to be done about {name}, and no open ticket holds it."),
        ),
    };
    Some(Planned {
        action,
        reason,
        citations: cause.citations,
    })
}

fn body(evidence: &Evidence, cause: &str, follow_ups: &[String], at: DateTime<Utc>) -> String {
    let list: Vec<String> = follow_ups.iter().map(|text| format!("- {text}")).collect();
    let text = format!(
        "{cause}\n\nTo be done:\n{}\n\nIncident {} of {}; its postmortem has the evidence for each sentence.",
        list.join("\n"),
        evidence.incident.id,
        at.format("%Y-%m-%d %H:%M UTC"),
    );
    text::block(&text, TEXT_CHARS)
}

fn incident_label(id: IncidentId) -> String {
    format!("incident-{id}")
}

/// The service as a label, where it can be one.
fn label(service: &str) -> Option<String> {
    let fits = (1..=50).contains(&service.len())
        && service
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    fits.then(|| service.to_owned())
}

/// Proposes what was tried dry; what could not be is said.
pub fn propose(request: &StepRequest, facts: &Facts, output: &mut StepOutput) {
    match facts.follow_up.as_ref().map(|found| (&found.planned, &found.dry_run)) {
        None => {}
        Some((planned, Ok(run))) => output.proposal = Some(made(request, planned.clone(), run, facts.at)),
        Some((_, Err(miss))) => output.unknown.push(format!(
            "where to write what is to be done: nothing is proposed, because {miss}"
        )),
    }
}

fn made(request: &StepRequest, planned: Planned, run: &DryRun, now: DateTime<Utc>) -> Proposal {
    proposal(request, planned, run, ("agent:postmortem_writer", now, TTL))
}
