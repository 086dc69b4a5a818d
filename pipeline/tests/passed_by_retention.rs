//! Kafka took records before a stage had read them: the stage goes on at the log's start and says what is missing; what comes
//! after is there; state comes from the snapshot, not from records that are gone (ADR 12, ADR 17).

mod support;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::log::{Log, TopicPartition};
use support::alerts::{alert, titles_of};
use support::{Aegis, Program, http, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: u32 = 2;

/// Sends the alerts `numbers`, each until it is taken.
fn send(aegis: &Aegis, numbers: std::ops::Range<usize>) {
    for n in numbers {
        wait_for("an answer", PATIENCE, || {
            let json = "Content-Type: application/json\r\n";
            let sent = http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(n));
            sent.filter(|(status, _)| (200..300).contains(status))
        });
    }
}

fn members(aegis: &Aegis, count: usize) {
    wait_for(&format!("{count} members"), PATIENCE, || {
        (titles_of(aegis).len() >= count).then_some(())
    });
}

fn stop(aegis: &mut Aegis) {
    assert_eq!(aegis.program.as_mut().map(Program::terminate), Some(Some(0)));
    aegis.program = None;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_goes_on_where_the_log_begins_and_says_what_is_missing() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let mut aegis = Aegis::new(
        folder.path(),
        &format!(
            "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = {PARTITIONS}\n"
        ),
    );
    aegis.start();
    send(&aegis, 0..20);
    members(&aegis, 20);
    stop(&mut aegis);

    // Taken by the doors alone: no stage has read these.
    aegis.spawn_with(&["--roles", "dispatcher,gateway"]);
    send(&aegis, 20..40);
    stop(&mut aegis);
    let log: Arc<dyn Log> = KafkaLog::open_prefixed(KafkaSettings {
        bootstrap_servers: vec![kafka.clone()],
        topic_prefix: prefix.clone(),
        ..KafkaSettings::default()
    })
    .await
    .unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka).create().unwrap();
    let position = async |group: &str, partition: &TopicPartition| {
        let stands = log.committed(group, partition).await.unwrap();
        stands.unwrap_or_default().0
    };
    let mut told = 0;
    for number in 0..PARTITIONS {
        told += position("aegis.sink.sql", &TopicPartition::new("signals", number)).await;
    }
    assert!(told > 0, "lag tools see where the sink stands");
    let (mut gone, mut below) = (0, TopicPartitionList::new());
    for number in 0..PARTITIONS {
        // Of what nobody has read all but the last goes; of what dedupe has read, everything.
        let events = TopicPartition::new("events.raw", number);
        let end = log.bounds(&events).await.unwrap().end.0;
        let read = position("aegis.normalize", &events).await;
        let start = end.saturating_sub(1).max(read);
        gone += start - read;
        let signals = TopicPartition::new("signals", number);
        let deduped = position("aegis.dedupe", &signals).await;
        for (topic, at) in [("events.raw", start), ("signals", deduped)] {
            let at = RawOffset::Offset(i64::try_from(at).unwrap());
            let name = format!("{prefix}{topic}");
            below
                .add_partition_offset(&name, i32::try_from(number).unwrap(), at)
                .unwrap();
        }
    }
    assert!(gone > 0, "something is gone");
    admin.delete_records(&below, &AdminOptions::new()).await.unwrap();

    aegis.start();
    let left = 20 - usize::try_from(gone).unwrap();
    members(&aegis, 20 + left);
    assert_eq!(aegis.metric("aegis_stage_skipped_records_total"), gone as f64);
    assert_eq!(
        aegis.metric("aegis_stage_state_gap_records_total"),
        0.0,
        "state is whole"
    );
    // Dedupe knows from its snapshot what it has let through: a repeat opens nothing, what is new does.
    send(&aegis, 0..1);
    send(&aegis, 100..101);
    members(&aegis, 21 + left);
    let titles = titles_of(&aegis);
    assert_eq!(titles.iter().filter(|title| *title == "A0 on s0").count(), 1);
    stop(&mut aegis);
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "the books name the gap:\n{out}\n{err}");

    // Rows of what the log lost cannot be made again: refused, and the tables stay. Who wants what is left says so.
    let incidents = aegis.sql("SELECT id, title, members FROM incidents ORDER BY id");
    let rows = |aegis: &Aegis| aegis.sql("SELECT raw_partition, raw_offset FROM alerts ORDER BY 1, 2");
    let counted = |aegis: &Aegis| aegis.sql("SELECT sum(signals) AS n FROM signals_by_day")[0]["n"].as_i64();
    let (before, counted_before) = (rows(&aegis), counted(&aegis));
    let (code, _, err) = aegis.run(&["sinks", "rebuild", "sql"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("signals/") && err.contains("--partial"), "{err}");
    assert_eq!(rows(&aegis), before);
    let (code, out, err) = aegis.run(&["sinks", "rebuild", "sql", "--partial", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    let missing = summary["missing"].as_array().unwrap();
    assert!(missing.iter().any(|gone| gone["topic"] == "signals"), "{summary}");
    assert!(counted(&aegis) < counted_before, "{counted_before:?}");
    // The archive still has the rows.
    assert_eq!(rows(&aegis), before);
    assert_eq!(
        aegis.sql("SELECT id, title, members FROM incidents ORDER BY id"),
        incidents
    );
}
