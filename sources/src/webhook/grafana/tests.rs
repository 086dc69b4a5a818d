use axum::http::HeaderMap;

use super::Grafana;
use crate::webhook::senders::Sender;

/// `expected`: reason and place of the refusal; `None`: taken.
#[track_caller]
fn check(body: &str, expected: Option<(&str, &str)>) {
    let refusal = Grafana.check(&HeaderMap::new(), body.as_bytes()).err();
    let found = refusal
        .as_ref()
        .map(|refusal| (refusal.reason, refusal.place.as_deref().unwrap_or_default()));
    assert_eq!(found, expected, "{body}");
}

#[test]
fn shapes() {
    check(
        r#"{"version":"1","status":"firing","alerts":[{"values":{"B":22.5}}],"truncatedAlerts":0}"#,
        None,
    );
    check(r#"{"alerts":[]}"#, None);
    // Payload templates of people's own.
    check(r#"{"version":"1","title":"custom"}"#, None);
    check(r#"{"alerts":"none","status":[]}"#, None);
    check("\"alerts\"", None);
    check(r#"{"alerts":[],"alerts":[]}"#, Some(("duplicate-field", "/alerts")));
    check(r#"{"alerts":[],"version":"4"}"#, Some(("wrong-endpoint", "/version")));
    check("{'alerts': []}", Some(("malformed-json", "line 1 column 2")));
}

#[test]
fn headers() {
    assert_eq!(
        Grafana.keep_header("x-grafana-alerting-signature").as_deref(),
        Some("http-x-grafana-alerting-signature")
    );
    assert_eq!(Grafana.keep_header("content-length"), None);
}
