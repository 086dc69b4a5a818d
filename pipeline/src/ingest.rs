//! `aegis ingest`: recorded bodies and log files through the whole pipeline.
//!
//! With a daemon on the data folder, files are handed over its control socket. Without one this process opens the folder,
//! appends everything, runs every stage and sink to the end on the replay clock, and leaves.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use model::{RawEvent, topics};
use serde::Serialize;
use sources::logs::files::{self, FileKind};
use sources::logs::{Collected, LogIntakeSettings};
use stream::driver::Mode;
use stream::{Ingress, IngressError, NewRecord};
use tokio_util::sync::CancellationToken;

use crate::cli::Exit;
use crate::config::Config;
use crate::control::Client;
use crate::totals::Mark;
use crate::world::World;

/// What an ingest did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Whether a running daemon took the files.
    pub daemon: bool,
    pub files: u64,
    pub bodies: u64,
    /// Log lines.
    pub lines: u64,
    /// From here on only without a daemon (it goes on by itself).
    pub signals: u64,
    pub repeats: u64,
    /// Rows that fell behind the watermark; they were taken in as amendments.
    pub late: u64,
    pub dead_lettered: u64,
    /// New ones, and all that are open now.
    pub incidents: i64,
    pub open: i64,
}

impl Summary {
    /// For people.
    pub fn show(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        if self.daemon {
            writeln!(
                out,
                "{} of {} files handed to the running aegis",
                self.taken(),
                self.files
            )?;
            return out.flush();
        }
        writeln!(
            out,
            "{} of {} files: {} signals ({} repeats, {} late), {} refused; {} new incidents, {} open",
            self.taken(),
            self.files,
            self.signals,
            self.repeats,
            self.late,
            self.dead_lettered,
            self.incidents,
            self.open
        )?;
        if self.dead_lettered > 0 {
            writeln!(out, "why: aegis dead-letters list --status open")?;
        }
        out.flush()
    }
}

impl Summary {
    fn taken(&self) -> String {
        match (self.bodies, self.lines) {
            (bodies, 0) => format!("{bodies} bodies"),
            (0, lines) => format!("{lines} log lines"),
            (bodies, lines) => format!("{bodies} bodies and {lines} log lines"),
        }
    }
}

/// A sender of log lines.
pub struct LogSender(FileKind);

impl LogSender {
    /// `None`: `from` is a sender of bodies.
    pub fn lines(from: &str, service: &str) -> Option<Self> {
        Some(LogSender(match from {
            "otlp" => FileKind::Otlp,
            "loki" => FileKind::Loki,
            "lines" => FileKind::Lines {
                service: service.to_owned(),
            },
            _ => return None,
        }))
    }

    /// The lines of a file; why it cannot be read.
    pub fn read(&self, bytes: &[u8], settings: &LogIntakeSettings) -> Result<Lines, String> {
        let read = files::read(&self.0, bytes, settings);
        let (collected, delivery) = read.map_err(|fault| match fault.place.as_str() {
            "" => fault.detail,
            place => format!("{place}: {}", fault.detail),
        })?;
        let sender = match self.0 {
            FileKind::Otlp => "otlp",
            FileKind::Loki => "loki",
            FileKind::Lines { .. } => "lines",
        };
        Ok(Lines {
            collected,
            delivery,
            sender,
        })
    }
}

/// The lines of a file.
pub struct Lines {
    collected: Collected,
    delivery: Option<String>,
    sender: &'static str,
}

impl Lines {
    /// How many are taken.
    pub fn lines(&self) -> u64 {
        self.collected.lines as u64 - self.collected.rejected
    }
}

/// Appends log lines to `logs`, durably.
pub async fn append_lines(logs: &Ingress, lines: &Lines, now: stream::Instant) -> Result<(), IngressError> {
    let records = sources::logs::records(&lines.collected.batches, lines.sender, lines.delivery.as_deref(), now);
    for chunk in records.chunks(64) {
        let appends = chunk.iter().map(|record| logs.append(b"", record.clone()));
        futures::future::try_join_all(appends).await?;
    }
    Ok(())
}

