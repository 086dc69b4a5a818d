//! How long a partition with much state pauses when it moves between two processes on Kafka: by plan, when a second
//! process joins the group, and after a crash, when that process is killed. The snapshots lie in a local folder that both
//! processes share.
//!
//! A record comes into every partition each [`PACE`]; its clock runs from its acknowledged append until the group's position
//! is past it. The pause is the longest time for which a partition's position stands still. The other partition stays where
//! it is; its latencies before and during the move are compared, with and without its slowest transaction, which is the one
//! that a rebalance may send again.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use stream::driver::{Mode, Runtime, run_stage};
use stream::health::Health;
use stream::snapshot::FolderSnapshots;
use stream::time::WallClock;
use stream::{Clock as _, Log, NewRecord, Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::BrokerArguments;
use crate::keys::{stage, topics};
use crate::measure::{quantile, rounded};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    broker: BrokerArguments,
    /// State of each of the two partitions, in MB as a snapshot holds it.
    #[arg(long, default_value_t = 250)]
    state_mb: u64,
}

#[derive(clap::Args)]
pub struct MemberArguments {
    #[command(flatten)]
    broker: BrokerArguments,
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    folder: PathBuf,
}

const PARTITIONS: u32 = 2;
const GROUP: &str = "aegis.keys";
/// Bytes of a key and what is kept of it in a snapshot.
const BYTES_PER_KEY: u64 = 56;
/// Between two records of a partition.
const PACE: Duration = Duration::from_millis(20);
/// Between two looks at a position; the resolution of every time here.
const LOOK: Duration = Duration::from_millis(3);
/// How long latencies are taken before the move, and how long a planned move is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Longest wait for the members to come to work.
const PATIENCE: Duration = Duration::from_secs(180);
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);

/// What is known of one partition: appends, and when its position was seen to move.
#[derive(Debug, Default)]
struct Track {
    appended: Vec<(Offset, Instant)>,
    moved: Vec<(Offset, Instant)>,
}

type Tracks = Arc<Vec<Mutex<Track>>>;

/// One process of the group: works until its standard input ends.
pub async fn member(arguments: &MemberArguments) -> anyhow::Result<()> {
    let runtime = Runtime {
        log: crate::logs::kafka_named(&arguments.broker.kafka, &arguments.prefix).await?,
        snapshots: Arc::new(FolderSnapshots::new(&arguments.folder)),
        clock: Arc::new(WallClock),
        health: Health::default(),
        snapshot_every: SNAPSHOT_EVERY,
    };
    let stop = CancellationToken::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        asked.cancel();
    });
    Ok(run_stage(stage(), runtime, Mode::Live, stop).await?)
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let prefix = crate::logs::own_prefix(&arguments.broker.kafka);
    let log = crate::logs::kafka_named(&arguments.broker.kafka, &prefix).await?;
    log.ensure_topics(&topics(PARTITIONS)).await?;
    let keys = arguments.state_mb * 1_000_000 / BYTES_PER_KEY;
    for partition in 0..PARTITIONS {
        append(log.as_ref(), partition, json!([0, keys, 1])).await?;
    }
    let process = || Process::start(&arguments.broker.kafka, &prefix, folder.path());
    let first = process()?;
    saved(log.as_ref(), folder.path(), keys).await?;

    let tracks: Tracks = Arc::new((0..PARTITIONS).map(|_| Mutex::default()).collect());
    let stop = CancellationToken::new();
    let mut watching = Vec::new();
    for partition in 0..PARTITIONS {
        watching.push(tokio::spawn(feed(
            log.clone(),
            partition,
            keys,
            tracks.clone(),
            stop.clone(),
        )));
        watching.push(tokio::spawn(look(log.clone(), partition, tracks.clone(), stop.clone())));
    }
    // The first look at a position is no move, and the end of the bases is still being written.
    tokio::time::sleep(SNAPSHOT_EVERY).await;
    let before = Instant::now();
    tokio::time::sleep(WATCHED).await;
    let planned = Instant::now();
    let second = process()?;
    tokio::time::sleep(WATCHED).await;
    let crashed = Instant::now();
    second.kill()?;
    let session = Duration::from_millis(sources::kafka::KafkaSettings::default().session_timeout_ms);
    tokio::time::sleep(session + WATCHED).await;
    let end = Instant::now();
    stop.cancel();
    for task in watching {
        task.await??;
    }
    first.end()?;

    let pauses =
        |from: Instant, to: Instant| -> Vec<f64> { tracks.iter().map(|track| lock(track).pause(from, to)).collect() };
    let (quiet, by_plan, by_crash) = (pauses(before, planned), pauses(planned, crashed), pauses(crashed, end));
    let moved = usize::from(by_crash[1] > by_crash[0]);
    let stays = 1 - moved;
    let latencies = |from: Instant, to: Instant, without: bool| lock(&tracks[stays]).latencies(from, to, without);
    let p99 = |latencies: &[f64]| rounded(quantile(latencies, 0.99));
    let calm = p99(&latencies(before, planned, false));
    let state: u64 = crate::snapshots::files_of(folder.path(), moved as u32)?
        .iter()
        .map(|(_, bytes)| bytes)
        .sum();
    Ok(json!({
        "figure": "move", "aim": "planned <= 2 s; crash <= session timeout + that; untouched p99 <= 2x",
        "keys": keys, "snapshot_files_bytes": state, "session_timeout_seconds": session.as_secs_f64(),
        "longest_standstill_before_seconds": rounded(quiet[moved]),
        "planned_pause_seconds": rounded(by_plan[moved]),
        "crash_pause_seconds": rounded(by_crash[moved]),
        "crash_pause_beyond_session_seconds": rounded(by_crash[moved] - session.as_secs_f64()),
        "untouched": {
            "p99_ms_before": calm,
            "p99_ms_planned": p99(&latencies(planned, crashed, false)),
            "p99_ms_planned_without_slowest_transaction": p99(&latencies(planned, crashed, true)),
            "p99_ms_crash": p99(&latencies(crashed, end, false)),
            "p99_ms_crash_without_slowest_transaction": p99(&latencies(crashed, end, true)),
            "standstill_planned_seconds": rounded(by_plan[stays]),
            "standstill_crash_seconds": rounded(by_crash[stays]),
        },
    }))
}

