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
use stream::operator::JsonRows;
use stream::snapshot::{FolderSnapshots, SnapshotStore, SnapshotWriter};
use stream::state::StateCell;
use stream::task::{DeadLetters, Effect, Event, Role, Task, TaskSettings};
use stream::{Context, Disposition, NewRecord, Offset, Operator, Record, Reject, Table, TopicPartition};

use crate::measure::{cpu_time, peak_memory};

/// What is kept per key: as long as an alert with one firing.
type Kept = (i64, i64, u64, [u64; 3]);

/// Each record is `first..last` with a step: one change for each key named.
#[derive(Default)]
struct Keys {
    table: Table<String, Kept>,
}

impl Operator for Keys {
    type In = (u64, u64, u64);
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "keys"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<Self::In, Reject> {
        serde_json::from_slice(&record.value).map_err(|e| Reject {
            reason: "bench",
            detail: e.to_string(),
            field: None,
            index: None,
        })
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("keys", &mut self.table)]
    }

    fn on_batch(&mut self, (first, last, step): &Self::In, cx: &mut Context<'_, JsonRows>) {
        let mut n = *first;
        while n < *last {
            // Spread, so that no order of keys helps.
            let key = format!("{:016x}{n:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let kept = self.table.entry(key).or_default();
            kept.0 = 1_780_000_000_000_000 + n as i64;
            kept.2 += 1;
            kept.3[0] = n.wrapping_mul(0x2545_f491_4f6c_dd1d);
            n += step;
        }
        cx.item(Disposition::Suppressed { rule: "bench" });
    }
}

/// Runs the case and returns its one line.
pub async fn run(keys: u64, folder: Option<PathBuf>) -> anyhow::Result<Value> {
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
    Ok(json!({
        "keys": keys,
        "changed": keys.div_ceil(100),
        "base": base,
        "delta": delta,
        "restore": restored(&store, &folder, false).await?,
        "restore_cold": restored(&store, &folder, true).await?,
        "peak_rss_bytes": peak_memory(),
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
async fn restored(store: &Arc<dyn SnapshotStore>, folder: &Path, cold: bool) -> anyhow::Result<Value> {
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
    let check = check_restore(&stage(), store, &partition, at, true).await?;
    let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    check.verdict?.context("the snapshot was not used")?;
    Ok(json!({
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "read_seconds": read,
        "ratio": seconds / read,
        "cache_dropped": cold && forgotten,
    }))
}

fn stage() -> Stage<Keys> {
    Stage {
        input: "in".into(),
        settings: TaskSettings {
            topology: "bench".into(),
            role: Role::Downstream { upstream_partitions: 1 },
            output: ("out".into(), 1),
            sides: vec![("dead-letter".into(), 1), ("accounting".into(), 1)],
            accounting: "accounting".into(),
            dead_letters: DeadLetters {
                topic: "dead-letter".into(),
                encode: Arc::new(|refused| NewRecord {
                    value: refused.record.value.clone(),
                    ..NewRecord::default()
                }),
            },
            progress_step: Duration::from_secs(1),
        },
        make: Box::new(|_| Keys::default()),
        call: None,
        keyed: None,
    }
}

/// Every object of the snapshots, with its length.
fn files(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let inside = folder.join("keys/0");
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
