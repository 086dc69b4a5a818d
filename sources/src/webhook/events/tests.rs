use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Events;
use super::handshake::answer;
use crate::webhook::senders::Sender;

fn headers(list: &[(&str, &str)]) -> HeaderMap {
    list.iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

/// `expected`: reason and place of the refusal; `None`: taken.
#[track_caller]
fn check(sent: &[(&str, &str)], body: &str, expected: Option<(&str, &str)>) {
    let refusal = Events.check(&headers(sent), body.as_bytes()).err();
    let found = refusal
        .as_ref()
        .map(|refusal| (refusal.reason, refusal.place.as_deref().unwrap_or_default()));
    assert_eq!(found, expected, "{sent:?} {body}");
}

#[test]
fn structured() {
    let check = |body, expected| {
        check(
            &[("content-type", "Application/CloudEvents+JSON; charset=utf-8")],
            body,
            expected,
        )
    };
    check(
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{}}"#,
        None,
    );
    check(
        r#"{"specversion":"1.0","id":"1","source":"/s"}"#,
        Some(("missing-field", "/type")),
    );
    check(
        r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#,
        Some(("wrong-type", "/id")),
    );
    check(
        r#"{"specversion":"1.0","id":"","source":"/s","type":"t"}"#,
        Some(("empty-field", "/id")),
    );
    check(
        r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#,
        Some(("unsupported-version", "/specversion")),
    );
    check("[]", Some(("wrong-top-level", "/")));
    check("{", Some(("malformed-json", "line 1 column 1")));
}

#[test]
fn batch() {
    let check = |body, expected| {
        check(
            &[("content-type", "application/cloudevents-batch+json")],
            body,
            expected,
        )
    };
    check("[]", None);
    check(r#"[{"specversion":"1.0"}, 7]"#, None);
    check(r#"{"specversion":"1.0"}"#, Some(("wrong-top-level", "/")));
    check("[1,", Some(("malformed-json", "line 1 column 3")));
}

#[test]
fn binary() {
    let required = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let with = |content_type: &'static str| [&required[..], &[("content-type", content_type)]].concat();
    check(&required, "", None);
    check(&with("text/plain"), "not json", None);
    check(&with("application/json"), "{}", None);
    check(&with("application/json"), "", None);
    check(
        &with("application/json"),
        "{",
        Some(("malformed-json", "line 1 column 1")),
    );
    check(
        &with("application/vnd.x+json"),
        "{",
        Some(("malformed-json", "line 1 column 1")),
    );
    check(&required[..3], "", Some(("missing-field", "header ce-type")));
    check(
        &[("ce-specversion", "2.0")],
        "",
        Some(("unsupported-version", "header ce-specversion")),
    );
}

#[test]
fn neither() {
    check(
        &[("content-type", "application/json")],
        r#"{"specversion":"1.0"}"#,
        Some(("not-cloudevents", "header content-type")),
    );
    check(&[], "{}", Some(("not-cloudevents", "header content-type")));
    check(
        &[("content-type", "application/cloudevents+avro")],
        "x",
        Some(("unsupported-format", "header content-type")),
    );
}

#[test]
fn handshakes() {
    let response = answer(&headers(&[("webhook-request-origin", "eventemitter.example.com")]));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["webhook-allowed-origin"], "eventemitter.example.com");
    assert_eq!(response.headers()["webhook-allowed-rate"], "*");
    assert_eq!(answer(&HeaderMap::new()).status(), StatusCode::NO_CONTENT);
}

#[test]
fn kept_headers() {
    let check = |name: &str, expected: Option<&str>| assert_eq!(Events.keep_header(name).as_deref(), expected);
    check("ce-id", Some("ce-id"));
    check("traceparent", Some("http-traceparent"));
    check("aegis-sender", None);
}
