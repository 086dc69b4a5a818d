use axum::http::HeaderMap;

use super::{PagerDuty, PagerDutyChanges};
use crate::webhook::senders::Sender;

#[track_caller]
fn check(sender: &dyn Sender, body: &str, errors: &[&str]) {
    let refusal = sender.check(&HeaderMap::new(), body.as_bytes()).err();
    let found = refusal.map(|refusal| refusal.detail).unwrap_or_default();
    let found: Vec<&str> = found.split('\n').filter(|error| !error.is_empty()).collect();
    assert_eq!(found, errors, "{body}");
}

#[test]
fn alerts() {
    let trigger = r#"{"event_action":"trigger","payload":{"summary":"s","source":"h","severity":"error"}}"#;
    check(&PagerDuty, trigger, &[]);
    check(&PagerDuty, r#"{"event_action":"resolve","dedup_key":"k"}"#, &[]);
    check(
        &PagerDuty,
        r#"{"event_action":"acknowledge","dedup_key":"k","payload":null}"#,
        &[],
    );
    check(
        &PagerDuty,
        r#"{"routing_key":7,"event_action":"trigger","dedup_key":1,"payload":{"summary":" ","severity":"page"}}"#,
        &[
            "'routing_key' is not a string",
            "'dedup_key' is not a string",
            "'summary' is missing or blank",
            "'source' is missing or blank",
            "'severity' is none of critical, error, warning, info",
        ],
    );
    check(
        &PagerDuty,
        r#"{"event_action":"trigger"}"#,
        &[
            "'payload' is missing, or not an object",
            "'severity' is none of critical, error, warning, info",
        ],
    );
    check(
        &PagerDuty,
        r#"{"event_action":"resolve"}"#,
        &["'dedup_key' is missing or blank"],
    );
    check(
        &PagerDuty,
        r#"{"event_action":"snooze"}"#,
        &["'event_action' is none of trigger, acknowledge, resolve"],
    );
    let long = format!(r#"{{"event_action":"resolve","dedup_key":"{}"}}"#, "é".repeat(256));
    check(&PagerDuty, &long, &["'dedup_key' is longer than 255 characters"]);
    check(&PagerDuty, "[]", &["the body is an array, it must be an object"]);
}

#[test]
fn changes() {
    check(&PagerDutyChanges, r#"{"payload":{"summary":"Build 7"}}"#, &[]);
    check(
        &PagerDutyChanges,
        r#"{"payload":{"source":"ci"}}"#,
        &["'summary' is missing or blank"],
    );
}
