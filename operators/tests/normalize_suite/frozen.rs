//! One frozen sample per sender and mapper version: these bytes give these signals, for ever. A sample is never edited; what must change gets a
//! new version and a new sample. `AEGIS_TEST_REGENERATE=1` writes those that are missing.

use std::collections::BTreeMap;
use std::path::Path;

use operators::normalize::{MapperSettings, NormalizeSettings};
use serde_json::{Value, json};

use crate::support::run_with;

type Headers = Vec<(&'static str, &'static str)>;
/// Name, `aegis-sender`, further headers, body.
type Sample = (&'static str, &'static str, Headers, Value);

fn samples() -> Vec<Sample> {
    let delivery = (
        "aegis-delivery",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    );
    let pagerduty = vec![("aegis-integration", "checkout"), delivery];
    let labels = json!({"alertname": "HighErrorRate", "service": "cart", "severity": "critical", "empty": ""});
    let stated = json!({"labels": labels, "annotations": {"summary": "s"}, "startsAt": "2026-11-23T08:48:26.002Z",
        "endsAt": "2026-11-23T08:54:00Z", "generatorURL": "http://p/graph"});
    let over = json!({"labels": labels, "startsAt": "2026-11-23T08:40:00Z", "endsAt": "2026-11-23T08:45:00Z"});
    vec![
        (
            "alertmanager-api-1",
            "alertmanager-api",
            vec![],
            json!([stated, over, {"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}, "endsAt": "2026-11-23T08:45:00Z"}]),
        ),
        (
            "pagerduty-trigger-1",
            "pagerduty",
            pagerduty.clone(),
            json!({"event_action": "trigger", "dedup_key": "k", "client": "c", "client_url": "u", "images": [], "payload": {
                "summary": "Disk full", "source": "db-7", "severity": "warning", "timestamp": "2026-11-23T08:48:26.002+0100",
                "component": "c", "group": "g", "class": "k", "custom_details": {"environment": "prod", "n": 1.50}}}),
        ),
        (
            "pagerduty-acknowledge-1",
            "pagerduty",
            pagerduty.clone(),
            json!({"event_action": "acknowledge", "dedup_key": "k"}),
        ),
        (
            "pagerduty-resolve-1",
            "pagerduty",
            pagerduty.clone(),
            json!({"event_action": "resolve", "dedup_key": "k"}),
        ),
        (
            "pagerduty-change-1",
            "pagerduty-change",
            pagerduty,
            json!({"payload": {"summary": "Build 7", "source": "ci", "timestamp": "2026-11-23T08:48:26Z"}, "links": [{"href": "h"}]}),
        ),
        (
            "json-rules-1",
            "json/n",
            vec![],
            json!({"items": [{"id": "i", "state": "down", "sev": "P2", "t": 1_795_423_700}, {"id": "i", "state": "up", "t": 1_795_423_750.5}]}),
        ),
        ("json-body-1", "json", vec![], json!({"any": ["thing", 1, null]})),
        (
            "grafana-template-1",
            "grafana",
            vec![],
            json!({"text": "3 alerts are firing"}),
        ),
    ]
}

#[test]
fn samples_are_as_they_were() {
    let rules = MapperSettings {
        each: "$.items[*]".into(),
        state: "$.state".into(),
        identity: vec!["$.id".into()],
        severity: "$.sev".into(),
        at: "$.t".into(),
        labels: BTreeMap::from([("id".into(), "$.id".into())]),
        ..MapperSettings::default()
    };
    let settings = NormalizeSettings {
        json: BTreeMap::from([("n".to_owned(), rules)]),
        ..NormalizeSettings::default()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/frozen");
    for (name, sender, more, body) in samples() {
        let mut headers = vec![("aegis-sender", sender)];
        headers.extend(more);
        let outcome = run_with(settings.clone(), body.to_string(), &headers);
        assert_eq!(outcome.rejects, [], "{name}");
        let found = serde_json::to_value(&outcome.signals).unwrap();
        let file = folder.join(format!("{name}.json"));
        if !file.exists() && std::env::var_os("AEGIS_TEST_REGENERATE").is_some() {
            std::fs::write(&file, format!("{found:#}\n")).unwrap();
        }
        let frozen = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert_eq!(found, serde_json::from_slice::<Value>(&frozen).unwrap(), "{name}");
    }
}
