//! What the dashboard asks beside incidents.

#[path = "support/acts.rs"]
mod acts;

use std::sync::Arc;

use acts::{Notebook, Nothing};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use gateway::{ApiToken, Changes, GatewaySettings, Readiness, ReadinessBounds, Role, Shown, router};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn app(settings: &GatewaySettings) -> Router {
    let shown = Shown {
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        readiness: Readiness::new(ReadinessBounds::default()),
        incidents: Arc::new(Nothing),
        responses: Arc::new(Nothing),
        orders: Arc::new(Notebook::default()),
        letters: Arc::new(Notebook::default()),
        silences: Arc::new(Nothing),
        sessions: shared::Shared::in_process().sessions,
        changes: Changes::new(shared::Shared::in_process().pubsub),
        compliance: Arc::new(Nothing),
        pipeline: Arc::new(Nothing),
        queries: Arc::new(Nothing),
    };
    router(settings, shown).unwrap()
}

fn with_token() -> GatewaySettings {
    let token = ApiToken {
        token: "token-of-ann".into(),
        role: Role::Approver,
    };
    GatewaySettings {
        tokens: [("ann".to_owned(), token)].into(),
        ..GatewaySettings::default()
    }
}

async fn ask(app: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/json");
    let response = app
        .clone()
        .oneshot(request.body(Body::from(body.to_owned())).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[tokio::test]
async fn who_asks() {
    let open = ask(&app(&GatewaySettings::default()), "GET", "/me", &[], "").await;
    let nobody = json!({"name": null, "role": "viewer", "session": false, "sign_in": false});
    assert_eq!(open, (StatusCode::OK, nobody));
    let guarded = app(&with_token());
    assert_eq!(ask(&guarded, "GET", "/me", &[], "").await.0, StatusCode::UNAUTHORIZED);
    let ann = ask(&guarded, "GET", "/me", &[("authorization", "Bearer token-of-ann")], "").await;
    let named = json!({"name": "ann", "role": "approver", "session": false, "sign_in": true});
    assert_eq!(ann, (StatusCode::OK, named));
}

#[tokio::test]
async fn queries_are_answered_refused_or_not_answered_now() {
    let app = app(&GatewaySettings::default());
    let sql = async |query: &str| ask(&app, "POST", "/sql", &[], &json!({"query": query}).to_string()).await;
    let (status, answer) = sql("SELECT n").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&answer["columns"], &answer["rows"]),
        (&json!([{"name": "n", "type": "Int64"}]), &json!([[null]]))
    );
    let (status, problem) = sql("SELECT x").await;
    assert_eq!(
        (status, &problem["detail"], &problem["field"]),
        (StatusCode::BAD_REQUEST, &json!("there is no column x"), &json!("query"))
    );
    let (status, problem) = sql("SELECT y").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!problem.to_string().contains("10.1.2.3"), "{problem}");
    assert_eq!(sql(&"x".repeat(20_001)).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_pipeline_and_a_switch_that_is_not_known_yet() {
    let app = app(&GatewaySettings::default());
    let (status, view) = ask(&app, "GET", "/pipeline", &[], "").await;
    assert_eq!((status, &view["stages"]), (StatusCode::OK, &json!([])));
    assert_eq!(
        ask(&app, "GET", "/remediation/stop", &[], "").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_name_that_a_stranger_made_point_here_opens_nothing() {
    let open = app(&GatewaySettings::default());
    let named = |host: &'static str| [("host", host)];
    assert_eq!(
        ask(&open, "GET", "/me", &named("127.0.0.1:8000"), "").await.0,
        StatusCode::OK
    );
    assert_eq!(
        ask(&open, "GET", "/me", &named("localhost:8000"), "").await.0,
        StatusCode::OK
    );
    let (status, problem) = ask(&open, "GET", "/me", &named("evil.example:8000"), "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(
        problem["detail"].as_str().unwrap().contains("gateway.tokens"),
        "{problem}"
    );
    // Where a token is needed the name tells nothing.
    let guarded = app(&with_token());
    let ann = [("host", "aegis.example.com"), ("authorization", "Bearer token-of-ann")];
    assert_eq!(ask(&guarded, "GET", "/me", &ann, "").await.0, StatusCode::OK);
}
