//! `aegis sinks rebuild`: the tables of the SQL sink, filled anew from the log and put in place at once.
//!
//! What the tables hold is a projection of the log, so they can be made again: after a mistake of ours in an old version, after somebody
//! changed rows by hand, after the log was replaced. Nobody may write to them meanwhile: with the embedded log no other process has the
//! folder, with Kafka the sink's group must be empty, and the swap looks whether the positions are where they were.
//!
//! The log forgets: signals after a week, unless its retention says otherwise. Rows of what it forgot cannot be made again, so this is
//! refused unless the caller says that the tables may lose them.
//!
//! Not here: the archive, whose files are the only copy of what they hold once the log forgot it; workers and receivers, which have
//! positions and no rows.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use sinks::sql::{Shadow, SqlSink};
use sinks::{ArchiveSink, sql::StoreError};
use stream::{Offset, Record, Sink, SinkBatch, TopicPartition, failpoint};
use tokio_util::sync::CancellationToken;

use crate::cli::Exit;
use crate::config::{Config, LogKind};
use crate::control::Client;
use crate::generations::GenerationSink;
use crate::world::World;

/// Bytes of one write: as the running sink.
const BATCH_BYTES: usize = 4 << 20;
const RECORDS: usize = 2_000;
const WAIT: Duration = Duration::from_millis(250);
/// Waits without anything after which the log is called away.
const WAITS: u32 = 120;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Order {
    pub sink: String,
    /// Although the log does not hold everything any more.
    pub partial: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub sink: String,
    /// Offsets that were read.
    pub offsets: u64,
    /// Records that the tables do not take; they were buried when they came first.
    pub refused: u64,
    /// What the log does not hold any more.
    pub missing: Vec<Missing>,
}

/// The beginning of a partition that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub topic: String,
    pub partition: u32,
    /// The first offset that is there.
    pub first: u64,
}

/// What a caller may show while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Total(u64),
    Done(u64),
}

/// Rebuilds the tables.
pub async fn rebuild(
    config: &Config,
    order: Order,
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<Summary> {
    named(&order.sink)?;
    if config.log.kind == LogKind::Embedded && Client::connect(&config.data.dir).await.is_some() {
        return Err(Exit::Unavailable.because(format!(
            "an aegis runs on {} and writes to these tables: stop it first (SIGTERM)",
            config.data.dir.display()
        )));
    }
    let world = World::open(config).await?;
    let group = format!("aegis.{}", SqlSink::STAGE);
    let strangers = world.raw.strangers(&group).await?;
    if strangers > 0 {
        return Err(Exit::Unavailable.because(format!(
            "group {group} has {strangers} members, which write to these tables: stop every aegis with the role sinks first"
        )));
    }
    let shadow = Shadow::begin(&world.store).await.map_err(coded)?;
    let filled = fill(&world, &shadow, &order, stop, tell).await;
    let summary = match filled {
        Ok(summary) => {
            failpoint::hit("rebuild.filled");
            shadow.swap().await.map_err(coded)?;
            summary
        }
        Err(error) => {
            // The error is what matters; what is left of the shadow the next attempt throws away.
            let _ = shadow.abandon().await;
            return Err(error);
        }
    };
    world.runtime.log.close().await;
    world.close().await?;
    Ok(summary)
}

fn named(sink: &str) -> anyhow::Result<()> {
    match sink {
        SqlSink::NAME => Ok(()),
        ArchiveSink::NAME => Err(Exit::Usage.because(
            "the archive is not rebuilt: once the log has forgotten a record, its files are the only copy. To write it again from \
             what the log holds, move its folder away and start",
        )),
        other => Err(Exit::NotFound.because(format!(
            "there is no sink {other:?} that can be rebuilt: `sql` can; see `aegis sinks list`"
        ))),
    }
}

fn coded(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Unavailable { .. } => Exit::Unavailable.because(error.to_string()),
        other => other.into(),
    }
}

