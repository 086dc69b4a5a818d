//! One table per sender: body, and what it says.

use model::{Severity, Signal, SignalKind, SignalState};
use operators::normalize::NormalizeSettings;
use serde_json::{Value, json};

use crate::support::{RECEIVED_AT, am_alert, am_body, at, essence, run, run_as, run_with};

const START: &str = "2026-11-23T08:48:26.002Z";
const END: &str = "2026-11-23T08:49:21Z";

fn extra(signal: &Signal) -> Value {
    serde_json::from_str(signal.extra.as_deref().unwrap_or("null")).unwrap()
}

fn grafana(alert: Value) -> String {
    json!({
        "receiver": "r", "status": "firing", "orgId": 2, "alerts": [alert], "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "https://g/", "appVersion": "12.1", "version": "1", "groupKey": "{}:{}",
        "truncatedAlerts": 3, "title": "t", "state": "alerting", "message": "m"
    })
    .to_string()
}

#[test]
fn grafana_alerts() {
    let firing = json!({
        "status": "firing", "labels": {"alertname": "Slow", "app": "cart", "level": "high"}, "annotations": {"description": "d"},
        "startsAt": START, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "https://g/x", "fingerprint": "c4f1e5",
        "silenceURL": "https://g/s", "dashboardURL": "", "panelURL": "", "values": {"B": 22.5}, "valueString": "[ B=22.5 ]",
        "ruleUID": "uid-1"
    });
    let outcome = run(grafana(firing.clone()));
    assert_eq!(
        outcome.senders,
        [("grafana 2 https://g/".to_owned(), stream::Instant(at(START)))]
    );
    let first = outcome.one();
    assert_eq!(
        essence(&first),
        (
            SignalState::Firing,
            "gf:2:c4f1e5",
            "grafana/fingerprint@1",
            Severity::Critical,
            "Slow on cart",
            Some("cart")
        )
    );
    assert_eq!((first.description.as_deref(), first.ends_at), (Some("d"), None));
    assert_eq!(extra(&first)["values"], json!({"B": 22.5}));
    assert_eq!(extra(&first)["ruleUID"], "uid-1");
    assert_eq!(extra(&first)["notification"]["truncatedAlerts"], 3);

    let mut again = firing.clone();
    again["values"] = json!({"B": 99});
    again["valueString"] = "[ B=99 ]".into();
    again["imageURL"] = "https://g/image".into();
    assert_eq!(run(grafana(again)).one().id, first.id, "a new measurement is a repeat");

    let mut changed = firing.clone();
    changed["annotations"]["description"] = "worse".into();
    assert_ne!(
        run(grafana(changed)).one().digest,
        first.digest,
        "a new text is an update"
    );

    let mut resolved = firing;
    resolved["status"] = "resolved".into();
    resolved["endsAt"] = END.into();
    let resolved = run(grafana(resolved)).one();
    assert_eq!(
        (resolved.state, resolved.ends_at, resolved.effective_at),
        (SignalState::Resolved, Some(at(END)), at(END))
    );
    assert_eq!(resolved.event_at, first.event_at);
}

#[test]
fn alertmanager_fingerprints() {
    let check = |members: &str, key: &str, rule: &str| {
        let signal = run(am_body(&[am_alert(members)])).one();
        assert_eq!(
            (signal.dedup_key.as_str(), signal.dedup_rule.as_str()),
            (key, rule),
            "{members}"
        );
    };
    let labels = "\"labels\":{\"alertname\":\"A\"}";
    check(
        &format!("{labels},\"fingerprint\":\"BD0E93A6D2B8627F\""),
        "am:bd0e93a6d2b8627f",
        "alertmanager/fingerprint@1",
    );
    // FNV-1a 64 of "alertname" ff "A" ff.
    check(labels, "am:d2c6efc389df0927", "alertmanager/labels@1");
    check(
        &format!("{labels},\"fingerprint\":\"custom\""),
        "am:d2c6efc389df0927",
        "alertmanager/labels@1",
    );
    check(
        &format!("{labels},\"fingerprint\":null"),
        "am:d2c6efc389df0927",
        "alertmanager/labels@1",
    );
}

