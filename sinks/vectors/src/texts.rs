//! Records of the log as texts and payloads: which records say something, what is embedded of them, and how an incident's payload is folded
//! of its facts. Pure.
//!
//! Texts are bounded, whatever a sender wrote: an incident's is its title and the first [`MOST_TITLES`] other titles of its alerts, so a storm
//! that joins a hundred thousand alerts embeds an incident a few times and not a hundred thousand.

use std::collections::BTreeMap;

use model::incident::CANARY;
use model::{Fact, IncidentEvent, Member, SignalKind, SignalRow, TransitionKind};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::{Payload, derived};

/// Titles of alerts in an incident's text.
const MOST_TITLES: usize = 8;
/// Alerts whose labels are compared.
const MOST_ALERTS: usize = 32;
/// Labels of an alert that are kept, and bytes of one.
const MOST_LABELS: usize = 32;
const MOST_LABEL_BYTES: usize = 120;
/// Bytes of a title or a description.
const MOST_TEXT_BYTES: usize = 400;

/// What a point is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Incident,
    Alert,
    Template,
    /// Where the projection stands; never found by a question.
    Position,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Incident => "incident",
            Kind::Alert => "alert",
            Kind::Template => "template",
            Kind::Position => "position",
        }
    }
}

/// A point without its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub id: Uuid,
    pub text: String,
    pub payload: Payload,
}

/// The id of the point about an alert.
pub fn alert_id(dedup_key: &str) -> Uuid {
    derived(Kind::Alert.as_str(), dedup_key)
}

/// What a row of `transitions` says, if it says something new about an alert or a template.
pub fn alert(row: &SignalRow<'_>) -> Option<Draft> {
    let new = row.transition.is_some_and(|transition| {
        matches!(
            transition.kind,
            TransitionKind::New | TransitionKind::Updated | TransitionKind::Reopened
        )
    });
    if !new || row.environment == CANARY {
        return None;
    }
    let kind = match row.kind {
        SignalKind::Alert | SignalKind::ClusterEvent | SignalKind::Security => Kind::Alert,
        SignalKind::LogPattern => Kind::Template,
        SignalKind::Change => return None,
    };
    let labels: BTreeMap<String, Value> = serde_json::from_str(row.labels).unwrap_or_default();
    let annotations: BTreeMap<String, Value> = serde_json::from_str(row.annotations).unwrap_or_default();
    let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let text = match (kind, word(annotations.get("template"))) {
        (Kind::Template, Some(template)) => template,
        _ => match row.description {
            Some(description) => format!("{}. {description}", row.title),
            None => row.title.to_owned(),
        },
    };
    let kept: BTreeMap<&str, &str> = labels
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .filter(|(name, value)| name.len() + value.len() <= MOST_LABEL_BYTES)
        .take(MOST_LABELS)
        .collect();
    let payload = json!({
        "kind": kind.as_str(),
        "tenant": row.tenant,
        "environment": row.environment,
        "service": row.service.unwrap_or_default(),
        "source": row.source,
        "severity": row.severity.as_str(),
        "title": cut(row.title),
        "labels": kept,
        "template": if kind == Kind::Template { word(labels.get("template")) } else { None },
        "text": cut(&text),
        "created_at": row.event_at,
    });
    Some(Draft {
        id: alert_id(row.dedup_key),
        text: spaced(cut(&text)),
        payload: object(payload),
    })
}

/// The payload of the incident that `event` is about, after it; `None` where `before` knows the event already.
pub fn incident(before: Option<&Payload>, event: &IncidentEvent) -> Option<Payload> {
    let incident = &event.incident;
    if incident.environment == CANARY {
        return None;
    }
    let known = before.and_then(|before| before.get("revision")?.as_u64());
    if known.is_some_and(|known| known >= incident.revision) {
        return None;
    }
    let list = |name: &str| -> Vec<String> {
        let values = before
            .and_then(|before| before.get(name)?.as_array())
            .into_iter()
            .flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (mut titles, mut alerts) = (list("titles"), list("alerts"));
    let mut take = |member: &Member| {
        let title = cut(&member.title).to_owned();
        if titles.len() < MOST_TITLES && !titles.contains(&title) {
            titles.push(title);
        }
        if alerts.len() < MOST_ALERTS && !alerts.contains(&member.dedup_key) {
            alerts.push(member.dedup_key.clone());
        }
    };
    match &event.fact {
        Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => take(member),
        Fact::Absorbed { members, .. } => members.iter().for_each(take),
        _ => {}
    }
    let payload = json!({
        "kind": Kind::Incident.as_str(),
        "tenant": incident.tenant,
        "environment": incident.environment,
        "service": incident.service.as_deref().unwrap_or_default(),
        "severity": incident.severity.as_str(),
        "title": cut(&incident.title),
        "titles": titles,
        "alerts": alerts,
        "merged": if incident.merged_into.is_some() { "yes" } else { "no" },
        "revision": incident.revision,
        "created_at": incident.created_at.timestamp_micros(),
    });
    Some(object(payload))
}

/// What is embedded of an incident.
pub fn incident_text(title: &str, titles: &[String]) -> String {
    let mut parts = vec![cut(title)];
    for other in titles.iter().take(MOST_TITLES).map(|title| cut(title)) {
        if !parts.contains(&other) {
            parts.push(other);
        }
    }
    spaced(&parts.join(". "))
}

/// `KubePodCrashLooping` as `Kube Pod Crash Looping`: names of alerts and errors are words run together, and a model knows the words.
fn spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len() + text.len() / 4);
    let mut before = [None, None];
    for letter in text.chars() {
        match before {
            [_, Some(last)] if char::is_lowercase(last) && letter.is_uppercase() => spaced.push(' '),
            // The last capital of a run begins the next word: `OOMKilled`.
            [Some(first), Some(last)] if first.is_uppercase() && last.is_uppercase() && letter.is_lowercase() => {
                spaced.insert(spaced.len() - last.len_utf8(), ' ');
            }
            _ => {}
        }
        spaced.push(letter);
        before = [before[1], Some(letter)];
    }
    spaced
}

/// The texts in field `name` of a payload.
pub fn texts_of(payload: &Payload, name: &str) -> Vec<String> {
    let values = payload.get(name).and_then(Value::as_array).into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The text in field `name` of a payload; empty where there is none.
pub fn text_of<'a>(payload: &'a Payload, name: &str) -> &'a str {
    payload.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// No more than is looked at.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(MOST_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn object(value: Value) -> Payload {
    match value {
        Value::Object(object) => object,
        _ => Payload::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_run_together_are_taken_apart() {
        for (text, words) in [
            (
                "KubePodCrashLooping on api-server (95%)",
                "Kube Pod Crash Looping on api-server (95%)",
            ),
            (
                "java.lang.OutOfMemoryError: OOMKilled",
                "java.lang.Out Of Memory Error: OOM Killed",
            ),
            ("p99 HTTP 5xx ÉtatÉlevé", "p99 HTTP 5xx État Élevé"),
            ("", ""),
        ] {
            assert_eq!(spaced(text), words);
        }
    }
}