async fn fill(
    world: &World,
    shadow: &Shadow,
    order: &Order,
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<Summary> {
    let log = &world.runtime.log;
    let sink = SqlSink::new(shadow.store().clone()).believing(world.topology.signer.clone());
    let mut sink = GenerationSink::over(Box::new(sink), &world.topology.layout);
    let mut summary = Summary {
        sink: order.sink.clone(),
        ..Summary::default()
    };
    let mut ranges = Vec::new();
    for topic in sink.topics() {
        for number in 0..log.partitions(&topic).await? {
            let partition = TopicPartition::new(topic.clone(), number);
            let bounds = log.bounds(&partition).await?;
            if bounds.start > Offset(0) {
                summary.missing.push(Missing {
                    topic: topic.to_string(),
                    partition: number,
                    first: bounds.start.0,
                });
            }
            ranges.push((partition, bounds));
        }
    }
    if !summary.missing.is_empty() && !order.partial {
        return Err(Exit::Failed.because(refusal(&summary.missing)));
    }
    tell(Told::Total(
        ranges.iter().map(|(_, bounds)| bounds.end.0 - bounds.start.0).sum(),
    ));
    for (partition, bounds) in ranges {
        copy(
            world,
            sink.as_mut(),
            &partition,
            (bounds.start, bounds.end),
            &mut summary,
            stop,
            tell,
        )
        .await
        .with_context(|| format!("rebuilding from {partition}"))?;
    }
    sink.close().await?;
    Ok(summary)
}

/// Writes what `partition` holds in `[from, to)`.
async fn copy(
    world: &World,
    sink: &mut dyn Sink,
    partition: &TopicPartition,
    (from, to): (Offset, Offset),
    summary: &mut Summary,
    stop: &CancellationToken,
    tell: &(dyn Fn(Told) + Sync),
) -> anyhow::Result<()> {
    let log = &world.runtime.log;
    sink.position(&log.id(), partition).await?;
    let mut reader = log.reader(partition, from).await?;
    let (mut stands, mut at, mut silent, mut bytes) = (from, from, 0, 0);
    let mut records: Vec<Record> = Vec::new();
    loop {
        if stop.is_cancelled() {
            return Err(Exit::Failed.because("interrupted; the tables are as they were"));
        }
        if at < to {
            let (read, next) = reader.read(RECORDS, WAIT).await?;
            silent = if next == at { silent + 1 } else { 0 };
            if silent == WAITS {
                return Err(Exit::Unavailable.because(format!(
                    "nothing came of {partition} from offset {} on, which should hold records up to {}",
                    at.0, to.0
                )));
            }
            at = next;
            for record in read.into_iter().filter(|record| record.offset < to) {
                bytes += record.size();
                records.push(record);
            }
        }
        let ended = at >= to;
        if bytes >= BATCH_BYTES || ended {
            let next = at.min(to);
            if next > stands {
                summary.refused += write(world, sink, partition, (stands, next), std::mem::take(&mut records)).await?;
                tell(Told::Done(next.0 - stands.0));
                summary.offsets += next.0 - stands.0;
                failpoint::hit("rebuild.filling");
            }
            (stands, bytes) = (next, 0);
        }
        if ended {
            return Ok(());
        }
    }
}

/// As the driver writes, but what is refused was buried when it came first. How many those are.
async fn write(
    world: &World,
    sink: &mut dyn Sink,
    partition: &TopicPartition,
    (start, next): (Offset, Offset),
    records: Vec<Record>,
) -> anyhow::Result<u64> {
    let mut batch = SinkBatch {
        partition: partition.clone(),
        start,
        next,
        records,
    };
    let mut refused = 0;
    loop {
        let rejects = sink
            .write(&world.runtime.log.id(), std::slice::from_ref(&batch))
            .await?;
        if rejects.is_empty() {
            return Ok(refused);
        }
        refused += rejects.len() as u64;
        batch
            .records
            .retain(|record| rejects.iter().all(|reject| reject.offset != record.offset));
    }
}

fn refusal(missing: &[Missing]) -> String {
    let named: Vec<String> = missing
        .iter()
        .take(8)
        .map(|one| format!("{}/{} before offset {}", one.topic, one.partition, one.first))
        .collect();
    let more = missing.len().saturating_sub(named.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "the log no longer holds {}{more}: rows of these records cannot be made again. The tables are as they were; with --partial \
         they would hold what the log holds, and nothing else",
        named.join(", ")
    )
}
