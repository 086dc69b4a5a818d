//! What the door answers, with the page or without it: this test runs in both.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::get;
use dashboard::{DashboardSettings, router};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

async fn ask(method: &str, path: &str) -> (StatusCode, HeaderMap, String) {
    let beside = Router::new().route("/api/v1/incidents", get(async || "[]"));
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = router(beside).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8_lossy(&bytes).into_owned(),
    )
}

#[tokio::test]
async fn every_path_is_the_page_and_no_script_but_its_own_runs() {
    for path in ["/", "/incidents/0190", "/index.html", "/control"] {
        let (status, headers, text) = ask("GET", path).await;
        assert!(
            matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE),
            "{path} {status}"
        );
        assert!(text.contains("<title>Aegis"), "{path}: {text}");
        assert!(!text.contains("<script>"), "{path}: {text}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_ne!(
            headers.get("cache-control").unwrap(),
            "public, max-age=31536000, immutable"
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(text.contains("make web"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_stands_beside_it_answers_and_what_is_not_there_is_said() {
    assert_eq!(ask("GET", "/api/v1/incidents").await.2, "[]");
    let (status, headers, _) = ask("GET", "/api/v1/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(ask("GET", "/assets/of-another-build.js").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask("POST", "/").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn beyond_loopback_it_needs_a_token() {
    let at = |listen: &str| DashboardSettings {
        listen: listen.parse().unwrap(),
        ..DashboardSettings::default()
    };
    assert!(at("127.0.0.1:3000").faults(false).is_empty());
    assert!(at("0.0.0.0:3000").faults(true).is_empty());
    assert_eq!(at("0.0.0.0:3000").faults(false).len(), 1);
}
