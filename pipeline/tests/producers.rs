//! A Kafka producer that knows nothing of us: plain JSON bodies on `events.raw`, without headers.

mod support;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::time::WallClock;
use stream::{Clock as _, NewRecord, TopicPartition};
use support::{Aegis, required, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn plain_bodies_on_the_raw_topic_become_incidents_and_rubbish_a_dead_letter() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let config = format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = 2\n"
    );
    let mut aegis = Aegis::new(folder.path(), &config);
    aegis.start();
    let settings = KafkaSettings {
        bootstrap_servers: vec![kafka],
        topic_prefix: prefix,
        ..KafkaSettings::default()
    };
    let producer = KafkaLog::open_prefixed(settings).await.unwrap();
    let alertmanager = r#"{"version":"4","groupKey":"k","status":"firing","receiver":"r","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","service":"db","severity":"critical"},"annotations":{},"startsAt":"2026-11-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"00000000000000aa"}]}"#;
    let cloud_event = r#"{"specversion":"1.0","id":"1","source":"/ci","type":"alert","data":{"title":"Build broken","severity":"warning","status":"firing","service":"ci","starts_at":"2026-11-01T00:00:00Z","dedup_key":"build"}}"#;
    for (partition, body) in [
        (0, alertmanager),
        (1, cloud_event),
        (0, "{\"neither\":1}"),
        (1, "not JSON"),
    ] {
        let record = NewRecord {
            value: Bytes::copy_from_slice(body.as_bytes()),
            // Of now: the broker drops what is older than the topic keeps.
            timestamp: WallClock.now(),
            ..NewRecord::default()
        };
        producer
            .append(&TopicPartition::new("events.raw", partition), vec![record])
            .await
            .unwrap();
    }
    let wanted = [("Build broken", "open"), ("DiskFull on db", "open")].map(|(t, s)| (t.to_owned(), s.to_owned()));
    wait_for("both incidents", Duration::from_secs(60), || {
        Some(aegis.incidents()).filter(|rows| *rows == wanted)
    });
    wait_for("both dead letters", Duration::from_secs(60), || {
        (aegis.sql("select body_base64 from dead_letters").len() == 2).then_some(())
    });
}

/// Names and values.
type Headers = Vec<(&'static str, &'static str)>;

/// Every sender's body as a producer may write it: with the header that names the decoder, and without where the shape tells.
fn bodies() -> Vec<(Headers, Value, &'static str)> {
    let start = "2026-11-01T00:00:00Z";
    let labels = |name: &str| json!({"alertname": name, "severity": "critical", "service": name});
    let webhook =
        |name| json!({"version": "4", "alerts": [{"status": "firing", "labels": labels(name), "startsAt": start}]});
    let api = |name| json!([{"labels": labels(name), "startsAt": start}]);
    let grafana = |name: &str| {
        json!({"version": "1", "orgId": 1, "state": "alerting",
            "alerts": [{"status": "firing", "labels": labels(name), "startsAt": start, "fingerprint": name}]})
    };
    let pagerduty = |name: &str| {
        json!({"routing_key": "k", "event_action": "trigger", "dedup_key": name,
            "payload": {"summary": name, "source": "h", "severity": "critical", "timestamp": start}})
    };
    let event = |name: &str| json!({"title": name, "status": "firing", "severity": "critical", "starts_at": start, "dedup_key": name, "service": name});
    let cloud =
        |name: &str| json!({"specversion": "1.0", "id": name, "source": "/s", "type": "alert", "data": event(name)});
    let flat =
        |name: &str| json!({"ts": start, "fingerprint": name, "severity": "critical", "title": name, "service": name});
    let github = |name: &str| {
        json!({"action": "created", "repository": {"id": 7, "name": "cart", "full_name": "shop/cart", "default_branch": "main"},
            "sender": {"login": "kim"}, "ref": "refs/heads/main", "commit_oid": "c",
            "alert": {"number": 1, "state": "open", "created_at": start, "html_url": "u", "tool": {"name": "CodeQL"},
                "rule": {"id": name, "severity": "error", "security_severity_level": "critical", "description": name},
                "most_recent_instance": {"ref": "refs/heads/main"}}})
    };
    let checks = json!({"checks": [{"id": 7, "state": "down", "prio": "P1", "name": "ByRules"}]});
    vec![
        (vec![("aegis-sender", "alertmanager")], webhook("H1"), "H1 on H1"),
        (vec![], webhook("S1"), "S1 on S1"),
        (vec![("aegis-sender", "alertmanager-api")], api("H2"), "H2 on H2"),
        (vec![], api("S2"), "S2 on S2"),
        (vec![("aegis-sender", "grafana")], grafana("H3"), "H3 on H3"),
        (vec![], grafana("S3"), "S3 on S3"),
        (vec![("aegis-sender", "pagerduty")], pagerduty("H4"), "H4"),
        (vec![], pagerduty("S4"), "S4"),
        (vec![("aegis-sender", "events")], cloud("H5"), "H5"),
        (vec![], cloud("S5"), "S5"),
        (
            vec![
                ("ce_specversion", "1.0"),
                ("ce_id", "b"),
                ("ce_source", "/s"),
                ("ce_type", "alert"),
            ],
            event("B5"),
            "B5",
        ),
        (vec![("aegis-sender", "flat")], flat("H6"), "H6"),
        (vec![], flat("S6"), "S6"),
        (vec![("aegis-sender", "github")], github("H7"), ""),
        (vec![("aegis-sender", "json/checks")], checks, "ByRules"),
        (vec![("aegis-sender", "json")], json!({"no": "rules"}), ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_sender_by_header_and_by_shape() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let config = format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = 2\n\
         [normalize.json.checks]\neach = \"$.checks[*]\"\nstate = \"$.state\"\nidentity = [\"$.id\"]\nseverity = \"$.prio\"\ntitle = \"$.name\"\n\
         [crew]\nenabled = false\n"
    );
    let mut aegis = Aegis::new(folder.path(), &config);
    aegis.start();
    let settings = KafkaSettings {
        bootstrap_servers: vec![kafka],
        topic_prefix: prefix,
        ..KafkaSettings::default()
    };
    let producer = KafkaLog::open_prefixed(settings).await.unwrap();
    for (n, (headers, body, _)) in bodies().into_iter().enumerate() {
        let record = NewRecord {
            value: body.to_string().into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            timestamp: WallClock.now(),
            ..NewRecord::default()
        };
        let partition = TopicPartition::new("events.raw", n as u32 % 2);
        producer.append(&partition, vec![record]).await.unwrap();
    }
    let mut wanted: Vec<&str> = bodies()
        .iter()
        .map(|(.., title)| *title)
        .filter(|title| !title.is_empty())
        .collect();
    wanted.sort_unstable();
    wait_for("an alert of each", Duration::from_secs(90), || {
        let rows = aegis.sql("select distinct title from incident_members order by title");
        let found: Vec<&str> = rows.iter().filter_map(|row| row["title"].as_str()).collect();
        wanted.iter().all(|title| found.contains(title)).then_some(())
    });
    assert_eq!(aegis.sql("select count(*) as n from dead_letters")[0]["n"], 0);
}
