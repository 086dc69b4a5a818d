//! What a snapshot every second costs a stage of whose keys one percent changes in that second: the rate at which it works
//! off its input, beside the same stage that takes none.
//!
//! The table is in a base before the clock starts, so what is timed are deltas, into a local folder. A base comes once per
//! 64 of them; what it takes is told by `bench snapshots`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stream::driver::{Mode, Runtime, run_stage};
use stream::health::Health;
use stream::log::LogId;
use stream::log::memory::MemoryLog;
use stream::snapshot::FolderSnapshots;
use stream::time::WallClock;
use stream::{Log, NewRecord, Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

use super::Sides;
use crate::case::log_name;
use crate::keys::{stage, topics};
use crate::measure::{Took, cpu_time};
use crate::{BrokerArguments, LogKind};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, value_enum, default_value_t = LogKind::Embedded)]
    log: LogKind,
    #[command(flatten)]
    broker: BrokerArguments,
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
    /// How long each side is watched in a round.
    #[arg(long, default_value_t = 6)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Of so many keys one changes.
const ONE_OF: u64 = 100;
/// Keys that a record changes.
const KEYS_PER_RECORD: u64 = 1_000;
/// Records that wait for each second of watching: twice what was seen on a fast core.
const RECORDS_PER_SECOND: u64 = 8_000;
/// How often the position is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for a position to move: beyond it something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
const GROUP: &str = "aegis.keys";

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let log: Arc<dyn Log> = match arguments.log {
        LogKind::Memory => Arc::new(MemoryLog::with_id(LogId("bench".into()))),
        LogKind::Embedded => crate::logs::embedded(&folder.path().join("log")).await?,
        LogKind::Kafka => crate::logs::kafka(&arguments.broker.kafka).await?,
    };
    log.ensure_topics(&topics(1)).await?;
    let runtime = Runtime {
        log,
        snapshots: Arc::new(FolderSnapshots::new(folder.path().join("snapshots"))),
        clock: Arc::new(WallClock),
        health: Health::default(),
        snapshot_every: NEVER,
    };
    append(&runtime, vec![json!([0, arguments.keys, 1])]).await?;
    run_stage(
        stage(),
        runtime.clone(),
        Mode::ToEnd { past: None },
        CancellationToken::new(),
    )
    .await?;

    let mut sides = Sides::default();
    for _ in 0..arguments.rounds {
        for every in [NEVER, Duration::from_secs(1)] {
            let watched = watch(&runtime, arguments, every).await?;
            if every == NEVER {
                sides.baseline.push(watched);
            } else {
                sides.measured.push(watched);
            }
        }
    }
    Ok(json!({
        "figure": "checkpoints", "aim": "cost <= 0.03", "log": log_name(arguments.log), "keys": arguments.keys,
        "changed_per_second": arguments.keys.div_ceil(ONE_OF), "per_thousand_records": sides.shown(),
    }))
}

const NEVER: Duration = Duration::from_secs(86_400);

async fn append(runtime: &Runtime, changes: Vec<Value>) -> anyhow::Result<()> {
    let record = |change: Value| NewRecord {
        value: change.to_string().into(),
        timestamp: runtime.clock.now(),
        ..NewRecord::default()
    };
    let records = changes.into_iter().map(record).collect();
    runtime.log.append(&input(), records).await?;
    Ok(())
}

fn input() -> TopicPartition {
    TopicPartition::new("in", 0)
}

/// Fills the input, runs the stage over it for a while, and says what a thousand records took.
async fn watch(runtime: &Runtime, arguments: &Arguments, every: Duration) -> anyhow::Result<Took> {
    let hot = arguments.keys.div_ceil(ONE_OF);
    let span = KEYS_PER_RECORD.min(hot);
    let change = |nth: u64| {
        let from = nth * span % hot;
        json!([from * ONE_OF, (from + span).min(hot) * ONE_OF, ONE_OF])
    };
    let records = arguments.seconds * RECORDS_PER_SECOND;
    append(runtime, (0..records).map(change).collect()).await?;
    let runtime = Runtime {
        snapshot_every: every,
        ..runtime.clone()
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_stage(stage(), runtime.clone(), Mode::Live, stop.clone()));
    let stands = runtime.log.committed(GROUP, &input()).await?.unwrap_or_default();
    let mut moved = moved(&runtime, stands).await?;
    let (began, cpu, from) = (Instant::now(), cpu_time(), moved);
    while began.elapsed() < Duration::from_secs(arguments.seconds) {
        moved = self::moved(&runtime, moved).await?;
    }
    let done = (moved.0 - from.0) as f64 / 1_000.0;
    let took = Took {
        seconds: began.elapsed().as_secs_f64() / done,
        cpu_seconds: (cpu_time() - cpu).as_secs_f64() / done,
    };
    let end = runtime.log.bounds(&input()).await?.end;
    anyhow::ensure!(
        moved < end,
        "the input ended before the time: fewer seconds, or a larger RECORDS_PER_SECOND"
    );
    stop.cancel();
    running.await??;
    Ok(took)
}

/// Waits until the group stands elsewhere than at `from`.
async fn moved(runtime: &Runtime, from: Offset) -> anyhow::Result<Offset> {
    let began = Instant::now();
    loop {
        let now = runtime.log.committed(GROUP, &input()).await?.unwrap_or_default();
        if now != from {
            return Ok(now);
        }
        anyhow::ensure!(began.elapsed() < PATIENCE, "the stage stands still at {}", from.0);
        tokio::time::sleep(LOOK).await;
    }
}