#[test]
fn alertmanager_api_form() {
    let check = |body: &str, expected: &[(SignalState, Option<i64>)]| {
        let outcome = run(body.to_owned());
        assert_eq!(outcome.rejects, []);
        let found: Vec<_> = outcome.signals.iter().map(|s| (s.state, s.ends_at)).collect();
        assert_eq!(found, expected, "{body}");
    };
    let alert = |rest: &str| format!("[{{\"labels\":{{\"alertname\":\"A\"}},\"startsAt\":\"{START}\"{rest}}}]");
    // Of what fires the second is its term: as stated, or five minutes from when we heard of it.
    let five_minutes = Some(RECEIVED_AT + 300_000_000);
    check("[]", &[]);
    check(&alert(""), &[(SignalState::Firing, five_minutes)]);
    check(
        &alert(",\"endsAt\":\"2026-11-23T08:54:00Z\""),
        &[(SignalState::Firing, Some(at("2026-11-23T08:54:00Z")))],
    );
    // As `amtool alert add` sends it.
    let unstated = alert("").replace(START, "0001-01-01T00:00:00.000Z");
    check(&unstated, &[(SignalState::Triggered, five_minutes)]);
    check(
        &unstated.replace("}]", &format!(",\"endsAt\":\"{END}\"}}]")),
        &[(SignalState::Cleared, Some(at(END)))],
    );
    check(
        &alert(&format!(",\"endsAt\":\"{END}\"")),
        &[(SignalState::Resolved, Some(at(END)))],
    );
    check(
        &alert(",\"endsAt\":\"2026-11-23T08:50:00Z\""),
        &[(SignalState::Resolved, Some(RECEIVED_AT))],
    );
    // As `GET /api/v2/alerts` answers.
    check(
        &alert(
            ",\"status\":{\"inhibitedBy\":[],\"silencedBy\":[\"x\"],\"state\":\"suppressed\"},\"receivers\":[{\"name\":\"r\"}]",
        ),
        &[(SignalState::Firing, five_minutes)],
    );
}

