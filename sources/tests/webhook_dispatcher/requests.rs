//! One request, one answer, and what is stored.

use axum::body::Body;
use axum::http::StatusCode;
use model::RawEvent;
use sources::webhook::{EndpointSettings, GrafanaSettings, WebhookSettings};
use stream::secret::Secret;

use super::support::{Answer, Append, FaultyLog, NOW, app, captures, send};

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

const ALERTMANAGER: &str = "/webhooks/alertmanager";
const GRAFANA: &str = "/webhooks/grafana";
const EVENTS: &str = "/webhooks/events";

/// One request to a dispatcher with default settings: the answer and what was stored.
async fn exchange(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (Answer, Vec<RawEvent>) {
    let log = FaultyLog::new([]);
    let answer = send(
        &app(&log, &WebhookSettings::default()).await,
        method,
        path,
        headers,
        body,
    )
    .await;
    (answer, log.events().await)
}

#[track_caller]
fn assert_refused((answer, stored): &(Answer, Vec<RawEvent>), status: u16, place: &str, detail: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.body["place"].as_str().unwrap_or_default(), place);
    assert_eq!(answer.body["detail"].as_str().unwrap_or_default(), detail);
    assert!(answer.body["remedy"].is_string(), "no remedy: {answer:?}");
    assert!(stored.is_empty(), "a refused request was stored");
}

#[tokio::test]
async fn real_deliveries_are_stored_as_they_came() {
    for capture in captures() {
        let headers: Vec<(&str, &str)> = capture
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let (answer, stored) = exchange("POST", ALERTMANAGER, &headers, capture.body.clone()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}: {answer:?}", capture.name);
        let [event] = &stored[..] else {
            panic!("{}: {} records", capture.name, stored.len())
        };
        assert_eq!(
            answer.body,
            serde_json::json!({"accepted": true, "delivery": event.delivery})
        );
        assert_eq!(event.delivery.len(), 64);
        let expected = RawEvent {
            sender: "alertmanager".into(),
            received_at: NOW.0,
            delivery: event.delivery.clone(),
            verdict: "none".into(),
            content_type: "application/json".into(),
            // Not the Authorization header that the capture holds.
            headers: vec![("http-user-agent".into(), "Alertmanager/0.25.0".into())],
            body: capture.body.into(),
        };
        assert_eq!(*event, expected, "{}", capture.name);
    }
}

