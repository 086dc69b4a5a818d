use std::collections::BTreeMap;
use std::sync::Mutex;

use stream::log::memory::MemoryLog;
use stream::time::Instant;
use stream::time::ManualClock;
use stream::{NewRecord, TopicSpec};

use super::*;
use crate::testing::*;

/// Positions that survive a sink.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<TopicPartition, Offset>>>);

#[async_trait]
impl Positions for Kept {
    async fn read(&self, _: &str, _: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        Ok(self.0.lock().unwrap().get(partition).copied())
    }

    async fn advance(
        &self,
        _: &str,
        _: &LogId,
        batches: &[SinkBatch],
        _: &BTreeSet<TopicPartition>,
    ) -> Result<(), SinkError> {
        let mut kept = self.0.lock().unwrap();
        kept.extend(batches.iter().map(|batch| (batch.partition.clone(), batch.next)));
        Ok(())
    }
}

#[derive(Default)]
struct Collector {
    away: bool,
    taken: Mutex<Vec<Span>>,
}

impl Export<Span> for Collector {
    async fn export(&self, batch: &[Span]) -> Result<(), String> {
        if self.away {
            return Err("away".to_owned());
        }
        self.taken.lock().unwrap().extend_from_slice(batch);
        Ok(())
    }
}

fn batches() -> Vec<SinkBatch> {
    let mut topics: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for (topic, record) in story() {
        topics.entry(topic).or_default().push(record);
    }
    let batch = |(topic, records): (&str, Vec<Record>)| SinkBatch {
        partition: TopicPartition::new(topic, 0),
        start: Offset(0),
        next: Offset(records.len() as u64),
        records,
    };
    topics.into_iter().map(batch).collect()
}

/// A log on which the webhook stands that the story begins with.
async fn log() -> Arc<dyn Log> {
    let log = MemoryLog::default();
    let spec = TopicSpec {
        name: topics::EVENTS_RAW.into(),
        partitions: 3,
        retention: Default::default(),
    };
    log.ensure_topics(&[spec]).await.unwrap();
    let raw = raw(0);
    let record = NewRecord {
        value: raw.body.clone(),
        headers: raw.to_headers(),
        timestamp: Instant(AT),
        ..NewRecord::default()
    };
    let filler = std::iter::repeat_n(NewRecord::default(), 7);
    let to = TopicPartition::new(topics::EVENTS_RAW, 2);
    log.append(&to, filler.chain([record]).collect()).await.unwrap();
    Arc::new(log)
}

async fn sink(collector: &Arc<Collector>, kept: &Kept, now: i64, stopped: bool) -> Traces<Collector, Kept> {
    let settings = TelemetrySettings {
        retry_for: stream::human::HumanDuration(Duration::from_millis(300)),
        ..TelemetrySettings::default()
    };
    let stop = CancellationToken::new();
    if stopped {
        stop.cancel();
    }
    let parts = TracesParts {
        export: collector.clone(),
        positions: kept.clone(),
        log: log().await,
        clock: Arc::new(ManualClock::at(Instant(now))),
        believed: Box::new(|_, record| record.header("forged").is_none()),
        stop,
    };
    Traces::new(&settings, parts)
}

fn id() -> LogId {
    LogId("log".into())
}

#[tokio::test]
async fn told_again_after_a_crash_it_is_the_same_trace() {
    let (collector, kept) = (Arc::new(Collector::default()), Kept::default());
    sink(&collector, &kept, AT, false)
        .await
        .write(&id(), &batches())
        .await
        .unwrap();
    let first = collector.taken.lock().unwrap().split_off(0);
    assert_eq!(
        first.iter().filter(|span| span.name == "receive alertmanager").count(),
        1
    );
    assert_eq!(kept.0.lock().unwrap().len(), 2);
    // It died before its position was kept.
    sink(&collector, &Kept::default(), AT, false)
        .await
        .write(&id(), &batches())
        .await
        .unwrap();
    assert_eq!(*collector.taken.lock().unwrap(), first);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_holds_nobody() {
    let away = Arc::new(Collector {
        away: true,
        ..Collector::default()
    });
    let kept = Kept::default();
    sink(&away, &kept, AT, false)
        .await
        .write(&id(), &batches())
        .await
        .unwrap();
    assert_eq!(kept.0.lock().unwrap().len(), 2, "given up, and passed");
    // At the end of the process they stay in the log.
    let kept = Kept::default();
    let ended = sink(&away, &kept, AT, true).await.write(&id(), &batches()).await;
    assert!(matches!(ended, Err(SinkError::Unavailable { .. })) && kept.0.lock().unwrap().is_empty());
    // Unless the collector takes them.
    let well = Arc::new(Collector::default());
    sink(&well, &kept, AT, true)
        .await
        .write(&id(), &batches())
        .await
        .unwrap();
    assert!(!well.taken.lock().unwrap().is_empty() && kept.0.lock().unwrap().len() == 2);
}

#[tokio::test]
async fn what_is_old_forged_or_rubbish_is_passed() {
    let (collector, kept) = (Arc::new(Collector::default()), Kept::default());
    let later = AT + 2 * 3_600_000_000;
    sink(&collector, &kept, later, false)
        .await
        .write(&id(), &batches())
        .await
        .unwrap();
    let mut forged = batches();
    for record in forged.iter_mut().flat_map(|batch| &mut batch.records) {
        match record.offset.0 % 2 {
            0 => record.value = "rubbish".into(),
            _ => record.headers.push(("forged".into(), "1".into())),
        }
    }
    sink(&collector, &kept, AT, false)
        .await
        .write(&id(), &forged)
        .await
        .unwrap();
    assert_eq!(*collector.taken.lock().unwrap(), []);
    assert_eq!(kept.0.lock().unwrap().len(), 2);
}
