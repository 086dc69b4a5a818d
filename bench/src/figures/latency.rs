//! From an alert in the log to its incident, hop by hop: normalize, dedupe and correlate run live, fed at half of the rate
//! that they were seen to take in the same run.
//!
//! Among the load stand probes: critical alerts, each of a service of its own, so that each opens an incident at once. A
//! probe's clock starts when its append is answered, which is when it is durably in the log; every hop ends when a reader
//! of that topic (committed records only) has the record that names the probe. The readers share the machine with the chain.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use memchr::memmem;
use model::topics;
use operators::correlate::Correlate;
use operators::dedupe::Dedupe;
use operators::normalize::Normalize;
use serde_json::{Value, json};
use sinks::Store;
use sql::{Engine, EngineOptions, SqlSourceConfig};
use stream::{Log, NewRecord, Offset, TopicPartition};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::LogArguments;
use crate::case::chain::{Chain, Running};
use crate::case::{POLICY, event_time, lines, log_name, read};
use crate::measure::{quantile, rounded};

#[derive(clap::Args)]
pub struct Arguments {
    /// A folder with alerts.jsonl, made by `bench generate`.
    folder: PathBuf,
    #[command(flatten)]
    log: LogArguments,
    /// Alerts for finding the rate that the chain can take.
    #[arg(long, default_value_t = 200_000)]
    calibrate: usize,
    /// Alerts per second, instead of half of what the chain can take.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of load.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Probes per second.
    #[arg(long, default_value_t = 50)]
    probes: u64,
    /// Once more as long, with heavy SQL beside it over this archive (one that `bench query` keeps), on threads as the SQL endpoint has them.
    #[arg(long)]
    queries: Option<PathBuf>,
}

const HOPS: [&str; 3] = [topics::SIGNALS, topics::TRANSITIONS, topics::INCIDENTS];
/// The load comes in portions of this length, each one append per partition.
const PORTION: Duration = Duration::from_millis(10);
/// Probes of the first second are not counted: the load has just begun.
const WARM_UP: u64 = 1;
/// Longest wait for the last probe, and for the chain to take what it is calibrated with.
const PATIENCE: Duration = Duration::from_secs(120);
const QUERY_THREADS: usize = 2;
const MARK: &[u8] = b"probe-";
const DIGITS: usize = 8;

/// Hop → probe → when it was seen.
type Sightings = Arc<Mutex<BTreeMap<(usize, u64), Instant>>>;

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let alerts = read(&arguments.folder, "alerts.jsonl")?;
    let mut input = lines(&alerts);
    let chain = Chain::open(&arguments.log, POLICY).await?;
    let mut running = chain.start();
    start(&mut running);
    let highest = calibrate(&chain, &mut input, arguments.calibrate).await?;
    let rate = arguments.rate.unwrap_or(highest / 2.0);

    let (sightings, stop) = (Sightings::default(), CancellationToken::new());
    let mut readers = Vec::new();
    for (hop, topic) in HOPS.into_iter().enumerate() {
        for partition in 0..chain.partitions {
            let partition = TopicPartition::new(topic, partition);
            let from = chain.runtime.log.bounds(&partition).await?.end;
            let log = chain.runtime.log.clone();
            readers.push(tokio::spawn(tail(
                log,
                partition,
                from,
                hop,
                sightings.clone(),
                stop.clone(),
            )));
        }
    }
    let alone = Probes::measure(&chain, &mut input, rate, arguments, 0, &sightings).await?;
    let beside = match &arguments.queries {
        None => Value::Null,
        Some(archive) => {
            let queries = Queries::start(archive).await?;
            let first = arguments.probes * arguments.seconds;
            let probes = Probes::measure(&chain, &mut input, rate, arguments, first, &sightings).await?;
            let answered = queries.stop().await?;
            json!({
                "queries_answered": answered, "alert_to_incident_ms": quantiles(&probes.total),
                "p99_ratio": rounded(quantile(&probes.total, 0.99) / quantile(&alone.total, 0.99)),
            })
        }
    };
    stop.cancel();
    for reader in readers {
        reader.await??;
    }
    running.stop().await?;

    let aim = match arguments.log.log {
        crate::LogKind::Kafka => "p50 <= 150 ms, p99 <= 400 ms",
        _ => "p50 <= 5 ms, p99 <= 25 ms",
    };
    Ok(json!({
        "figure": "latency", "aim": aim, "log": log_name(arguments.log.log), "partitions": chain.partitions,
        "highest_alerts_per_second": highest.round(), "alerts_per_second": rate.round(), "probes": alone.total.len(),
        "append_ms": quantiles(&alone.appended), "hops_ms": alone.hops, "alert_to_incident_ms": quantiles(&alone.total),
        "beside_queries": beside,
    }))
}