#[tokio::test]
async fn taken() {
    let cloudevent = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    let batch = format!("[{cloudevent},{cloudevent}]");
    let group = format!(
        r#"{{"version":"4","alerts":[{}]}}"#,
        vec![r#"{"labels":{"alertname":"A"}}"#; 10_000].join(",")
    );
    let structured = ("content-type", "application/cloudevents+json");
    let batched = ("content-type", "application/cloudevents-batch+json");
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    let cases: &[(&str, &str, Headers, &str, &str)] = &[
        ("POST", ALERTMANAGER, &[], r#"{"alerts":[]}"#, "alertmanager"),
        ("POST", ALERTMANAGER, &[], &group, "alertmanager"),
        (
            "POST",
            ALERTMANAGER,
            &[],
            r#"{"alerts":[{"startsAt":"9999-12-31T23:59:59Z","labels":7}]}"#,
            "alertmanager",
        ),
        ("POST", GRAFANA, &[], r#"{"version":"1","alerts":[]}"#, "grafana"),
        ("PUT", GRAFANA, &[], r#"{"version":"1","alerts":[]}"#, "grafana"),
        ("POST", EVENTS, &[structured], cloudevent, "events"),
        ("POST", EVENTS, &[batched], &batch, "events"),
        ("POST", EVENTS, &binary, "no json \u{0}", "events"),
    ];
    for (method, path, headers, body, sender) in cases {
        let (answer, stored) = exchange(method, path, headers, body.to_string()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{method} {path}: {answer:?}");
        assert_eq!(stored.len(), 1);
        assert_eq!(
            (stored[0].sender.as_str(), &stored[0].body[..]),
            (*sender, body.as_bytes())
        );
    }
}

#[tokio::test]
async fn binary_events_keep_their_attributes() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("traceparent", "00-1"),
        ("x-other", "x"),
    ];
    let (_, stored) = exchange("POST", EVENTS, &headers, "").await;
    let kept: Vec<(&str, &str)> = stored[0]
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        kept,
        [
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("http-traceparent", "00-1")
        ]
    );
}

#[tokio::test]
async fn refused() {
    let post = async |path, headers, body: &'static [u8]| exchange("POST", path, headers, body).await;
    let malformed = "the body is not valid JSON: ";
    let answer = post(ALERTMANAGER, &[], b"{\"alerts\":\n  [,]}").await;
    assert_refused(&answer, 400, "line 2 column 4", &format!("{malformed}expected value"));
    let answer = post(GRAFANA, &[], b"{\"alerts\":[]").await;
    assert_refused(
        &answer,
        400,
        "line 1 column 12",
        &format!("{malformed}EOF while parsing an object"),
    );
    let answer = post(ALERTMANAGER, &[], b"{\"alerts\":[\"\xff\xfe\"]}").await;
    assert_refused(
        &answer,
        400,
        "line 1 column 13",
        &format!("{malformed}invalid unicode code point"),
    );
    assert_refused(&post(ALERTMANAGER, &[], b"").await, 400, "", "the body is empty");
    let answer = post(ALERTMANAGER, &[], br#"{"status":"firing"}"#).await;
    assert_refused(&answer, 400, "/alerts", "required field `alerts` is missing");
    assert_eq!(answer.0.body["field"], "alerts");
    let answer = post(ALERTMANAGER, &[], br#"{"alerts":{"a":1}}"#).await;
    assert_refused(&answer, 400, "/alerts", "`alerts` is an object, it must be an array");
    let answer = post(ALERTMANAGER, &[], br#"{"alerts":[],"alerts":[]}"#).await;
    assert_refused(&answer, 400, "/alerts", "`alerts` stands twice at the top level");
    let answer = post(
        EVENTS,
        &[("content-type", "application/cloudevents+json")],
        br#"{"specversion":"1.0","id":"1","source":"/s"}"#,
    )
    .await;
    assert_refused(&answer, 400, "/type", "required field `type` is missing");
    let answer = post(ALERTMANAGER, &[("content-encoding", "gzip")], b"\x1f\x8b").await;
    assert_refused(
        &answer,
        415,
        "header content-encoding",
        "content encoding \"gzip\" is not supported",
    );
    assert_refused(
        &exchange("PUT", ALERTMANAGER, &[], "{}").await,
        405,
        "",
        "PUT is not a method of this endpoint",
    );
    assert_refused(
        &exchange("POST", "/webhooks/nagios", &[], "{}").await,
        404,
        "",
        "there is no endpoint /webhooks/nagios",
    );
}

#[tokio::test]
async fn other_methods_and_health() {
    let (answer, _) = exchange("GET", GRAFANA, &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("POST") && allow.contains("PUT"), "{allow}");
    let (answer, _) = exchange(
        "OPTIONS",
        EVENTS,
        &[("webhook-request-origin", "a.example"), ("webhook-request-rate", "100")],
        "",
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["webhook-allowed-origin"], "a.example");
    let (answer, _) = exchange("GET", "/healthz", &[], "").await;
    assert_eq!(
        (answer.status, answer.body),
        (StatusCode::OK, serde_json::json!({"status": "ok"}))
    );
}

#[tokio::test]
async fn tokens() {
    let tokens = |tokens: &[&str]| EndpointSettings {
        tokens: tokens.iter().map(|token| Secret::from(*token)).collect(),
        basic: vec!["prometheus:p".into()],
    };
    let settings = WebhookSettings {
        alertmanager: tokens(&["old", "new"]),
        grafana: GrafanaSettings {
            tokens: vec!["other".into()],
            ..Default::default()
        },
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let app = app(&log, &settings).await;
    let cases: &[(&str, Headers, u16)] = &[
        (ALERTMANAGER, &[("authorization", "Bearer old")], 202),
        (ALERTMANAGER, &[("authorization", "Bearer new")], 202),
        (ALERTMANAGER, &[("authorization", "Bearer other")], 401),
        (ALERTMANAGER, &[("authorization", "Basic old")], 401),
        (ALERTMANAGER, &[("authorization", "Basic cHJvbWV0aGV1czpw")], 202),
        (ALERTMANAGER, &[("authorization", "Basic cHJvbWV0aGV1czpx")], 401),
        (ALERTMANAGER, &[], 401),
        (GRAFANA, &[("authorization", "Bearer old")], 401),
        (GRAFANA, &[("authorization", "Bearer other")], 202),
    ];
    for (path, headers, status) in cases {
        let answer = send(&app, "POST", path, headers, r#"{"alerts":[]}"#).await;
        assert_eq!(answer.status.as_u16(), *status, "{path} {headers:?}");
        if *status == 401 {
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            let silent = serde_json::json!({"type": "about:blank", "title": "Unauthorized", "status": 401});
            assert_eq!(answer.body, silent, "a stranger is told nothing");
        }
    }
    let stored = log.events().await;
    assert_eq!(stored.len(), 4);
    assert!(
        stored
            .iter()
            .all(|event| ["bearer", "basic"].contains(&&*event.verdict) && event.headers.is_empty())
    );
    // A stranger's malformed body is not looked at.
    assert_eq!(
        send(&app, "POST", GRAFANA, &[], "{").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn redaction_comes_before_the_log() {
    let settings = WebhookSettings {
        redact_headers: vec!["User-Agent".into(), "ce-secret".into()],
        redact_fields: vec!["password".into(), "/alerts/*/annotations/dsn".into()],
        ..Default::default()
    };
    let log = FaultyLog::new([]);
    let app = app(&log, &settings).await;
    let sensitive = [
        ("authorization", "Bearer SECRET"),
        ("cookie", "SECRET"),
        ("proxy-authorization", "SECRET"),
        ("user-agent", "SECRET"),
    ];
    let body = r#"{"alerts":[{"annotations":{"dsn":"SECRET","n":1.50}}], "x":{"Password":["SECRET"]}}"#;
    let first = send(&app, "POST", ALERTMANAGER, &sensitive, body).await;
    let second = send(&app, "POST", ALERTMANAGER, &[], body.replace("SECRET", "another")).await;
    assert_eq!(
        (first.status, second.status),
        (StatusCode::ACCEPTED, StatusCode::ACCEPTED)
    );
    assert_ne!(
        first.body["delivery"], second.body["delivery"],
        "deliveries differ although their stored bytes do not"
    );
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("ce-secret", "SECRET"),
    ];
    assert_eq!(
        send(&app, "POST", EVENTS, &binary, "password=x").await.status,
        StatusCode::ACCEPTED
    );
    let stored = log.events().await;
    assert!(!format!("{stored:?}").contains("SECRET"), "{stored:?}");
    let redacted: Vec<_> = stored.iter().filter(|event| event.sender == "alertmanager").collect();
    assert_eq!(redacted.len(), 2);
    for event in redacted {
        let expected = r#"{"alerts":[{"annotations":{"dsn":"[redacted]","n":1.50}}], "x":{"Password":"[redacted]"}}"#;
        assert_eq!(event.body, expected);
        assert_eq!(
            event.headers,
            [(
                "aegis-redacted".to_owned(),
                "password,/alerts/*/annotations/dsn".to_owned()
            )]
        );
    }
    // JSON that is nested too deep to be searched is not stored, whatever depth is allowed.
    let settings = WebhookSettings {
        max_depth: 1_000,
        ..settings
    };
    let deep = format!(r#"{{"alerts":[{}{}]}}"#, "[".repeat(500), "]".repeat(500));
    let answer = send(
        &super::support::app(&log, &settings).await,
        "POST",
        ALERTMANAGER,
        &[],
        deep,
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.body["detail"],
        "the body is not valid JSON: recursion limit exceeded"
    );
}

#[tokio::test]
async fn equal_bytes_are_one_delivery() {
    let log = FaultyLog::new([]);
    let app = app(&log, &WebhookSettings::default()).await;
    let delivery = async |path, headers: &[(&str, &str)], body: &'static str| {
        let answer = send(&app, "POST", path, headers, body).await;
        answer.body["delivery"].as_str().unwrap().to_owned()
    };
    let first = delivery(ALERTMANAGER, &[], r#"{"alerts":[]}"#).await;
    assert_eq!(
        first,
        delivery(ALERTMANAGER, &[("user-agent", "x")], r#"{"alerts":[]}"#).await
    );
    assert_ne!(first, delivery(ALERTMANAGER, &[], r#"{"alerts": []}"#).await);
    assert_ne!(first, delivery(GRAFANA, &[], r#"{"alerts":[]}"#).await);
    let event = |id| {
        [
            ("ce-specversion", "1.0"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
            ("ce-id", id),
        ]
    };
    assert_ne!(
        delivery(EVENTS, &event("1"), "").await,
        delivery(EVENTS, &event("2"), "").await
    );
}

#[tokio::test]
async fn a_record_over_the_log_s_limit_is_413() {
    let log = FaultyLog::new([Append::TooLarge]);
    let answer = send(
        &app(&log, &WebhookSettings::default()).await,
        "POST",
        ALERTMANAGER,
        &[],
        r#"{"alerts":[]}"#,
    )
    .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}