/// Bytes that may wait for their sync while a file is read.
const INGRESS_LIMIT: usize = 64 << 20;

/// Appends one raw event, durably. The record is stamped `now`: its age decides retention, whenever it was recorded.
pub async fn append(ingress: &Ingress, event: &RawEvent, now: stream::Instant) -> Result<(), IngressError> {
    let record = NewRecord {
        key: None,
        value: event.body.clone(),
        headers: event.to_headers(),
        timestamp: now,
    };
    ingress.append(&event.body, record).await.map(|_| ())
}

/// Reads a file, or standard input for `-`.
pub fn read_input(path: &str) -> anyhow::Result<Bytes> {
    use std::io::Read as _;
    if path == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes.into());
    }
    Ok(std::fs::read(path)
        .with_context(|| format!("cannot read {path}"))?
        .into())
}

/// Runs an ingest. `from`: what the bodies are stored under (`alertmanager`, `pagerduty`, `json/NAME`, …), or empty for "the body's shape decides"; `otlp`, `loki`, or `lines`
/// with the `service` whose lines they are. `event`: what GitHub called the bodies, where it is known. `progress` is told the number of bytes of every file that is in.
pub async fn ingest(
    config: &Config,
    from: &str,
    event: &str,
    service: &str,
    files: &[String],
    close: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<Summary> {
    if let Some(client) = Client::connect(&config.data.dir).await {
        let mut summary = Summary {
            daemon: true,
            ..Summary::default()
        };
        for file in files {
            let bytes = read_input(file)?;
            let size = bytes.len() as u64;
            let accepted = client.ingest(from, event, service, bytes).await?;
            summary.bodies += accepted.bodies;
            summary.lines += accepted.lines;
            summary.files += 1;
            progress(size);
        }
        settle(&client).await;
        return Ok(summary);
    }
    let world = World::open(config).await?;
    let ingress = Ingress::open(world.runtime.log.clone(), topics::EVENTS_RAW, INGRESS_LIMIT).await?;
    let logs = Ingress::open(world.runtime.log.clone(), topics::LOGS, INGRESS_LIMIT).await?;
    let (mark, before) = (Mark::now(&world.runtime.log).await?, world.store.counts().await?);
    let mut summary = Summary::default();
    for file in files {
        let bytes = read_input(file)?;
        let now = world.runtime.clock.now();
        if let Some(from) = LogSender::lines(from, service) {
            let lines = from.read(&bytes, &config.dispatcher.logs);
            let lines = lines.map_err(|problem| Exit::Failed.because(format!("{file}: {problem}")))?;
            append_lines(&logs, &lines, now).await?;
            summary.lines += lines.lines();
            summary.files += 1;
            progress(bytes.len() as u64);
            continue;
        }
        let events = sources::replay::read(&bytes, from, event, now.0);
        // Many appends in flight share one sync.
        for chunk in events.chunks(256) {
            let appends = chunk.iter().map(|event| append(&ingress, event, now));
            futures::future::try_join_all(appends).await?;
        }
        summary.bodies += events.len() as u64;
        summary.files += 1;
        progress(bytes.len() as u64);
    }
    world
        .run_to_end(
            Mode::ToEnd {
                past: close.then(|| config.progress.lateness.get() * 2),
            },
            CancellationToken::new(),
        )
        .await?;
    let (totals, after) = (mark.totals(&world.runtime.log).await?, world.store.counts().await?);
    summary.signals = totals.signals;
    summary.repeats = totals.repeats;
    summary.late = totals.late;
    summary.dead_lettered = totals.dead_lettered;
    summary.incidents = after.incidents - before.incidents;
    summary.open = after.open;
    world.close().await?;
    Ok(summary)
}

/// Waits until the daemon has nothing left to do, so that the next command sees the result. Gives up quietly after 10 s:
/// a daemon under load never gets there, and the files are safe already.
async fn settle(client: &Client) {
    let quiet = async {
        let mut calm = 0;
        while calm < 2 {
            match client.status().await {
                Ok(status) if status.lag == 0 => calm += 1,
                Ok(_) => calm = 0,
                Err(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), quiet).await;
}
