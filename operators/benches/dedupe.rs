//! Dedupe on what it mostly sees: repeats. Signals per second through decode, judge and (rarely) emit.
//!
//! `repeats`: 10,000 alerts that fire already, each signal a repeat. `storm`: every signal a new alert.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::{Origin, Severity, Signal, SignalBatchBuilder, SignalId, SignalKind, SignalState};
use operators::dedupe::{Dedupe, DedupeSettings};
use stream::log::{Offset, Record};
use stream::operator::Harness;
use stream::time::Instant;

const ALERTS: u64 = 10_000;
/// Rows per record, about what normalize writes.
const ROWS: usize = 1_000;

fn signal(i: u64) -> Signal {
    Signal {
        id: SignalId::of(&[&i.to_le_bytes()]),
        tenant: "default".into(),
        environment: "prod".into(),
        source: "alertmanager".into(),
        kind: SignalKind::Alert,
        state: SignalState::Firing,
        dedup_key: format!("am:{i:016x}"),
        dedup_rule: "alertmanager/fingerprint@1".into(),
        event_at: 1_760_000_000_000_000,
        observed_at: 1_760_000_000_500_000,
        effective_at: 1_760_000_000_000_000,
        ends_at: None,
        severity: Severity::Warning,
        title: format!("HighErrorRate on svc-{}", i % 200),
        description: Some("Error rate above 5 % for five minutes".into()),
        service: Some(format!("svc-{}", i % 200)),
        cluster: Some("eu-1".into()),
        namespace: Some("shop".into()),
        group: None,
        labels: r#"{"alertname":"HighErrorRate","cluster":"eu-1","namespace":"shop","severity":"warning"}"#.into(),
        annotations: r#"{"summary":"Error rate above 5 %"}"#.into(),
        extra: None,
        digest: i,
        origin: Origin::default(),
        transition: None,
    }
}

/// One signal of each alert.
fn records() -> Vec<Record> {
    let signals: Vec<Signal> = (0..ALERTS).map(signal).collect();
    let record = |chunk: &[Signal]| {
        let mut builder = SignalBatchBuilder::new();
        chunk.iter().for_each(|signal| builder.push(&signal.row()));
        let value = builder
            .finish()
            .and_then(|batch| batch.encode())
            .expect("a batch of our own");
        Record {
            offset: Offset(0),
            key: None,
            value: value.into(),
            headers: Vec::new(),
            timestamp: Instant::default(),
        }
    };
    signals.chunks(ROWS).map(record).collect()
}

fn dedupe() -> (Dedupe, Harness<<Dedupe as stream::Operator>::Out>) {
    (Dedupe::new(&DedupeSettings::default()), Harness::new(4))
}

fn bench(c: &mut Criterion) {
    let records = records();
    let mut group = c.benchmark_group("dedupe");
    group.throughput(Throughput::Elements(ALERTS)).sample_size(20);
    group.bench_function("repeats", |b| {
        let (mut operator, mut harness) = dedupe();
        records.iter().for_each(|record| harness.feed(&mut operator, record));
        harness.drain().expect("encodes");
        harness.take_accounting();
        b.iter(|| {
            records.iter().for_each(|record| harness.feed(&mut operator, record));
            assert_eq!(harness.take_accounting().merged, ALERTS);
        });
    });
    group.bench_function("storm", |b| {
        b.iter_batched(
            dedupe,
            |(mut operator, mut harness)| {
                records.iter().for_each(|record| harness.feed(&mut operator, record));
                assert_eq!(harness.take_accounting().forwarded, ALERTS);
                harness.drain().expect("encodes")
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
