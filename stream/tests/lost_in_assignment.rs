//! A partition that goes while its stage or sink is still restoring what belongs to it: the member can no longer be told where to
//! read from. Nothing ends by that; a new member does all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stream::driver::{Mode, Runtime, Stage, run_sink, run_stage};
use stream::health::Health;
use stream::log::memory::MemoryLog;
use stream::log::{Bounds, Commit, CommitError, LogError, LogId, MemberEvent, Topic};
use stream::operator::JsonRows;
use stream::snapshot::MemorySnapshots;
use stream::task::{DeadLetters, Role, TaskSettings};
use stream::time::WallClock;
use stream::{
    Context, Disposition, Log, Member, NewRecord, Offset, Operator, Reader, Record, Reject, Sink, SinkBatch, SinkError,
    SinkReject, TopicPartition, TopicSpec,
};
use tokio_util::sync::CancellationToken;

const RECORDS: usize = 20;

/// The memory log, where the first seeks find nothing assigned.
struct Losing {
    inner: MemoryLog,
    refusals: Arc<AtomicU32>,
}

struct LosingMember {
    inner: Box<dyn Member>,
    refusals: Arc<AtomicU32>,
}

#[async_trait]
impl Log for Losing {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(topic).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.inner.append(to, records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(LosingMember {
            inner: self.inner.join(group, topics).await?,
            refusals: self.refusals.clone(),
        }))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(partition, from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(partition).await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.inner.committed(group, partition).await
    }
}

#[async_trait]
impl Member for LosingMember {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        self.inner.next(max_wait).await
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let left = self
            .refusals
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(LogError::Unavailable {
                doing: format!("seeking {partition} to {}", to.0),
                cause: "it is not assigned to this member".to_owned(),
            });
        }
        self.inner.seek(partition, to).await
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        self.inner.commit(commit).await
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        self.inner.leave().await
    }
}

/// Forwards.
#[derive(Default)]
struct Echo;

impl Operator for Echo {
    type In = String;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "echo"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<String, Reject> {
        Ok(String::from_utf8_lossy(&record.value).into_owned())
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn stream::state::StateCell)> {
        Vec::new()
    }

    fn on_batch(&mut self, word: &String, cx: &mut Context<'_, JsonRows>) {
        cx.emit(word.as_bytes(), &bytes::Bytes::from(word.clone()));
        cx.item(Disposition::Forwarded);
    }
}

/// Holds what it was given, with its position.
#[derive(Default)]
struct Kept {
    rows: Arc<std::sync::Mutex<Vec<Offset>>>,
    next: Option<Offset>,
}

#[async_trait]
impl Sink for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn topics(&self) -> Vec<Topic> {
        vec!["in".into()]
    }

    async fn position(&mut self, _: &LogId, _: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        Ok(self.next)
    }

    async fn write(&mut self, _: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let mut rows = self.rows.lock().unwrap();
        let records = batches.iter().flat_map(|batch| &batch.records);
        rows.extend(records.map(|record| record.offset));
        self.next = rows.last().map(|last| Offset(last.0 + 1));
        Ok(Vec::new())
    }
}

fn dead_letters() -> DeadLetters {
    DeadLetters {
        topic: "dead-letter".into(),
        encode: Arc::new(|refused| NewRecord {
            value: refused.record.value.clone(),
            ..NewRecord::default()
        }),
    }
}

async fn world() -> (MemoryLog, Arc<AtomicU32>, Runtime) {
    let inner = MemoryLog::new();
    let topics = ["in", "out", "dead-letter", "accounting"].map(|name| TopicSpec {
        name: name.into(),
        partitions: 1,
        retention: Default::default(),
    });
    inner.ensure_topics(&topics).await.unwrap();
    for nth in 0..RECORDS {
        let record = NewRecord {
            value: format!("word {nth}").into(),
            ..NewRecord::default()
        };
        inner.append(&TopicPartition::new("in", 0), vec![record]).await.unwrap();
    }
    let refusals = Arc::new(AtomicU32::new(2));
    let log = Losing {
        inner: inner.clone(),
        refusals: refusals.clone(),
    };
    let runtime = Runtime {
        log: Arc::new(log),
        snapshots: Arc::new(MemorySnapshots::default()),
        clock: Arc::new(WallClock),
        health: Health::default(),
        snapshot_every: Duration::from_secs(3600),
    };
    (inner, refusals, runtime)
}

#[tokio::test]
async fn a_stage_joins_anew() {
    let (log, refusals, runtime) = world().await;
    let stage = Stage {
        input: "in".into(),
        settings: TaskSettings {
            topology: "test".into(),
            role: Role::Downstream { upstream_partitions: 1 },
            output: ("out".into(), 1),
            sides: vec![("dead-letter".into(), 1), ("accounting".into(), 1)],
            accounting: "accounting".into(),
            dead_letters: dead_letters(),
            progress_step: Duration::from_secs(1),
        },
        make: Box::new(|_| Echo),
        call: None,
        keyed: None,
    };
    run_stage(stage, runtime, Mode::ToEnd { past: None }, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(refusals.load(Ordering::SeqCst), 0, "the seeks were refused");
    let mut reader = log.reader(&TopicPartition::new("out", 0), Offset(0)).await.unwrap();
    let (records, _) = reader.read(1000, Duration::from_millis(1)).await.unwrap();
    let rows = records
        .iter()
        .filter(|record| stream::progress::is_data(record))
        .count();
    assert_eq!(rows, RECORDS);
}

#[tokio::test]
async fn a_sink_joins_anew() {
    let (_, refusals, runtime) = world().await;
    let sink = Kept::default();
    let rows = sink.rows.clone();
    run_sink(
        Box::new(sink),
        dead_letters(),
        runtime,
        Mode::ToEnd { past: None },
        CancellationToken::new(),
    )
    .await
    .unwrap();
    assert_eq!(refusals.load(Ordering::SeqCst), 0, "the seeks were refused");
    let expected: Vec<Offset> = (0..RECORDS as u64).map(Offset).collect();
    assert_eq!(*rows.lock().unwrap(), expected);
}
