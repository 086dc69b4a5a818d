//! How long a large state takes into a snapshot and out of it, beside a plain read of the same bytes in the same run.
//!
//! A table as dedupe keeps it (a key of 32 hexadecimal digits, some 40 bytes of value) is saved as a base, changed at one
//! percent of its keys, saved as a delta, and restored by a fresh task through the product's own driver. The files are read
//! once from disk, plainly, with a buffer of 1 MiB; both reads are done with the page cache warm and, where the cache can be
//! told to forget the files, cold. CPU seconds are shown too: on a busy machine they say more than the clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use stream::driver::{Stage, Standing, check_restore};
use stream::snapshot::{FolderSnapshots, SnapshotStore, SnapshotWriter};
use stream::task::{Effect, Event, Task};
use stream::time::WallClock;
use stream::{Clock as _, NewRecord, Offset, Record, TopicPartition};

use crate::BrokerArguments;
use crate::keys::{Keys, stage, topics};
use crate::measure::{cpu_time, peak_memory};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// Where the snapshots go; kept afterwards. Without it a temporary folder.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Keys that are also made again by replay from Kafka, a record each; 0 for none.
    #[arg(long, default_value_t = 0)]
    replay_keys: u64,
    #[command(flatten)]
    broker: BrokerArguments,
}

/// Runs the case and returns its one line.
pub async fn run(arguments: Arguments) -> anyhow::Result<Value> {
    let Arguments { keys, folder, .. } = arguments;
    let temporary = tempfile::tempdir()?;
    let folder = folder.unwrap_or_else(|| temporary.path().to_owned());
    anyhow::ensure!(
        files(&folder)?.is_empty(),
        "{} holds snapshots already",
        folder.display()
    );
    let store: Arc<dyn SnapshotStore> = Arc::new(FolderSnapshots::new(&folder));
    let stage = stage();
    let mut task = Task::new((stage.make)(0), TopicPartition::new("in", 0), stage.settings.clone());
    task.step(Event::Assigned {
        committed: None,
        start: Offset(0),
        snapshot: None,
    })?;
    let base = measure(&mut task, store.as_ref(), 0, (0, keys, 1)).await?;
    let delta = measure(&mut task, store.as_ref(), 1, (0, keys, 100)).await?;
    // Its memory must not stand beside that of the restore.
    drop(task);
    let restore_cold = restored(&store, &folder, keys, true).await?;
    let peak = peak_memory();
    let replay = match arguments.replay_keys {
        0 => Value::Null,
        keys => replayed(&arguments.broker.kafka, keys).await?,
    };
    Ok(json!({
        "figure": "snapshots", "aim": "cold restore <= 3 x its plain read",
        "keys": keys,
        "changed": keys.div_ceil(100),
        "base": base,
        "delta": delta,
        "restore_cold": restore_cold,
        "restore": restored(&store, &folder, keys, false).await?,
        "replay_from_kafka": replay,
        "peak_rss_bytes": peak,
    }))
}

/// A fresh task makes its state again from the log, without emitting, as after the loss of every snapshot.
async fn replayed(servers: &str, keys: u64) -> anyhow::Result<Value> {
    let log = crate::logs::kafka(servers).await?;
    log.ensure_topics(&topics(1)).await?;
    let input = TopicPartition::new("in", 0);
    let record = |key: u64| NewRecord {
        value: Bytes::from(json!([key, key + 1, 1]).to_string()),
        timestamp: WallClock.now(),
        ..NewRecord::default()
    };
    let mut from = 0;
    while from < keys {
        let to = (from + 10_000).min(keys);
        log.append(&input, (from..to).map(record).collect()).await?;
        from = to;
    }
    let stage = stage();
    let mut task = Task::new((stage.make)(0), input.clone(), stage.settings.clone());
    let (began, cpu) = (Instant::now(), cpu_time());
    let mut reader = log.reader(&input, Offset(0)).await?;
    task.step(Event::Assigned {
        committed: Some(Offset(keys)),
        start: Offset(0),
        snapshot: None,
    })?;
    while task.position() < Offset(keys) {
        let (records, _) = reader.read(10_000, Duration::from_secs(10)).await?;
        anyhow::ensure!(
            !records.is_empty(),
            "the replay ended at {} of {keys}",
            task.position().0
        );
        task.step(Event::Fetched(records))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "keys": keys,
        "seconds": seconds,
        "cpu_seconds": (cpu_time() - cpu).as_secs_f64(),
        "keys_per_second": (keys as f64 / seconds).round(),
    }))
}

