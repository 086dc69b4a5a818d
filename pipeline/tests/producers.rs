//! A Kafka producer that knows nothing of us: plain JSON bodies on `events.raw`, without headers.

mod support;

use std::time::Duration;

use bytes::Bytes;
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
