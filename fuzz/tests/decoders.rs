//! Decoders: whatever the bytes and whoever is said to have sent them, nothing panics, every item is accounted for once, and the same bytes say
//! the same again.

use bytes::Bytes;
use fuzz::{Dice, corpus, rounds, spoiled};
use operators::normalize::Normalize;
use operators::signals_out::{SignalsOut, decode_signals};
use sources::logs::LogIntakeSettings;
use sources::logs::files::{FileKind, read};
use stream::operator::Harness;
use stream::{Accounting, Instant, Offset, Record};

const SENDERS: &[&str] = &[
    "",
    "alertmanager",
    "grafana",
    "github",
    "kubernetes",
    "events",
    "flat",
    "nobody",
];

/// Headers at which decoders look.
const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("content-type", "application/cloudevents+json"),
    ("ce_specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "s"),
    ("ce-type", "deploy"),
    ("ce-time", "2026-11-23T08:48:26Z"),
    ("http-x-github-event", "deployment_status"),
    ("http-x-github-event", "brand_new"),
    ("http-x-aegis-cluster", "eu:1"),
    ("kubernetes-sighting", r#"{"cluster":"eu","says":{"type":"event"}}"#),
    (
        "kubernetes-sighting",
        r#"{"cluster":"eu","says":{"type":"ended","trouble":{"kind":"OOMKilled","since":5},"ends_at":1}}"#,
    ),
    (
        "kubernetes-sighting",
        r#"{"cluster":"eu","says":{"type":"rollout_began"}}"#,
    ),
    (
        "kubernetes-sighting",
        r#"{"cluster":"eu","says":{"type":"rollout_completed"}}"#,
    ),
    (
        "kubernetes-sighting",
        r#"{"cluster":"eu","says":{"type":"scaled","from":-1}}"#,
    ),
    ("aegis-items", "0,2,x"),
    ("aegis-received-at", "-9223372036854775808"),
];

fn record(body: Vec<u8>, headers: &[(&str, &str)]) -> Record {
    Record {
        offset: Offset(7),
        key: None,
        value: body.into(),
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        timestamp: Instant(1_795_423_800_000_000),
    }
}

/// Rows as they were written, what was refused, and the counts.
fn normalized(record: &Record) -> (Vec<String>, Vec<String>, Accounting) {
    let mut harness = Harness::<SignalsOut>::new(1);
    harness.feed(&mut Normalize::default(), record);
    let rejects = harness
        .take_rejects()
        .iter()
        .map(|reject| format!("{reject:?}"))
        .collect();
    let counts = harness.take_accounting();
    let mut rows = Vec::new();
    for new in harness.drain().expect("rows can be written").into_iter().flatten() {
        let written = Record {
            offset: Offset(0),
            key: None,
            value: new.value,
            headers: new.headers,
            timestamp: new.timestamp,
        };
        let batch = decode_signals(&written).expect("what was written can be read");
        rows.extend(batch.rows().map(|row| format!("{row:?}")));
    }
    (rows, rejects, counts)
}

fn headers(dice: &mut Dice) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![("aegis-sender", *dice.one_of(SENDERS))];
    while dice.once_in(2) {
        headers.push(*dice.one_of(HEADERS));
    }
    headers
}

#[test]
fn normalize() {
    let corpus = corpus();
    assert!(corpus.len() > 20, "{} bodies", corpus.len());
    for body in &corpus {
        for sender in SENDERS {
            normalized(&record(body.clone(), &[("aegis-sender", sender)]));
        }
    }
    rounds("normalize", 20_000, |dice| {
        let body = dice.one_of(&corpus[..]).clone();
        let body = spoiled(dice, &body, &corpus);
        let record = record(body, &headers(dice));
        let (rows, rejects, counts) = normalized(&record);
        assert_eq!(counts.bodies, 1);
        assert!(counts.balanced(), "{counts:?}");
        assert_eq!(
            (counts.forwarded as usize, counts.dead_lettered as usize),
            (rows.len(), rejects.len())
        );
        assert_eq!(
            normalized(&record),
            (rows, rejects, counts),
            "the same bytes say the same"
        );
    });
}

#[test]
fn log_lines() {
    let corpus = corpus();
    let settings = LogIntakeSettings::default();
    let kinds = [
        FileKind::Otlp,
        FileKind::Loki,
        FileKind::Lines {
            service: "s".to_owned(),
        },
    ];
    rounds("log lines", 20_000, |dice| {
        let body = dice.one_of(&corpus[..]).clone();
        let body = spoiled(dice, &body, &corpus);
        // A refusal is an answer; a panic is none.
        let _ = read(dice.one_of(&kinds), &body, &settings);
    });
}
