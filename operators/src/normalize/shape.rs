//! Which decoder reads a body: the header `aegis-sender`, else the body's shape.
//!
//! Members are looked at in the order of the body, and the first rule met decides (its head is enough, the rest is not read):
//!
//! | the object holds | decoder |
//! |---|---|
//! | header `ce-specversion`, or `specversion` | `events` |
//! | `version: "4"` and `alerts` | `alertmanager` |
//! | `version: "1"` and `orgId` or `state` | `grafana` |
//! | in an array: `labels` and `startsAt` | `alertmanager` (API v2) |
//! | header `http-x-github-event`, or `repository` and `sender` | `github` |
//! | header `kubernetes-sighting`, or `involvedObject` or `regarding` | `kubernetes` |
//! | `event_action`, or `routing_key` and `payload` | `pagerduty` |
//! | `fingerprint` and `ts` | `flat` |
//! | `ts`, `service`, and `commit` or `version` | `flat` |
//!
//! In an array the first element speaks for all. A producer that wants certainty sets the header; `json/NAME` in it has the rules of
//! `[normalize.json.NAME]` read the body, and nothing else does.

use model::RawEvent;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::fault::Fault;
use super::json::{Fields, Member, read_leading_object};
use super::{alertmanager, events, flat, github, grafana, kubernetes, mapper, pagerduty};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Alertmanager,
    Grafana,
    Github,
    Kubernetes,
    Events,
    Flat,
    Pagerduty,
    /// By rules.
    Json,
}

/// The decoder for a body; a fault when nothing says which.
pub fn sender_of(event: &RawEvent, body: &str) -> Result<Sender, Fault> {
    match &*event.sender {
        alertmanager::SOURCE | alertmanager::API => return Ok(Sender::Alertmanager),
        pagerduty::SOURCE | pagerduty::CHANGES => return Ok(Sender::Pagerduty),
        mapper::SOURCE => return Ok(Sender::Json),
        named if named.starts_with("json/") => return Ok(Sender::Json),
        grafana::SOURCE => return Ok(Sender::Grafana),
        github::SOURCE => return Ok(Sender::Github),
        kubernetes::SOURCE => return Ok(Sender::Kubernetes),
        events::SOURCE => return Ok(Sender::Events),
        flat::SOURCE => return Ok(Sender::Flat),
        "" => {}
        other => {
            let shown: String = other.chars().take(40).collect();
            let detail = format!(
                "header aegis-sender is {shown:?}; known are alertmanager, grafana, github, kubernetes, pagerduty, events, flat, json/NAME"
            );
            return Err(Fault::new("unknown_sender", "", detail));
        }
    }
    if events::binary(event) {
        return Ok(Sender::Events);
    }
    if event.headers.iter().any(|(name, _)| name == github::EVENT_HEADER) {
        return Ok(Sender::Github);
    }
    if kubernetes::sighted(event) {
        return Ok(Sender::Kubernetes);
    }
    let start = body.trim_start();
    if start.is_empty() {
        return Err(Fault::new("malformed_json", "", "the body is empty"));
    }
    match start.strip_prefix('[') {
        // Nothing to decode, and nothing wrong with it.
        Some(rest) if rest.trim_start().starts_with(']') => Ok(Sender::Alertmanager),
        Some(rest) => of_object(rest, true),
        None => of_object(start, false).or_else(|fault| {
            // One bad line must not hide the others.
            let next = start.lines().skip(1).find(|line| line.starts_with('{'));
            let flat = fault.reason() == "malformed_json"
                && next.is_some_and(|line| of_object(line, false) == Ok(Sender::Flat));
            if flat { Ok(Sender::Flat) } else { Err(fault) }
        }),
    }
}

fn of_object(text: &str, in_array: bool) -> Result<Sender, Fault> {
    let mut clues = Clues {
        in_array,
        ..Clues::default()
    };
    let read = read_leading_object(text, &mut clues);
    if let Some(sender) = clues.sender {
        return Ok(sender);
    }
    read?;
    let detail = format!(
        "an object with {} is no shape we know (Alertmanager 4, Grafana 1, GitHub, PagerDuty 2, CloudEvents 1.0, flat alert or deployment): \
         name the decoder in the header aegis-sender",
        if clues.names.is_empty() {
            "no members".to_owned()
        } else {
            clues.names.join(", ")
        }
    );
    Err(Fault::new("unknown_shape", "", detail))
}

#[derive(Default)]
struct Clues {
    in_array: bool,
    version_4: bool,
    version_1: bool,
    version: bool,
    alerts: bool,
    grafana: bool,
    labels: bool,
    starts_at: bool,
    fingerprint: bool,
    ts: bool,
    service: bool,
    commit: bool,
    repository: bool,
    by: bool,
    cluster_event: bool,
    routing_key: bool,
    payload: bool,
    sender: Option<Sender>,
    /// The first few members that are no clue, for the refusal.
    names: Vec<String>,
}

impl<'de> Fields<'de> for Clues {
    const WHAT: &'static str = "an object";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "specversion" => {
                self.sender = Some(Sender::Events);
                return Err(member.stop());
            }
            "event_action" if !self.in_array => {
                self.sender = Some(Sender::Pagerduty);
                return Err(member.stop());
            }
            "version" => {
                let mut version: Option<&RawValue> = None;
                member.raw(&mut version)?;
                self.version = true;
                self.version_4 = version.is_some_and(|v| v.get() == "\"4\"");
                self.version_1 = version.is_some_and(|v| v.get() == "\"1\"");
                return self.decide();
            }
            "alerts" => self.alerts = true,
            "orgId" | "state" => self.grafana = true,
            "labels" => self.labels = true,
            "startsAt" => self.starts_at = true,
            "fingerprint" => self.fingerprint = true,
            "ts" => self.ts = true,
            "service" => self.service = true,
            "commit" => self.commit = true,
            "repository" => self.repository = true,
            "sender" => self.by = true,
            "involvedObject" | "regarding" => self.cluster_event = true,
            "routing_key" => self.routing_key = true,
            "payload" => self.payload = true,
            name if self.names.len() < 8 && !matches!(name, "id" | "status" | "receiver") => {
                self.names.push(name.chars().take(32).collect());
            }
            _ => {}
        }
        member.skip()?;
        self.decide()
    }
}

impl Clues {
    /// An error stops the reading: the sender is known.
    fn decide<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.sender = if self.version_4 && self.alerts {
            Some(Sender::Alertmanager)
        } else if self.version_1 && self.grafana {
            Some(Sender::Grafana)
        } else if self.in_array && self.labels && self.starts_at {
            Some(Sender::Alertmanager)
        } else if self.repository && self.by && !self.in_array {
            Some(Sender::Github)
        } else if self.cluster_event {
            Some(Sender::Kubernetes)
        } else if self.routing_key && self.payload && !self.in_array {
            Some(Sender::Pagerduty)
        } else if self.ts && (self.fingerprint || (self.service && (self.commit || self.version))) {
            Some(Sender::Flat)
        } else {
            return Ok(());
        };
        Err(E::custom("decided"))
    }
}
