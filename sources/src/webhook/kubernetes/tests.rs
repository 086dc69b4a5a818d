use axum::http::{HeaderMap, HeaderValue};

use super::{Kubernetes, shape};
use crate::webhook::senders::{Sender as _, delivery_key};

#[test]
fn shapes() {
    for taken in [
        r#"{"kind":"Event","metadata":{}}"#,
        r#"{"kind":"EventList","items":[]}"#,
        r#"{"involvedObject":{}}"#,
        " [{}]",
        r#"{"type":"ADDED","object":{}}"#,
    ] {
        shape::check(taken.as_bytes()).unwrap();
    }
    for (refused, reason, place) in [
        (r#"{"kind":"AdmissionReview","request":{}}"#, "wrong-endpoint", "/kind"),
        (r#"{"alerts":[]}"#, "missing-field", "/kind"),
        (r#"{"kind":5}"#, "wrong-type", "/kind"),
        (r#"{"items":{}}"#, "wrong-type", "/items"),
        ("5", "wrong-top-level", "/"),
    ] {
        let refusal = shape::check(refused.as_bytes()).unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.place.as_deref()),
            (reason, Some(place)),
            "{refused}"
        );
    }
}

#[test]
fn clusters_are_told_apart() {
    let of = |cluster: &'static str| {
        HeaderMap::from_iter([("x-aegis-cluster".parse().unwrap(), HeaderValue::from_static(cluster))])
    };
    assert_ne!(
        delivery_key("kubernetes", &Kubernetes, &of("a"), b"{}"),
        delivery_key("kubernetes", &Kubernetes, &of("b"), b"{}")
    );
    assert_eq!(
        Kubernetes.keep_header("x-aegis-cluster").as_deref(),
        Some("http-x-aegis-cluster")
    );
    // What the watch says cannot be said by a header of HTTP.
    assert_eq!(Kubernetes.keep_header("kubernetes-sighting"), None);
}
