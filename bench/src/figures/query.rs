//! Queries over archived signals: the product's engine beside DuckDB on the same Parquet files.
//!
//! The archive is written by the product's own sink. Both sides are warm: the files are in the page cache, and the first answer of each
//! query is not counted. They ask by turns, with as many threads.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use model::{Origin, Severity, SignalBatchBuilder, SignalId, SignalKind, SignalRow, SignalState, topics};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sinks::{ArchiveSettings, ArchiveSink, Store};
use sql::{Engine, EngineOptions, SqlSourceConfig};
use stream::{LogId, Offset, Record, Sink as _, SinkBatch, TopicPartition};

use crate::measure::{median, rounded};

#[derive(clap::Args)]
pub struct Arguments {
    /// Keeps the archive there, and takes one that is there already.
    folder: PathBuf,
    #[arg(long, default_value_t = 10_000_000)]
    signals: u64,
    /// Answers of each side that count.
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// A Python that has DuckDB; `scripts/services/duckdb.sh install` makes one.
    #[arg(long, env = "AEGIS_BENCH_DUCKDB")]
    duckdb: PathBuf,
}

const SCRIPT: &str = include_str!("query/duckdb.py");
/// 2026-11-01.
const START: i64 = 1_793_491_200_000_000;
/// Signals come over thirty days.
const DAYS: i64 = 30;
const PER_RECORD: u64 = 1_000;

const QUERIES: &[(&str, &str)] = &[
    (
        "filtered count",
        "SELECT count(*) FROM signals WHERE severity = 'critical' AND service = 'service-17' \
         AND event_at >= TIMESTAMPTZ '2026-11-10 00:00:00+00' AND event_at < TIMESTAMPTZ '2026-11-12 00:00:00+00'",
    ),
    ("group by service and hour", HEAVY),
];

/// Reads every signal.
pub const HEAVY: &str =
    "SELECT service, date_trunc('hour', event_at) AS hour, count(*) AS n FROM signals GROUP BY 1, 2";

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let archive = arguments.folder.join(format!("archive-{}", arguments.signals));
    if !archive.join("complete").exists() {
        write(&archive, arguments.signals).await?;
        std::fs::write(archive.join("complete"), "")?;
    }
    // An empty store: every signal is archived.
    let url = format!("sqlite://{}", arguments.folder.join("empty.db").display());
    let store = Store::open(&url).await?;
    store.migrate().await?;
    store.close().await;
    let options = EngineOptions {
        threads: Some(arguments.threads),
        ..EngineOptions::default()
    };
    let source = SqlSourceConfig { url, password: None };
    let engine = Engine::open_with(source, Some(archive.clone()), options).await?;
    let mut duck = Duck::start(arguments, &archive)?;
    let mut queries = serde_json::Map::new();
    let mut worst = 0.0_f64;
    for (name, sql) in QUERIES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=arguments.rounds {
            let began = Instant::now();
            let (_, batches) = engine.query(sql).await?;
            let seconds = began.elapsed().as_secs_f64();
            let rows: usize = batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
            let (their_rows, their_seconds) = duck.ask(sql)?;
            anyhow::ensure!(
                rows as u64 == their_rows,
                "{name}: {rows} rows, DuckDB has {their_rows}"
            );
            if round > 0 {
                ours.push(seconds);
                theirs.push(their_seconds);
            }
        }
        let ratio = median(&ours) / median(&theirs);
        worst = worst.max(ratio);
        let shown = |times: &[f64]| times.iter().map(|time| rounded(*time)).collect::<Vec<_>>();
        let figure = json!({"ratio": rounded(ratio), "seconds": shown(&ours), "duckdb_seconds": shown(&theirs)});
        queries.insert((*name).to_owned(), figure);
    }
    Ok(json!({
        "figure": "query", "aim": "ratio <= 1.5", "signals": arguments.signals, "threads": arguments.threads,
        "bytes": size_of(&archive)?, "ratio": rounded(worst), "queries": queries,
    }))
}

