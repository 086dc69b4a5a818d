//! What is refused, how the refusal names it, and that neighbours go on.

use operators::normalize::NormalizeSettings;

use crate::support::{am_alert, am_body, run, run_as, run_with};

const GOOD: &str = r#""labels":{"alertname":"A"}"#;

#[test]
fn whole_bodies() {
    let check = |body: &[u8], reason: &str, detail: &str| {
        let outcome = run(body.to_vec());
        assert_eq!(outcome.rejects.len(), 1, "{outcome:?}");
        let reject = &outcome.rejects[0];
        assert_eq!((reject.reason, reject.index), (reason, None), "{reject:?}");
        assert!(reject.detail.contains(detail), "{reject:?}");
    };
    check(b"", "malformed_json", "empty");
    check(b" \n", "malformed_json", "empty");
    check(b"<xml/>", "malformed_json", "line 1, column 1");
    check(b"{\"version\":\"4\",\n \"alerts\": [", "malformed_json", "line 2");
    check(
        b"{\"version\":\"4\",\"alerts\":[]} trailing",
        "malformed_json",
        "trailing",
    );
    check(
        b"{\"version\":\"4\",\"alerts\":{}}",
        "wrong_type",
        "/alerts: invalid type: map, expected an array",
    );
    check(
        b"{\"version\":\"4\",\"alerts\":[],\"alerts\":[]}",
        "duplicate_key",
        "/alerts",
    );
    check(b"42", "wrong_type", "expected an object");
    check(b"[1,2]", "wrong_type", "expected an object");
    check(b"{\"a\":\"\xff\"}", "invalid_utf8", "byte 6 ");
    check(b"{\"version\":\"4\",\"alerts\":[\"\\x\"]}", "malformed_json", "escape");
}

