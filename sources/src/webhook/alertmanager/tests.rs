use axum::http::HeaderMap;

use super::Alertmanager;
use crate::webhook::senders::Sender;

/// `expected`: reason and place of the refusal; `None`: taken.
#[track_caller]
fn check(body: &str, expected: Option<(&str, &str)>) {
    let refusal = Alertmanager.check(&HeaderMap::new(), body.as_bytes()).err();
    let found = refusal
        .as_ref()
        .map(|refusal| (refusal.reason, refusal.place.as_deref().unwrap_or_default()));
    assert_eq!(found, expected, "{body}");
}

#[test]
fn shapes() {
    check(
        r#"{"version":"4","status":"firing","alerts":[],"groupLabels":{}}"#,
        None,
    );
    check(
        r#"{"alerts":[{}, 7, {"labels":"wrong, but one alert's business"}]}"#,
        None,
    );
    check(r#"{"version":"5","alerts":[]}"#, None);
    check(r#"{"version":"4"}"#, Some(("missing-field", "/alerts")));
    check(r#"{"alerts":{}}"#, Some(("wrong-type", "/alerts")));
    check(r#"{"alerts":[],"version":4}"#, Some(("wrong-type", "/version")));
    check(
        r#"{"alerts":[],"commonLabels":[]}"#,
        Some(("wrong-type", "/commonLabels")),
    );
    check(r#"{"alerts":[],"version":"1"}"#, Some(("wrong-endpoint", "/version")));
    check(r#"[]"#, Some(("wrong-top-level", "/")));
    check("{\"alerts\":\n[}", Some(("malformed-json", "line 2 column 2")));
}

#[test]
fn headers() {
    assert_eq!(
        Alertmanager.keep_header("user-agent").as_deref(),
        Some("http-user-agent")
    );
    assert_eq!(Alertmanager.keep_header("x-other"), None);
}
