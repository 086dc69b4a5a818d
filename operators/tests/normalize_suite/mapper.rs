//! JSON by rules.

use std::collections::BTreeMap;

use model::{Severity, SignalKind, SignalState};
use operators::normalize::{MapperSettings, NormalizeSettings, TimeUnit};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Outcome, RECEIVED_AT, at, run_as, run_with};

fn rules() -> MapperSettings {
    MapperSettings {
        each: "$.checks[*]".into(),
        state: "$.state".into(),
        identity: vec!["$.id".into(), "$.host".into()],
        severity: "$.prio".into(),
        title: "$.name".into(),
        description: "$['long text']".into(),
        service: "shop".into(),
        environment: "$.tags.env".into(),
        at: "$.when".into(),
        time_unit: TimeUnit::Milliseconds,
        labels: BTreeMap::from([("host".into(), "$.host".into()), ("team".into(), "payments".into())]),
        labels_from: vec!["$.tags".into()],
        ..MapperSettings::default()
    }
}

fn settings(name: &str, rules: MapperSettings) -> NormalizeSettings {
    let settings = NormalizeSettings {
        json: BTreeMap::from([(name.to_owned(), rules)]),
        ..NormalizeSettings::default()
    };
    assert_eq!(settings.faults(), []);
    settings
}

fn mapped(rules: MapperSettings, body: &Value) -> Outcome {
    run_with(settings("n", rules), body.to_string(), &[("aegis-sender", "json/n")])
}