/// How long the probes of one load took, in milliseconds.
struct Probes {
    appended: Vec<f64>,
    hops: serde_json::Map<String, Value>,
    total: Vec<f64>,
}

impl Probes {
    /// Loads, with probes numbered from `first`, and waits until the last has arrived.
    async fn measure(
        chain: &Chain,
        input: &mut impl Iterator<Item = Bytes>,
        rate: f64,
        arguments: &Arguments,
        first: u64,
        sightings: &Sightings,
    ) -> anyhow::Result<Probes> {
        let probes = load(chain, input, rate, arguments, first).await?;
        settle(sightings, (first as usize + probes.len()) * HOPS.len(), arguments).await;
        let seen = sightings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counted = || {
            let warm = first + WARM_UP * arguments.probes;
            probes.iter().filter(move |(probe, _)| **probe >= warm)
        };
        let appended = counted()
            .map(|(_, times)| millis(times.appended - times.sent))
            .collect();
        let (mut hops, mut total, mut missing) = (serde_json::Map::new(), Vec::new(), 0);
        for (hop, topic) in HOPS.into_iter().enumerate() {
            let mut took = Vec::new();
            for (probe, times) in counted() {
                let before = match hop {
                    0 => Some(times.appended),
                    _ => seen.get(&(hop - 1, *probe)).copied(),
                };
                match (before, seen.get(&(hop, *probe))) {
                    (Some(before), Some(at)) => {
                        took.push(millis(at.saturating_duration_since(before)));
                        if hop == HOPS.len() - 1 {
                            total.push(millis(at.saturating_duration_since(times.appended)));
                        }
                    }
                    _ => missing += 1,
                }
            }
            hops.insert(topic.to_owned(), quantiles(&took));
        }
        anyhow::ensure!(missing == 0, "{missing} sightings of probes are missing");
        Ok(Probes { appended, hops, total })
    }
}

/// Queries over all of an archive, one after the other on each of two threads.
struct Queries {
    runtime: tokio::runtime::Runtime,
    asking: Vec<tokio::task::JoinHandle<anyhow::Result<u64>>>,
    stop: CancellationToken,
    _store: tempfile::TempDir,
}

impl Queries {
    async fn start(archive: &Path) -> anyhow::Result<Queries> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite://{}", folder.path().join("empty.db").display());
        let store = Store::open(&url).await?;
        store.migrate().await?;
        store.close().await;
        let options = EngineOptions {
            threads: Some(QUERY_THREADS),
            ..EngineOptions::default()
        };
        let source = SqlSourceConfig { url, password: None };
        let engine = Engine::open_with(source, Some(archive.to_owned()), options).await?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(QUERY_THREADS)
            .on_thread_start(sql::step_back)
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let ask = || {
            let (engine, stop) = (engine.clone(), stop.clone());
            runtime.spawn(async move {
                let mut answered = 0;
                while !stop.is_cancelled() {
                    engine.query(super::query::HEAVY).await?;
                    answered += 1;
                }
                Ok(answered)
            })
        };
        let asking = (0..QUERY_THREADS).map(|_| ask()).collect();
        Ok(Queries {
            runtime,
            asking,
            stop,
            _store: folder,
        })
    }

    /// How many were answered.
    async fn stop(self) -> anyhow::Result<u64> {
        self.stop.cancel();
        let mut answered = 0;
        for asking in self.asking {
            answered += asking.await??;
        }
        self.runtime.shutdown_background();
        Ok(answered)
    }
}

fn start(running: &mut Running<'_>) {
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
}

