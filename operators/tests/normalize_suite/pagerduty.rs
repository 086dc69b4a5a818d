//! PagerDuty's Events API v2.

use model::{Severity, SignalKind, SignalState};
use operators::normalize::NormalizeSettings;
use serde_json::{Value, json};

use crate::support::{Outcome, RECEIVED_AT, at, run, run_as, run_with};

const DELIVERY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn sent(body: Value) -> Outcome {
    let headers = [
        ("aegis-sender", "pagerduty"),
        ("aegis-integration", "checkout"),
        ("aegis-delivery", DELIVERY),
    ];
    run_with(NormalizeSettings::default(), body.to_string(), &headers)
}

fn trigger(more: Value) -> Value {
    let mut payload = json!({"summary": "Disk full", "source": "db-7", "severity": "error"});
    payload
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({"routing_key": "SECRET", "event_action": "trigger", "dedup_key": "disk:7", "payload": payload})
}

#[test]
fn a_trigger() {
    let body = trigger(json!({
        "timestamp": "2026-11-23T08:48:26.002+0000", "component": "postgres", "group": "storage", "class": "disk",
        "custom_details": {"free": "1%", "environment": "prod"}, "unknown": 1,
    }));
    let signal = sent(body).one();
    assert_eq!((signal.kind, signal.state), (SignalKind::Alert, SignalState::Triggered));
    assert_eq!(signal.dedup_key, "pd:checkout:disk%3A7");
    assert_eq!(signal.dedup_rule, "pagerduty/dedup_key@1");
    assert_eq!(
        (signal.event_at, signal.ends_at),
        (at("2026-11-23T08:48:26.002Z"), None)
    );
    assert_eq!(
        (signal.severity, signal.title.as_str()),
        (Severity::Critical, "Disk full")
    );
    assert_eq!(
        (signal.service.as_deref(), signal.environment.as_str()),
        (Some("checkout"), "prod")
    );
    assert_eq!(
        signal.labels,
        r#"{"class":"disk","component":"postgres","group":"storage","integration":"checkout","source":"db-7"}"#
    );
    let extra: Value = serde_json::from_str(signal.extra.as_deref().unwrap()).unwrap();
    assert_eq!(
        extra,
        json!({"custom_details": {"free": "1%", "environment": "prod"}, "unknown": 1})
    );
    assert!(
        !format!("{signal:?}").contains("SECRET"),
        "the routing key stays outside"
    );
}

#[test]
fn what_follows_names_the_same_alert() {
    for (action, state, end) in [
        ("acknowledge", SignalState::Acknowledged, None),
        ("resolve", SignalState::Cleared, Some(RECEIVED_AT)),
    ] {
        let signal = sent(json!({"event_action": action, "dedup_key": "disk:7"})).one();
        assert_eq!((signal.state, signal.ends_at), (state, end));
        assert_eq!(
            (signal.dedup_key.as_str(), signal.event_at),
            ("pd:checkout:disk%3A7", RECEIVED_AT)
        );
        assert_eq!(signal.effective_at, RECEIVED_AT);
    }
}

#[test]
fn without_a_key_the_delivery_is_the_alert() {
    let mut body = trigger(json!({}));
    body.as_object_mut().unwrap().remove("dedup_key");
    let signal = sent(body.clone()).one();
    assert_eq!(signal.dedup_key, format!("pd:checkout:{}", &DELIVERY[..32]));
    assert_eq!(signal.dedup_rule, "pagerduty/delivery@1");
    assert_eq!(signal.event_at, RECEIVED_AT);
    // Of a producer that wrote to the log itself: its bytes.
    let (once, twice) = (run(body.to_string()).one(), run(body.to_string()).one());
    assert_eq!(once, twice);
    assert!(once.dedup_key.starts_with("pd::"), "{}", once.dedup_key);
    assert_eq!(once.service, None);
}

#[test]
fn said_again_it_is_the_same_content() {
    let digest = |body: Value| sent(body).one().digest;
    let first = digest(trigger(
        json!({"timestamp": "2026-11-23T08:48:26Z", "custom_details": {"load": 1}}),
    ));
    let again = digest(trigger(
        json!({"timestamp": "2026-11-23T08:49:26Z", "custom_details": {"load": 2}}),
    ));
    assert_eq!(first, again, "neither the time nor what was measured is content");
    assert_ne!(first, digest(trigger(json!({"severity": "warning"}))));
    assert_ne!(first, digest(trigger(json!({"summary": "Disk fuller"}))));
}

#[test]
fn a_trigger_is_never_ahead_of_us() {
    let signal = sent(trigger(json!({"timestamp": "2099-01-01T00:00:00Z"}))).one();
    assert_eq!((signal.event_at, signal.effective_at), (RECEIVED_AT, RECEIVED_AT));
}

#[test]
fn a_change() {
    let body = json!({"routing_key": "k", "payload": {
        "summary": "Build 7 deployed", "source": "ci", "timestamp": "2026-11-23T08:48:26Z",
        "custom_details": {"service": "cart", "build": 7}}, "links": [{"href": "https://ci/7"}]});
    for outcome in [run(body.to_string()), run_as("pagerduty-change", body.to_string())] {
        let signal = outcome.one();
        assert_eq!((signal.kind, signal.state), (SignalKind::Change, SignalState::Event));
        assert_eq!(
            (signal.title.as_str(), signal.service.as_deref()),
            ("Build 7 deployed", Some("cart"))
        );
        assert_eq!(signal.event_at, at("2026-11-23T08:48:26Z"));
        assert_eq!(
            (signal.dedup_rule.as_str(), signal.severity),
            ("pagerduty/change@1", Severity::Info)
        );
    }
}

#[test]
fn faults() {
    #[track_caller]
    fn check(body: Value, reason: &str, field: &str) {
        assert_eq!(sent(body).faults(), [(reason, Some(field))]);
    }
    check(json!({"event_action": "snooze"}), "bad_value", "/event_action");
    check(json!({"event_action": "resolve"}), "missing_field", "/dedup_key");
    check(
        json!({"event_action": "trigger", "dedup_key": "k"}),
        "missing_field",
        "/payload/summary",
    );
    check(
        json!({"payload": {"source": "ci"}}),
        "missing_field",
        "/payload/summary",
    );
    check(
        trigger(json!({"timestamp": "yesterday"})),
        "bad_time",
        "/payload/timestamp",
    );
    check(trigger(json!({"timestamp": 7})), "wrong_type", "/payload/timestamp");
    check(trigger(json!({"summary": ["x"]})), "wrong_type", "/payload/summary");
}

/// What a real Alertmanager sends to PagerDuty.
#[test]
fn captured() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pagerduty");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 12);
    let mut states = [0; 2];
    for file in files {
        let capture: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let body = capture["raw_body"].as_str().unwrap();
        let sent: Value = serde_json::from_str(body).unwrap();
        let signal = run(body.to_owned()).one();
        assert_eq!(signal.dedup_key, format!("pd::{}", sent["dedup_key"].as_str().unwrap()));
        assert_eq!(signal.title, sent["payload"]["summary"].as_str().unwrap());
        states[usize::from(signal.state == SignalState::Cleared)] += 1;
    }
    assert!(states[0] > 0 && states[1] > 0, "{states:?}");
}
