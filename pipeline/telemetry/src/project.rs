//! Facts as spans: pure.
//!
//! ```text
//!  incident ─┬─ receive SENDER ─ normalize ─ dedupe ─ incident opened ─┬─ agent NAME ─ tool NAME
//!            │  (link: the sender's own span)                         ├─ remediation proposed ─┬─ remediation granted, attempted, …
//!            │                                                        │                        └─ notify
//!            │                                                        └─ notify ─ deliver (told by the worker)
//!            ├─ receive SENDER ─ normalize ─ dedupe ─ incident signal joined ─ notify
//!            └─ incident acknowledged, closed, …
//! ```
//!
//! Ids are those of [`model::trace`], times those of the facts. The stages read no clock: what they make of a record carries the time at
//! which it was received, so their spans are instants there; how long a stage takes is a metric (`aegis_stage_latency_seconds`). An agent's
//! step and its calls have the length that the step measured.

use std::collections::{HashSet, VecDeque};

use model::investigation::{StepEvent, StepResult, StepStatus, ToolCall};
use model::remediation::{RemediationEvent, RemediationFact};
use model::{Fact, IncidentEvent, IncidentId, Member, Notification, Origin, RawEvent, incident, topics, trace};
use stream::Record;
use stream::time::Instant;
use stream::trace::{Span, SpanKind, TraceContext};

use crate::settings::Sampling;

/// Records of `events.raw` that are remembered as told, so that a delivery of many alerts is one span. One that is forgotten is told again,
/// under the same id.
const REMEMBERED: usize = 4096;
/// Longest text in an attribute, in characters.
const LONGEST: usize = 300;

/// How a record came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    sender: String,
    verdict: String,
    received_at: Instant,
    stored_at: Instant,
    bytes: u64,
    /// The sender's own span.
    caller: Option<TraceContext>,
}

impl Arrival {
    /// Of a record of `events.raw`.
    pub fn of(record: &Record) -> Self {
        let bytes = record.value.len() as u64;
        let raw = RawEvent::from_record(&record.headers, record.value.clone(), record.timestamp.0);
        // By our own door, by Kafka's producer, by CloudEvents' extension for tracing.
        let names = ["http-traceparent", "traceparent", "ce-traceparent"];
        let sent = names
            .iter()
            .find_map(|name| raw.headers.iter().find(|(known, _)| known == name));
        Arrival {
            caller: sent.and_then(|(_, value)| TraceContext::parse(value)),
            sender: raw.sender,
            verdict: raw.verdict,
            received_at: Instant(raw.received_at),
            stored_at: record.timestamp,
            bytes,
        }
    }
}

/// A record that a trace is told from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Incident(Box<IncidentEvent>),
    Step(Box<StepResult>),
    Remediation(Box<RemediationEvent>),
    Notification(Box<Notification>, Instant),
}

impl Told {
    /// What a record of `topic` tells; `None` where that is nothing, or what a later program wrote.
    pub fn read(topic: &str, record: &Record) -> Option<Told> {
        let value = &record.value;
        match topic {
            topics::INCIDENTS if record.header(topics::header::TYPE).is_some() => {
                match serde_json::from_slice(value).ok()? {
                    StepEvent::Finished(result) => Some(Told::Step(result)),
                    _ => None,
                }
            }
            topics::INCIDENTS => serde_json::from_slice(value).ok().map(Told::Incident),
            topics::REMEDIATIONS => serde_json::from_slice(value).ok().map(Told::Remediation),
            topics::NOTIFICATIONS => {
                let notification = serde_json::from_slice(value).ok()?;
                Some(Told::Notification(notification, record.timestamp))
            }
            _ => None,
        }
    }

    fn incident(&self) -> IncidentId {
        match self {
            Told::Incident(event) => event.incident.id,
            Told::Step(result) => result.incident_id,
            Told::Remediation(event) => event.incident_id,
            Told::Notification(n, _) => n.incident_id,
        }
    }

    fn canary(&self) -> bool {
        match self {
            Told::Incident(event) => event.incident.environment == incident::CANARY,
            Told::Notification(n, _) => n.environment == incident::CANARY,
            Told::Step(_) | Told::Remediation(_) => false,
        }
    }
}

