//! `aegis dead-letters`: what was refused is found whole, sent again once, and dropped with a reason.

#[path = "support/memory.rs"]
mod memory;
mod support;

use memory::Pipeline;
use model::{DeadLetter, topics};
use pipeline::audit::conservation;
use pipeline::letters::{Chosen, Deed, Desk, Filter, LetterId, Outcome, Status};
use serde_json::Value;
use stream::log::memory::CommitFault;
use stream::{Clock as _, NewRecord, TopicPartition};
use support::{Aegis, wait_for};

const GROUP: &str = "aegis.dead-letters";

/// Three alerts, of which the outer two are refused: one letter carries the bytes for both.
const HALF: &str = r#"{"version":"4","alerts":[{"status":"firing"},{"status":"firing","labels":{"alertname":"X","service":"x"},"startsAt":"2026-11-23T00:00:00Z"},{"status":"odd"}]}"#;

async fn refused() -> (Pipeline, Desk) {
    let pipeline = Pipeline::new(2).await;
    pipeline.raw(0, &[("aegis-sender", "nagios")], "{}").await;
    let headers = [("aegis-sender", "alertmanager"), ("http-authorization", "[redacted]")];
    pipeline.raw(1, &headers, HALF).await;
    pipeline.raw(1, &[], &b"\xff\0binary"[..]).await;
    pipeline.run(None).await;
    let desk = Desk::new(pipeline.log.clone(), pipeline.clock.clone());
    (pipeline, desk)
}

async fn statuses(desk: &mut Desk) -> Vec<(String, u32, Status)> {
    let mut all: Vec<_> = desk.list(&Filter::default(), 100).await.unwrap();
    all.sort_by(|a, b| {
        (&a.topic, a.attempt, a.partition, a.offset, a.index).cmp(&(
            &b.topic,
            b.attempt,
            b.partition,
            b.offset,
            b.index,
        ))
    });
    all.into_iter()
        .map(|entry| (entry.reason, entry.attempt, entry.status))
        .collect()
}

async fn all(desk: &mut Desk) -> Vec<Chosen> {
    desk.select(&Filter::default()).await.unwrap()
}

