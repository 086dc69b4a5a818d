//! The gateway over its routes and over TCP, with incidents in memory.

#[path = "support/acts.rs"]
mod acts;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use gateway::{
    Changes, EventView, Gateway, GatewayError, GatewaySettings, IncidentDetail, IncidentFilter, IncidentReads,
    IncidentView, Page, ReadError, Readiness, ReadinessBounds, Shown, router,
};
use http_body_util::BodyExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use model::{CanonicalKey, IncidentId, Severity, Status};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;

/// Incidents in memory; `Err` answers every question with it.
struct Memory(Result<Vec<IncidentDetail>, fn() -> ReadError>);

#[async_trait]
impl IncidentReads for Memory {
    async fn incidents(&self, filter: &IncidentFilter, page: Page) -> Result<Vec<IncidentView>, ReadError> {
        let all = self.0.as_ref().map_err(|error| error())?;
        let matches = |incident: &&IncidentView| {
            filter.status.is_none_or(|status| status == incident.status)
                && filter.severity.is_none_or(|severity| severity == incident.severity)
                && filter
                    .service
                    .as_ref()
                    .is_none_or(|service| Some(service) == incident.service.as_ref())
        };
        let mut found: Vec<IncidentView> = all
            .iter()
            .map(|detail| &detail.incident)
            .filter(matches)
            .cloned()
            .collect();
        found.sort_by_key(|incident| (std::cmp::Reverse(incident.created_at), incident.id));
        Ok(found
            .into_iter()
            .skip(page.offset as usize)
            .take(page.limit as usize)
            .collect())
    }

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, ReadError> {
        let all = self.0.as_ref().map_err(|error| error())?;
        Ok(all.iter().find(|detail| detail.incident.id == id).cloned())
    }
}

/// The `number`-th incident; higher numbers are younger.
fn incident(number: u32, status: Status, severity: Severity, service: &str) -> IncidentDetail {
    let at = chrono::DateTime::from_timestamp(1_795_423_707 + i64::from(number), 0).unwrap();
    let incident = IncidentView {
        id: IncidentId(Uuid::from_u128(number.into())),
        trace_id: format!("{number:032x}"),
        canonical_key: CanonicalKey(Uuid::from_u128(1000 + u128::from(number))),
        revision: 1,
        tenant: "default".into(),
        environment: "prod".into(),
        alert_id: format!("alert-{number}"),
        source: "alertmanager".into(),
        severity,
        status,
        title: format!("incident {number}"),
        service: Some(service.into()),
        root_cause: None,
        resolution: None,
        auto_resolved: false,
        resolved_by: None,
        created_at: at,
        updated_at: at,
        resolved_at: None,
        merged_into: None,
        members: 1,
        firing: 1,
        metadata: json!({}),
    };
    let event = EventView {
        revision: 1,
        at,
        observed_at: at,
        fact: "opened".into(),
        payload: json!({"type": "opened"}),
    };
    IncidentDetail {
        incident,
        members: Vec::new(),
        events: vec![event],
    }
}

fn three() -> Memory {
    Memory(Ok(vec![
        incident(1, Status::Open, Severity::Critical, "checkout"),
        incident(2, Status::Resolved, Severity::Critical, "search"),
        incident(3, Status::Open, Severity::Warning, "search"),
    ]))
}

fn shown(incidents: Memory) -> Shown {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("aegis_test_total", "stage" => "dedupe").increment(3)
    });
    Shown {
        metrics: recorder.handle(),
        readiness: Readiness::new(ReadinessBounds::default()),
        incidents: Arc::new(incidents),
        responses: Arc::new(acts::Nothing),
        orders: Arc::new(acts::Notebook::default()),
        letters: Arc::new(acts::Notebook::default()),
        silences: Arc::new(acts::Nothing),
        sessions: shared::Shared::in_process().sessions,
        changes: Changes::new(shared::Shared::in_process().pubsub),
        compliance: Arc::new(acts::Nothing),
        pipeline: Arc::new(acts::Nothing),
        queries: Arc::new(acts::Nothing),
    }
}

async fn bind(settings: GatewaySettings) -> Result<Gateway, GatewayError> {
    Gateway::bind(settings, shown(three())).await
}

fn app(incidents: Memory) -> Router {
    router(&GatewaySettings::default(), shown(incidents)).unwrap()
}