/// Feeds one record at `offset`, then takes the snapshot, which alone is timed: encoding, writing, syncing.
async fn measure(
    task: &mut Task<Keys>,
    store: &dyn SnapshotStore,
    offset: u64,
    change: (u64, u64, u64),
) -> anyhow::Result<Value> {
    task.step(Event::Fetched(vec![Record {
        offset: Offset(offset),
        key: None,
        value: Bytes::from(serde_json::to_vec(&change)?),
        headers: Vec::new(),
        timestamp: stream::Instant::default(),
    }]))?;
    task.step(Event::Flush)?;
    task.step(Event::Committed)?;
    let (began, cpu) = (Instant::now(), cpu_time());
    let mut writer: Option<SnapshotWriter> = None;
    let mut bytes = 0;
    let manifest = loop {
        let mut effects = task.step(Event::Checkpoint(store.chain_bound()))?;
        let Some(Effect::Snapshot(piece)) = effects.pop() else {
            anyhow::bail!("there was nothing to save");
        };
        let mut current = match writer.take() {
            Some(writer) => writer,
            None => SnapshotWriter::begin(store, &piece).await?,
        };
        bytes += piece.bytes.len();
        current.put(store, piece.bytes).await?;
        if piece.last {
            break current.commit(store).await?;
        }
        writer = Some(current);
    };
    task.step(Event::Snapshotted(Some(manifest)))?;
    Ok(json!({
        "seconds": began.elapsed().as_secs_f64(),
        "cpu_seconds": (cpu_time() - cpu).as_secs_f64(),
        "bytes": bytes,
    }))
}

/// Restores and reads plainly; `cold`: after the kernel was told to drop the files from its cache.
async fn restored(store: &Arc<dyn SnapshotStore>, folder: &Path, keys: u64, cold: bool) -> anyhow::Result<Value> {
    let forget = || if cold { forget_cached(folder) } else { Ok(true) };
    let forgotten = forget()?;
    let read = read_plainly(folder)?;
    forget()?;
    let partition = TopicPartition::new("in", 0);
    let at = Standing {
        committed: Some(Offset(2)),
        start: Offset(0),
    };
    let (began, cpu) = (Instant::now(), cpu_time());
    let check = check_restore(&leaking_stage(), store, &partition, at, true).await?;
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    check.verdict?.context("the snapshot was not used")?;
    Ok(json!({
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "read_seconds": read,
        "keys_per_second": (keys as f64 / seconds).round(),
        "ratio": seconds / read,
        "cache_dropped": cold && forgotten,
    }))
}

/// The memory of what is restored stays taken.
fn leaking_stage() -> Stage<Keys> {
    let mut stage = stage();
    stage.make = Box::new(|_| Keys::leaking());
    stage
}

/// Every object of the snapshots, with its length.
fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    files_of(folder, 0)
}

/// Every file of a partition's snapshots below `folder`.
pub fn files_of(folder: &Path, partition: u32) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let inside = folder.join(format!("keys/{partition}"));
    let Ok(entries) = std::fs::read_dir(&inside) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        found.push((entry.path(), entry.metadata()?.len()));
    }
    found.sort();
    Ok(found)
}

fn read_plainly(folder: &Path) -> anyhow::Result<f64> {
    use std::io::Read as _;
    let mut buffer = vec![0; 1 << 20];
    let began = Instant::now();
    for (path, _) in files(folder)? {
        let mut file = std::fs::File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Asks the kernel, through `dd`, to drop the files' pages. `false` where there is no such `dd`.
fn forget_cached(folder: &Path) -> anyhow::Result<bool> {
    for (path, _) in files(folder)? {
        let mut input = std::ffi::OsString::from("if=");
        input.push(&path);
        let dropped = std::process::Command::new("dd")
            .arg(input)
            .args(["iflag=nocache", "count=0", "status=none"])
            .status();
        if !dropped.is_ok_and(|status| status.success()) {
            return Ok(false);
        }
    }
    Ok(true)
}