#[tokio::test]
async fn filters_and_limits() {
    let (_, mut desk) = refused().await;
    let mut check = async |filter: Filter, limit, expected: &[&str]| {
        let mut found: Vec<String> = desk
            .list(&filter, limit)
            .await
            .unwrap()
            .into_iter()
            .map(|e| e.reason)
            .collect();
        found.sort();
        assert_eq!(found, expected, "{filter:?}");
    };
    let reason = |reason: &str| Filter {
        reason: Some(reason.into()),
        ..Filter::default()
    };
    let stage = |stage: &str| Filter {
        stage: Some(stage.into()),
        ..Filter::default()
    };
    let all = ["bad_value", "invalid_utf8", "missing_field", "unknown_sender"];
    check(Filter::default(), 100, &all).await;
    check(reason("missing_field"), 100, &["missing_field"]).await;
    check(reason("missing"), 100, &[]).await;
    check(stage("normalize"), 100, &all).await;
    check(stage("norm"), 100, &[]).await;
    check(stage("sink"), 100, &[]).await;
    let since = |at: stream::Instant| Filter {
        since: Some(at.to_datetime()),
        ..Filter::default()
    };
    check(since(memory::NOW), 100, &all).await;
    check(since(stream::Instant(memory::NOW.0 + 1)), 100, &[]).await;
    assert_eq!(desk.list(&Filter::default(), 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_bytes_are_found_where_another_letter_carries_them() {
    let (_, mut desk) = refused().await;
    for entry in desk.list(&Filter::default(), 100).await.unwrap() {
        let whole = desk.show(entry.id).await.unwrap().unwrap();
        let body = DeadLetter::decode_body(whole.body_base64.as_deref().unwrap()).unwrap();
        let expected: &[u8] = match entry.reason.as_str() {
            "unknown_sender" => b"{}",
            "invalid_utf8" => b"\xff\0binary",
            _ => HALF.as_bytes(),
        };
        assert_eq!(body, expected, "{entry:?}");
        if entry.index.is_some() {
            assert!(
                whole
                    .headers
                    .contains(&("http-authorization".to_owned(), "[redacted]".to_owned()))
            );
        }
    }
    let nobody = LetterId {
        partition: 0,
        offset: 99,
    };
    assert_eq!(desk.show(nobody).await.unwrap(), None);
}

#[tokio::test]
async fn a_letter_is_sent_again_once_and_what_is_refused_again_says_so() {
    let (pipeline, mut desk) = refused().await;
    let letters = all(&mut desk).await;
    let outcome = desk.act(&letters, &Deed::Replay, false).await.unwrap();
    // The two of one body go in one record.
    assert_eq!((outcome.letters, outcome.records, outcome.skipped.len()), (4, 3, 0));
    pipeline.run(None).await;
    let open = |reason: &str, attempt, status| (reason.to_owned(), attempt, status);
    assert_eq!(
        statuses(&mut desk).await,
        [
            open("unknown_sender", 1, Status::Replayed),
            open("missing_field", 1, Status::Replayed),
            open("bad_value", 1, Status::Replayed),
            open("invalid_utf8", 1, Status::Replayed),
            open("unknown_sender", 2, Status::Open),
            open("missing_field", 2, Status::Open),
            open("bad_value", 2, Status::Open),
            open("invalid_utf8", 2, Status::Open),
        ]
    );
    // The element that was taken at first was not taken again.
    let mut signals = 0;
    for partition in 0..2 {
        for record in pipeline.records(topics::SIGNALS, partition).await {
            signals += model::SignalBatch::decode(&record.value).map_or(0, |batch| batch.len());
        }
    }
    assert_eq!(signals, 1);
    let report = conservation(&pipeline.log).await.unwrap();
    assert!(report.balanced, "{:#?}", report.findings);

    let again = desk.act(&letters, &Deed::Replay, false).await.unwrap();
    assert_eq!((again.letters, again.records, again.skipped.len()), (0, 0, 4));
    assert!(again.skipped[0].because.contains("replayed already"), "{again:?}");
    let insisting = desk.act(&letters, &Deed::Replay, true).await.unwrap();
    assert_eq!((insisting.letters, insisting.skipped.len()), (4, 0));
    pipeline.run(None).await;
    let attempts: Vec<u32> = statuses(&mut desk)
        .await
        .into_iter()
        .map(|(_, attempt, _)| attempt)
        .collect();
    assert_eq!(attempts, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    let origins: Vec<Option<String>> = desk
        .list(&Filter::default(), 100)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.first_refused)
        .collect();
    assert_eq!(
        origins
            .iter()
            .flatten()
            .filter(|place| place.starts_with("events.raw/1/0"))
            .count(),
        4
    );
}

#[tokio::test]
async fn dropped_letters_are_left_alone() {
    let (pipeline, mut desk) = refused().await;
    let because = || Deed::Drop {
        because: "a test".into(),
    };
    let letters = all(&mut desk).await;
    let outcome = desk.act(&letters[..1], &because(), false).await.unwrap();
    assert_eq!((outcome.letters, outcome.records), (1, 0));
    let outcome = desk.act(&letters, &Deed::Replay, false).await.unwrap();
    assert_eq!((outcome.letters, outcome.skipped.len()), (3, 1));
    assert_eq!(outcome.skipped[0].id, letters[0].id);
    let outcome = desk.act(&letters, &because(), false).await.unwrap();
    assert_eq!((outcome.letters, outcome.skipped.len()), (0, 4));
    // A desk that comes later reads the same from the log.
    desk.leave().await.unwrap();
    let mut other = Desk::new(pipeline.log.clone(), pipeline.clock.clone());
    let dropped = Filter {
        status: Some(Status::Dropped),
        ..Filter::default()
    };
    let listed = other.list(&dropped, 100).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (1, letters[0].id));
    assert_eq!(listed[0].facts.len(), 1);
}

/// Whatever the commit's answer, a record is sent again if and only if its letters say so.
#[tokio::test]
async fn faults_leave_neither_half() {
    let check = async |fault: CommitFault, dealt: bool| {
        let (pipeline, mut desk) = refused().await;
        let letter = all(&mut desk).await[..1].to_vec();
        pipeline.memory.fail_next_commit(GROUP, fault);
        let done: Result<Outcome, _> = desk.act(&letter, &Deed::Replay, false).await;
        let sent = pipeline.records(topics::EVENTS_RAW, 0).await.len()
            + pipeline.records(topics::EVENTS_RAW, 1).await.len()
            - 3;
        assert_eq!(sent, usize::from(dealt), "{fault:?}");
        match &done {
            Ok(outcome) => assert_eq!(outcome.letters, u64::from(dealt), "{fault:?}"),
            Err(error) => assert_eq!(
                pipeline::cli::exit::of(error),
                pipeline::cli::Exit::Unavailable,
                "{fault:?}"
            ),
        }
        let mut other = Desk::new(pipeline.log.clone(), pipeline.clock.clone());
        let open = Filter {
            status: Some(Status::Open),
            ..Filter::default()
        };
        assert_eq!(
            other.list(&open, 100).await.unwrap().len(),
            4 - usize::from(dealt),
            "{fault:?}"
        );
    };
    check(CommitFault::Aborted, false).await;
    check(CommitFault::UnknownLost, false).await;
    check(CommitFault::UnknownWritten, true).await;
    check(CommitFault::Fenced, false).await;
}

/// A letter about a record further down goes back to the one who refused it, and to nobody else.
#[tokio::test]
async fn a_letter_of_a_later_reader_goes_back_to_it_alone() {
    let (pipeline, mut desk) = refused().await;
    let letter = |stage: &str, topic: &str| DeadLetter {
        schema: DeadLetter::SCHEMA,
        stage: stage.into(),
        reason: "undecodable".into(),
        detail: String::new(),
        field: None,
        topic: topic.into(),
        partition: 1,
        offset: 7,
        index: None,
        received_at: memory::NOW.to_datetime(),
        attempt: 1,
        headers: Vec::new(),
        body_base64: DeadLetter::encode_body(b"rubbish"),
    };
    for (stage, topic) in [
        ("sink.sql", topics::INCIDENTS),
        ("dedupe", topics::SIGNALS),
        ("x", "gone"),
    ] {
        let record = NewRecord {
            value: serde_json::to_vec(&letter(stage, topic)).unwrap().into(),
            ..NewRecord::default()
        };
        let to = TopicPartition::new(topics::DEAD_LETTER, 0);
        pipeline.log.append(&to, vec![record]).await.unwrap();
    }
    let filter = Filter {
        reason: Some("undecodable".into()),
        ..Filter::default()
    };
    let letters = desk.select(&filter).await.unwrap();
    let outcome = desk.act(&letters, &Deed::Replay, false).await.unwrap();
    assert_eq!((outcome.letters, outcome.skipped.len()), (2, 1));
    assert!(
        outcome.skipped[0].because.contains("topic gone does not exist"),
        "{outcome:?}"
    );
    pipeline.run(None).await;
    // Dedupe refused its own again; correlate and the others never saw the other one as data.
    let letters = desk.list(&Filter::default(), 100).await.unwrap();
    let found: Vec<(&str, u32)> = letters
        .iter()
        .filter(|entry| entry.attempt > 1)
        .map(|entry| (entry.stage.as_str(), entry.attempt))
        .collect();
    assert_eq!(found, [("dedupe", 2)]);
    let sent = pipeline.records(topics::INCIDENTS, 1).await;
    let sent = sent.iter().find(|record| record.value.as_ref() == b"rubbish").unwrap();
    assert!(stream::progress::is_data_for(sent, "sink.sql") && !stream::progress::is_data_for(sent, "sink.archive"));
    let report = conservation(&pipeline.log).await.unwrap();
    // The letter on a topic that is not there, and those that nobody wrote for a range.
    assert!(
        report.findings.iter().all(|finding| finding.stage == "dedupe"),
        "{:#?}",
        report.findings
    );
}

#[tokio::test]
async fn a_desk_waits_for_its_turn() {
    let (pipeline, mut desk) = refused().await;
    let letters = all(&mut desk).await;
    desk.act(&letters[..1], &Deed::Replay, false).await.unwrap();
    let (log, clock, chosen) = (pipeline.log.clone(), pipeline.clock.clone(), letters.clone());
    let second = tokio::spawn(async move {
        let mut desk = Desk::new(log, clock);
        let outcome = desk.act(&chosen, &Deed::Replay, false).await;
        desk.leave().await.unwrap();
        outcome
    });
    desk.leave().await.unwrap();
    let outcome = second.await.unwrap().unwrap();
    assert_eq!((outcome.letters, outcome.skipped.len()), (3, 1));
}

fn json(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn config(folder: &std::path::Path, aegis: &Aegis, more: &str) {
    let text = format!(
        "[data]\ndir = \"{0}/data\"\n[dispatcher]\nlisten = \"127.0.0.1:{1}\"\n[gateway]\nlisten = \"127.0.0.1:{2}\"\n{more}",
        folder.display(),
        aegis.dispatcher,
        aegis.gateway
    );
    std::fs::write(folder.join("aegis.toml"), text).unwrap();
}

/// From the user's side: refused under a limit, the limit is mended, sent again; offline, then in a running aegis.
#[test]
fn refused_mended_and_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    let (code, _, err) = aegis.run(&["dead-letters", "list"]);
    assert_eq!(code, 4, "{err}");
    assert!(!folder.path().join("data/log").exists(), "to look makes nothing");

    config(folder.path(), &aegis, "[normalize]\nmax_signal_bytes = 150\n");
    let long = "x".repeat(300);
    let alert = |name: &str, text: &str| {
        format!(
            r#"{{"status":"firing","labels":{{"alertname":"{name}","service":"{name}","severity":"critical"}},"annotations":{{"summary":"{text}"}},"startsAt":"2026-11-01T00:00:00Z","fingerprint":"{:016x}"}}"#,
            name.len()
        )
    };
    let body = |alerts: &[String]| format!(r#"{{"version":"4","alerts":[{}]}}"#, alerts.join(","));
    let file = folder.path().join("bodies.jsonl");
    let first = body(&[alert("a", &long), alert("bb", "short"), alert("ccc", &long)]);
    let second = body(&[alert("dddd", &long)]);
    std::fs::write(&file, format!("{first}\n{second}\n")).unwrap();
    let (code, out, err) = aegis.run(&["ingest", "--from", "alertmanager", &file.display().to_string()]);
    assert_eq!(code, 6, "{out}{err}");

    let (code, out, err) = aegis.run(&["dead-letters", "list", "--reason", "too_large", "--json"]);
    assert_eq!(code, 0, "{err}");
    let letters = json(&out);
    assert_eq!(letters.len(), 3, "{out}");
    assert!(
        letters
            .iter()
            .all(|letter| letter["status"] == "open" && letter["attempt"] == 1)
    );
    let follower = letters
        .iter()
        .find(|letter| letter["id"] != letter["bytes_in"])
        .expect("one shares its bytes");
    let id = follower["id"].as_str().unwrap();
    assert_eq!(
        aegis.run(&["dead-letters", "show", id, "--raw"]),
        (0, first.clone(), String::new())
    );
    let (code, out, _) = aegis.run(&["dead-letters", "show", id]);
    assert!(
        code == 0 && out.contains("too_large") && out.contains("\"alertname\":\"ccc\""),
        "{out}"
    );
    assert_eq!(aegis.run(&["dead-letters", "show", "dead-letter/0/999"]).0, 4);
    let (code, out, _) = aegis.run(&["dead-letters", "list"]);
    let table: Vec<&str> = out.lines().collect();
    assert!(code == 0 && table.len() == 4 && table[0].starts_with("id "), "{out}");

    // Nothing is mended yet: refused again, of attempt 2.
    let one = follower["id"].as_str().unwrap();
    let (code, out, err) = aegis.run(&["dead-letters", "replay", one, "--json"]);
    assert_eq!(code, 6, "{out}{err}");
    let done = &json(&out)[0];
    assert_eq!(
        (&done["letters"], &done["refused_again"], &done["signals"]),
        (&1.into(), &1.into(), &0.into())
    );
    let (_, out, _) = aegis.run(&["dead-letters", "list", "--status", "open", "--json"]);
    let mut attempts: Vec<u64> = json(&out)
        .iter()
        .map(|letter| letter["attempt"].as_u64().unwrap())
        .collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 2]);
    let (code, out, _) = aegis.run(&["dead-letters", "replay", one]);
    assert!(code == 6 && out.contains("it is replayed already"), "{out}");
    assert_eq!(aegis.run(&["dead-letters", "replay", one, "0/999"]).0, 4);
    assert_eq!(aegis.run(&["dead-letters", "replay"]).0, 2);

    // The limit is mended.
    config(folder.path(), &aegis, "");
    let second = letters.iter().find(|letter| {
        letter["detail"].as_str().unwrap().contains("alerts/0") && letter["offset"] != follower["offset"]
    });
    let dropped = second.map_or_else(|| letters[0]["id"].clone(), |letter| letter["id"].clone());
    let dropped = dropped.as_str().unwrap();
    let (code, out, err) = aegis.run(&["dead-letters", "drop", dropped, "--because", "a test", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let table = "select because from dead_letters where status = 'dropped'";
    assert_eq!(aegis.sql(table)[0]["because"], "a test", "the tables know at once");
    aegis.start();
    let (code, out, err) = aegis.run(&["dead-letters", "replay", "--all", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(
        (&json(&out)[0]["letters"], &json(&out)[0]["worked_off"]),
        (&2.into(), &false.into())
    );
    wait_for("the incidents", std::time::Duration::from_secs(30), || {
        (aegis.sql("select count(*) as n from incident_members")[0]["n"] == 3).then_some(())
    });
    wait_for("the table", std::time::Duration::from_secs(30), || {
        let rows = aegis.sql("select status, count(*) as n from dead_letters group by 1 order by 1");
        let rows: Vec<(&str, i64)> = rows
            .iter()
            .map(|row| (row["status"].as_str().unwrap(), row["n"].as_i64().unwrap()))
            .collect();
        (rows == [("dropped", 1), ("replayed", 3)]).then_some(())
    });
    let (code, out, _) = aegis.run(&["dead-letters", "list", "--status", "dropped", "--json"]);
    assert!(code == 0 && json(&out)[0]["facts"][0]["because"] == "a test", "{out}");
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));
}

/// On Kafka any process may do it: beside the running one, and two at once send a letter once.
#[tokio::test(flavor = "multi_thread")]
async fn on_kafka_two_at_once_send_a_letter_once() {
    let Some(kafka) = support::required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let config = format!(
        "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = 2\n"
    );
    let mut aegis = Aegis::new(folder.path(), &config);
    aegis.start();
    let settings = sources::kafka::KafkaSettings {
        bootstrap_servers: vec![kafka],
        topic_prefix: prefix,
        ..Default::default()
    };
    let producer = sources::kafka::KafkaLog::open_prefixed(settings).await.unwrap();
    let record = NewRecord {
        value: bytes::Bytes::from_static(b"not JSON"),
        // Of now: the broker drops what is older than the topic keeps.
        timestamp: stream::time::WallClock.now(),
        ..NewRecord::default()
    };
    let to = TopicPartition::new(topics::EVENTS_RAW, 1);
    producer.append(&to, vec![record]).await.unwrap();
    let listed = |status: &str| {
        let (code, out, err) = aegis.run(&["dead-letters", "list", "--status", status, "--json"]);
        assert_eq!(code, 0, "{err}");
        json(&out)
    };
    let deadline = std::time::Duration::from_secs(60);
    let letter = wait_for("the letter", deadline, || listed("open").pop());
    let id = letter["id"].as_str().unwrap();
    assert_eq!(aegis.run(&["dead-letters", "show", id, "--raw"]).1, "not JSON");
    let mut letters = 0;
    std::thread::scope(|scope| {
        let replays: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| aegis.run(&["dead-letters", "replay", id, "--json"])))
            .collect();
        for replay in replays {
            let (code, out, err) = replay.join().unwrap();
            assert!([0, 6].contains(&code), "{code} {out}{err}");
            letters += json(&out)[0]["letters"].as_u64().unwrap();
        }
    });
    assert_eq!(letters, 1);
    let again = wait_for("the letter of attempt 2", deadline, || listed("open").pop());
    assert_eq!(
        (&again["attempt"], &again["first_refused"]),
        (&2.into(), &"events.raw/1/0".into())
    );
    let (code, out, err) = aegis.run(&[
        "dead-letters",
        "drop",
        "--reason",
        "malformed_json",
        "--because",
        "a test",
    ]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(
        (listed("open").len(), listed("dropped").len(), listed("replayed").len()),
        (0, 1, 1)
    );
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let stages = json(&out)[0]["stages"].clone();
    let bodies: u64 = stages
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["bodies"].as_u64().unwrap())
        .sum();
    assert_eq!(bodies, 2);
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));
}
