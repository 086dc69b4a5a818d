//! The SQL sink on PostgreSQL: signals of the log into `signals`, with rollups and positions, beside a bare COPY of the same rows into
//! the same table.
//!
//! The sink decodes records, cleans every cell, writes in the batches of the driver (4 MiB of records) and commits each. COPY gets the
//! rows as the server itself wrote them out (`COPY TO`), cut into as many commits of as many rows, on one connection. Both sides fill an
//! empty table with its indexes, by turns. Use a PostgreSQL on this machine that nobody else uses.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures::TryStreamExt as _;
use model::{Origin, Severity, Signal, SignalBatchBuilder, SignalId, SignalKind, SignalState, topics};
use serde_json::{Value, json};
use sinks::{SqlSink, Store};
use sqlx::postgres::PgPoolCopyExt as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool};
use stream::{LogId, Offset, Record, Sink as _, SinkBatch, TopicPartition};

use super::Sides;
use crate::measure::{median, rounded, timed};

#[derive(clap::Args)]
pub struct Arguments {
    /// PostgreSQL; a database is made on it and dropped.
    #[arg(
        long,
        env = "AEGIS_TEST_POSTGRES",
        default_value = "postgres://postgres@127.0.0.1:5432/postgres"
    )]
    postgres: String,
    #[arg(long, default_value_t = 200_000)]
    signals: u64,
    /// Runs of each side.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Rows of one record of topic `signals`, about what a commit of normalize holds.
const ROWS_PER_RECORD: u64 = 500;
/// Bytes that the driver of a sink gathers before it writes.
const BATCH_BYTES: usize = 4 << 20;
const START: i64 = 1_760_000_000_000_000;

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let name = format!("aegis_bench_{}", uuid::Uuid::new_v4().simple());
    let mut admin = PgConnection::connect(&arguments.postgres)
        .await
        .context("no PostgreSQL there")?;
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let (host, _) = arguments.postgres.rsplit_once('/').context("a URL with a database")?;
    let result = measure(arguments, &format!("{host}/{name}")).await;
    admin
        .execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .await?;
    result
}

async fn measure(arguments: &Arguments, url: &str) -> anyhow::Result<Value> {
    let store = Store::open(url).await?;
    store.migrate().await?;
    let pool = PgPool::connect(url).await?;
    let batches = batches(arguments.signals)?;
    let mut sides = Sides::default();
    let mut rows = Vec::new();
    // Once, untimed: files are made, plans are warm, and COPY gets its rows.
    for round in 0..=arguments.rounds {
        empty(&pool).await?;
        let mut sink = SqlSink::new(store.clone());
        let (took, ()) = timed(async {
            for batch in &batches {
                let rejects = sink.write(&LogId("bench".into()), std::slice::from_ref(batch)).await?;
                ensure!(rejects.is_empty(), "{rejects:?}");
            }
            Ok(())
        })
        .await?;
        ensure!(
            store.counts().await?.signals as u64 == arguments.signals,
            "rows are missing"
        );
        if round == 0 {
            rows = out(&pool, batches.len()).await?;
        } else {
            sides.measured.push(took);
        }
        empty(&pool).await?;
        let (took, ()) = timed(copy(&pool, &rows)).await?;
        ensure!(
            store.counts().await?.signals as u64 == arguments.signals,
            "rows are missing"
        );
        if round > 0 {
            sides.baseline.push(took);
        }
    }
    store.close().await;
    pool.close().await;
    let rate = |side: &[crate::measure::Took]| {
        let seconds: Vec<f64> = side.iter().map(|took| took.seconds).collect();
        arguments.signals as f64 / median(&seconds)
    };
    let (sink, copy) = (rate(&sides.measured), rate(&sides.baseline));
    Ok(json!({
        "figure": "store", "aim": "ratio >= 0.8", "signals": arguments.signals, "commits": batches.len(),
        "rows_per_second": rounded(sink), "copy_rows_per_second": rounded(copy), "ratio": rounded(sink / copy),
        "sides": sides.shown(),
    }))
}

async fn empty(pool: &PgPool) -> anyhow::Result<()> {
    pool.execute("TRUNCATE signals, sink_positions, signals_by_minute, signals_by_hour, signals_by_day")
        .await?;
    pool.execute("CHECKPOINT").await?;
    Ok(())
}

