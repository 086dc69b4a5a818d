//! Log lines through the stage `templates`, as shipped: batches decoded, mined, counted, and written for `lines`.
//!
//! Made lines, or those of a file over and over. What is measured is the stage alone, without a log below it.

use std::path::Path;

use anyhow::Context as _;
use model::{LogBatch, LogLine};
use operators::templates::{Templates, TemplatesSettings};
use serde_json::{Value, json};
use stream::log::{Offset, Record};
use stream::operator::Harness;
use stream::{Instant, Operator as _};

use crate::measure;

/// Lines of a batch: about what a collector sends at once.
const BATCH: usize = 500;
const START: i64 = 1_760_000_000_000_000;

/// Runs `count` lines through the stage; the figures as one JSON object.
pub fn run(count: usize, file: Option<&Path>) -> anyhow::Result<Value> {
    let texts: Vec<String> = match file {
        Some(file) => {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
        }
        None => (0..10_000).map(made).collect(),
    };
    anyhow::ensure!(!texts.is_empty(), "there are no lines");
    // Encoded before the clock runs.
    let distinct = texts.len().div_ceil(BATCH);
    let records: Vec<Vec<u8>> = texts
        .chunks(BATCH)
        .enumerate()
        .map(|(at, texts)| batch(at, texts))
        .collect();
    let mut stage = Templates::new(&TemplatesSettings::default(), "prod");
    let mut harness = Harness::new(4);
    let (mut lines, mut bytes, mut signals) = (0, 0, 0);
    let before = measure::cpu_time();
    for number in 0..count.div_ceil(BATCH) {
        let record = Record {
            offset: Offset(number as u64),
            key: None,
            value: records[number % distinct].clone().into(),
            headers: Vec::new(),
            timestamp: Instant(START + (number as i64) * 1_000_000),
        };
        bytes += record.value.len();
        harness.feed(&mut stage, &record);
        let counts = harness.take_accounting();
        anyhow::ensure!(counts.balanced(), "{counts:?}");
        lines += counts.forwarded;
        signals += counts.produced.values().sum::<u64>();
        harness.take_side();
        harness.drain().map_err(anyhow::Error::msg)?;
    }
    let cpu = (measure::cpu_time() - before).as_secs_f64();
    let templates = stage.cells().into_iter().find(|(name, _)| *name == "templates");
    Ok(json!({
        "case": "templates",
        "lines": lines,
        "bytes": bytes,
        "templates": templates.map_or(0, |(_, cell)| cell.entries()),
        "signals": signals,
        "cpu_s": cpu,
        "lines_per_cpu_s": (lines as f64 / cpu.max(0.01)) as u64,
    }))
}

fn batch(number: usize, texts: &[String]) -> Vec<u8> {
    let lines = texts.iter().enumerate().map(|(n, text)| LogLine {
        at: Some(START + number as i64 * 1_000_000 + n as i64),
        text: text.clone(),
        ..LogLine::default()
    });
    let batch = LogBatch {
        schema: LogBatch::SCHEMA,
        tenant: "default".to_owned(),
        service: format!("s{}", number % 4),
        lines: lines.collect(),
        ..LogBatch::default()
    };
    // A struct of strings and numbers always encodes.
    serde_json::to_vec(&batch).unwrap_or_default()
}

/// The `n`th of the made lines: forty shapes, each with numbers, addresses, paths and ids in it.
fn made(n: usize) -> String {
    let (shape, a, b) = (n % 40, n * 7_919 % 10_007, n * 104_729 % 65_521);
    let word = ["order", "cart", "payment", "session", "replica"][shape % 5];
    let verb = [
        "accepted", "queued", "retried", "expired", "rejected", "stored", "moved", "closed",
    ][shape / 5];
    match shape % 4 {
        0 => format!("INFO {word} {a} {verb} for customer {b} in {}ms", a % 900),
        1 => format!(
            "WARN {word} {verb} by 10.{}.{}.{}:{b} after {} tries",
            a % 255,
            b % 255,
            a % 99,
            a % 7
        ),
        2 => format!("DEBUG {verb} {word} from /var/lib/shop/{word}/{a}.dat at offset {b}"),
        _ => format!(
            "INFO {word} {b:08x}-0000-4000-8000-{a:012x} {verb} with status {}",
            200 + a % 5
        ),
    }
}
