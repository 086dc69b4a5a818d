//! End-to-end cases: a chain of stages over a log, fed from files while it runs, with watermarks, state, accounting and
//! commits as in production.

pub mod chain;
pub mod feeder;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{SignalBatch, SignalKind, topics};
use operators::correlate::Correlate;
use operators::dedupe::Dedupe;
use operators::interval_join::IntervalJoin;
use operators::normalize::Normalize;
use operators::window_dedupe::WindowDedupe;
use serde_json::json;
use stream::progress::IngressPolicy;

use crate::generate::Expected;
use crate::measure::{cpu_time, peak_memory};
use crate::{CaseArguments, LogKind};
use chain::Chain;

/// Width of the dedupe window and reach of the join, as the reference answer has them.
const WINDOW: Duration = Duration::from_secs(60);
const REACH: Duration = Duration::from_secs(300);

/// Lateness: twice the generator's jitter. The input lies in the past of the wall clock, so no sender may ever count as
/// silent: event time comes from the data alone.
pub const POLICY: IngressPolicy = IngressPolicy {
    lateness: Duration::from_secs(10),
    idle_after: Duration::from_secs(100 * 365 * 86_400),
    // The changes and the alerts are two files, told one after the other: neither may be left behind.
    max_hold: Duration::from_secs(100 * 365 * 86_400),
    max_senders: 10_000,
    founding_partitions: u32::MAX,
};

/// Decode → window_dedupe → interval_join.
pub async fn core(arguments: &CaseArguments) -> anyhow::Result<()> {
    let (alerts, deploys) = (
        read(&arguments.folder, "alerts.jsonl")?,
        read(&arguments.folder, "deploys.jsonl")?,
    );
    let chain = Chain::open(&arguments.log, POLICY).await?;
    let (cpu, began) = (cpu_time(), Instant::now());
    let joined_topic = topics::INCIDENTS;
    let input = in_step(&alerts, &deploys);
    let mut running = chain.start();
    running.ingress(topics::EVENTS_RAW, topics::SIGNALS, || {
        Normalize::new(Default::default())
    });
    running.stage(topics::SIGNALS, topics::TRANSITIONS, || WindowDedupe::new(WINDOW));
    running.stage(topics::TRANSITIONS, joined_topic, || IntervalJoin::new(REACH));
    feed(&chain, input).await?;
    running.finish().await?;
    let (seconds, cpu) = (began.elapsed(), cpu_time() - cpu);
    let count = lines(&alerts).count() as u64;

    let mut deduped = 0u64;
    chain
        .read_all(topics::TRANSITIONS, |record| {
            let batch = SignalBatch::decode(&record.value)?;
            deduped += batch.rows().filter(|row| row.kind == SignalKind::Alert).count() as u64;
            Ok(())
        })
        .await?;
    let mut joined = 0u64;
    chain
        .read_all(joined_topic, |_| {
            joined += 1;
            Ok(())
        })
        .await?;
    let mut late = 0u64;
    chain
        .read_all(topics::LATE, |_| {
            late += 1;
            Ok(())
        })
        .await?;
    println!(
        "{}",
        json!({
            "log": log_name(arguments.log.log), "deduped": deduped, "joined": joined, "alerts": count,
            "seconds": seconds.as_secs_f64(), "cpu_seconds": cpu.as_secs_f64(), "rss_mb": peak_memory() as f64 / 1e6,
            "late": late, "partitions": arguments.log.partitions,
        })
    );
    if let Ok(text) = std::fs::read_to_string(arguments.folder.join("expected.json")) {
        let expected: Expected = serde_json::from_str(&text)?;
        anyhow::ensure!(
            (deduped, joined, count) == (expected.deduped, expected.joined, expected.alerts),
            "the answer differs from expected.json: {text}"
        );
    }
    Ok(())
}

/// Normalize → dedupe → correlate.
pub async fn pipeline(arguments: &CaseArguments) -> anyhow::Result<()> {
    let alerts = read(&arguments.folder, "alerts.jsonl")?;
    let chain = Chain::open(&arguments.log, POLICY).await?;
    let (cpu, began) = (cpu_time(), Instant::now());
    let input = in_step(&alerts, &Bytes::new());
    let mut running = chain.start();
    running.ingress(topics::EVENTS_RAW, topics::SIGNALS, || {
        Normalize::new(Default::default())
    });
    running.stage(
        topics::SIGNALS,
        topics::TRANSITIONS,
        || Dedupe::new(&Default::default()),
    );
    running.stage(topics::TRANSITIONS, topics::INCIDENTS, || {
        Correlate::new(&Default::default())
    });
    feed(&chain, input).await?;
    running.finish().await?;
    let (seconds, cpu) = (began.elapsed(), cpu_time() - cpu);
    let count = lines(&alerts).count() as u64;
    let mut transitions = 0u64;
    chain
        .read_all(topics::TRANSITIONS, |record| {
            transitions += SignalBatch::decode(&record.value)?.len() as u64;
            Ok(())
        })
        .await?;
    let (mut facts, mut incidents) = (0u64, 0u64);
    chain
        .read_all(topics::INCIDENTS, |record| {
            let event: model::IncidentEvent = serde_json::from_slice(&record.value)?;
            facts += 1;
            incidents += u64::from(matches!(event.fact, model::Fact::Opened { .. }));
            Ok(())
        })
        .await?;
    println!(
        "{}",
        json!({
            "case": "pipeline", "log": log_name(arguments.log.log), "alerts": count, "transitions": transitions, "facts": facts,
            "incidents": incidents, "seconds": seconds.as_secs_f64(), "cpu_seconds": cpu.as_secs_f64(),
            "rss_mb": peak_memory() as f64 / 1e6, "partitions": arguments.log.partitions,
        })
    );
    Ok(())
}

pub fn log_name(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Memory => "memory",
        LogKind::Embedded => "embedded",
        LogKind::Kafka => "kafka",
    }
}

pub fn read(folder: &Path, name: &str) -> anyhow::Result<Bytes> {
    use anyhow::Context as _;
    let path = folder.join(name);
    Ok(std::fs::read(&path)
        .with_context(|| format!("cannot read {}: make it with `bench generate`", path.display()))?
        .into())
}

/// Appends all of `input`, one record per line.
async fn feed(chain: &Chain, input: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
    let mut feeder = chain.feeder();
    for line in input {
        feeder.push(line).await?;
    }
    feeder.finish().await
}

/// The lines of both files in step of their event time.
fn in_step(alerts: &Bytes, deploys: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let timed = |file: &Bytes| lines(file).map(|line| (event_time(&line), line)).peekable();
    let (mut alerts, mut deploys) = (timed(alerts), timed(deploys));
    std::iter::from_fn(move || {
        let alert_at = alerts.peek().map(|(at, _)| *at);
        let deploy = deploys.next_if(|(at, _)| alert_at.is_none_or(|alert_at| *at <= alert_at));
        deploy.or_else(|| alerts.next()).map(|(_, line)| line)
    })
}

pub fn lines(file: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let file = file.clone();
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = file.get(from..)?;
        let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = file.slice(from..from + length);
        from += length + 1;
        Some(line)
    })
    .filter(|line| !line.is_empty())
}

/// The number behind the line's first `"ts":`, as the producer knows it without parsing.
pub fn event_time(line: &[u8]) -> i64 {
    let Some(start) = line.windows(5).position(|window| window == b"\"ts\":") else {
        return 0;
    };
    line[start + 5..]
        .iter()
        .skip_while(|byte| **byte == b' ')
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}