/// The rows of `signals` as COPY takes them, in `parts` of as many rows.
async fn out(pool: &PgPool, parts: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut stream = pool
        .copy_out_raw("COPY (SELECT * FROM signals ORDER BY raw_offset) TO STDOUT")
        .await?;
    let mut text = Vec::new();
    while let Some(bytes) = stream.try_next().await? {
        text.extend_from_slice(&bytes);
    }
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let size = lines.len().div_ceil(parts.max(1));
    Ok(lines.chunks(size.max(1)).map(|part| part.concat()).collect())
}

async fn copy(pool: &PgPool, parts: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut connection = pool.acquire().await?;
    for part in parts {
        let mut copy = connection.copy_in_raw("COPY signals FROM STDIN").await?;
        for bytes in part.chunks(1 << 20) {
            copy.send(bytes).await?;
        }
        copy.finish().await?;
    }
    Ok(())
}

/// `count` signals of two hundred services over some hours, as the driver hands them to the sink.
fn batches(count: u64) -> anyhow::Result<Vec<SinkBatch>> {
    let began = Instant::now();
    let (mut batches, mut records, mut bytes, mut start) = (Vec::new(), Vec::new(), 0, 0);
    let total = count.div_ceil(ROWS_PER_RECORD);
    for offset in 0..total {
        let mut builder = SignalBatchBuilder::new();
        for i in offset * ROWS_PER_RECORD..((offset + 1) * ROWS_PER_RECORD).min(count) {
            builder.push(&signal(i).row());
        }
        let value = builder.finish()?.encode()?;
        bytes += value.len();
        records.push(Record {
            offset: Offset(offset),
            key: None,
            value: value.into(),
            headers: Vec::new(),
            timestamp: stream::Instant(START),
        });
        if bytes >= BATCH_BYTES || offset + 1 == total {
            batches.push(SinkBatch {
                partition: TopicPartition::new(topics::SIGNALS, 0),
                start: Offset(start),
                next: Offset(offset + 1),
                records: std::mem::take(&mut records),
            });
            (bytes, start) = (0, offset + 1);
        }
    }
    eprintln!("{} batches made in {:?}", batches.len(), began.elapsed());
    Ok(batches)
}

fn signal(i: u64) -> Signal {
    let service = (i * 2_654_435_761) % 200;
    let rule = (i * 40_503) % 20;
    let at = START + i as i64 * 10_000;
    Signal {
        id: SignalId::of(&[&i.to_le_bytes()]),
        tenant: "default".into(),
        environment: "prod".into(),
        source: "alertmanager".into(),
        kind: SignalKind::Alert,
        state: if i.is_multiple_of(3) {
            SignalState::Resolved
        } else {
            SignalState::Firing
        },
        dedup_key: format!("alertmanager:{:016x}", service * 20 + rule),
        dedup_rule: "alertmanager/fingerprint@1".into(),
        event_at: at,
        observed_at: at + 500_000,
        effective_at: at,
        ends_at: i.is_multiple_of(3).then_some(at + 60_000_000),
        severity: [Severity::Critical, Severity::Warning, Severity::Info][(rule % 3) as usize],
        title: format!("Rule{rule:02} fired on svc-{service:03}"),
        description: Some(format!(
            "The rate of errors of svc-{service:03} is above its bound for ten minutes; request {i} was among them."
        )),
        service: Some(format!("svc-{service:03}")),
        cluster: Some(format!("c{}", service % 5)),
        namespace: Some(format!("ns{}", service % 17)),
        group: Some(format!("{{}}:{{alertname=\"Rule{rule:02}\"}}")),
        labels: format!(
            r#"{{"alertname":"Rule{rule:02}","cluster":"c{}","namespace":"ns{}","pod":"svc-{service:03}-{:03}","region":"eu-west-1","team":"team-{}"}}"#,
            service % 5,
            service % 17,
            i % 997,
            service % 12
        ),
        annotations: format!(
            r#"{{"summary":"errors on svc-{service:03}","runbook":"https://runbooks.example/{rule}"}}"#
        ),
        extra: None,
        digest: i,
        origin: Origin {
            partition: 0,
            offset: i,
            index: 0,
        },
        transition: None,
    }
}
