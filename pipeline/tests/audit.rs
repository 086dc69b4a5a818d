//! `aegis audit conservation`: it balances after real payloads, and says exactly where it does not.

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use memory::{Pipeline, blank, same};
use model::topics;
use pipeline::audit::{Check, Finding, Report, conservation};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;
use stream::{Log, NewRecord, Offset, Record, TopicPartition};
use support::Aegis;
use support::alerts::{alert, titles_of};

const PARTITIONS: u32 = 2;

/// The captured notifications, and bodies that are refused whole, in part, and taken with nothing in them.
async fn fed() -> Pipeline {
    let pipeline = Pipeline::new(PARTITIONS).await;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sources/tests/fixtures");
    let mut files = Vec::new();
    for folder in ["alertmanager", "alertmanager-grouped", "flaky"] {
        files.extend(
            std::fs::read_dir(root.join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files.sort();
    let alertmanager = [("aegis-sender", "alertmanager")];
    for (n, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        for event in sources::replay::read(&bytes, "alertmanager", "", memory::NOW.0) {
            pipeline.raw(n as u32 % PARTITIONS, &alertmanager, event.body).await;
        }
        if n == files.len() / 2 {
            pipeline.run(None).await;
        }
    }
    pipeline.raw(0, &[], &b"\xff\xfe no text"[..]).await;
    pipeline.raw(1, &alertmanager, r#"{"version":"4","alerts":[]}"#).await;
    let half = r#"{"version":"4","alerts":[{"status":"firing"},{"status":"firing","labels":{"alertname":"X","service":"x"},"startsAt":"2026-11-23T00:00:00Z"},{"status":"odd"}]}"#;
    pipeline.raw(1, &alertmanager, half).await;
    pipeline.run(None).await;
    pipeline
}

async fn audit(log: &Arc<dyn Log>) -> Report {
    conservation(log).await.unwrap()
}

fn place(finding: &Finding) -> (Check, &str, u32, u64, u64) {
    (
        finding.check,
        &finding.topic,
        finding.partition,
        finding.from,
        finding.to,
    )
}

#[tokio::test]
async fn it_balances_and_has_counted() {
    let pipeline = fed().await;
    let report = audit(&pipeline.log).await;
    assert!(report.balanced, "{:#?}", report.findings);
    let sum = |stage: &str, count: fn(&pipeline::audit::Audited) -> u64| -> u64 {
        report.stages.iter().filter(|s| s.stage == stage).map(count).sum()
    };
    assert_eq!(sum("normalize", |s| s.bodies), 26);
    assert_eq!(sum("normalize", |s| s.dead_lettered), 3);
    assert_eq!(sum("normalize", |s| s.items), sum("dedupe", |s| s.items) + 3);
    assert_eq!(
        sum("dedupe", |s| s.items),
        sum("dedupe", |s| s.forwarded) + sum("dedupe", |s| s.merged)
    );
    assert!(
        sum("dedupe", |s| s.merged) > 10 && sum("correlate", |s| s.produced) > 5,
        "{report:#?}"
    );
    assert_eq!(sum("dedupe", |s| s.forwarded), sum("correlate", |s| s.items));
    assert_eq!(report.stages.iter().map(|s| s.unread).sum::<u64>(), 0);
    assert!(report.stages.iter().all(|s| s.from == 0), "{report:#?}");

    // What is not read yet is no fault.
    pipeline.raw(0, &[], "{}").await;
    let report = audit(&pipeline.log).await;
    assert_eq!(
        (report.balanced, report.stages.iter().map(|s| s.unread).sum::<u64>()),
        (true, 1)
    );
    // A copy of the log says the same.
    let copy = pipeline.copy(|_, _, record| vec![same(record)]).await;
    assert_eq!(audit(&copy).await, report);
}

/// The accounting record that holds `offset` of a stage's input.
async fn range_of(pipeline: &Pipeline, stage: &str, partition: u32, offset: u64) -> (u64, u64) {
    for number in 0..PARTITIONS {
        for record in pipeline.records(topics::ACCOUNTING, number).await {
            let record: Value = serde_json::from_slice(&record.value).unwrap();
            let at = |name: &str| record[name].as_u64().unwrap();
            if record["stage"] == stage
                && at("partition") == u64::from(partition)
                && (at("from")..at("to")).contains(&offset)
            {
                return (at("from"), at("to"));
            }
        }
    }
    panic!("nobody accounts for {stage} {partition} {offset}");
}

/// The first data record of `topic` that has one, with its partition.
async fn first_data(pipeline: &Pipeline, topic: &str) -> (u32, Record) {
    for partition in 0..PARTITIONS {
        let records = pipeline.records(topic, partition).await;
        if let Some(record) = records.into_iter().find(|record| record.header("aegis-kind").is_none()) {
            return (partition, record);
        }
    }
    panic!("no data on {topic}");
}

#[tokio::test]
async fn a_lost_output_record_is_found_at_its_range() {
    let pipeline = fed().await;
    for (stage, input, output) in [
        ("normalize", topics::EVENTS_RAW, topics::SIGNALS),
        ("dedupe", topics::SIGNALS, topics::TRANSITIONS),
    ] {
        let (partition, lost) = first_data(&pipeline, output).await;
        // Where its first row came from: of the raw record, or of the record of signals that holds that row.
        let row = model::SignalBatch::decode(&lost.value).unwrap().row(0).origin;
        let (from_partition, from_offset) = match stage {
            "normalize" => (row.partition, row.offset),
            _ => {
                let mut found = None;
                for number in 0..PARTITIONS {
                    for record in pipeline.records(topics::SIGNALS, number).await {
                        let batch = model::SignalBatch::decode(&record.value);
                        if batch.is_ok_and(|batch| batch.rows().any(|r| r.origin == row)) {
                            found = Some((number, record.offset.0));
                        }
                    }
                }
                found.unwrap()
            }
        };
        let range = range_of(&pipeline, stage, from_partition, from_offset).await;
        let lose = |topic: &str, number: u32, record: &Record| {
            let hit = topic == output && number == partition && record.offset == lost.offset;
            vec![if hit { blank() } else { same(record) }]
        };
        let report = audit(&pipeline.copy(lose).await).await;
        assert!(!report.balanced);
        let expected = (Check::Outputs, input, from_partition, range.0, range.1);
        assert!(
            report.findings.iter().any(|f| f.stage == stage && place(f) == expected),
            "{stage}: {expected:?} not in {:#?}",
            report.findings
        );
    }
}

#[tokio::test]
async fn a_lost_fact_is_found_by_its_revision() {
    let pipeline = fed().await;
    let (partition, lost) = first_data(&pipeline, topics::INCIDENTS).await;
    let lose = |topic: &str, number: u32, record: &Record| {
        let hit = topic == topics::INCIDENTS && number == partition && record.offset == lost.offset;
        vec![if hit { blank() } else { same(record) }]
    };
    let report = audit(&pipeline.copy(lose).await).await;
    let checks: Vec<Check> = report.findings.iter().map(|f| f.check).collect();
    // The crew misses it as well.
    assert_eq!(
        checks,
        [Check::Outputs, Check::Revisions, Check::Items],
        "{:#?}",
        report.findings
    );
    assert!(report.findings.iter().all(|f| f.topic == topics::INCIDENTS));
    let stages: Vec<&str> = report.findings.iter().map(|f| f.stage.as_str()).collect();
    assert_eq!(stages, ["correlate", "correlate", "crew"]);
}

/// One accounting record is changed; the finding names its range.
#[tokio::test]
async fn a_changed_account_is_found_at_its_range() {
    let pipeline = fed().await;
    let check = async |stage: &str, change: fn(&mut Value), expected: &[Check]| {
        let mut changed: Option<(u64, u64, u64)> = None;
        let tamper = |topic: &str, _: u32, record: &Record| {
            let mut new = same(record);
            if topic == topics::ACCOUNTING && changed.is_none() {
                let mut account: Value = serde_json::from_slice(&record.value).unwrap();
                // A plain one, with something in it.
                let counts = |name: &str| account[name].as_u64().unwrap();
                if account["stage"] == stage
                    && counts("items_in") > 1
                    && counts("forwarded") > 0
                    && counts("dead_lettered") == 0
                {
                    changed = Some((counts("partition"), counts("from"), counts("to")));
                    change(&mut account);
                    new = NewRecord {
                        value: serde_json::to_vec(&account).unwrap().into(),
                        ..new
                    };
                }
            }
            vec![new]
        };
        let log = pipeline.copy(tamper).await;
        let (partition, from, to) = changed.expect("such an account");
        let report = audit(&log).await;
        let found: Vec<Check> = report.findings.iter().map(|f| f.check).collect();
        assert_eq!(found, expected, "{stage}: {:#?}", report.findings);
        let first = &report.findings[0];
        assert_eq!((first.stage.as_str(), u64::from(first.partition)), (stage, partition));
        assert!(first.from >= from && first.to <= to, "{first:?} not in {from}..{to}");
    };
    check("normalize", |a| a["bodies"] = 99.into(), &[Check::Bodies]).await;
    check(
        "normalize",
        |a| a["items_in"] = 99.into(),
        &[Check::Balance, Check::Items],
    )
    .await;
    check("dedupe", |a| a["merged_digest"] = 1.into(), &[Check::MergedDigest]).await;
    check(
        "dedupe",
        |a| a["from"] = (a["from"].as_u64().unwrap() + 1).into(),
        &[Check::Gap, Check::Items, Check::Outputs],
    )
    .await;
    // Lies that balance: one more in and one more out.
    check(
        "correlate",
        |a| {
            for name in ["items_in", "forwarded"] {
                a[name] = (a[name].as_u64().unwrap() + 1).into();
            }
        },
        &[Check::Items],
    )
    .await;
}

#[tokio::test]
async fn a_lost_dead_letter_and_a_lost_account_are_found() {
    let pipeline = fed().await;
    let (partition, lost) = first_data(&pipeline, topics::DEAD_LETTER).await;
    let letter: model::DeadLetter = serde_json::from_slice(&lost.value).unwrap();
    let range = range_of(&pipeline, "normalize", letter.partition, letter.offset).await;
    let lose = |topic: &str, number: u32, record: &Record| {
        let hit = topic == topics::DEAD_LETTER && number == partition && record.offset == lost.offset;
        vec![if hit { blank() } else { same(record) }]
    };
    let report = audit(&pipeline.copy(lose).await).await;
    let expected = (
        Check::DeadLetters,
        topics::EVENTS_RAW,
        letter.partition,
        range.0,
        range.1,
    );
    assert!(
        report.findings.iter().any(|f| place(f) == expected),
        "{:#?}",
        report.findings
    );

    let mut lost = None;
    let lose = |topic: &str, _: u32, record: &Record| {
        if topic == topics::ACCOUNTING && lost.is_none() {
            let account: Value = serde_json::from_slice(&record.value).unwrap();
            if account["stage"] == "normalize" {
                let number = |name: &str| account[name].as_u64().unwrap();
                lost = Some((number("partition") as u32, number("from"), number("to")));
                return vec![];
            }
        }
        vec![same(record)]
    };
    let log = pipeline.copy(lose).await;
    let (partition, from, to) = lost.unwrap();
    let report = audit(&log).await;
    let expected = (Check::Gap, topics::EVENTS_RAW, partition, from, to);
    assert!(
        report.findings.iter().any(|f| place(f) == expected),
        "{:#?}",
        report.findings
    );
}

#[tokio::test]
async fn where_the_beginning_is_gone_it_says_from_where_it_audits() {
    let pipeline = fed().await;
    let input = TopicPartition::new(topics::EVENTS_RAW, 0);
    pipeline.memory.trim(&input, Offset(3)).unwrap();
    let report = audit(&pipeline.log).await;
    assert!(report.balanced, "{:#?}", report.findings);
    let audited = report
        .stages
        .iter()
        .find(|s| s.stage == "normalize" && s.partition == 0)
        .unwrap();
    assert!(audited.from >= 3, "{audited:?}");
    let note = format!("normalize on events.raw/0: audited from offset {}", audited.from);
    assert!(
        report.notes.iter().any(|text| text.starts_with(&note)),
        "{:?}",
        report.notes
    );
    // Outputs and accounts that lost theirs are compared as far as that goes.
    for topic in [
        topics::SIGNALS,
        topics::TRANSITIONS,
        topics::INCIDENTS,
        topics::ACCOUNTING,
        topics::DEAD_LETTER,
    ] {
        let pipeline = fed().await;
        for partition in 0..PARTITIONS {
            pipeline
                .memory
                .trim(&TopicPartition::new(topic, partition), Offset(1))
                .unwrap();
        }
        let report = audit(&pipeline.log).await;
        assert!(report.balanced, "{topic}: {:#?}", report.findings);
        assert!(!report.notes.is_empty(), "{topic}");
    }
}

#[tokio::test]
async fn parked_and_released_resolves_are_accounted_for() {
    let pipeline = Pipeline::new(PARTITIONS).await;
    let alert = |name: &str, status: &str, ends: &str| {
        format!(
            r#"{{"version":"4","alerts":[{{"status":"{status}","labels":{{"alertname":"{name}","service":"s"}},"startsAt":"2026-11-23T00:00:00Z","endsAt":"{ends}"}}]}}"#
        )
    };
    let sender = [("aegis-sender", "alertmanager")];
    for (name, status, ends) in [
        ("A", "resolved", "2026-11-23T00:05:00Z"),
        ("B", "resolved", "2026-11-23T00:05:00Z"),
        ("A", "firing", "0001-01-01T00:00:00Z"),
    ] {
        pipeline.raw(0, &sender, alert(name, status, ends)).await;
        pipeline.run(None).await;
        let report = audit(&pipeline.log).await;
        assert!(report.balanced, "{name} {status}: {:#?}", report.findings);
    }
    // B's firing never came; the watermark gives up on it. Then it comes after all.
    pipeline.run(Some(Duration::from_secs(3_600))).await;
    let report = audit(&pipeline.log).await;
    assert!(report.balanced, "{:#?}", report.findings);
    assert_eq!(
        report
            .stages
            .iter()
            .filter(|s| s.stage == "dedupe")
            .map(|s| s.held)
            .sum::<u64>(),
        0
    );
    pipeline
        .raw(1, &sender, alert("B", "firing", "0001-01-01T00:00:00Z"))
        .await;
    pipeline.run(None).await;
    let report = audit(&pipeline.log).await;
    assert!(report.balanced, "{:#?}", report.findings);
}

/// The audit's decoder and normalize's are two; on captured bodies with bytes cut out, doubled and changed, under any sender's
/// name, they must count alike.
#[tokio::test]
async fn two_decoders_count_alike_on_broken_bodies() {
    let pipeline = Pipeline::new(PARTITIONS).await;
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../sources/tests/fixtures");
    let mut seeds: Vec<Vec<u8>> = ["alertmanager/002-firing.json", "alertmanager-grouped/017-firing.json"]
        .iter()
        .flat_map(|file| sources::replay::read(&std::fs::read(root.join(file)).unwrap(), "alertmanager", "", 0))
        .map(|event| event.body.to_vec())
        .collect();
    for body in [
        r#"{"specversion":"1.0","id":"1","source":"/ci","type":"alert","data":{"title":"t","status":"firing"}}"#,
        r#"[{"specversion":"1.0","id":"1","source":"/ci","type":"alert","data":{}},{"specversion":"1.0"}]"#,
        r#"{"version":"1","orgId":1,"alerts":[{"status":"firing","labels":{"a":"b"},"startsAt":"2026-11-23T00:00:00Z","fingerprint":"ab"}]}"#,
        r#"[{"labels":{"alertname":"a"},"startsAt":"2026-11-23T00:00:00Z"},{"labels":{}}]"#,
        "{\"ts\":1760000040000,\"fingerprint\":\"a\"}\n{\"ts\":1760000040000,\"service\":\"s\",\"commit\":\"c\"}\n\n{\"ts\":1}",
        r#"{"alerts":[{}],"state":"alerting","version":"1"}"#,
        "[[],{},1,null]",
        "",
        "   ",
    ] {
        seeds.push(body.as_bytes().to_vec());
    }
    let mut dice: u64 = 1;
    let mut below = |n: usize| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % n.max(1)
    };
    let senders = ["", "", "alertmanager", "grafana", "events", "flat", "nagios"];
    for _ in 0..10_000 {
        let mut body = seeds[below(seeds.len())].clone();
        for _ in 0..below(3) {
            let (at, length) = (below(body.len()), 1 + below(40));
            let to = (at + length).min(body.len());
            match below(4) {
                0 => drop(body.drain(at..to)),
                1 => body.truncate(at),
                2 if !body.is_empty() => body[at] = b"{}[],:\"\n x7\xff"[below(12)],
                _ => {
                    let again = body[at..to].to_vec();
                    drop(body.splice(at..at, again));
                }
            }
        }
        let sender = senders[below(senders.len())];
        let headers = [("aegis-sender", sender), ("ce-specversion", "1.0")];
        let headers = match (sender, below(10)) {
            ("", 0) => &headers[1..],
            ("", _) => &headers[..0],
            _ => &headers[..1],
        };
        pipeline.raw(below(PARTITIONS as usize) as u32, headers, body).await;
    }
    pipeline.run(None).await;
    let report = audit(&pipeline.log).await;
    assert!(
        report.balanced,
        "{:#?}",
        &report.findings[..report.findings.len().min(5)]
    );
    let refused: u64 = report.stages.iter().map(|stage| stage.dead_lettered).sum();
    let went_on: u64 = report.stages.iter().map(|stage| stage.forwarded).sum();
    assert!(refused > 1_000 && went_on > 1_000, "{refused} {went_on}");
}

#[test]
fn after_the_demo_and_in_a_running_aegis() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    assert_eq!(aegis.run(&["audit", "conservation"]).0, 4, "nothing ever ran");
    let (code, out, err) = aegis.run(&["demo", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let offline: Report = serde_json::from_str(&out).unwrap();
    assert!(
        offline.balanced && offline.stages.iter().map(|s| s.items).sum::<u64>() > 300,
        "{offline:#?}"
    );
    aegis.start();
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("everything balances"), "{out}");
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));
}

/// A process that died within a commit leaves its transaction open, which hides what others commit behind it: that is not missing.
#[test]
fn what_an_open_transaction_hides_is_waited_for() {
    let Some(kafka) = support::required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let config = format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = 1\n"
    );
    let mut aegis = Aegis::new(folder.path(), &config);
    aegis.start();

    let dead: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &kafka)
        .set("transactional.id", &prefix)
        .create()
        .unwrap();
    let patience = Duration::from_secs(60);
    dead.init_transactions(patience).unwrap();
    dead.begin_transaction().unwrap();
    let topic = format!("{prefix}{}", topics::NOTIFICATIONS);
    let record = BaseRecord::<(), _>::to(&topic).partition(0).payload("never committed");
    dead.send(record).unwrap();
    dead.flush(patience).unwrap();

    support::wait_for("an answer", patience, || {
        let json = "Content-Type: application/json\r\n";
        let sent = support::http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(1));
        sent.filter(|(status, _)| *status < 300)
    });
    support::wait_for("the alert", patience, || (titles_of(&aegis).len() == 1).then_some(()));
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));

    std::thread::scope(|scope| {
        let audit = scope.spawn(|| aegis.run(&["audit", "conservation"]));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!audit.is_finished(), "the audit does not see the notification yet");
        dead.abort_transaction(patience).unwrap();
        let (code, out, err) = audit.join().unwrap();
        assert_eq!(code, 0, "{out}{err}");
    });
}
