//! What PagerDuty itself would call an invalid event. All errors at once, as it tells them.

use serde_json::Value;

use crate::webhook::problem::Refusal;
use crate::webhook::shape::Object;

/// Between the errors of one refusal. No error holds it: what senders wrote is not repeated.
pub const BETWEEN: char = '\n';

/// Longest key of an alert that PagerDuty takes.
const MAX_KEY: usize = 255;

/// Refuses what is no event of an alert.
pub fn alert(body: &[u8]) -> Result<(), Refusal> {
    let event = Object::read(body)?;
    let mut errors = Vec::new();
    routing_key(&event, &mut errors);
    let key = event.string("dedup_key");
    if event
        .get("dedup_key")
        .is_some_and(|raw| key.is_none() && raw.get() != "null")
    {
        errors.push("'dedup_key' is not a string".to_owned());
    }
    if key.as_deref().is_some_and(|key| key.chars().count() > MAX_KEY) {
        errors.push(format!("'dedup_key' is longer than {MAX_KEY} characters"));
    }
    match event.string("event_action").as_deref() {
        Some("trigger") => {
            let payload = payload(&event, &mut errors);
            for name in ["summary", "source"] {
                required(&payload, name, &mut errors);
            }
            let severity = payload.get("severity").and_then(Value::as_str);
            if !severity.is_some_and(|word| ["critical", "error", "warning", "info"].contains(&word)) {
                errors.push("'severity' is none of critical, error, warning, info".to_owned());
            }
        }
        Some("acknowledge" | "resolve") => {
            if key.as_deref().is_none_or(str::is_empty) {
                errors.push("'dedup_key' is missing or blank".to_owned());
            }
        }
        _ => errors.push("'event_action' is none of trigger, acknowledge, resolve".to_owned()),
    }
    verdict(errors)
}

/// Refuses what is no change event.
pub fn change(body: &[u8]) -> Result<(), Refusal> {
    let event = Object::read(body)?;
    let mut errors = Vec::new();
    routing_key(&event, &mut errors);
    let payload = payload(&event, &mut errors);
    required(&payload, "summary", &mut errors);
    verdict(errors)
}

/// Whose it is has been looked at; where everybody may send, nobody needs one.
fn routing_key(event: &Object<'_>, errors: &mut Vec<String>) {
    let sent = event.get("routing_key").map(|raw| raw.get());
    if sent.is_some_and(|raw| !raw.starts_with('"')) {
        errors.push("'routing_key' is not a string".to_owned());
    }
}

fn payload(event: &Object<'_>, errors: &mut Vec<String>) -> Value {
    let read = event
        .get("payload")
        .and_then(|raw| serde_json::from_str(raw.get()).ok());
    match read {
        Some(Value::Object(payload)) => Value::Object(payload),
        _ => {
            errors.push("'payload' is missing, or not an object".to_owned());
            Value::Null
        }
    }
}

fn required(payload: &Value, name: &str, errors: &mut Vec<String>) {
    let text = payload.get(name).and_then(Value::as_str);
    if payload.is_object() && text.is_none_or(|text| text.trim().is_empty()) {
        errors.push(format!("'{name}' is missing or blank"));
    }
}

fn verdict(errors: Vec<String>) -> Result<(), Refusal> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Refusal::bad("invalid-event", errors.join(&BETWEEN.to_string()))),
    }
}
