//! Who may order what over REST, and that the OpenAPI document tells the truth.

#[path = "support/acts.rs"]
mod acts;

use std::sync::Arc;

use acts::{Notebook, Nothing};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use gateway::{ApiToken, Changes, GatewaySettings, Readiness, ReadinessBounds, Role, Shown, openapi, router};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

fn app(settings: &GatewaySettings) -> (Router, Arc<Notebook>) {
    let notebook = Arc::new(Notebook::default());
    let shown = Shown {
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        readiness: Readiness::new(ReadinessBounds::default()),
        incidents: Arc::new(Nothing),
        responses: Arc::new(Nothing),
        orders: notebook.clone(),
        letters: notebook.clone(),
        silences: Arc::new(Nothing),
        sessions: shared::Shared::in_process().sessions,
        changes: Changes::new(shared::Shared::in_process().pubsub),
        compliance: Arc::new(Nothing),
        pipeline: Arc::new(Nothing),
        queries: Arc::new(Nothing),
    };
    (router(settings, shown).unwrap(), notebook)
}

/// One token per role; its name and its text are the role.
fn settings() -> GatewaySettings {
    let roles = [Role::Viewer, Role::Responder, Role::Approver, Role::Admin];
    let token = |role: Role| {
        let token = ApiToken {
            token: role.as_str().into(),
            role,
        };
        (role.as_str().to_owned(), token)
    };
    GatewaySettings {
        tokens: roles.map(token).into_iter().collect(),
        ..GatewaySettings::default()
    }
}

async fn ask(app: &Router, method: &str, path: &str, token: Option<&str>, body: &str) -> (StatusCode, String) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = app
        .clone()
        .oneshot(request.body(Body::from(body.to_owned())).unwrap())
        .await
        .unwrap();
    let status = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn id(number: u128) -> String {
    Uuid::from_u128(number).to_string()
}