#[test]
fn by_rules() {
    let when = RECEIVED_AT / 1_000 - 5_000;
    let body = json!({"poll": 7, "checks": [
        {"id": 12, "host": "h1", "state": "DOWN", "prio": "P1", "name": "ping", "when": when,
         "long text": "no answer", "tags": {"env": "prod", "host": "not this", "n": 1.5, "list": [1]}, "other": [true]},
        {"id": 12, "host": "h2", "state": "up", "when": when},
        {"id": 13, "host": "h1", "state": "ack", "when": when},
    ]});
    let outcome = mapped(rules(), &body);
    assert_eq!(outcome.rejects, []);
    let [down, up, ack] = &outcome.signals[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((down.kind, down.state), (SignalKind::Alert, SignalState::Triggered));
    assert_eq!(
        (down.dedup_key.as_str(), down.dedup_rule.as_str()),
        ("json:n:12:h1", "json/n@1")
    );
    assert_eq!((down.event_at, down.ends_at), (when * 1_000, None));
    assert_eq!((down.severity, down.title.as_str()), (Severity::Critical, "ping"));
    assert_eq!(down.description.as_deref(), Some("no answer"));
    assert_eq!(
        (down.service.as_deref(), down.environment.as_str()),
        (Some("shop"), "prod")
    );
    assert_eq!(down.labels, r#"{"env":"prod","host":"h1","n":"1.5","team":"payments"}"#);
    let extra: Value = serde_json::from_str(down.extra.as_deref().unwrap()).unwrap();
    assert_eq!(extra["body"], body["checks"][0], "the whole element is kept");
    assert_eq!(
        (up.state, up.ends_at, up.title.as_str()),
        (SignalState::Cleared, Some(when * 1_000), "n 12 h2")
    );
    assert_eq!(
        (ack.state, ack.dedup_key.as_str()),
        (SignalState::Acknowledged, "json:n:13:h1")
    );
    // What the rules do not name is no content.
    let mut other = body.clone();
    other["checks"][0]["other"] = json!("changed");
    other["checks"][0]["when"] = json!(when - 1);
    assert_eq!(mapped(rules(), &other).signals[0].digest, down.digest);
}

#[test]
fn a_stated_start_names_the_firing() {
    let rules = MapperSettings {
        each: String::new(),
        starts_at: "$.since".into(),
        ends_at: "$.until".into(),
        ..rules()
    };
    let body = |state: &str| json!({"id": 1, "host": "h", "state": state, "since": "2026-11-23T08:40:00Z", "until": "2026-11-23T08:45:00Z"});
    let (start, end) = (at("2026-11-23T08:40:00Z"), at("2026-11-23T08:45:00Z"));
    let firing = mapped(rules.clone(), &body("open")).one();
    assert_eq!(
        (firing.state, firing.event_at, firing.ends_at),
        (SignalState::Firing, start, None)
    );
    let resolved = mapped(rules, &body("closed")).one();
    assert_eq!(
        (resolved.state, resolved.event_at, resolved.ends_at),
        (SignalState::Resolved, start, Some(end))
    );
    assert_eq!(firing.dedup_key, resolved.dedup_key);
}

#[test]
fn without_a_state_it_happened() {
    let rules = MapperSettings {
        kind: "change".into(),
        title: "$.what".into(),
        service: "$.service".into(),
        identity: vec!["$.build".into()],
        version: 3,
        ..MapperSettings::default()
    };
    let signal = mapped(rules, &json!({"what": "Deployed 7", "service": "cart", "build": 7})).one();
    assert_eq!((signal.kind, signal.state), (SignalKind::Change, SignalState::Event));
    assert_eq!(
        (signal.dedup_key.as_str(), signal.dedup_rule.as_str()),
        ("json:n:7", "json/n@3")
    );
    assert_eq!(signal.event_at, RECEIVED_AT);
}

#[test]
fn without_rules_it_is_an_info_signal_with_the_whole_body() {
    let body = r#"{"b":[1,{"c":null}],"a":"x"}"#;
    for sender in ["json", "json/nobody"] {
        let signal = run_as(sender, body).one();
        assert_eq!((signal.state, signal.severity), (SignalState::Event, Severity::Info));
        assert_eq!(
            signal.extra.as_deref(),
            Some(r#"{"body":{"a":"x","b":[1,{"c":null}]}}"#)
        );
        assert_eq!(signal.dedup_rule, "json/body@1");
        assert_eq!(signal, run_as(sender, body).one());
        assert_ne!(signal.dedup_key, run_as(sender, "[1]").one().dedup_key);
    }
    assert_eq!(run_as("json", "{").faults(), [("malformed_json", None)]);
}

#[test]
fn custom_payloads_of_grafana() {
    let own = r#"{"summary":"3 alerts","link":"https://g/1"}"#;
    let signal = run_as("grafana", own).one();
    assert_eq!((signal.source.as_str(), signal.state), ("json", SignalState::Event));
    assert!(signal.dedup_key.starts_with("json:grafana:"), "{}", signal.dedup_key);
    // Elements that are not Grafana's alerts, beside one that is.
    let mixed = r#"{"version":"1","orgId":1,"alerts":[{"name":"x","firing":true},
        {"status":"firing","labels":{"alertname":"A"},"startsAt":"2026-11-23T08:48:26Z","fingerprint":"f"}]}"#;
    let outcome = run_as("grafana", mixed);
    assert_eq!(outcome.rejects, []);
    let keys: Vec<&str> = outcome.signals.iter().map(|signal| signal.source.as_str()).collect();
    assert_eq!(keys, ["json", "grafana"]);
    // With rules.
    let rules = MapperSettings {
        each: "$.alerts[*]".into(),
        state: "$.is".into(),
        identity: vec!["$.name".into()],
        ..MapperSettings::default()
    };
    let body = r#"{"alerts":[{"name":"x","is":"firing"},{"name":"y","is":"resolved"}]}"#;
    let outcome = run_with(settings("grafana", rules.clone()), body, &[("aegis-sender", "grafana")]);
    let found: Vec<_> = outcome
        .signals
        .iter()
        .map(|signal| (signal.dedup_key.as_str(), signal.state))
        .collect();
    let wanted = [
        ("json:grafana:x", SignalState::Triggered),
        ("json:grafana:y", SignalState::Cleared),
    ];
    assert_eq!(found, wanted);
    // Grafana's own payload is read as such all the same.
    let own = run_with(settings("grafana", rules), mixed, &[("aegis-sender", "grafana")]);
    assert_eq!(own.signals[1].source, "grafana");
}

#[test]
fn faults_of_elements() {
    let check = |element: Value, reason: &str, says: &str| {
        let body = json!({"checks": [element, {"id": 1, "host": "h", "state": "ok"}]});
        let outcome = mapped(rules(), &body);
        assert_eq!(outcome.signals.len(), 1, "the neighbour is taken");
        assert_eq!(outcome.rejects[0].reason, reason);
        assert_eq!(outcome.rejects[0].index, Some(0));
        assert!(
            outcome.rejects[0].detail.contains(says),
            "{}",
            outcome.rejects[0].detail
        );
    };
    check(json!({"id": 1, "host": "h"}), "missing_field", "`state` hits nothing");
    check(json!({"id": 1, "host": "h", "state": "odd"}), "bad_value", "\"odd\"");
    check(json!({"id": 1, "state": "ok"}), "missing_field", "\"$.host\"");
    check(
        json!({"id": 1, "host": "h", "state": "ok", "when": "soon"}),
        "bad_time",
        "`at` \"$.when\"",
    );
    check(
        json!({"id": 1, "host": "h", "state": "ok", "when": 1e300}),
        "bad_time",
        "Milliseconds",
    );
}

#[test]
fn faults_of_rules() {
    let check = |change: &dyn Fn(&mut MapperSettings), expected: &[&str]| {
        let mut rules = rules();
        change(&mut rules);
        let settings = NormalizeSettings {
            json: BTreeMap::from([("n".to_owned(), rules)]),
            ..NormalizeSettings::default()
        };
        let keys: Vec<String> = settings.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, expected);
    };
    check(&|_| (), &[]);
    check(&|rules| rules.title = "$.a[".into(), &["json.n.title"]);
    check(&|rules| rules.each = "checks".into(), &["json.n.each"]);
    check(&|rules| rules.state = "firing".into(), &["json.n.state"]);
    check(&|rules| rules.kind = "incident".into(), &["json.n.kind"]);
    check(&|rules| rules.identity.clear(), &["json.n.identity"]);
    check(
        &|rules| rules.labels_from = vec!["tags".into()],
        &["json.n.labels_from"],
    );
    check(
        &|rules| drop(rules.labels.insert("x".into(), "$..[".into())),
        &["json.n.labels.x"],
    );
    let named = NormalizeSettings {
        json: BTreeMap::from([("a/b".to_owned(), rules())]),
        ..NormalizeSettings::default()
    };
    assert_eq!(named.faults()[0].0, "json.a/b");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["ok", "down", "ack", "2026-11-23T08:40:00Z"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let names = prop::sample::select(vec!["checks", "id", "host", "state", "when", "tags", "name", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No panic, one disposition per item (`run_with` checks), and the same answer twice; nothing of the element is lost.
    #[test]
    fn the_same_event_gives_the_same_signals(body in any_json(), each in any::<bool>()) {
        let rules = MapperSettings { each: if each { "$..checks[*]".into() } else { String::new() }, ..rules() };
        let (once, twice) = (mapped(rules.clone(), &body), mapped(rules, &body));
        prop_assert_eq!(&once.signals, &twice.signals);
        prop_assert_eq!(&once.rejects, &twice.rejects);
        for signal in &once.signals {
            let extra: Value = serde_json::from_str(signal.extra.as_deref().unwrap()).unwrap();
            prop_assert!(extra.get("body").is_some());
        }
    }
}
