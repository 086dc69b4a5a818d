//! A worker whose task hangs: the others of its batch and the batches behind it are answered, and the position shows what is not done.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sinks::Store;
use sinks::worker::{Answer, MOST, NotTaken, Say, Work, Worker};
use stream::log::memory::MemoryLog;
use stream::log::{NewRecord, Topic};
use stream::{Instant, Log, LogId, Offset, Record, Sink, SinkBatch, SinkReject, TopicPartition, TopicSpec};
use tokio::sync::Semaphore;

const ASKED: &str = "asked";
const SAID: &str = "said";

/// Answers a record with its own value; one that says `slow` waits for the test's word.
struct Echo {
    word: Arc<Semaphore>,
}

#[async_trait]
impl Work for Echo {
    type Task = Bytes;

    fn name(&self) -> &'static str {
        "echo"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![ASKED.into()]
    }

    async fn take(&self, _: &TopicPartition, record: &Record) -> Result<Option<Bytes>, NotTaken> {
        match &*record.value {
            b"nothing" => Ok(None),
            b"rubbish" => Err(NotTaken::undecodable("rubbish")),
            _ => Ok(Some(record.value.clone())),
        }
    }

    async fn work(&self, task: Bytes, _: &Say) -> Vec<Answer> {
        if &*task == b"slow" {
            self.word.acquire().await.unwrap().forget();
        }
        vec![Answer {
            topic: SAID,
            key: String::new(),
            record: NewRecord {
                value: task,
                ..NewRecord::default()
            },
        }]
    }
}

struct Bench {
    log: Arc<dyn Log>,
    store: Store,
    word: Arc<Semaphore>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let spec = TopicSpec {
            name: SAID.into(),
            partitions: 1,
            retention: Default::default(),
        };
        log.ensure_topics(&[spec]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/a.db", folder.path().display()))
            .await
            .unwrap();
        store.migrate().await.unwrap();
        Bench {
            log,
            store,
            word: Arc::new(Semaphore::new(0)),
            _folder: folder,
        }
    }

    async fn worker(&self) -> Worker<Echo> {
        let work = Echo {
            word: self.word.clone(),
        };
        let mut worker = Worker::new(work, self.store.clone(), self.log.clone());
        self.position(&mut worker).await;
        worker
    }

    async fn position(&self, worker: &mut Worker<Echo>) -> Option<u64> {
        let stands = worker.position(&LogId("l".into()), &asked()).await.unwrap();
        stands.map(|offset| offset.0)
    }

    /// Where the store stands, asked by another process.
    async fn stored(&self) -> Option<u64> {
        let mut other = Worker::new(
            Echo {
                word: self.word.clone(),
            },
            self.store.clone(),
            self.log.clone(),
        );
        self.position(&mut other).await
    }

    /// What was said, once there are that many.
    async fn said(&self, count: usize) -> Vec<String> {
        let mut reader = self.log.reader(&TopicPartition::new(SAID, 0), Offset(0)).await.unwrap();
        let mut all = Vec::new();
        let wait = std::time::Duration::from_secs(60);
        while all.len() < count {
            let (records, _) = reader.read(100, wait).await.unwrap();
            assert!(!records.is_empty(), "{count} wanted, said: {all:?}");
            all.extend(
                records
                    .iter()
                    .map(|record| String::from_utf8(record.value.to_vec()).unwrap()),
            );
        }
        all.sort();
        all
    }
}

fn asked() -> TopicPartition {
    TopicPartition::new(ASKED, 0)
}

fn batch(start: u64, values: &[&str]) -> SinkBatch {
    let record = |(at, value): (usize, &&str)| Record {
        offset: Offset(start + at as u64),
        key: None,
        value: Bytes::from((*value).to_owned()),
        headers: Vec::new(),
        timestamp: Instant(0),
    };
    SinkBatch {
        partition: asked(),
        start: Offset(start),
        next: Offset(start + values.len() as u64),
        records: values.iter().enumerate().map(record).collect(),
    }
}

async fn write(worker: &mut Worker<Echo>, batch: &SinkBatch) -> Vec<SinkReject> {
    worker
        .write(&LogId("l".into()), std::slice::from_ref(batch))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_task_that_hangs_holds_no_other() {
    let bench = Bench::new().await;
    let mut worker = bench.worker().await;
    assert_eq!(write(&mut worker, &batch(0, &["a", "nothing", "slow", "b"])).await, []);
    assert_eq!(write(&mut worker, &batch(4, &["c", "d"])).await, []);
    assert_eq!(bench.said(4).await, ["a", "b", "c", "d"]);
    assert_eq!(write(&mut worker, &batch(6, &["nothing"])).await, []);
    // What a crash would do again begins with the one that hangs.
    assert_eq!(bench.stored().await, Some(2));
    bench.word.add_permits(1);
    assert_eq!(bench.said(5).await, ["a", "b", "c", "d", "slow"]);
    worker.close().await.unwrap();
    assert_eq!(bench.stored().await, Some(7));
}

#[tokio::test]
async fn after_a_crash_what_was_not_done_is_done_again() {
    let bench = Bench::new().await;
    let mut worker = bench.worker().await;
    write(&mut worker, &batch(0, &["a", "slow", "b"])).await;
    assert_eq!(bench.said(2).await, ["a", "b"]);
    drop(worker);
    bench.word.add_permits(1);
    let mut again = bench.worker().await;
    let stands = bench.stored().await.unwrap_or(0);
    assert!(stands <= 1, "{stands}");
    let rest = &["a", "slow", "b"][stands as usize..];
    write(&mut again, &batch(stands, rest)).await;
    again.close().await.unwrap();
    assert!(bench.said(3).await.contains(&"slow".to_owned()));
    assert_eq!(bench.stored().await, Some(3));
}

#[tokio::test]
async fn nothing_of_a_batch_begins_before_its_refused_records_are_buried() {
    let bench = Bench::new().await;
    let mut worker = bench.worker().await;
    let refused = write(&mut worker, &batch(0, &["a", "rubbish"])).await;
    assert_eq!((refused.len(), refused[0].offset), (1, Offset(1)));
    let mut rest = batch(0, &["a", "rubbish"]);
    rest.records.truncate(1);
    assert_eq!(write(&mut worker, &rest).await, []);
    worker.close().await.unwrap();
    assert_eq!(bench.said(1).await, ["a"]);
    assert_eq!(bench.stored().await, Some(2));
}

#[tokio::test]
async fn no_more_than_a_bounded_number_is_under_way() {
    let bench = Bench::new().await;
    let mut worker = bench.worker().await;
    let hanging = vec!["slow"; MOST + 1];
    let all = batch(0, &hanging);
    {
        let full = write(&mut worker, &all);
        tokio::pin!(full);
        // It cannot end before one of them does.
        for _ in 0..100 {
            assert!(futures::poll!(&mut full).is_pending());
            tokio::task::yield_now().await;
        }
        bench.word.add_permits(MOST + 1);
        assert_eq!(full.await, []);
    }
    worker.close().await.unwrap();
    assert_eq!(bench.stored().await, Some(MOST as u64 + 1));
}