#[tokio::test]
async fn every_order_needs_its_role() {
    let one = id(1);
    let orders = [
        (format!("/api/v1/incidents/{one}/acknowledge"), "", Role::Responder),
        (
            format!("/api/v1/incidents/{one}/resolve"),
            r#"{"resolution":"fixed"}"#,
            Role::Responder,
        ),
        (
            format!("/api/v1/incidents/{one}/run"),
            r#"{"verb":"pause"}"#,
            Role::Responder,
        ),
        (
            format!("/api/v1/incidents/{one}/propose"),
            r#"{"action":{"type":"restart","target":{"cluster":"default","namespace":"shop","kind":"deployment","name":"api"}},"reason":"stuck"}"#,
            Role::Responder,
        ),
        (
            format!("/api/v1/remediations/{one}/approve"),
            r#"{"plan_hash":"h"}"#,
            Role::Approver,
        ),
        (
            format!("/api/v1/remediations/{one}/deny"),
            r#"{"reason":"no"}"#,
            Role::Approver,
        ),
        ("/api/v1/remediation/stop".to_owned(), r#"{"on":true}"#, Role::Approver),
        ("/api/v1/remediation/stop".to_owned(), r#"{"on":false}"#, Role::Admin),
        ("/api/v1/dead-letters/0/7/replay".to_owned(), "", Role::Admin),
        (
            "/api/v1/dead-letters/0/7/drop".to_owned(),
            r#"{"because":"known"}"#,
            Role::Admin,
        ),
    ];
    for (path, body, least) in &orders {
        let (app, notebook) = app(&settings());
        for role in [Role::Viewer, Role::Responder, Role::Approver, Role::Admin] {
            let (status, text) = ask(&app, "POST", path, Some(role.as_str()), body).await;
            let expected = if role >= *least {
                StatusCode::ACCEPTED
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(status, expected, "{path} as {role:?}: {text}");
            assert!(status != StatusCode::FORBIDDEN || !text.contains("detail"), "{text}");
        }
        for stranger in [None, Some("guess"), Some("")] {
            let (status, text) = ask(&app, "POST", path, stranger, body).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!text.contains("detail"), "a stranger is told nothing: {text}");
        }
        let ordered = notebook.0.lock().unwrap().clone();
        assert!(ordered.iter().all(|order| order.starts_with("human:")), "{ordered:?}");
        assert_eq!(
            ordered.len(),
            if *least == Role::Admin {
                1
            } else if *least == Role::Approver {
                2
            } else {
                3
            }
        );
    }
}

#[tokio::test]
async fn silences_need_a_responder_and_say_what_is_wrong() {
    let (app, _) = app(&settings());
    let body = r#"{"services":["api"],"duration":"2h","comment":"a move"}"#;
    let end = format!("/api/v1/silences/{}/end", id(1));
    for role in [Role::Viewer, Role::Responder, Role::Approver, Role::Admin] {
        let token = Some(role.as_str());
        assert_eq!(
            ask(&app, "GET", "/api/v1/silences?all=true", token, "").await.0,
            StatusCode::OK
        );
        let may = role >= Role::Responder;
        // The desk of this test takes none.
        let expected = |code| if may { code } else { StatusCode::FORBIDDEN };
        let (declared, _) = ask(&app, "POST", "/api/v1/silences", token, body).await;
        assert_eq!(declared, expected(StatusCode::CONFLICT));
        assert_eq!(
            ask(&app, "POST", &end, token, "").await.0,
            expected(StatusCode::NOT_FOUND)
        );
    }
    assert_eq!(
        ask(&app, "POST", "/api/v1/silences", None, body).await.0,
        StatusCode::UNAUTHORIZED
    );
    for (method, path, body, word) in [
        ("POST", "/api/v1/silences", r#"{"services":["api"]}"#, "comment"),
        (
            "POST",
            "/api/v1/silences",
            r#"{"severities":["loud"],"comment":"x"}"#,
            "severities",
        ),
        (
            "POST",
            "/api/v1/silences",
            r#"{"service":"api","comment":"x"}"#,
            "service",
        ),
        ("POST", "/api/v1/silences", r#"{"title":7,"comment":"x"}"#, "title"),
        ("POST", "/api/v1/sql", "{}", "query"),
        ("POST", "/api/v1/sql", r#"{"query":"select 1","rows":3}"#, "rows"),
        ("POST", "/api/v1/silences/seven/end", "", "UUID"),
        ("GET", "/api/v1/silences?all=maybe", "", "maybe"),
        ("GET", "/api/v1/silences?of=me", "", "incident"),
    ] {
        let (status, text) = ask(&app, method, path, Some("admin"), body).await;
        if method == "POST" && !body.is_empty() {
            let problem: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(problem["field"], word, "{text}");
        }
        assert!(
            status.is_client_error() && text.contains(word),
            "{path} {body}: {status} {text}"
        );
    }
}

#[tokio::test]
async fn what_is_open_to_read_is_not_open_to_order() {
    let (app, notebook) = app(&GatewaySettings::default());
    assert_eq!(ask(&app, "GET", "/api/v1/runs", None, "").await.0, StatusCode::OK);
    let path = format!("/api/v1/incidents/{}/acknowledge", id(1));
    assert_eq!(ask(&app, "POST", &path, None, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        ask(&app, "POST", &path, Some("x"), "").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert!(notebook.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_read_token_reads() {
    let settings = GatewaySettings {
        read_tokens: vec!["reader".into()],
        ..settings()
    };
    let (app, _) = app(&settings);
    assert_eq!(
        ask(&app, "GET", "/api/v1/remediations", Some("reader"), "").await.0,
        StatusCode::OK
    );
    assert_eq!(
        ask(&app, "GET", "/api/v1/remediations", Some("admin"), "").await.0,
        StatusCode::OK
    );
    assert_eq!(
        ask(&app, "GET", "/api/v1/remediations", None, "").await.0,
        StatusCode::UNAUTHORIZED
    );
    let path = format!("/api/v1/remediations/{}/approve", id(1));
    let body = r#"{"plan_hash":"h"}"#;
    assert_eq!(
        ask(&app, "POST", &path, Some("reader"), body).await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn faults_name_the_field() {
    let (app, notebook) = app(&settings());
    let long = format!(r#"{{"resolution":"{}"}}"#, "x".repeat(2_001));
    let cases: &[(String, &str, StatusCode, &str)] = &[
        (
            "/api/v1/incidents/nonsense/acknowledge".into(),
            "",
            StatusCode::BAD_REQUEST,
            "UUID",
        ),
        (
            format!("/api/v1/incidents/{}/acknowledge", id(404)),
            "",
            StatusCode::NOT_FOUND,
            "incident",
        ),
        (
            format!("/api/v1/incidents/{}/resolve", id(1)),
            r#"{"resolution":""}"#,
            StatusCode::BAD_REQUEST,
            "resolution",
        ),
        (
            format!("/api/v1/incidents/{}/resolve", id(1)),
            &long,
            StatusCode::BAD_REQUEST,
            "2000",
        ),
        (
            format!("/api/v1/incidents/{}/resolve", id(1)),
            "{",
            StatusCode::BAD_REQUEST,
            "EOF",
        ),
        (
            format!("/api/v1/incidents/{}/run", id(1)),
            r#"{"verb":"explode"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "explode",
        ),
        (
            format!("/api/v1/incidents/{}/propose", id(1)),
            r#"{"action":{"type":"github_rerun","repository":"shop/api","run":7,"attempt":1},"reason":"it died"}"#,
            StatusCode::BAD_REQUEST,
            "github is not configured",
        ),
        (
            format!("/api/v1/incidents/{}/propose", id(1)),
            r#"{"action":{"type":"delete_everything"},"reason":"why not"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "delete_everything",
        ),
        (
            format!("/api/v1/remediations/{}/approve", id(1)),
            r#"{"plan_hash":"h","target":"other"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
            "target",
        ),
        (
            format!("/api/v1/remediations/{}/approve", id(409)),
            r#"{"plan_hash":"h"}"#,
            StatusCode::CONFLICT,
            "waits",
        ),
        (
            format!("/api/v1/remediations/{}/approve", id(503)),
            r#"{"plan_hash":"h"}"#,
            StatusCode::SERVICE_UNAVAILABLE,
            "try again",
        ),
    ];
    for (path, body, expected, word) in cases {
        let (status, text) = ask(&app, "POST", path, Some("admin"), body).await;
        assert_eq!(status, *expected, "{path} {body}: {text}");
        assert!(text.contains(word) && !text.contains("s3cret"), "{text}");
    }
    assert!(notebook.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_evidence_pack_comes_as_it_is_and_other_controls_are_not_there() {
    let (app, _) = app(&settings());
    let get = async |path: &str| ask(&app, "GET", path, Some("viewer"), "").await;
    let (status, pack) = get("/api/v1/compliance/SOC2:CC8.1/evidence").await;
    assert_eq!((status, pack.as_str()), (StatusCode::OK, "{}\n"));
    for path in [
        "/api/v1/compliance/SOC2:CC9.9/evidence",
        "/api/v1/compliance/SOC2:CC9.9",
    ] {
        let (status, text) = get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(text.contains("no policy serves a control"), "{text}");
    }
}

#[tokio::test]
async fn the_document_names_routes_that_are_there() {
    let (app, _) = app(&settings());
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let path_of = path
                .replace("{id}", &id(1))
                .replace("{partition}/{offset}", "0/7")
                .replace("{control}", "SOC2:CC8.1");
            let asked = format!("/api/v1{path_of}");
            let (status, _) = ask(&app, &method.to_uppercase(), &asked, Some("viewer"), "{}").await;
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            // Signing in changes nothing but who is known, and a query nothing at all.
            if method == "post" && !matches!(path.as_str(), "/sessions" | "/sql") {
                let needs: &str = operation["x-role"].as_str().unwrap();
                assert_ne!(needs, "viewer", "{path} changes something");
                assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
            }
            let (status, text) = ask(&app, &method.to_uppercase(), &asked, Some("admin"), "{}").await;
            assert!(!text.contains("there is nothing at"), "{status} {method} {path}");
        }
    }
    let (status, served) = ask(&app, "GET", "/api/v1/openapi.json", Some("viewer"), "").await;
    assert_eq!(
        (status, serde_json::from_str::<Value>(&served).unwrap()),
        (StatusCode::OK, document)
    );
}