#[test]
fn terms_are_no_content_and_empty_labels_none() {
    let alert = |labels: &str, end: &str| {
        let body = format!("[{{\"labels\":{labels},\"startsAt\":\"{START}\",\"endsAt\":\"{end}\"}}]");
        run_as("alertmanager-api", body).one()
    };
    let labels = r#"{"alertname":"A"}"#;
    let (first, again) = (
        alert(labels, "2026-11-23T08:54:00Z"),
        alert(labels, "2026-11-23T08:55:00Z"),
    );
    assert_eq!(
        (first.id, first.digest, first.effective_at),
        (again.id, again.digest, at(START))
    );
    let empty = alert(r#"{"alertname":"A","pod":""}"#, "2026-11-23T08:54:00Z");
    assert_eq!(empty.dedup_key, first.dedup_key);
    assert_eq!(
        (&*first.dedup_rule, &*empty.dedup_rule),
        ("alertmanager/labels@1", "alertmanager/labels@2")
    );
    let none = run_as("alertmanager-api", r#"[{"labels":{"a":""}}]"#);
    assert_eq!(none.faults(), [("missing_field", Some("/0/labels"))]);
}

#[test]
fn cloudevents_structured() {
    let event = |more: Value| {
        let mut event = json!({"specversion": "1.0", "id": "e1", "source": "https://ci/x", "type": "com.example.disk"});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run(event.to_string()).one()
    };
    let check = |more: Value, expected: (SignalKind, SignalState, Severity, &str, &str)| {
        let s = event(more.clone());
        assert_eq!(
            (s.kind, s.state, s.severity, &*s.dedup_key, &*s.dedup_rule),
            expected,
            "{more}"
        );
    };
    use {Severity::*, SignalKind::*, SignalState::*};
    check(
        json!({}),
        (Alert, Event, Info, "ce:https://ci/x:::e1", "events/source+id@1"),
    );
    check(
        json!({"subject": "disk:1"}),
        (
            Alert,
            Event,
            Info,
            "ce:https://ci/x::com.example.disk:disk%3A1",
            "events/source+type+subject@1",
        ),
    );
    check(
        json!({"data": {"dedup_key": "a:b%", "status": "firing"}}),
        (Alert, Firing, Warning, "ce:https://ci/x:a%3Ab%25", "events/dedup_key@1"),
    );
    check(
        json!({"data": {"fingerprint": "f", "status": "firing", "severity": "page"}}),
        (Alert, Firing, Critical, "ce:https://ci/x:f", "events/dedup_key@1"),
    );
    check(
        json!({"type": "com.example.Deployment.finished", "data": {"dedup_key": "d"}}),
        (Change, Event, Info, "ce:https://ci/x:d", "events/dedup_key@1"),
    );
    check(
        json!({"data": {"dedup_key": "k", "kind": "security", "severity": "banana"}}),
        (Security, Event, Warning, "ce:https://ci/x:k", "events/dedup_key@1"),
    );
    check(
        json!({"data": "text", "dataschema": "s"}),
        (Alert, Event, Info, "ce:https://ci/x:::e1", "events/source+id@1"),
    );

    let s = event(json!({
        "time": START, "group": "g1", "shard": 7, "data": {
            "title": "Disk full", "description": "d", "service": "cart", "environment": "prod", "status": "resolved",
            "starts_at": "2026-11-23T08:00:00Z", "ends_at": END, "dedup_key": "k", "labels": {"b": "2", "a": "1"},
            "annotations": {"x": "y"}, "more": {"z": 1, "y": [true]}
        }
    }));
    assert_eq!(
        (s.title.as_str(), s.description.as_deref(), s.service.as_deref()),
        ("Disk full", Some("d"), Some("cart"))
    );
    assert_eq!((s.environment.as_str(), s.group.as_deref()), ("prod", Some("g1")));
    assert_eq!((s.event_at, s.ends_at), (at("2026-11-23T08:00:00Z"), Some(at(END))));
    assert_eq!(
        (s.labels.as_str(), s.annotations.as_str()),
        (r#"{"a":"1","b":"2"}"#, r#"{"x":"y"}"#)
    );
    assert_eq!(
        s.extra.as_deref(),
        Some(
            r#"{"data":{"more":{"y":[true],"z":1}},"id":"e1","shard":7,"source":"https://ci/x","type":"com.example.disk"}"#
        )
    );

    let timed = event(json!({"time": START}));
    assert_eq!(
        (timed.event_at, extra(&timed)["time_from"].clone()),
        (at(START), Value::Null)
    );
    let untimed = event(json!({}));
    assert_eq!(
        (untimed.event_at, extra(&untimed)["time_from"].clone()),
        (RECEIVED_AT, json!("received_at"))
    );
}

#[test]
fn cloudevents_batch_and_binary_say_the_same() {
    let data = json!({"title": "T", "status": "firing", "dedup_key": "k", "starts_at": START, "x": 1});
    let event = json!({"specversion": "1.0", "id": "e1", "source": "s", "type": "t", "group": "g", "datacontenttype": "application/json", "data": data});
    let structured = run(event.to_string()).one();
    let batch = run(json!([event]).to_string()).one();
    let headers = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "e1"),
        ("ce_source", "s"),
        ("ce_type", "t"),
        ("ce_group", "g"),
    ];
    let binary = run_with(NormalizeSettings::default(), data.to_string(), &headers).one();
    assert_eq!(batch, structured);
    assert_eq!(binary, structured);

    let text = run_with(
        NormalizeSettings::default(),
        "disk \"full\"",
        &[&[("content-type", "text/plain")], &headers[1..]].concat(),
    )
    .one();
    assert_eq!(extra(&text)["data"], "disk \"full\"");
}

#[test]
fn flat_alerts_and_deployments() {
    // A line of the generator that the comparison with other engines uses.
    let alert = json!({
        "id": "a-0000000001", "ts": 1_760_000_040_000_i64, "fingerprint": "00c90fdb00000000", "source": "prometheus", "service": "svc-001",
        "severity": "critical", "status": "firing", "title": "Rule00 fired on svc-001 \"quoted\" \u{e9}",
        "labels": {"alertname": "Rule00", "cluster": "c1", "namespace": "ns1"}, "annotations": {"summary": "s"}, "value": 12.5,
        "generatorURL": "http://prom.example/graph"
    });
    let s = run(alert.to_string()).one();
    assert_eq!(
        essence(&s),
        (
            SignalState::Firing,
            "flat:prometheus:00c90fdb00000000",
            "flat/fingerprint@1",
            Severity::Critical,
            "Rule00 fired on svc-001 \"quoted\" \u{e9}",
            Some("svc-001")
        )
    );
    assert_eq!(
        (s.event_at, s.effective_at, s.observed_at),
        (1_760_000_040_000_000, 1_760_000_040_000_000, RECEIVED_AT)
    );
    assert_eq!(
        extra(&s),
        json!({"id": "a-0000000001", "value": 12.5, "generatorURL": "http://prom.example/graph", "source": "prometheus"})
    );

    let mut again = alert.clone();
    (again["id"], again["value"]) = ("a-2".into(), 13.into());
    assert_eq!(run(again.to_string()).one().id, s.id);

    let mut resolved = alert.clone();
    resolved["status"] = "resolved".into();
    assert_eq!(
        run(resolved.to_string()).faults(),
        [("missing_field", Some("/startsAt"))]
    );
    resolved["startsAt"] = 1_760_000_000_000_i64.into();
    let resolved = run(resolved.to_string()).one();
    assert_eq!(
        (resolved.event_at, resolved.ends_at),
        (1_760_000_000_000_000, Some(1_760_000_040_000_000))
    );

    let deployment = json!({"id": "d-1", "ts": 1_760_000_040_000_i64, "service": "cart", "version": "1.4", "actor": "kim", "commit": "60ab"});
    let d = run(deployment.to_string()).one();
    assert_eq!(
        (d.kind, d.state, d.severity),
        (SignalKind::Change, SignalState::Event, Severity::Info)
    );
    assert_eq!(
        (&*d.dedup_key, &*d.dedup_rule, &*d.title),
        ("flat:::cart:d-1", "flat/service+id@1", "Deployment of cart 1.4")
    );
    assert_eq!(
        extra(&d),
        json!({"id": "d-1", "version": "1.4", "actor": "kim", "commit": "60ab"})
    );

    let lines = format!("{alert}\n\n{deployment}\r\n{alert}\n");
    let outcome = run(lines);
    assert_eq!(
        outcome.signals.iter().map(|s| s.origin.index).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(outcome.signals[1].dedup_key, d.dedup_key);
    assert_eq!(run(json!([alert, deployment]).to_string()).signals.len(), 2);
}

#[test]
fn the_header_or_the_shape_decides() {
    let am = am_body(&[am_alert("\"labels\":{\"alertname\":\"A\"}")]);
    assert_eq!(run_as("alertmanager", am.clone()).one().source, "alertmanager");
    // An alert without a fingerprint is none of Grafana's.
    assert_eq!(run_as("grafana", am.clone()).one().source, "json");
    assert_eq!(run_as("nobody", am.clone()).faults(), [("unknown_sender", None)]);
    assert_eq!(run(format!("\u{feff}{am}")).one().source, "alertmanager");
    assert_eq!(run(am.replace("\"4\"", "\"5\"")).faults(), [("unknown_shape", None)]);
    assert_eq!(run("{\"hello\":\"world\"}").faults(), [("unknown_shape", None)]);
    assert!(run("{\"hello\":\"world\"}").rejects[0].detail.contains("hello"));
    assert_eq!(run(" { } ").faults(), [("unknown_shape", None)]);
    assert_eq!(run(am_body(&[])).signals, []);
    assert_eq!(run(am_body(&[]).replace("[]", "null")).signals.len(), 0);
}
