//! What Alertmanager's webhook and Grafana's have in common: a notification that carries a list of alerts.
//!
//! The notification is a snapshot of a group, sent again whole at every interval; an alert that vanished from it did not
//! resolve. What the notification repeats from its alerts (`common…`, `groupLabels`, `status`, rendered texts) is not kept; the
//! rest goes into every alert's `extra` as `notification`, outside the digest: the same alert may come by two receivers.

use model::SignalState;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::extra::{Extra, Json};
use super::fault::Fault;
use super::json::{self, Fields, Member, Pairs, Text};

/// The notification around the alerts.
#[derive(Debug, Default)]
pub struct Group<'a> {
    pub alerts: Option<Vec<&'a RawValue>>,
    pub org_id: Option<i64>,
    rest: Extra<'a>,
}

impl<'de> Fields<'de> for Group<'de> {
    const WHAT: &'static str = "a notification (an object with `alerts`)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "alerts" => member.once(&mut self.alerts, json::elements()),
            "orgId" => member.once(&mut self.org_id, json::integer()),
            "version" | "status" | "state" | "title" | "message" | "groupLabels" | "commonLabels"
            | "commonAnnotations" => member.skip(),
            _ => member.keep(&mut self.rest, false),
        }
    }
}

impl<'a> Group<'a> {
    pub fn read(body: &'a str) -> Result<Self, Fault> {
        let mut group = Group::default();
        json::read_object(body, &mut group)?;
        Ok(group)
    }

    fn kept(&self, name: &str) -> Option<&'a str> {
        self.rest
            .items
            .iter()
            .rev()
            .find(|item| item.name == name)
            .and_then(|item| match item.json {
                Json::Raw(json) => Some(json),
                _ => None,
            })
    }

    /// The address by which the sending instance knows itself; empty when it did not say.
    pub fn instance(&self) -> String {
        self.kept("externalURL")
            .and_then(|url| serde_json::from_str(url).ok())
            .unwrap_or_default()
    }

    /// Alerts that the sender withheld.
    pub fn truncated(&self) -> u64 {
        self.kept("truncatedAlerts")
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
    }

    /// What is kept of the notification, as a JSON object. What cannot be kept is no reason to refuse the alerts.
    pub fn rest(&mut self) -> String {
        self.rest
            .items
            .retain(|item| !(item.name == "truncatedAlerts" && matches!(item.json, Json::Raw("0"))));
        let mut out = String::new();
        let kept = self.rest.push_json(&mut out, &mut String::new(), MAX_KEPT);
        if kept.is_err() || out.len() > MAX_KEPT {
            "{}".to_owned()
        } else {
            out
        }
    }
}

/// Bytes kept of a notification. It is repeated on each of its alerts.
const MAX_KEPT: usize = 4_096;

/// Members that change from one sending to the next while nothing about the alert does: kept, but outside the digest.
const VOLATILE: &[&str] = &[
    "generatorURL",
    "silenceURL",
    "dashboardURL",
    "panelURL",
    "imageURL",
    "embeddedImage",
    "values",
    "valueString",
    "enrichments",
    // Of Alertmanager's API: bookkeeping of the server that answers.
    "receivers",
    "updatedAt",
];

/// One alert of a notification (also of Alertmanager's API v2).
#[derive(Debug, Default)]
pub struct Alert<'a> {
    /// In API form `status` is an object about silences, and no word.
    pub api: bool,
    pub status: Option<Text<'a>>,
    pub labels: Option<Pairs<'a>>,
    pub annotations: Option<Pairs<'a>>,
    pub starts_at: Option<i64>,
    pub ends_at: Option<i64>,
    pub fingerprint: Option<Text<'a>>,
    pub org_id: Option<i64>,
    pub extra: Extra<'a>,
}

impl<'de> Fields<'de> for Alert<'de> {
    const WHAT: &'static str = "an alert (an object with `labels`, `startsAt`, …)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "status" if self.api => member.keep(&mut self.extra, false),
            "status" => member.once(&mut self.status, json::text()),
            "labels" => member.once(&mut self.labels, json::labels()),
            "annotations" => member.last(&mut self.annotations, json::annotations()),
            "startsAt" => member.once(&mut self.starts_at, json::time()),
            "endsAt" => member.once(&mut self.ends_at, json::time()),
            "fingerprint" => member.once(&mut self.fingerprint, json::text()),
            "orgId" => member.once(&mut self.org_id, json::integer()),
            name => {
                let stable = !VOLATILE.contains(&name);
                member.keep(&mut self.extra, stable)
            }
        }
    }
}

impl Alert<'_> {
    /// The start of the episode; a decoder cannot do without.
    pub fn start(&self) -> Result<i64, Fault> {
        self.starts_at
            .ok_or_else(|| Fault::missing("/startsAt", "it tells one firing of the alert from the next"))
    }

    /// Firing or resolved, as the alert itself says.
    pub fn state(&self) -> Result<SignalState, Fault> {
        match self.status.as_deref() {
            Some("firing") => Ok(SignalState::Firing),
            Some("resolved") => Ok(SignalState::Resolved),
            Some(other) => Err(unknown_word("/status", other, "firing or resolved")),
            None => Err(Fault::missing("/status", "it must be firing or resolved")),
        }
    }

    /// The end, for a resolved alert. One that does not say when it ended, ended when we heard of it.
    pub fn end(&mut self, state: SignalState, observed_at: i64) -> Option<i64> {
        if state != SignalState::Resolved {
            return None;
        }
        if self.ends_at.is_none() {
            self.extra.text("ends_at_from", "received_at", false);
        }
        self.ends_at.or(Some(observed_at))
    }
}

/// The state that a sender's own word means, of those that a body may state.
pub fn stated(word: &str) -> Option<SignalState> {
    let states = [SignalState::Firing, SignalState::Resolved, SignalState::Event];
    states.into_iter().find(|state| state.as_str() == word)
}

/// A word outside a closed set.
pub fn unknown_word(pointer: &str, word: &str, known: &str) -> Fault {
    let shown: String = word.chars().take(40).collect();
    Fault::new("bad_value", pointer, format!("{shown:?} is not {known}"))
}
