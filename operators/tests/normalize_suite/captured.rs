//! What Alertmanager really sent; see `fixtures/PROVENANCE.md`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use model::{Severity, SignalKind, SignalState};
use serde_json::Value;

use crate::support::{at, essence, run, run_as};

/// Name and body of every captured request in `folder`, in order of arrival.
fn captured(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let read = |path: &PathBuf| {
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            file["raw_body"].as_str().unwrap().to_owned(),
        )
    };
    files.iter().map(read).collect()
}

fn all() -> Vec<(String, String)> {
    ["alertmanager", "alertmanager-grouped", "flaky"]
        .into_iter()
        .flat_map(captured)
        .collect()
}

#[test]
fn every_alert_becomes_a_signal_that_says_the_same() {
    for (file, body) in all() {
        let outcome = run(body.clone());
        assert_eq!(outcome.rejects, [], "{file}");
        let sent: Value = serde_json::from_str(&body).unwrap();
        let alerts = sent["alerts"].as_array().unwrap();
        assert_eq!(outcome.signals.len(), alerts.len(), "{file}");
        for (signal, alert) in outcome.signals.iter().zip(alerts) {
            assert_eq!(
                (signal.source.as_str(), signal.kind),
                ("alertmanager", SignalKind::Alert)
            );
            assert_eq!(
                signal.dedup_key,
                format!("am:{}", alert["fingerprint"].as_str().unwrap())
            );
            assert_eq!(signal.dedup_rule, "alertmanager/fingerprint@1");
            assert_eq!(signal.state.as_str(), alert["status"].as_str().unwrap());
            assert_eq!(signal.event_at, at(alert["startsAt"].as_str().unwrap()));
            let end = (signal.state == SignalState::Resolved).then(|| at(alert["endsAt"].as_str().unwrap()));
            assert_eq!(signal.ends_at, end, "{file}");
            assert_eq!(signal.effective_at, end.unwrap_or(signal.event_at));
            assert_eq!(
                serde_json::from_str::<Value>(&signal.labels).unwrap(),
                alert["labels"],
                "{file}"
            );
            assert_eq!(
                serde_json::from_str::<Value>(&signal.annotations).unwrap(),
                alert["annotations"],
                "{file}"
            );
            let extra: Value = serde_json::from_str(signal.extra.as_deref().unwrap()).unwrap();
            assert_eq!(extra["generatorURL"], alert["generatorURL"]);
            assert_eq!(extra["notification"]["groupKey"], sent["groupKey"]);
            let withheld = Some(&sent["truncatedAlerts"])
                .filter(|count| **count != 0)
                .cloned()
                .unwrap_or_default();
            assert_eq!(extra["notification"]["truncatedAlerts"], withheld, "{file}");
            assert_eq!(signal.namespace.as_deref(), alert["labels"]["namespace"].as_str());
        }
        assert_eq!(outcome.senders.len(), 1);
        assert_eq!(
            outcome.senders[0].0,
            format!("alertmanager {}", sent["externalURL"].as_str().unwrap())
        );
    }
}

#[test]
fn one_of_them_in_full() {
    let (_, body) = captured("alertmanager-grouped")
        .into_iter()
        .find(|(file, _)| file.starts_with("083"))
        .unwrap();
    let signal = run(body).one();
    assert_eq!(
        essence(&signal),
        (
            SignalState::Resolved,
            "am:dcfd85b1f9f6190a",
            "alertmanager/fingerprint@1",
            Severity::Critical,
            "HighErrorRate on cart",
            Some("cart")
        )
    );
    assert_eq!(signal.event_at, at("2026-11-23T08:48:28.002Z"));
    assert_eq!(signal.ends_at, Some(at("2026-11-23T08:49:31.002Z")));
    assert_eq!(signal.description.as_deref(), Some("cart error ratio 50% in prod"));
    assert_eq!(
        (signal.cluster.as_deref(), signal.namespace.as_deref()),
        (Some("study"), Some("prod"))
    );
    assert_eq!(
        (signal.tenant.as_str(), signal.environment.as_str()),
        ("default", "default")
    );
}

/// The computed fingerprint is Prometheus' own: take the given ones away and the keys stay.
#[test]
fn fingerprints_are_computed_as_prometheus_does() {
    let mut seen = BTreeSet::new();
    for (file, body) in all() {
        let mut sent: Value = serde_json::from_str(&body).unwrap();
        for alert in sent["alerts"].as_array_mut().unwrap() {
            alert.as_object_mut().unwrap().remove("fingerprint").unwrap();
        }
        let (given, computed) = (run(body), run(sent.to_string()));
        for (given, computed) in given.signals.iter().zip(&computed.signals) {
            assert_eq!(computed.dedup_key, given.dedup_key, "{file}");
            assert_eq!(computed.dedup_rule, "alertmanager/labels@1");
            seen.insert(given.dedup_key.clone());
        }
        assert_eq!(given.signals.len(), computed.signals.len());
    }
    assert!(seen.len() >= 4, "too few different label sets: {seen:?}");
}

/// A notification sent again, to another receiver, or after a refusal, says nothing new: same ids.
#[test]
fn repeats_have_equal_ids() {
    let mut ids = BTreeSet::new();
    let mut statements = BTreeSet::new();
    let mut total = 0;
    for (_, body) in all() {
        for signal in run(body).signals {
            total += 1;
            ids.insert(signal.id);
            statements.insert((
                signal.dedup_key,
                signal.event_at,
                signal.state.as_str(),
                signal.ends_at,
                signal.annotations,
            ));
        }
    }
    assert_eq!(ids.len(), statements.len());
    assert!(total > 2 * ids.len(), "{total} alerts, {} statements", ids.len());
}

/// The alerts of a notification, written as the array that Prometheus posts, are the same alerts.
#[test]
fn api_form_meets_the_webhook_in_one_key() {
    for (file, body) in all() {
        let mut sent: Value = serde_json::from_str(&body).unwrap();
        let mut alerts = sent["alerts"].take();
        for alert in alerts.as_array_mut().unwrap() {
            let alert = alert.as_object_mut().unwrap();
            alert.remove("fingerprint");
            if alert.remove("status").unwrap() == "firing" {
                alert["endsAt"] = "2026-11-23T08:54:00Z".into();
            }
        }
        let (webhook, api) = (run(body), run_as("alertmanager", alerts.to_string()));
        let key = |s: &model::Signal| (s.dedup_key.clone(), s.event_at, s.state, s.row().end(), s.digest);
        assert_eq!(
            webhook.signals.iter().map(key).collect::<Vec<_>>(),
            api.signals.iter().map(key).collect::<Vec<_>>(),
            "{file}"
        );
    }
}