/// The archive of `count` signals in two partitions.
async fn write(folder: &Path, count: u64) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let mut sink = ArchiveSink::open(folder, ArchiveSettings::default())?;
    let log = LogId("bench".to_owned());
    let mut random = StdRng::seed_from_u64(7);
    for record in 0..count.div_ceil(PER_RECORD) {
        let first = record * PER_RECORD;
        let rows = PER_RECORD.min(count - first);
        let (partition, offset) = ((record % 2) as u32, Offset(record / 2));
        let value = signals(first, rows, count, &mut random)?;
        let batch = SinkBatch {
            partition: TopicPartition::new(topics::SIGNALS, partition),
            start: offset,
            next: Offset(offset.0 + 1),
            records: vec![Record {
                offset,
                key: None,
                value: value.into(),
                headers: Vec::new(),
                timestamp: stream::Instant(START),
            }],
        };
        let rejects = sink.write(&log, &[batch]).await?;
        anyhow::ensure!(rejects.is_empty(), "{rejects:?}");
    }
    sink.close().await?;
    Ok(())
}

/// Rows `[first, first + rows)` of `count`, in the order of their times but for some minutes.
fn signals(first: u64, rows: u64, count: u64, random: &mut StdRng) -> anyhow::Result<Vec<u8>> {
    let mut builder = SignalBatchBuilder::new();
    for n in first..first + rows {
        let service = format!("service-{}", random.random_range(0..200));
        let severity = match random.random_range(0..20) {
            0..3 => Severity::Critical,
            3..12 => Severity::Warning,
            _ => Severity::Info,
        };
        let span = DAYS * 86_400_000_000;
        let at = START + (span as f64 * (n as f64 / count as f64)) as i64 + random.random_range(0..300_000_000);
        let title = format!("High latency on {service}");
        let labels = format!(
            r#"{{"alertname":"HighLatency","instance":"10.0.{}.{}:9090","job":"{service}","team":"team-{}"}}"#,
            random.random_range(0..16),
            random.random_range(0..256),
            random.random_range(0..12)
        );
        let key = format!("alertmanager:{:016x}", random.random_range(0..100_000_u64));
        builder.push(&SignalRow {
            id: SignalId::of(&[&n.to_le_bytes()]),
            tenant: "default",
            environment: "production",
            source: "alertmanager",
            kind: SignalKind::Alert,
            state: SignalState::Firing,
            dedup_key: &key,
            dedup_rule: "alertmanager/fingerprint@1",
            event_at: at,
            observed_at: at + 1_000_000,
            effective_at: at,
            ends_at: None,
            severity,
            title: &title,
            description: None,
            service: Some(&service),
            cluster: Some("eu-1"),
            namespace: Some("shop"),
            group: None,
            labels: &labels,
            annotations: "{}",
            extra: None,
            digest: n,
            origin: Origin {
                partition: 0,
                offset: n,
                index: 0,
            },
            transition: None,
        });
    }
    Ok(builder.finish()?.encode()?)
}

/// DuckDB in a Python of its own.
struct Duck {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Duck {
    fn start(arguments: &Arguments, archive: &Path) -> anyhow::Result<Self> {
        let files = format!("{}/signals/*/*.parquet", archive.display());
        let mut child = Command::new(&arguments.duckdb)
            .args(["-c", SCRIPT, &files, &arguments.threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", arguments.duckdb.display()))?;
        let ask = child.stdin.take().context("its standard input")?;
        let answers = BufReader::new(child.stdout.take().context("its standard output")?);
        Ok(Duck { child, ask, answers })
    }

    /// Rows and seconds, of the query alone.
    fn ask(&mut self, sql: &str) -> anyhow::Result<(u64, f64)> {
        writeln!(self.ask, "{}", serde_json::to_string(sql)?)?;
        self.ask.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("DuckDB gave no answer")?;
        let (rows, seconds) = (answer["rows"].as_u64(), answer["seconds"].as_f64());
        Ok((rows.context("rows")?, seconds.context("seconds")?))
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size_of(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.metadata()? {
            found if found.is_dir() => size_of(&entry.path())?,
            found => found.len(),
        };
    }
    Ok(bytes)
}
