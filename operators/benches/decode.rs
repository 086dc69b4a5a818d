//! Decoding: raw bodies into encoded signal batches, in alerts per second, beside a plain parse of the same bytes into
//! `serde_json::Value` in the same run (the parse alone: no columns, no ids, no canonical labels).
//!
//! `cargo bench -p operators --bench decode`

use std::hint::black_box;
use std::path::PathBuf;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operators::normalize::Normalize;
use operators::signals_out::SignalsOut;
use serde_json::{Value, json};
use stream::operator::Harness;
use stream::{Instant, Offset, Record};

/// Records between two drains, as between two commits.
const COMMIT: usize = 1_000;

/// Alerts of about 1 KB, of the shape of the generator that the comparison with other engines uses.
fn flat_alerts() -> Vec<Bytes> {
    let letters: String = (0..4_096_u32)
        .map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 26))
        .collect();
    let alert = |i: usize| {
        let (service, rule, at) = (i * 7_919 % 200, i % 20, i * 31 % 3_600);
        format!(
            "{{\"id\": \"a-{i:010}\", \"ts\": {}, \"fingerprint\": \"{:016x}\", \"source\": \"prometheus\", \"service\": \"svc-{service:03}\", \
             \"severity\": \"{}\", \"status\": \"firing\", \"title\": \"Rule{rule:02} fired on svc-{service:03} \\\"quoted\\\" \u{e9}\", \
             \"labels\": {{\"alertname\": \"Rule{rule:02}\", \"cluster\": \"c{}\", \"namespace\": \"ns{}\", \"pod\": \"svc-{service:03}-{:03}\", \
             \"region\": \"eu-west-1\", \"team\": \"team-{}\"}}, \"annotations\": {{\"summary\": \"{}\", \"description\": \"{}\", \
             \"runbook\": \"https://runbooks.example/{rule}\"}}, \"value\": {}.5, \
             \"generatorURL\": \"http://prom.example/graph?g0.expr=rule{rule}&g0.tab={}\"}}",
            1_760_000_040_000_u64 + i as u64 * 10,
            service * 20 + rule,
            ["critical", "high", "warning", "info"][rule % 4],
            service % 5,
            service % 17,
            i % 997,
            service % 12,
            &letters[at..at + 180],
            &letters[at + 180..at + 480],
            i % 100,
            i % 7
        )
    };
    (0..COMMIT).map(|i| Bytes::from(alert(i))).collect()
}

/// The captured notifications, over and over.
fn captured() -> Vec<Bytes> {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut bodies = Vec::new();
    for folder in ["alertmanager", "alertmanager-grouped", "flaky"] {
        let mut files: Vec<PathBuf> = std::fs::read_dir(fixtures.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let request: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            bodies.push(Bytes::from(request["raw_body"].as_str().unwrap().to_owned()));
        }
    }
    bodies.iter().cycle().take(COMMIT).cloned().collect()
}

/// One notification with a hundred alerts.
fn group_of_100() -> Vec<Bytes> {
    let alerts: Vec<Value> = (0..100)
        .map(|i| {
            json!({
                "status": "firing", "labels": {"alertname": "HighErrorRate", "cluster": "c", "namespace": "prod", "pod": format!("cart-{i}"),
                "service": "cart", "severity": "critical", "team": "payments"}, "annotations": {"summary": "cart error ratio 50% in prod",
                "description": "Error ratio above 5% for 2s", "runbook_url": "https://runbooks.example.com/high-error-rate"},
                "startsAt": "2026-11-23T08:48:28.002Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prom:9090/graph?g0.expr=x",
                "fingerprint": format!("{i:016x}")
            })
        })
        .collect();
    let body = json!({"version": "4", "receiver": "hook", "status": "firing", "externalURL": "http://am:9093", "groupKey": "{}", "alerts": alerts});
    vec![Bytes::from(body.to_string())]
}

fn record(offset: usize, body: &Bytes, sender: &str) -> Record {
    let headers = if sender.is_empty() {
        Vec::new()
    } else {
        vec![("aegis-sender".to_owned(), Bytes::copy_from_slice(sender.as_bytes()))]
    };
    Record {
        offset: Offset(offset as u64),
        key: None,
        value: body.clone(),
        headers,
        timestamp: Instant(1_795_423_800_000_000),
    }
}

fn decode(c: &mut Criterion) {
    for (name, sender, bodies) in [
        ("flat_1kb", "flat", flat_alerts()),
        ("alertmanager_captured", "alertmanager", captured()),
        ("alertmanager_100", "alertmanager", group_of_100()),
    ] {
        let bytes: usize = bodies.iter().map(Bytes::len).sum();
        let mut operator = Normalize::default();
        let mut harness = Harness::<SignalsOut>::new(4);
        for sender in [sender, ""] {
            let records: Vec<Record> = bodies
                .iter()
                .enumerate()
                .map(|(i, body)| record(i, body, sender))
                .collect();
            records.iter().for_each(|record| harness.feed(&mut operator, record));
            let (alerts, rejects) = (harness.rows(), harness.take_rejects());
            assert_eq!(rejects, [], "{name}");
            harness.drain().unwrap();
            let mut group = c.benchmark_group(name);
            group.throughput(Throughput::Elements(alerts as u64));
            group.sample_size(20);
            let how = if sender.is_empty() {
                "normalize_by_shape"
            } else {
                "normalize"
            };
            group.bench_function(format!("{how} ({alerts} alerts, {bytes} bytes)"), |b| {
                b.iter(|| {
                    for record in &records {
                        harness.feed(&mut operator, record);
                        harness.take_senders();
                    }
                    black_box(harness.drain().unwrap())
                });
            });
            group.bench_function(format!("{how}, columns built but not encoded"), |b| {
                b.iter(|| {
                    for record in &records {
                        harness.feed(&mut operator, record);
                        harness.take_senders();
                    }
                    black_box(std::mem::replace(&mut harness, Harness::new(4)))
                });
            });
            if !sender.is_empty() {
                group.bench_function("serde_json_value", |b| {
                    b.iter(|| {
                        for record in &records {
                            black_box(serde_json::from_slice::<Value>(&record.value).unwrap());
                        }
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