#[test]
fn fields_are_named() {
    let check = |members: &str, reason: &str, field: &str| {
        let body = am_body(&[am_alert(GOOD), format!("{{{members}}}"), am_alert(GOOD)]);
        let outcome = run(body);
        assert_eq!(
            outcome.signals.iter().map(|s| s.origin.index).collect::<Vec<_>>(),
            [0, 2],
            "neighbours go on"
        );
        assert_eq!(
            outcome.faults(),
            [(reason, Some(&*format!("/alerts/1{field}")))],
            "{:?}",
            outcome.rejects
        );
        assert_eq!(outcome.rejects[0].index, Some(1));
        assert!(
            outcome.rejects[0].detail.starts_with(&format!("/alerts/1{field}")),
            "{:?}",
            outcome.rejects
        );
    };
    let start = r#""startsAt":"2026-11-23T08:48:26Z""#;
    let firing = r#""status":"firing""#;
    check(&format!("{firing},{GOOD}"), "missing_field", "/startsAt");
    check(
        &format!(r#"{firing},{GOOD},"startsAt":null"#),
        "missing_field",
        "/startsAt",
    );
    check(
        &format!(r#"{firing},{GOOD},"startsAt":"0001-01-01T00:00:00Z""#),
        "missing_field",
        "/startsAt",
    );
    check(
        &format!(r#"{firing},{GOOD},"startsAt":"yesterday""#),
        "bad_time",
        "/startsAt",
    );
    check(&format!(r#"{firing},{GOOD},"startsAt":17"#), "wrong_type", "/startsAt");
    check(
        &format!(r#"{firing},{GOOD},{start},"endsAt":"10000-01-01T00:00:00Z""#),
        "bad_time",
        "/endsAt",
    );
    check(&format!("{GOOD},{start}"), "missing_field", "/status");
    check(&format!(r#""status":"pending",{GOOD},{start}"#), "bad_value", "/status");
    check(&format!(r#""status":1,{GOOD},{start}"#), "wrong_type", "/status");
    check(&format!("{firing},{start}"), "missing_field", "/labels");
    check(&format!(r#"{firing},{start},"labels":[]"#), "wrong_type", "/labels");
    check(
        &format!(r#"{firing},{start},"labels":{{"a/b~c":5}}"#),
        "wrong_type",
        "/labels/a~1b~0c",
    );
    check(
        &format!(r#"{firing},{start},"labels":{{"a":null}}"#),
        "wrong_type",
        "/labels/a",
    );
    check(
        &format!(r#"{firing},{start},"labels":{{"b":"1","a":"1","b":"2"}}"#),
        "duplicate_key",
        "/labels/b",
    );
    check(
        &format!(r#"{firing},{start},{GOOD},{firing}"#),
        "duplicate_key",
        "/status",
    );
    check(
        &format!(r#"{firing},{start},{GOOD},{start}"#),
        "duplicate_key",
        "/startsAt",
    );
    check(
        &format!(r#"{firing},{start},{GOOD},{GOOD}"#),
        "duplicate_key",
        "/labels",
    );
    check(
        &format!(r#"{firing},{start},{GOOD},"annotations":"none""#),
        "wrong_type",
        "/annotations",
    );
    check(
        &format!(r#"{firing},{start},"labels":{{"a":"{}"}}"#, "x".repeat(65_537)),
        "too_large",
        "/labels/a",
    );
    let many: Vec<String> = (0..257).map(|i| format!("\"l{i:03}\":\"v\"")).collect();
    check(
        &format!(r#"{firing},{start},"labels":{{{}}}"#, many.join(",")),
        "too_large",
        "/labels",
    );
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    check(
        &format!(r#"{firing},{start},{GOOD},"deep":{deep}"#),
        "too_deep",
        "/deep",
    );
    check(
        &format!(r#"{firing},{start},{GOOD},"half":"\ud800""#),
        "malformed_json",
        "/half",
    );
}

#[test]
fn of_members_that_decide_nothing_the_last_counts() {
    let alert = am_alert(&format!(
        r#"{GOOD},"annotations":{{"x":"1"}},"annotations":{{"b":"1","a":"1","b":"2"}},"note":1,"note":2"#
    ));
    let signal = run(am_body(&[alert])).one();
    assert_eq!(signal.annotations, r#"{"a":"1","b":"2"}"#);
    assert!(signal.extra.unwrap().contains("\"note\":2"));
}

#[test]
fn places_are_absolute() {
    let outcome = run("{\"version\":\"4\",\n\"alerts\":[\n  {\"status\":\"firing\",\n   \"labels\":5}]}");
    assert_eq!(
        outcome.rejects[0].detail,
        "/alerts/0/labels: invalid type: integer `5`, expected an object of strings (line 4, column 13)"
    );
    let outcome = run_as(
        "events",
        "{\"specversion\":\"1.0\",\n  \"data\": {\"severity\":\n [1]}}",
    );
    assert_eq!(outcome.faults(), [("wrong_type", Some("/data/severity"))]);
    assert!(
        outcome.rejects[0].detail.ends_with("(line 3, column 2)"),
        "{:?}",
        outcome.rejects
    );
}

#[test]
fn cloudevents() {
    let check = |body: &str, reason: &str, field: &str| {
        assert_eq!(
            run_as("events", body.to_owned()).faults(),
            [(reason, Some(field))],
            "{body}"
        );
    };
    let event = |data: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t","data":{{{data}}}}}"#);
    check("{}", "missing_field", "/specversion");
    check(
        r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#,
        "bad_value",
        "/specversion",
    );
    check(
        r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#,
        "missing_field",
        "/id",
    );
    check(
        r#"{"specversion":"1.0","id":"1","type":"t"}"#,
        "missing_field",
        "/source",
    );
    check(
        r#"{"specversion":"1.0","id":"1","source":"s"}"#,
        "missing_field",
        "/type",
    );
    check(
        r#"[{"specversion":"1.0","id":"1","source":"s"}]"#,
        "missing_field",
        "/0/type",
    );
    check(&event(r#""status":"open""#), "bad_value", "/data/status");
    check(&event(r#""kind":"page""#), "bad_value", "/data/kind");
    check(
        &event(r#""status":"resolved","dedup_key":"k""#),
        "missing_field",
        "/data/starts_at",
    );
    check(&event(r#""labels":{"shard":3}"#), "wrong_type", "/data/labels/shard");
    check(
        &event(r#""dedup_key":"k","dedup_key":"l""#),
        "duplicate_key",
        "/data/dedup_key",
    );
    check(
        &event(&format!(r#""x":{}{}"#, "[".repeat(150), "]".repeat(150))),
        "too_deep",
        "/data/x",
    );

    let binary = |headers: &[(&str, &str)], body: &'static str| {
        run_with(NormalizeSettings::default(), body, headers)
            .faults()
            .iter()
            .map(|f| (f.0.to_owned(), f.1.map(str::to_owned)))
            .collect::<Vec<_>>()
    };
    let good = [
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "s"),
        ("ce_type", "t"),
    ];
    assert_eq!(
        binary(&good[..3], "{}"),
        [("missing_field".to_owned(), Some("/type".to_owned()))]
    );
    assert_eq!(
        binary(&[&good[..], &[("ce_id", "2")]].concat(), "{}"),
        [("duplicate_key".to_owned(), None)]
    );
    assert_eq!(
        binary(&[&good[..], &[("ce_time", "noon")]].concat(), "{}"),
        [("bad_time".to_owned(), None)]
    );
    assert_eq!(
        binary(&good, "{\"severity\":1}"),
        [("wrong_type".to_owned(), Some("/severity".to_owned()))]
    );
    assert_eq!(
        binary(&good, "{\"severity\""),
        [("malformed_json".to_owned(), Some("/severity".to_owned()))]
    );
}

#[test]
fn flat_lines_are_refused_one_by_one() {
    let good = r#"{"ts":1760000040000,"fingerprint":"f"}"#;
    let outcome = run(format!(
        "{good}\n{{broken\n{good}\n{{\"ts\":\"x\",\"fingerprint\":\"f\"}}\n"
    ));
    assert_eq!(
        outcome.signals.iter().map(|s| s.origin.index).collect::<Vec<_>>(),
        [0, 2]
    );
    assert_eq!(outcome.faults(), [("malformed_json", None), ("bad_time", Some("/ts"))]);
    assert_eq!(
        outcome.rejects.iter().map(|r| r.index).collect::<Vec<_>>(),
        [Some(1), Some(3)]
    );
    assert!(outcome.rejects[1].detail.contains("line 4"), "{:?}", outcome.rejects);
    let outcome = run(format!("{{broken\n{good}\n"));
    assert_eq!(
        (outcome.signals.len(), outcome.faults()),
        (1, vec![("malformed_json", None)]),
        "also when the first is broken"
    );
    let flat = |body: &'static str| {
        run_as("flat", body)
            .faults()
            .into_iter()
            .map(|f| (f.0.to_owned(), f.1.map(str::to_owned)))
            .next()
    };
    assert_eq!(
        flat(r#"{"fingerprint":"f"}"#),
        Some(("missing_field".to_owned(), Some("/ts".to_owned())))
    );
    assert_eq!(
        flat(r#"{"ts":1}"#),
        Some(("missing_field".to_owned(), Some("/fingerprint".to_owned())))
    );
    assert_eq!(
        flat(r#"{"ts":1e300,"fingerprint":"f"}"#),
        Some(("bad_time".to_owned(), Some("/ts".to_owned())))
    );
    assert_eq!(
        flat(r#"{"ts":1,"fingerprint":"f","status":"odd"}"#),
        Some(("bad_value".to_owned(), Some("/status".to_owned())))
    );
}

#[test]
fn sizes_are_bounded() {
    let pairs: Vec<String> = (0..10)
        .map(|i| format!("\"l{i}\":\"{}\"", "x".repeat(60_000)))
        .collect();
    let outcome = run(am_body(&[am_alert(&format!("\"labels\":{{{}}}", pairs.join(",")))]));
    assert_eq!(outcome.faults(), [("too_large", Some("/alerts/0"))]);
    let long = format!(r#"{{"ts":1,"fingerprint":"{}"}}"#, "f".repeat(2_000));
    assert_eq!(run(long).faults(), [("too_large", None)]);
}

#[test]
fn ten_thousand_alerts_in_one_body() {
    let alerts: Vec<String> = (0..10_000)
        .map(|i| match i % 1_000 {
            999 => am_alert("\"labels\":7"),
            _ => am_alert(&format!(
                r#""labels":{{"alertname":"A","instance":"i{i}"}},"annotations":{{"summary":"{}"}}"#,
                "s".repeat(200)
            )),
        })
        .collect();
    let outcome = run(am_body(&alerts));
    assert_eq!((outcome.signals.len(), outcome.rejects.len()), (9_990, 10));
    assert_eq!(outcome.accounting.items_in, 10_000);
    assert_eq!(outcome.rejects[3].field.as_deref(), Some("/alerts/3999/labels"));
}