/// Alerts per second that the chain takes when it is never short of them: from the first append until every stage stands
/// at the end of its input.
async fn calibrate(chain: &Chain, input: &mut impl Iterator<Item = Bytes>, count: usize) -> anyhow::Result<f64> {
    // Without it the first run would hold the start of the stages, on Kafka some seconds.
    let mut feeder = chain.feeder();
    for line in input.by_ref().take(chain.partitions as usize) {
        feeder.push(line).await?;
    }
    feeder.finish().await?;
    caught_up(chain).await?;
    let began = Instant::now();
    let mut feeder = chain.feeder();
    for line in input.by_ref().take(count) {
        feeder.push(line).await?;
    }
    feeder.finish().await?;
    caught_up(chain).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Waits until each group stands at the end of what it reads, stage by stage downstream.
async fn caught_up(chain: &Chain) -> anyhow::Result<()> {
    let log = &chain.runtime.log;
    let began = Instant::now();
    for (stage, topic) in [
        ("aegis.normalize", topics::EVENTS_RAW),
        ("aegis.dedupe", topics::SIGNALS),
        ("aegis.correlate", topics::TRANSITIONS),
    ] {
        for partition in 0..chain.partitions {
            let partition = TopicPartition::new(topic, partition);
            // Kafka counts transaction markers: behind the last record stands one more.
            while log.committed(stage, &partition).await?.unwrap_or_default().0 + 1
                < log.bounds(&partition).await?.end.0
            {
                anyhow::ensure!(began.elapsed() < PATIENCE, "{stage} does not catch up");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    Ok(())
}

struct Times {
    sent: Instant,
    appended: Instant,
}

/// Feeds at `rate`, with probes numbered from `first`; returns what is known of each probe.
async fn load(
    chain: &Chain,
    input: &mut impl Iterator<Item = Bytes>,
    rate: f64,
    arguments: &Arguments,
    first: u64,
) -> anyhow::Result<BTreeMap<u64, Times>> {
    let portions = (Duration::from_secs(arguments.seconds).as_secs_f64() / PORTION.as_secs_f64()) as u64;
    let probes = arguments.probes * arguments.seconds;
    let mut interval = tokio::time::interval(PORTION);
    let mut feeder = chain.feeder();
    let (mut fed, mut sent) = (0usize, 0u64);
    let mut probing = tokio::task::JoinSet::new();
    let mut event_at = 0;
    for portion in 1..=portions {
        interval.tick().await;
        let due = (rate * PORTION.as_secs_f64() * portion as f64) as usize;
        while fed < due {
            let Some(line) = input.next() else {
                anyhow::bail!("the alerts ran out: generate more, or load for fewer seconds");
            };
            event_at = event_time(&line);
            feeder.push(line).await?;
            fed += 1;
        }
        feeder.flush().await?;
        while sent < probes * portion / portions {
            let (log, probe, at) = (chain.runtime.log.clone(), first + sent, event_at);
            let to = TopicPartition::new(topics::EVENTS_RAW, (sent % u64::from(chain.partitions)) as u32);
            probing.spawn(async move { append_probe(log, to, probe, at).await });
            sent += 1;
        }
    }
    feeder.finish().await?;
    let mut times = BTreeMap::new();
    while let Some(appended) = probing.join_next().await {
        let (probe, at) = appended??;
        times.insert(probe, at);
    }
    Ok(times)
}

async fn append_probe(
    log: Arc<dyn Log>,
    to: TopicPartition,
    probe: u64,
    event_at: i64,
) -> anyhow::Result<(u64, Times)> {
    let name = format!("probe-{probe:0DIGITS$}");
    let line = json!({
        "ts": event_at, "fingerprint": name, "source": "prometheus", "service": name, "severity": "critical",
        "status": "firing", "title": name,
    });
    let record = NewRecord {
        value: line.to_string().into(),
        timestamp: stream::Clock::now(&stream::time::WallClock),
        ..NewRecord::default()
    };
    let sent = Instant::now();
    log.append(&to, vec![record]).await?;
    let appended = Instant::now();
    Ok((probe, Times { sent, appended }))
}

/// Notes the first record of `partition` that names each probe.
async fn tail(
    log: Arc<dyn Log>,
    partition: TopicPartition,
    from: Offset,
    hop: usize,
    sightings: Sightings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let finder = memmem::Finder::new(MARK);
    let mut reader = log.reader(&partition, from).await?;
    while !stop.is_cancelled() {
        let (records, _) = reader.read(10_000, Duration::from_millis(100)).await?;
        let now = Instant::now();
        for record in &records {
            for at in finder.find_iter(&record.value) {
                let digits = record.value.get(at + MARK.len()..at + MARK.len() + DIGITS);
                let probe = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
                if let Some(probe) = probe {
                    let mut sightings = sightings.lock().unwrap_or_else(PoisonError::into_inner);
                    sightings.entry((hop, probe)).or_insert(now);
                }
            }
        }
    }
    Ok(())
}

/// Waits until there are `all` sightings, or it is clear that there will not be.
async fn settle(sightings: &Sightings, all: usize, arguments: &Arguments) {
    let began = Instant::now();
    let seen = || sightings.lock().unwrap_or_else(PoisonError::into_inner).len();
    while seen() < all && began.elapsed() < Duration::from_secs(arguments.seconds) + PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

fn quantiles(values: &[f64]) -> Value {
    let at = |share| rounded(quantile(values, share));
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) })
}