/// What is told already, and what is left out.
#[derive(Debug)]
pub struct Projection {
    sampling: Sampling,
    told: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Projection {
    pub fn new(sampling: Sampling) -> Self {
        Projection {
            sampling,
            told: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether spans are made of it.
    pub(crate) fn wants(&self, told: &Told) -> bool {
        !told.canary() && self.sampling.takes(trace::trace_of(told.incident()))
    }

    /// The record of `events.raw` that its spans begin with, where that is not told already.
    pub(crate) fn asks_for(&self, told: &Told) -> Option<Origin> {
        let Told::Incident(event) = told else { return None };
        let origin = event.origin?;
        let known = self.told.contains(&trace::received(event.incident.id, origin));
        (!known).then_some(origin)
    }

    /// The spans of `told`. `arrival`: the record that [`Projection::asks_for`] named, if it is still there.
    pub(crate) fn spans(&mut self, told: &Told, arrival: Option<&Arrival>) -> Vec<Span> {
        match told {
            Told::Incident(event) => self.of_incident(event, arrival),
            // Of an answer that came twice the crew takes the first, too.
            Told::Step(result) if !self.first(trace::step(result.id)) => Vec::new(),
            Told::Step(result) => of_step(result),
            Told::Remediation(event) => {
                let span = of_remediation(event);
                span.into_iter().filter(|span| self.first(span.id)).collect()
            }
            Told::Notification(n, at) => vec![of_notification(n, *at)],
        }
    }

    /// Whether this is the first time.
    fn first(&mut self, id: u64) -> bool {
        if !self.told.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED {
            self.order.pop_front().inspect(|oldest| {
                self.told.remove(oldest);
            });
        }
        true
    }

    fn of_incident(&mut self, event: &IncidentEvent, arrival: Option<&Arrival>) -> Vec<Span> {
        let id = event.incident.id;
        let (trace, at) = (trace::trace_of(id), Instant::from_datetime(event.observed_at));
        let mut spans = Vec::new();
        if matches!(event.fact, Fact::Opened { .. }) {
            spans.push(of_opening(
                event,
                arrival.map_or(at, |arrival| arrival.received_at.min(at)),
            ));
        }
        let mut parent = trace::root(id);
        if let Some(origin) = event.origin {
            let ids = [
                trace::received(id, origin),
                trace::normalized(id, origin),
                trace::deduped(id, origin),
            ];
            if self.first(ids[0]) {
                spans.push(of_arrival(event, origin, arrival).under(parent));
            }
            if self.first(ids[1]) {
                let row = |id, name| Span::at(trace, id, name, at).with("aegis.index", origin.index);
                spans.push(row(ids[1], "normalize").under(ids[0]));
                spans.push(row(ids[2], "dedupe").under(ids[1]));
            }
            parent = ids[2];
        }
        spans.push(of_fact(event, at).under(parent));
        spans
    }
}

/// The whole, as far as it has come when it opens: no span can be made longer afterwards.
fn of_opening(event: &IncidentEvent, began: Instant) -> Span {
    let incident = &event.incident;
    let trace = trace::trace_of(incident.id);
    let mut span = Span::at(trace, trace::root(incident.id), "incident", began)
        .with("aegis.incident", incident.id.to_string())
        .with("aegis.tenant", incident.tenant.as_str())
        .with("deployment.environment.name", incident.environment.as_str())
        .with("aegis.severity", incident.severity.as_str())
        .with("aegis.title", cut(&incident.title))
        .with("aegis.source", incident.source.as_str())
        // The sender's clock: how late it was heard of is the distance to the span's beginning.
        .with("aegis.began_at", incident.created_at.to_rfc3339());
    if let Some(service) = &incident.service {
        span = span.with("aegis.service", service.as_str());
    }
    span.ended_at = Instant::from_datetime(event.observed_at);
    span
}

fn of_arrival(event: &IncidentEvent, origin: Origin, arrival: Option<&Arrival>) -> Span {
    let id = event.incident.id;
    let (trace, span) = (trace::trace_of(id), trace::received(id, origin));
    let observed_at = Instant::from_datetime(event.observed_at);
    let place = |span: Span| {
        span.with("aegis.topic", topics::EVENTS_RAW)
            .with("aegis.partition", origin.partition)
            .with("aegis.offset", origin.offset)
    };
    // Retention took the record.
    let Some(arrival) = arrival else {
        return place(Span::at(trace, span, "receive", observed_at).of_kind(SpanKind::Consumer));
    };
    let kind = match arrival.verdict.as_str() {
        // Written to the topic by its producer.
        "" => SpanKind::Consumer,
        "fetched" | "watch" => SpanKind::Client,
        _ => SpanKind::Server,
    };
    let name = match arrival.sender.as_str() {
        "" => "receive".to_owned(),
        sender => format!("receive {}", cut(sender)),
    };
    let mut span = place(Span::at(trace, span, name, arrival.received_at).of_kind(kind))
        .with("aegis.verdict", arrival.verdict.as_str())
        .with("aegis.bytes", arrival.bytes);
    span.ended_at = arrival.stored_at.max(arrival.received_at);
    span.links = arrival
        .caller
        .iter()
        .map(|caller| (caller.trace, caller.span))
        .collect();
    span
}

fn of_fact(event: &IncidentEvent, at: Instant) -> Span {
    let incident = &event.incident;
    let trace = trace::trace_of(incident.id);
    let name = format!("incident {}", event.fact.name().replace('_', " "));
    let mut span = Span::at(trace, trace::fact(incident.id, incident.revision), name, at)
        .with("aegis.revision", incident.revision)
        .with("aegis.status", incident.status.as_str())
        .with("aegis.severity", incident.severity.as_str())
        .with("aegis.members", incident.members)
        .with("aegis.firing", incident.firing);
    let whole = |other: IncidentId| (trace::trace_of(other), trace::root(other));
    match &event.fact {
        Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => {
            of_member(span, member)
        }
        Fact::Absorbed { other, .. } => {
            span.links.push(whole(*other));
            span
        }
        Fact::Merged { into } => {
            span.links.push(whole(*into));
            span
        }
        Fact::SuspectFound { suspect } => span.with("aegis.suspect", cut(&suspect.title)),
        Fact::Acknowledged { by }
        | Fact::FindingAdded { by, .. }
        | Fact::PostmortemAdded { by, .. }
        | Fact::Closed { by, .. } => span.with("aegis.by", by.as_str()),
        Fact::Escalated { .. } | Fact::Resolved | Fact::Reopened { .. } => span,
    }
}

fn of_member(span: Span, member: &Member) -> Span {
    let span = span
        .with("aegis.signal", member.signal.to_string())
        .with("aegis.episode", member.episode.to_string())
        .with("aegis.alert", cut(&member.title))
        .with("aegis.source", member.source.as_str())
        .with("aegis.rule", member.rule.as_str());
    match &member.key {
        Some(key) => span.with("aegis.rule.key", cut(key)),
        None => span,
    }
}

fn of_step(result: &StepResult) -> Vec<Span> {
    let incident = result.incident_id;
    let (trace, id) = (trace::trace_of(incident), trace::step(result.id));
    let ended_at = Instant::from_datetime(result.at);
    let began = Instant(ended_at.0.saturating_sub(micros(result.duration_ms)));
    let mut span = Span::at(
        trace,
        id,
        format!("agent {}", result.agent.as_str().replace('_', " ")),
        began,
    )
    .under(trace::fact(incident, 1))
    .with("aegis.agent", result.agent.as_str())
    .with("aegis.step", result.id.to_string())
    .with("aegis.step.status", result.status.as_str())
    .with("aegis.findings", result.output.findings.len() as u64)
    .with("aegis.tokens", result.tokens_used);
    span.ended_at = ended_at;
    span.error = (result.status != StepStatus::Success).then(|| match result.error.as_str() {
        "" => result.status.as_str().to_owned(),
        error => cut(error),
    });
    let call = |(index, call): (usize, &ToolCall)| {
        let started = Instant(began.0.saturating_add(micros(call.after_ms.unwrap_or(0))));
        let mut span = Span::at(
            trace,
            trace::tool_call(result.id, index),
            format!("tool {}", cut(&call.tool)),
            started,
        )
        .under(id)
        .of_kind(SpanKind::Client)
        .with("aegis.tool", cut(&call.tool))
        .with("aegis.tool.arguments", cut(&call.arguments.to_string()));
        span.ended_at = Instant(started.0.saturating_add(micros(call.duration_ms)));
        span.error = call.outcome.as_ref().err().map(|why| cut(why));
        span
    };
    let mut spans: Vec<Span> = result.tool_calls.iter().enumerate().map(call).collect();
    spans.insert(0, span);
    spans
}

fn of_remediation(event: &RemediationEvent) -> Option<Span> {
    let (incident, proposal) = (event.incident_id, event.id);
    let number = match &event.fact {
        // About no proposal, and about what somebody else wrote.
        RemediationFact::StopSwitch { .. } | RemediationFact::Forged { .. } => return None,
        RemediationFact::CheckDue { number, .. } | RemediationFact::Checked { number, .. } => *number,
        _ => 0,
    };
    let name = event.fact.name();
    let id = trace::remediation(proposal, name, number);
    let at = Instant::from_datetime(event.at);
    let span = Span::at(
        trace::trace_of(incident),
        id,
        format!("remediation {}", name.replace('_', " ")),
        at,
    )
    .with("aegis.remediation", proposal.to_string());
    let first = trace::remediation(proposal, "proposed", 0);
    Some(match &event.fact {
        RemediationFact::Proposed { proposal } => span
            .under(trace::fact(incident, 1))
            .with("aegis.action", cut(&proposal.action.to_string()))
            .with("aegis.by", proposal.proposed_by.as_str()),
        RemediationFact::Decided { policy, .. } => span.under(first).with("aegis.policy", cut(policy)),
        RemediationFact::Denied { by, .. } | RemediationFact::Approve { by, .. } | RemediationFact::Deny { by, .. } => {
            span.under(first).with("aegis.by", by.as_str())
        }
        RemediationFact::Attempted { .. } => span.under(first).of_kind(SpanKind::Client),
        RemediationFact::Checked { health, note, .. } => span
            .under(first)
            .with("aegis.health", format!("{health:?}").to_lowercase())
            .with("aegis.note", cut(note)),
        RemediationFact::Failed { cause } => Span {
            error: Some(cut(cause)),
            ..span.under(first)
        },
        _ => span.under(first),
    })
}

fn of_notification(n: &Notification, at: Instant) -> Span {
    let parent = match n.remediation {
        Some(proposal) => trace::remediation(proposal, "proposed", 0),
        None => trace::fact(n.incident_id, n.revision),
    };
    Span::at(trace::trace_of(n.incident_id), trace::notification(n.id), "notify", at)
        .under(parent)
        .of_kind(SpanKind::Producer)
        .with("aegis.event", n.event.as_str())
        .with("aegis.severity", n.severity.as_str())
        .with("aegis.notification", n.id.to_string())
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
