use axum::http::HeaderValue;

use super::*;

fn headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
}

#[test]
fn forms_are_unwrapped() {
    let form = headers("application/x-www-form-urlencoded; charset=utf-8");
    let json = Github.unwrapped(&form, b"payload=%7B%22zen%22%3A%22x%22%7D").unwrap();
    assert_eq!(json.as_deref(), Some(&br#"{"zen":"x"}"#[..]));
    let refusal = Github.unwrapped(&form, b"{}").unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.field.as_deref()),
        ("malformed-form", Some("payload"))
    );
    for kind in ["application/json", "application/x-www-form"] {
        assert_eq!(Github.unwrapped(&headers(kind), b"payload=1").unwrap(), None);
    }
}

#[test]
fn shapes() {
    let check = |body: &str| Github.check(&HeaderMap::new(), body.as_bytes());
    for taken in [
        "{}",
        r#"{"zen":"x","hook_id":1}"#,
        r#"{"action":null,"repository":{},"alerts":[]}"#,
    ] {
        check(taken).unwrap();
    }
    for (body, reason) in [
        ("[]", "wrong-top-level"),
        ("{", "malformed-json"),
        (r#"{"action":1}"#, "wrong-type"),
        (r#"{"alerts":[]}"#, "wrong-endpoint"),
        (r#"{"action":"a","action":"b"}"#, "duplicate-field"),
    ] {
        assert_eq!(check(body).unwrap_err().reason, reason, "{body}");
    }
}

#[test]
fn only_the_body_identifies_a_delivery() {
    let key = |event: &'static str| {
        let mut headers = headers("application/json");
        headers.insert("x-github-event", HeaderValue::from_static(event));
        headers.insert("x-github-delivery", HeaderValue::from_static(event));
        crate::webhook::senders::delivery_key("github", &Github, &headers, b"{}")
    };
    assert_eq!(key("push"), key("deployment"));
}
