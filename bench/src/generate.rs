//! Deterministic input for the core job, with its reference answer by brute force.
//!
//! Alerts stand 10 ms apart in event time with up to 5 s of jitter; one deploy every 2 s, from 300 s before the first
//! alert. Survivor: per (fingerprint, tumbling 60 s window) the alert with the least time. Pair: survivor and deploy of the
//! same service with `survivor − 300 s ≤ deploy ≤ survivor`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a run must report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    pub alerts: u64,
    pub deploys: u64,
    pub deduped: u64,
    pub joined: u64,
}

const SERVICES: usize = 200;
const START_MS: i64 = 1_760_000_040_000;

/// Writes `alerts.jsonl`, `deploys.jsonl` and `expected.json` into `folder`.
pub fn generate(alerts: u64, folder: &Path, seed: u64) -> anyhow::Result<Expected> {
    std::fs::create_dir_all(folder)?;
    let mut random = StdRng::seed_from_u64(seed);
    let base = START_MS - START_MS.rem_euclid(60_000);
    let filler: String = (0..4096)
        .map(|_| char::from(b'a' + random.random_range(0..26u8)))
        .collect();

    let mut survivors: BTreeMap<(String, i64), (i64, usize)> = BTreeMap::new();
    let mut out = BufWriter::new(File::create(folder.join("alerts.jsonl"))?);
    for i in 0..alerts {
        let at = (base + 10 * i as i64 - random.random_range(0..5000i64)).max(base);
        let service = random.random_range(0..SERVICES);
        // Most alerts come from few rules.
        let rule = (0..19).take_while(|_| random.random_range(0..10u8) < 7).count();
        let spread = ((service * 20 + rule) as u64 * 2_654_435_761) & 0xffff_ffff;
        let fingerprint = format!("{spread:08x}{service:04x}{rule:04x}");
        let severity = ["critical", "high", "warning", "info"][rule % 4];
        let cut = random.random_range(0..3600usize);
        let line = json!({
            "id": format!("a-{i:010}"), "ts": at, "fingerprint": fingerprint, "source": "prometheus",
            "service": format!("svc-{service:03}"), "severity": severity,
            "status": "firing", "title": format!("Rule{rule:02} fired on svc-{service:03} \"quoted\" é"),
            "labels": {
                "alertname": format!("Rule{rule:02}"), "cluster": format!("c{}", service % 5),
                "namespace": format!("ns{}", service % 17), "pod": format!("svc-{service:03}-{:03}", i % 997),
                "region": "eu-west-1", "team": format!("team-{}", service % 12),
            },
            "annotations": {
                "summary": &filler[cut..cut + 180], "description": &filler[cut + 180..cut + 480],
                "runbook": format!("https://runbooks.example/{rule}"),
            },
            "value": f64::from(random.random_range(0..100_000u32)) / 1000.0,
            "generatorURL": format!("http://prom.example/graph?g0.expr=rule{rule}&g0.tab={}", i % 7),
        });
        writeln!(out, "{line}")?;
        let slot = survivors
            .entry((fingerprint, at.div_euclid(60_000)))
            .or_insert((at, service));
        if at < slot.0 {
            *slot = (at, service);
        }
    }
    out.flush()?;

    let mut deploys: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    let mut count = 0u64;
    let mut out = BufWriter::new(File::create(folder.join("deploys.jsonl"))?);
    let mut at = base - 300_000;
    while at < base + 10 * alerts as i64 {
        let service = random.random_range(0..SERVICES);
        let line = json!({
            "id": format!("d-{count:08}"), "ts": at, "service": format!("svc-{service:03}"),
            "version": format!("1.{}.{count}", count % 50), "actor": format!("user{}", count % 31),
            "commit": format!("{:032x}{:08x}", random.random::<u128>(), random.random::<u32>()),
        });
        writeln!(out, "{line}")?;
        deploys.entry(service).or_default().push(at);
        count += 1;
        at += 2000;
    }
    out.flush()?;

    let pairs = |(at, service): &(i64, usize)| -> u64 {
        let Some(times) = deploys.get(service) else { return 0 };
        (times.partition_point(|t| t <= at) - times.partition_point(|t| *t < at - 300_000)) as u64
    };
    let expected = Expected {
        alerts,
        deploys: count,
        deduped: survivors.len() as u64,
        joined: survivors.values().map(pairs).sum(),
    };
    std::fs::write(folder.join("expected.json"), serde_json::to_string(&expected)?)?;
    Ok(expected)
}
