//! The Kafka source up to the raw batch, without decoding: a group member of the product's log, whose batches are
//! dropped, beside a bare client loop that polls and drops messages with the client's own defaults.
//!
//! The clock runs from the first record to the last, so that joining a group is in neither side.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset as RawOffset, TopicPartitionList};
use serde_json::{Value, json};
use stream::log::MemberEvent;
use stream::{Log, NewRecord, TopicPartition, TopicSpec};

use crate::BrokerArguments;
use crate::measure::{cpu_time, median, rounded};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    broker: BrokerArguments,
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    #[arg(long, default_value_t = 2)]
    partitions: u32,
    /// Length of a record's value.
    #[arg(long, default_value_t = 900)]
    bytes: usize,
    /// Runs of each side.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

const TOPIC: &str = "in";
/// Longest wait for records that are there: beyond it something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Records per second, by the clock and by CPU time of this process.
#[derive(Clone, Copy)]
struct Rate {
    clock: f64,
    cpu: f64,
}

struct Stopwatch {
    first: Option<(Instant, Duration, u64)>,
    count: u64,
}

impl Stopwatch {
    fn take(&mut self, records: u64) {
        self.count += records;
        self.first
            .get_or_insert_with(|| (Instant::now(), cpu_time(), self.count));
    }

    fn rate(&self) -> anyhow::Result<Rate> {
        let (began, cpu, before) = self.first.context("no record came")?;
        let records = (self.count - before) as f64;
        Ok(Rate {
            clock: records / began.elapsed().as_secs_f64(),
            cpu: records / (cpu_time() - cpu).as_secs_f64(),
        })
    }
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let prefix = crate::logs::own_prefix(&arguments.broker.kafka);
    let log = crate::logs::kafka_named(&arguments.broker.kafka, &prefix).await?;
    fill(log.as_ref(), arguments).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        let (servers, topic) = (arguments.broker.kafka.clone(), format!("{prefix}{TOPIC}"));
        let (partitions, records) = (arguments.partitions, arguments.records);
        bare.push(tokio::task::spawn_blocking(move || bare_loop(&servers, &topic, partitions, records)).await??);
        ours.push(member(log.as_ref(), &format!("source-{round}"), arguments.records).await?);
    }
    let of = |side: &[Rate], which: fn(&Rate) -> f64| median(&side.iter().map(which).collect::<Vec<_>>());
    let list = |side: &[Rate]| -> Vec<f64> { side.iter().map(|rate| rate.clock.round()).collect() };
    Ok(json!({
        "figure": "source", "aim": "ratio >= 0.9", "records": arguments.records, "bytes": arguments.bytes,
        "partitions": arguments.partitions,
        "ratio": rounded(of(&ours, |rate| rate.clock) / of(&bare, |rate| rate.clock)),
        "cpu_ratio": rounded(of(&ours, |rate| rate.cpu) / of(&bare, |rate| rate.cpu)),
        "records_per_second": list(&ours), "bare_records_per_second": list(&bare),
    }))
}

async fn fill(log: &dyn Log, arguments: &Arguments) -> anyhow::Result<()> {
    let spec = TopicSpec {
        name: TOPIC.into(),
        partitions: arguments.partitions,
        retention: Default::default(),
    };
    log.ensure_topics(&[spec]).await?;
    let record = NewRecord {
        value: Bytes::from(vec![b'x'; arguments.bytes]),
        timestamp: stream::Clock::now(&stream::time::WallClock),
        ..NewRecord::default()
    };
    let mut left = arguments.records;
    let mut partition = 0;
    while left > 0 {
        let piece = left.min(5_000);
        let to = TopicPartition::new(TOPIC, partition);
        log.append(&to, vec![record.clone(); piece as usize]).await?;
        left -= piece;
        partition = (partition + 1) % arguments.partitions;
    }
    Ok(())
}

async fn member(log: &dyn Log, group: &str, records: u64) -> anyhow::Result<Rate> {
    let mut member = log.join(group, &[TOPIC.into()]).await?;
    let mut watch = Stopwatch { first: None, count: 0 };
    let mut heard = Instant::now();
    while watch.count < records {
        anyhow::ensure!(heard.elapsed() < PATIENCE, "{} of {records} records came", watch.count);
        if let Some(MemberEvent::Fetched { records, .. }) = member.next(Duration::from_millis(100)).await? {
            watch.take(records.len() as u64);
            heard = Instant::now();
        }
    }
    let rate = watch.rate();
    member.leave().await?;
    rate
}

fn bare_loop(servers: &str, topic: &str, partitions: u32, records: u64) -> anyhow::Result<Rate> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bare")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, i32::try_from(partition)?, RawOffset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut watch = Stopwatch { first: None, count: 0 };
    while watch.count < records {
        let message = consumer.poll(PATIENCE).context("no message came")?;
        drop(message?);
        watch.take(1);
    }
    watch.rate()
}
