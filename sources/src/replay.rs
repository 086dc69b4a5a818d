//! Replay: recorded bodies from files become raw events, as if a sender had sent them.
//!
//! A file holds one body; or one capture, an object with `raw_body` and, as recorded, `headers` and `received_at`
//! (seconds since the epoch); or several of either, one per line. Nothing is judged here: what is not a capture is a body,
//! and a body that no decoder understands becomes a dead letter like any other. PagerDuty's routing keys are taken out: what is recorded may
//! be anybody's, and credentials never enter the log.

use bytes::Bytes;
use model::RawEvent;
use serde::Deserialize;

use crate::webhook::redact::{self, Redaction};

/// A recorded request. Fields that other recorders add are ignored; the raw body is what counts.
#[derive(Deserialize)]
struct Capture {
    raw_body: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    received_at: Option<f64>,
}

/// The header in which GitHub names the event, and the name under which the dispatcher stores it.
const EVENT: (&str, &str) = ("x-github-event", "http-x-github-event");

/// Reads a file's bytes. `sender` is the decoder asked for (empty: the body's shape decides), `event` what GitHub called the bodies
/// (empty: unknown, or as captured); `now` (microseconds since the epoch) is the receive time where none was recorded.
pub fn read(bytes: &[u8], sender: &str, event: &str, now: i64) -> Vec<RawEvent> {
    let mut events = bodies(bytes, sender, now);
    for event in &mut events {
        without_key(event);
    }
    if !event.is_empty() {
        for body in &mut events {
            body.headers.retain(|(name, _)| name != EVENT.1);
            body.headers.push((EVENT.1.to_owned(), event.to_owned()));
        }
    }
    events
}

fn bodies(bytes: &[u8], sender: &str, now: i64) -> Vec<RawEvent> {
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Ok(capture) = serde_json::from_slice::<Capture>(body) {
        return vec![event_of(capture, sender, now)];
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        return vec![body_event(body, sender, now)];
    }
    let lines: Vec<&[u8]> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
        .collect();
    let all_json = lines.len() > 1
        && lines
            .iter()
            .filter(|line| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok())
            .count()
            * 2
            > lines.len();
    if !all_json {
        return vec![body_event(body, sender, now)];
    }
    lines
        .into_iter()
        .map(|line| match serde_json::from_slice::<Capture>(line) {
            Ok(capture) => event_of(capture, sender, now),
            Err(_) => body_event(line, sender, now),
        })
        .collect()
}

/// Where PagerDuty's credential stands.
const ROUTING_KEY: &str = "routing_key";

fn without_key(event: &mut RawEvent) {
    let names = ["", "pagerduty", "pagerduty-change"].contains(&event.sender.as_str());
    if !names
        || !event
            .body
            .windows(ROUTING_KEY.len())
            .any(|part| part == ROUTING_KEY.as_bytes())
    {
        return;
    }
    let redaction = Redaction::new(&[], &[format!("/{ROUTING_KEY}")]);
    // What is no JSON holds no field.
    if let Ok(Ok(Some(redacted))) = redaction.map(|redaction| redaction.body(&event.body)) {
        event.body = redacted.body.into();
        event
            .headers
            .push((redact::HEADER.to_owned(), redacted.rules.join(",")));
    }
}

fn body_event(body: &[u8], sender: &str, now: i64) -> RawEvent {
    RawEvent {
        sender: sender.to_owned(),
        received_at: now,
        verdict: "replay".to_owned(),
        content_type: "application/json".to_owned(),
        body: Bytes::copy_from_slice(body),
        ..RawEvent::default()
    }
}

fn event_of(capture: Capture, sender: &str, now: i64) -> RawEvent {
    let header = |wanted: &str| {
        capture
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.clone())
    };
    // CloudEvents in binary mode carry their attributes in headers; credentials never enter the log.
    let kept = capture
        .headers
        .iter()
        .filter_map(|(name, value)| match name.to_ascii_lowercase() {
            name if name.starts_with(model::raw::header::CE_PREFIX) => Some((name, value.clone())),
            name if name == EVENT.0 => Some((EVENT.1.to_owned(), value.clone())),
            _ => None,
        })
        .collect();
    RawEvent {
        sender: sender.to_owned(),
        received_at: capture.received_at.map_or(now, |seconds| (seconds * 1e6) as i64),
        delivery: String::new(),
        verdict: "replay".to_owned(),
        content_type: header("content-type").unwrap_or_else(|| "application/json".to_owned()),
        headers: kept,
        body: Bytes::from(capture.raw_body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(text: &str) -> Vec<String> {
        read(text.as_bytes(), "", "", 7)
            .iter()
            .map(|e| String::from_utf8_lossy(&e.body).into_owned())
            .collect()
    }

    #[test]
    fn shapes() {
        assert_eq!(bodies(r#"{"a":1}"#), [r#"{"a":1}"#]);
        assert_eq!(
            bodies("{\"a\":\n1}\n"),
            ["{\"a\":\n1}\n"],
            "one body over several lines"
        );
        assert_eq!(bodies("{\"a\":1}\n{\"a\":2}\n"), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(
            bodies("{\"a\":1}\nrubbish\n{\"a\":2}\n"),
            [r#"{"a":1}"#, "rubbish", r#"{"a":2}"#]
        );
        assert_eq!(bodies("rubbish"), ["rubbish"]);
    }

    #[test]
    fn captures_keep_their_time_and_lose_their_credentials() {
        let text = r#"{"received_at":1.5,"headers":[["Authorization","Bearer x"],["Content-Type","text/x"],["ce-id","1"]],"raw_body":"{}"}"#;
        let event = &read(text.as_bytes(), "events", "", 7)[0];
        assert_eq!(
            (event.received_at, event.content_type.as_str(), event.body.as_ref()),
            (1_500_000, "text/x", &b"{}"[..])
        );
        assert_eq!(event.headers, [("ce-id".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn routing_keys_are_taken_out() {
        let check = |text: &str, sender: &str, expected: &str| {
            let event = &read(text.as_bytes(), sender, "", 7)[0];
            assert_eq!(event.body, expected, "{text}");
        };
        let cut = r#"{"routing_key":"[redacted]","event_action":"trigger"}"#;
        check(r#"{"routing_key":"k","event_action":"trigger"}"#, "pagerduty", cut);
        check(r#"{"routing_key":"k","event_action":"trigger"}"#, "", cut);
        check(
            r#"{"raw_body":"{\"routing_key\":\"k\",\"event_action\":\"trigger\"}"}"#,
            "",
            cut,
        );
        check(r#"{"routing_key":"k"}"#, "json/n", r#"{"routing_key":"k"}"#);
    }

    #[test]
    fn what_github_called_it() {
        let captured = r#"{"headers":[["X-GitHub-Event","push"]],"raw_body":"{}"}"#;
        let named = |text: &str, event: &str| {
            let events = read(text.as_bytes(), "github", event, 7);
            events[0]
                .headers
                .iter()
                .map(|(_, value)| value.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(named(captured, ""), ["push"]);
        assert_eq!(named(captured, "ping"), ["ping"], "the command line counts");
        assert_eq!(named("{}", "ping"), ["ping"]);
        assert_eq!(named("{}", ""), [""; 0]);
    }
}