impl Track {
    /// The longest time within a span for which the position stood still although records waited, in seconds.
    fn pause(&self, from: Instant, to: Instant) -> f64 {
        let inside = self
            .moved
            .iter()
            .map(|(_, at)| *at)
            .filter(|at| (from..to).contains(at));
        let marks: Vec<Instant> = std::iter::once(from).chain(inside).chain(std::iter::once(to)).collect();
        let gaps = marks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        gaps.fold(0.0, f64::max)
    }

    /// Of records appended within a span, in milliseconds; without those of the move that took longest, if asked.
    fn latencies(&self, from: Instant, to: Instant, without_slowest: bool) -> Vec<f64> {
        let appended = self.appended.iter().filter(|(_, at)| (from..to).contains(at));
        let mut found: Vec<(usize, f64)> = appended
            .filter_map(|(offset, at)| {
                let done = self.moved.partition_point(|(position, _)| position <= offset);
                let (_, moved_at) = self.moved.get(done)?;
                Some((done, moved_at.saturating_duration_since(*at).as_secs_f64() * 1_000.0))
            })
            .collect();
        let slowest = found.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(done, _)| *done);
        found.retain(|(done, _)| !without_slowest || Some(*done) != slowest);
        found.into_iter().map(|(_, took)| took).collect()
    }
}

fn lock(track: &Mutex<Track>) -> std::sync::MutexGuard<'_, Track> {
    track.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn append(log: &dyn Log, partition: u32, change: Value) -> anyhow::Result<Offset> {
    let record = NewRecord {
        value: change.to_string().into(),
        timestamp: WallClock.now(),
        ..NewRecord::default()
    };
    Ok(log.append(&TopicPartition::new("in", partition), vec![record]).await?)
}

async fn feed(
    log: Arc<dyn Log>,
    partition: u32,
    keys: u64,
    tracks: Tracks,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut interval = tokio::time::interval(PACE);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut nth = 0;
    while !stop.is_cancelled() {
        interval.tick().await;
        let offset = append(log.as_ref(), partition, json!([nth % keys, nth % keys + 1, 1])).await?;
        lock(&tracks[partition as usize])
            .appended
            .push((offset, Instant::now()));
        nth += 1;
    }
    Ok(())
}

async fn look(log: Arc<dyn Log>, partition: u32, tracks: Tracks, stop: CancellationToken) -> anyhow::Result<()> {
    let input = TopicPartition::new("in", partition);
    let mut stands = None;
    while !stop.is_cancelled() {
        let now = log.committed(GROUP, &input).await?;
        if let Some(position) = now.filter(|_| now != stands) {
            lock(&tracks[partition as usize]).moved.push((position, Instant::now()));
            stands = now;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until every partition is worked off and its keys are in a base: what is written after that is what changes.
async fn saved(log: &dyn Log, folder: &Path, keys: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    for partition in 0..PARTITIONS {
        let input = TopicPartition::new("in", partition);
        loop {
            let committed = log.committed(GROUP, &input).await?;
            let base: u64 = crate::snapshots::files_of(folder, partition)?
                .iter()
                .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "base"))
                .map(|(_, bytes)| bytes)
                .sum();
            if committed.is_some() && base > keys * BYTES_PER_KEY / 2 {
                break;
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "partition {partition} was not saved");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// A member in a process of its own; killed when dropped.
struct Process(Child);

impl Process {
    fn start(kafka: &str, prefix: &str, folder: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let child = Command::new(program)
            .args(["move-member", "--kafka", kafka, "--prefix", prefix, "--folder"])
            .arg(folder)
            .stdin(Stdio::piped())
            .spawn()
            .context("starting a member")?;
        Ok(Process(child))
    }

    fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Lets it leave the group.
    fn end(mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        anyhow::ensure!(status.success(), "a member ended with {status}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
