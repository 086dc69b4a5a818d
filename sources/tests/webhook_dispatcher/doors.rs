//! Senders with answers of their own: Alertmanager's API, PagerDuty's events, JSON by rules.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use model::RawEvent;
use serde_json::{Value, json};
use sources::webhook::{EndpointSettings, Integration, PagerdutySettings, WebhookSettings};

use super::support::{Append, FaultyLog, app, send};

const API: &str = "/api/v2/alerts";
const ALERTS: &str = "/v2/enqueue";
const CHANGES: &str = "/v2/change/enqueue";
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn header<'e>(event: &'e RawEvent, name: &str) -> Option<&'e str> {
    let found = event.headers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn alertmanager_s_api_answers_as_alertmanager_does() {
    let log = FaultyLog::new([Append::Writes, Append::Refused]);
    let settings = WebhookSettings {
        alertmanager: EndpointSettings {
            tokens: vec!["t".into()],
            ..Default::default()
        },
        ..Default::default()
    };
    let app = app(&log, &settings).await;
    let (json, bearer) = (("content-type", "application/json"), ("authorization", "Bearer t"));
    let body =
        r#"[{"labels":{"alertname":"A"},"startsAt":"2026-11-23T08:48:26.002Z","endsAt":"2026-11-23T08:54:00Z"}]"#;
    let answer = send(&app, "POST", API, &[json, bearer], body).await;
    assert_eq!((answer.status, answer.body), (StatusCode::OK, Value::Null));
    let answer = send(&app, "POST", API, &[json, bearer], body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "the log is away");
    assert!(answer.headers.contains_key("retry-after"));
    let answer = send(&app, "POST", API, &[json], body).await;
    assert_eq!((answer.status, answer.body), (StatusCode::UNAUTHORIZED, json!("")));
    let answer = send(&app, "POST", API, &[json, bearer], r#"{"alerts":[]}"#).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.headers["content-type"], "application/json");
    let said = answer.body.as_str().expect("Alertmanager's errors are JSON strings");
    assert!(said.starts_with("the body is an object, it must be an array"), "{said}");
    let stored = log.events().await;
    let [event] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(
        (event.sender.as_str(), event.verdict.as_str()),
        ("alertmanager-api", "bearer")
    );
}

fn integrations() -> WebhookSettings {
    let integration = |keys: &[&str]| Integration {
        routing_keys: keys.iter().map(|key| (*key).into()).collect(),
    };
    WebhookSettings {
        pagerduty: PagerdutySettings {
            integrations: BTreeMap::from([
                ("cart".to_owned(), integration(&["old", KEY])),
                ("ledger".to_owned(), integration(&["other"])),
            ]),
        },
        ..Default::default()
    }
}

fn trigger(key: &str) -> Value {
    json!({"routing_key": key, "event_action": "trigger", "dedup_key": "disk-7",
        "payload": {"summary": "Disk full", "source": "db-7", "severity": "critical"}})
}

#[tokio::test]
async fn pagerduty_s_events_are_answered_as_pagerduty_does() {
    let log = FaultyLog::new([]);
    let app = app(&log, &integrations()).await;
    let post = async |path: &str, body: Value| send(&app, "POST", path, &[], body.to_string()).await;
    let accepted = |key: &str| json!({"status": "success", "message": "Event processed", "dedup_key": key});
    for key in ["old", KEY] {
        let answer = post(ALERTS, trigger(key)).await;
        assert_eq!((answer.status, answer.body), (StatusCode::ACCEPTED, accepted("disk-7")));
    }
    for action in ["acknowledge", "resolve"] {
        let body = json!({"routing_key": KEY, "event_action": action, "dedup_key": "disk-7"});
        assert_eq!(post(ALERTS, body).await.body, accepted("disk-7"));
    }
    let mut unnamed = trigger("other");
    unnamed.as_object_mut().unwrap().remove("dedup_key");
    let answer = post(ALERTS, unnamed).await;
    let named = answer.body["dedup_key"].as_str().unwrap().to_owned();
    let change = json!({"routing_key": KEY, "payload": {"summary": "Build 7", "source": "ci"}});
    let answer = post(CHANGES, change).await;
    assert_eq!(
        (answer.status, answer.body),
        (
            StatusCode::ACCEPTED,
            json!({"status": "success", "message": "Change event processed"})
        )
    );
    let mut invalid = trigger(KEY);
    invalid["payload"]["severity"] = json!("page");
    invalid["payload"]["source"] = json!("");
    let answer = post(ALERTS, invalid).await;
    let errors = json!([
        "'source' is missing or blank",
        "'severity' is none of critical, error, warning, info"
    ]);
    let expected = json!({"status": "invalid event", "message": "Event object is invalid", "errors": errors});
    assert_eq!((answer.status, answer.body), (StatusCode::BAD_REQUEST, expected));

    let stored = log.events().await;
    assert_eq!(stored.len(), 6);
    let shown = format!("{stored:?}");
    assert!(
        !shown.contains(KEY) && !shown.contains("other"),
        "a key was stored: {shown}"
    );
    assert!(stored.iter().all(|event| event.verdict == "bearer"));
    let from = |name: &str| {
        stored
            .iter()
            .filter(|event| header(event, "aegis-integration") == Some(name))
            .count()
    };
    assert_eq!((from("cart"), from("ledger")), (5, 1));
    let unnamed = stored
        .iter()
        .find(|event| header(event, "aegis-integration") == Some("ledger"))
        .unwrap();
    assert_eq!(
        named,
        unnamed.delivery[..32],
        "the key that dedupe will know the alert by"
    );
    let body: Value = serde_json::from_slice(&unnamed.body).unwrap();
    assert_eq!(body["routing_key"], "[redacted]");
}

#[tokio::test]
async fn strangers_learn_that_and_no_more() {
    let log = FaultyLog::new([]);
    let app = app(&log, &integrations()).await;
    let silent =
        json!({"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]});
    let mut bad = trigger("nobody's");
    bad["event_action"] = json!("snooze");
    for body in [
        trigger("nobody's"),
        bad,
        json!({"event_action": "trigger"}),
        json!({"routing_key": [KEY]}),
    ] {
        for path in [ALERTS, CHANGES] {
            let answer = send(&app, "POST", path, &[], body.to_string()).await;
            assert_eq!(
                (answer.status, &answer.body),
                (StatusCode::BAD_REQUEST, &silent),
                "{body}"
            );
        }
    }
    // The key may come in a header instead.
    let answer = send(
        &app,
        "POST",
        ALERTS,
        &[("x-routing-key", KEY)],
        trigger("nobody's").to_string(),
    )
    .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(log.events().await.len(), 1);
}

#[tokio::test]
async fn what_is_said_of_one_alert_stays_in_order() {
    let log = FaultyLog::new([]);
    let app = app(&log, &integrations()).await;
    for (path, body) in [
        (ALERTS, trigger(KEY)),
        (
            ALERTS,
            json!({"routing_key": KEY, "event_action": "acknowledge", "dedup_key": "disk-7"}),
        ),
        (
            ALERTS,
            json!({"routing_key": KEY, "event_action": "resolve", "dedup_key": "disk-7"}),
        ),
    ] {
        assert_eq!(
            send(&app, "POST", path, &[], body.to_string()).await.status,
            StatusCode::ACCEPTED
        );
    }
    // `events` reads partition after partition.
    let actions: Vec<Value> = log
        .events()
        .await
        .iter()
        .map(|event| serde_json::from_slice::<Value>(&event.body).unwrap()["event_action"].take())
        .collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
}

/// What a real Alertmanager sends to PagerDuty.
#[tokio::test]
async fn captured_events_of_alertmanager_are_taken() {
    let log = FaultyLog::new([]);
    let app = app(&log, &WebhookSettings::default()).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pagerduty");
    let mut taken = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let capture: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        let body = capture["raw_body"].as_str().unwrap().to_owned();
        let answer = send(&app, "POST", ALERTS, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        taken += 1;
    }
    assert_eq!((taken, log.events().await.len()), (12, 12));
}

#[tokio::test]
async fn json_of_anybody() {
    let settings = WebhookSettings {
        json: BTreeMap::from([(
            "statuspage".to_owned(),
            EndpointSettings {
                tokens: vec!["t".into()],
                ..Default::default()
            },
        )]),
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let app = app(&log, &settings).await;
    let bearer = ("authorization", "Bearer t");
    let path = "/webhooks/json/statuspage";
    assert_eq!(
        send(&app, "POST", path, &[bearer], "[1,\"x\"]").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        send(&app, "PUT", path, &[bearer], "{}").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        send(&app, "POST", path, &[bearer], "{").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        send(&app, "POST", path, &[], "{}").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        send(&app, "POST", "/webhooks/json/other", &[bearer], "{}").await.status,
        StatusCode::NOT_FOUND
    );
    let stored = log.events().await;
    assert!(
        stored.iter().all(|event| event.sender == "json/statuspage"),
        "{stored:?}"
    );
    assert_eq!(stored.len(), 2);
}

#[tokio::test]
async fn custom_payloads_of_grafana_are_taken() {
    let log = FaultyLog::new([]);
    let app = app(&log, &WebhookSettings::default()).await;
    for body in [r#"{"text":"3 alerts"}"#, r#"{"alerts":3}"#, r#"["a"]"#] {
        let answer = send(&app, "POST", "/webhooks/grafana", &[], body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{body}: {answer:?}");
    }
    assert_eq!(
        send(&app, "POST", "/webhooks/grafana", &[], "3 alerts").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(log.events().await.len(), 3);
}
