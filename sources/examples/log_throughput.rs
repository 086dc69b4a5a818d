//! How fast the embedded log takes records, and how much it writes for them, beside a plain file in the same run.
//!
//! `cargo run --release -p sources --example log_throughput [FOLDER] [MIB]` prints one JSON line. Both sides get the
//! same batches and must have each on the disk before the next (`one_writer`), or share a sync among what waits
//! (`sixteen_writers`; the plain file then syncs once per sixteen batches, the best it could do). Write
//! amplification is what the kernel counted as written to storage by this process, over the records' own bytes, after closing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use sources::embedded::{EmbeddedLog, EmbeddedSettings};
use stream::log::Retention;
use stream::{Log, NewRecord, TopicPartition, TopicSpec};

const RECORD_BYTES: usize = 700;
const WRITERS: usize = 16;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = arguments
        .next()
        .map_or(256, |text| text.parse().expect("MIB is a number"));
    let total = mib << 20;
    let one = compare(&folder, total, 256 << 10, 1).await;
    let many = compare(&folder, total / 4, 16 << 10, WRITERS).await;
    let result = json!({"record_bytes": RECORD_BYTES, "one_writer": one, "sixteen_writers": many, "rss_mb": rss_mb()});
    println!("{result}");
}

async fn compare(folder: &Path, total: usize, batch_bytes: usize, writers: usize) -> Value {
    let batches = total / batch_bytes;
    let record = NewRecord {
        value: noise(RECORD_BYTES),
        ..NewRecord::default()
    };
    let batch = vec![record; batch_bytes / RECORD_BYTES];
    let payload = (batches * (batch_bytes / RECORD_BYTES) * RECORD_BYTES) as f64;
    let place = tempfile::tempdir_in(folder).expect("folder");

    let before = written();
    let file_time = plain_file(&place.path().join("plain"), &batch, batches, writers);
    let file_written = written() - before;
    let before = written();
    let log_time = embedded(&place.path().join("log"), &batch, batches, writers).await;
    let log_written = written() - before;

    let rate = |time: Duration| (payload / 1e6 / time.as_secs_f64() * 10.0).round() / 10.0;
    let amplification = |bytes: u64| (bytes as f64 / payload * 100.0).round() / 100.0;
    json!({
        "payload_mb": (payload / 1e6).round(), "batch_bytes": batch_bytes,
        "embedded_mb_per_s": rate(log_time), "file_mb_per_s": rate(file_time),
        "ratio": (file_time.as_secs_f64() / log_time.as_secs_f64() * 100.0).round() / 100.0,
        "embedded_write_amplification": amplification(log_written),
        "file_write_amplification": amplification(file_written),
    })
}

fn plain_file(path: &Path, batch: &[NewRecord], batches: usize, per_sync: usize) -> Duration {
    let bytes: Vec<u8> = batch.iter().flat_map(|record| record.value.iter().copied()).collect();
    let mut file = File::create(path).expect("file");
    let started = Instant::now();
    for n in 1..=batches {
        file.write_all(&bytes).expect("write");
        if n % per_sync == 0 || n == batches {
            file.sync_data().expect("sync");
        }
    }
    started.elapsed()
}

async fn embedded(folder: &Path, batch: &[NewRecord], batches: usize, writers: usize) -> Duration {
    let log = EmbeddedLog::open(folder, EmbeddedSettings::default())
        .await
        .expect("open");
    let topic = TopicSpec {
        name: "t".into(),
        partitions: 4,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic]).await.expect("topics");
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (log, batch) = (log.clone(), batch.to_vec());
            let share = batches / writers;
            tokio::spawn(async move {
                let to = TopicPartition::new("t", writer as u32 % 4);
                for _ in 0..share {
                    log.append(&to, batch.clone()).await.expect("append");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("writer");
    }
    started.elapsed()
}

/// Bytes that do not compress, always the same.
fn noise(bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..bytes).map(|_| byte()).collect()
}

/// Bytes that this process caused to be written to storage (Linux).
fn written() -> u64 {
    proc_number("/proc/self/io", "write_bytes:")
}

fn rss_mb() -> u64 {
    proc_number("/proc/self/status", "VmHWM:") / 1_000
}

fn proc_number(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
