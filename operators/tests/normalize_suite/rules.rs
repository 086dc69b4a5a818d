//! What does not depend on the sender: labels, severity, times, digests, settings.

use model::Severity;
use operators::normalize::NormalizeSettings;
use stream::Instant;

use crate::support::{RECEIVED_AT, am_alert, am_body, at, run, run_with};

fn labelled(labels: &str) -> model::Signal {
    run(am_body(&[am_alert(&format!("\"labels\":{{{labels}}}"))])).one()
}

#[test]
fn columns_come_from_labels() {
    let check = |labels: &str, service: Option<&str>, title: &str| {
        let signal = labelled(labels);
        assert_eq!(
            (signal.service.as_deref(), signal.title.as_str()),
            (service, title),
            "{labels}"
        );
    };
    check(r#""alertname":"A","service":"s","app":"a""#, Some("s"), "A on s");
    check(r#""alertname":"A","service":"","app":"a""#, Some("a"), "A on a");
    check(r#""alertname":"A","app.kubernetes.io/name":"n""#, Some("n"), "A on n");
    check(
        r#""alertname":"A","deployment":"d","instance":"i""#,
        Some("d"),
        "A on d",
    );
    check(
        r#""alertname":"A","job":"node","instance":"i:9100""#,
        None,
        "A on i:9100",
    );
    check(r#""alertname":"A","pod":"p""#, None, "A on p");
    check(r#""alertname":"A""#, None, "A");
    check(r#""x":"y""#, None, "Alert");

    let signal = labelled(r#""cluster":"c","kubernetes_namespace":"n","env":"prod","aegis_group":"g","tenant":"t""#);
    assert_eq!(
        (signal.cluster.as_deref(), signal.namespace.as_deref()),
        (Some("c"), Some("n"))
    );
    assert_eq!(
        (&*signal.environment, signal.group.as_deref(), &*signal.tenant),
        ("prod", Some("g"), "default")
    );
    let trusting = NormalizeSettings {
        tenant_label: "tenant".into(),
        ..NormalizeSettings::default()
    };
    let body = am_body(&[am_alert(r#""labels":{"tenant":"t"}"#)]);
    assert_eq!(run_with(trusting, body, &[]).one().tenant, "t");
}

#[test]
fn severities() {
    let check = |labels: &str, expected| assert_eq!(labelled(labels).severity, expected, "{labels}");
    check(r#""severity":"critical""#, Severity::Critical);
    check(r#""priority":"P2""#, Severity::Warning);
    check(r#""level":"info""#, Severity::Info);
    check(r#""severity":"banana""#, Severity::Warning);
    check(r#""alertname":"A""#, Severity::Warning);
    assert!(labelled(r#""severity":"banana""#).labels.contains("banana"));
}

#[test]
fn labels_are_canonical_text() {
    let signal = labelled(r#""b":"\u0000\"\\","a":"\u00e9\n""#);
    assert_eq!(signal.labels, "{\"a\":\"\u{e9}\\n\",\"b\":\"\\u0000\\\"\\\\\"}");
    assert_eq!(
        signal.id,
        labelled("\"a\":\"\u{e9}\\n\",  \"b\":\"\\u0000\\u0022\\u005c\"").id
    );
}

#[test]
fn times() {
    let check = |starts: &str, ends: &str, event: &str, effective: i64| {
        let status = if ends.is_empty() { "firing" } else { "resolved" };
        let alert = format!(
            "{{\"status\":\"{status}\",\"labels\":{{\"a\":\"b\"}},\"startsAt\":\"{starts}\",\"endsAt\":\"{}\"}}",
            if ends.is_empty() { "0001-01-01T00:00:00Z" } else { ends }
        );
        let outcome = run(am_body(&[alert]));
        assert_eq!(
            outcome.senders,
            [("alertmanager http://am:9093".to_owned(), Instant(effective))]
        );
        let signal = outcome.one();
        assert_eq!(
            (signal.event_at, signal.effective_at),
            (at(event), effective),
            "{starts} {ends}"
        );
    };
    let limit = RECEIVED_AT + 300_000_000;
    check(
        "2026-11-23T10:00:00+02:00",
        "",
        "2026-11-23T08:00:00Z",
        at("2026-11-23T08:00:00Z"),
    );
    check(
        "2026-11-23T08:00:00.123456789Z",
        "",
        "2026-11-23T08:00:00.123456Z",
        at("2026-11-23T08:00:00.123456Z"),
    );
    check("2026-11-23T08:54:59Z", "", "2026-11-23T08:54:59Z", limit - 1_000_000);
    check("2026-11-23T09:00:00Z", "", "2026-11-23T09:00:00Z", limit);
    check("9999-12-31T23:59:59Z", "", "9999-12-31T23:59:59Z", limit);
    check(
        "0001-01-01T00:00:01Z",
        "",
        "0001-01-01T00:00:01Z",
        at("0001-01-01T00:00:01Z"),
    );
    check(
        "2026-11-23T08:00:00Z",
        "2026-11-23T08:10:00Z",
        "2026-11-23T08:00:00Z",
        at("2026-11-23T08:10:00Z"),
    );
    // Kept as said: the end before the start.
    check(
        "2026-11-23T08:00:00Z",
        "2026-11-23T07:00:00Z",
        "2026-11-23T08:00:00Z",
        at("2026-11-23T07:00:00Z"),
    );
    check(
        "2026-11-23T08:00:00Z",
        "9999-01-01T00:00:00Z",
        "2026-11-23T08:00:00Z",
        limit,
    );
    // Resolved without an end: it ended when we heard of it.
    check(
        "2026-11-23T08:00:00Z",
        "0001-01-01T00:00:00Z",
        "2026-11-23T08:00:00Z",
        RECEIVED_AT,
    );
}

#[test]
fn the_receive_time_comes_from_the_record() {
    let body = am_body(&[am_alert(r#""labels":{"a":"b"}"#)]);
    let at = |headers: &[(&str, &str)]| run_with(NormalizeSettings::default(), body.clone(), headers).one();
    let (early, late) = (at(&[("aegis-received-at", "1795423710000000")]), at(&[]));
    assert_eq!(
        (early.observed_at, late.observed_at),
        (1_795_423_710_000_000, RECEIVED_AT)
    );
    assert_eq!(early.id, late.id);
}

#[test]
fn digests_tell_updates_from_repeats() {
    let base = labelled(r#""a":"b""#).digest;
    let with = |members: &str| {
        run(am_body(&[am_alert(&format!(r#""labels":{{"a":"b"}}{members}"#))]))
            .one()
            .digest
    };
    for repeat in [
        "",
        r#","annotations":{}"#,
        r#","generatorURL":"http://other""#,
        r#","endsAt":"2026-11-23T09:00:00Z""#,
        r#","fingerprint":"0123456789abcdef""#,
    ] {
        assert_eq!(with(repeat), base, "{repeat}");
    }
    for update in [r#","annotations":{"x":""}"#, r#","runbook":"r""#, r#","runbook":"s""#] {
        assert_ne!(with(update), base, "{update}");
    }
    assert_ne!(with(r#","runbook":"r""#), with(r#","runbook":"s""#));
}

#[test]
fn large_unknown_members_are_left_out_but_still_tell_updates() {
    let with = |value: &str| {
        run(am_body(&[am_alert(&format!(
            r#""labels":{{"a":"b"}},"blob":"{value}""#
        ))]))
        .one()
    };
    let (one, other) = (with(&"x".repeat(300_000)), with(&"y".repeat(300_000)));
    assert!(
        one.extra
            .as_deref()
            .unwrap()
            .contains("\"blob\":{\"omitted_bytes\":300002,\"xxh3\":\""),
        "{:?}",
        one.extra
    );
    assert_ne!(one.digest, other.digest);
}

#[test]
fn settings_are_checked() {
    assert!(serde_json::from_str::<NormalizeSettings>("{}").is_ok_and(|s| s == NormalizeSettings::default()));
    assert!(serde_json::from_str::<NormalizeSettings>(r#"{"tenat":"x"}"#).is_err());
}

/// A body that is sent again for some of its elements: only those are taken, the rest is accounted for.
#[test]
fn a_body_sent_again_for_some_elements() {
    let check = |items: &str, taken: &[u32], left_out: u64| {
        let alerts: Vec<String> = (0..4)
            .map(|n| am_alert(&format!("\"labels\":{{\"alertname\":\"A{n}\"}}")))
            .collect();
        let outcome = run_with(
            NormalizeSettings::default(),
            am_body(&alerts),
            &[("aegis-sender", "alertmanager"), ("aegis-items", items)],
        );
        let found: Vec<u32> = outcome.signals.iter().map(|signal| signal.origin.index).collect();
        assert_eq!(found, taken, "{items}");
        assert_eq!(outcome.accounting.suppressed.values().sum::<u64>(), left_out, "{items}");
    };
    check("2", &[2], 3);
    check("3,1", &[1, 3], 2);
    // What cannot be read leaves nothing out.
    check("", &[0, 1, 2, 3], 0);
    check("1,x", &[0, 1, 2, 3], 0);
}