async fn get_with(app: &Router, path: &str, token: Option<&str>) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_json(app: &Router, path: &str) -> (u16, Value) {
    let (status, _, body) = get_with(app, path, None).await;
    (status.as_u16(), serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn lists() {
    let app = app(three());
    let check = async |query: &str, expected: &[&str], more: bool| {
        let (status, list) = get_json(&app, &format!("/api/v1/incidents{query}")).await;
        let titles: Vec<&str> = list["incidents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["title"].as_str().unwrap())
            .collect();
        assert_eq!(
            (status, titles.as_slice(), &list["more"]),
            (200, expected, &json!(more)),
            "{query}"
        );
    };
    check("", &["incident 3", "incident 2", "incident 1"], false).await;
    check("?status=open", &["incident 3", "incident 1"], false).await;
    check("?severity=critical&service=search", &["incident 2"], false).await;
    check("?service=nobody", &[], false).await;
    check("?limit=2", &["incident 3", "incident 2"], true).await;
    check("?limit=2&offset=2", &["incident 1"], false).await;
}

#[tokio::test]
async fn one() {
    let app = app(three());
    let (status, detail) = get_json(&app, "/api/v1/incidents/00000000-0000-0000-0000-000000000002").await;
    assert_eq!(status, 200);
    assert_eq!(detail["incident"]["severity"], "critical");
    assert_eq!(detail["incident"]["created_at"], "2026-11-23T08:48:29Z");
    assert_eq!(detail["events"][0]["fact"], "opened");
    assert!(detail["members"].is_array());
}

#[tokio::test]
async fn problems() {
    let check = async |incidents: Memory, path: &str, expected: Value| {
        let (status, headers, body) = get_with(&app(incidents), path, None).await;
        let mut body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], status.as_u16());
        let body = body.as_object_mut().unwrap();
        (body.remove("type"), body.remove("title")).0.unwrap();
        assert_eq!(Value::Object(body.clone()), expected, "{path}");
        assert_eq!(headers.contains_key("retry-after"), status == 503);
    };
    let missing = "/api/v1/incidents/00000000-0000-0000-0000-000000000009";
    check(
        three(),
        missing,
        json!({"status": 404, "detail": format!("there is no incident {}", &missing[18..])}),
    )
    .await;
    check(
        three(),
        "/api/v1/incidents/x",
        json!({"status": 400, "field": "id", "detail": "\"x\" is not a UUID"}),
    )
    .await;
    let detail =
        "unknown parameter \"sevirity\": known are status, severity, service, text, since, until, limit, offset";
    check(
        three(),
        "/api/v1/incidents?sevirity=critical",
        json!({"status": 400, "field": "sevirity", "detail": detail}),
    )
    .await;
    check(
        three(),
        "/api/v2",
        json!({"status": 404, "detail": "there is nothing at /api/v2"}),
    )
    .await;
    check(
        three(),
        "/api/v1/nothing",
        json!({"status": 404, "detail": "there is nothing at /api/v1/nothing"}),
    )
    .await;
    let down = || Memory(Err(|| ReadError::Unavailable("secret host".into())));
    check(
        down(),
        "/api/v1/incidents",
        json!({"status": 503, "detail": "the store is unavailable, try again"}),
    )
    .await;
    let broken = || Memory(Err(|| ReadError::Failed("secret table".into())));
    check(
        broken(),
        missing,
        json!({"status": 500, "detail": "reading the store failed, see the log"}),
    )
    .await;
}

#[tokio::test]
async fn tokens_guard_the_api_only() {
    let settings = GatewaySettings {
        read_tokens: vec!["old".into(), "new".into()],
        ..Default::default()
    };
    let app = router(&settings, shown(three())).unwrap();
    let check = async |path: &str, token: Option<&str>, expected: u16| {
        let (status, headers, body) = get_with(&app, path, token).await;
        assert_eq!(status.as_u16(), expected, "{path} {token:?}");
        if expected == 401 {
            assert_eq!(headers["www-authenticate"], "Bearer");
            assert!(!body.contains("detail"), "a stranger is told nothing: {body}");
        }
    };
    check("/api/v1/incidents", Some("Bearer old"), 200).await;
    check("/api/v1/incidents", Some("bearer new"), 200).await;
    check("/api/v1/incidents", Some("Bearer other"), 401).await;
    check("/api/v1/incidents", Some("Basic old"), 401).await;
    check("/api/v1/incidents", Some("old"), 401).await;
    check("/api/v1/incidents", None, 401).await;
    check("/api/v1/incidents/00000000-0000-0000-0000-000000000002", None, 401).await;
    check("/healthz", None, 200).await;
    check("/metrics", None, 200).await;
}

#[tokio::test]
async fn metrics_and_health() {
    let app = app(three());
    let (status, headers, body) = get_with(&app, "/metrics", None).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (
            StatusCode::OK,
            &"text/plain; version=0.0.4; charset=utf-8".parse().unwrap()
        )
    );
    assert!(body.contains("aegis_test_total{stage=\"dedupe\"} 3"), "{body}");
    assert_eq!(get_json(&app, "/healthz").await, (200, json!({"status": "ok"})));
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let shown = shown(three());
    let readiness = shown.readiness.clone();
    let app = router(&GatewaySettings::default(), shown).unwrap();
    readiness.expect("dedupe");
    let (status, report) = get_json(&app, "/readyz").await;
    let starting = json!({"stage": "dedupe", "reason": "starting", "detail": "nothing reported yet"});
    assert_eq!(
        (status, report),
        (503, json!({"ready": false, "partitions": 0, "failing": [starting]}))
    );
    readiness.lag("dedupe", 0, 7, Instant::now());
    assert_eq!(
        get_json(&app, "/readyz").await,
        (200, json!({"ready": true, "partitions": 1, "failing": []}))
    );
    readiness.lag("dedupe", 0, 100_001, Instant::now());
    let (status, report) = get_json(&app, "/readyz").await;
    let behind = json!({"stage": "dedupe", "partition": 0, "reason": "lag", "detail": "100001 records behind, the bound is 100000"});
    assert_eq!(
        (status, report),
        (503, json!({"ready": false, "partitions": 1, "failing": [behind]}))
    );
}

#[tokio::test]
async fn serves_and_stops() {
    let settings = GatewaySettings {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Default::default()
    };
    let gateway = bind(settings).await.unwrap();
    let (address, stop) = (gateway.local_addr(), CancellationToken::new());
    let running = tokio::spawn(gateway.serve(stop.clone()));
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    connection
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .expect("does not stop")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn refuses_to_be_read_by_anybody() {
    let settings = GatewaySettings {
        listen: ([0, 0, 0, 0], 0).into(),
        ..Default::default()
    };
    let refused = bind(settings).await.err().expect("listens for everybody");
    assert!(matches!(refused, GatewayError::Settings(_)), "{refused}");
}
