//! The drivers on the memory log: faults at every commit, restart in the middle, sinks that are away or answer twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stream::driver::{Mode, Runtime, Stage, StageError, run_sink, run_stage};
use stream::health::Health;
use stream::log::memory::{CommitFault, MemoryLog};
use stream::log::{Bounds, LogError, LogId, Member, Reader, Topic};
use stream::operator::JsonRows;
use stream::snapshot::MemorySnapshots;
use stream::state::StateCell;
use stream::task::{DeadLetters, Role, TaskSettings};
use stream::time::WallClock;
use stream::{
    Context, Disposition, Log, NewRecord, Offset, Operator, Record, Reject, Sink, SinkBatch, SinkError, SinkReject,
    Table, TopicPartition, TopicSpec,
};
use tokio_util::sync::CancellationToken;

/// Numbers the occurrences of each word: any loss, double run or lost state shows in the numbers.
#[derive(Default)]
struct Count(Table<String, u64>);

impl Operator for Count {
    type In = String;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "count"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<String, Reject> {
        String::from_utf8(record.value.to_vec()).map_err(|e| Reject {
            reason: "invalid_utf8",
            detail: e.to_string(),
            field: None,
            index: None,
        })
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![("words", &mut self.0)]
    }

    fn on_batch(&mut self, word: &String, cx: &mut Context<'_, JsonRows>) {
        let count = self.0.entry(word.clone()).or_default();
        *count += 1;
        cx.emit(word.as_bytes(), &Bytes::from(format!("{word}:{count}")));
        cx.item(Disposition::Forwarded);
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

fn stage() -> Stage<Count> {
    Stage {
        input: "in".into(),
        settings: TaskSettings {
            topology: "test".into(),
            role: Role::Downstream { upstream_partitions: 1 },
            output: ("out".into(), 2),
            sides: vec![("dead-letter".into(), 1), ("accounting".into(), 1)],
            accounting: "accounting".into(),
            dead_letters: dead_letters(),
            progress_step: Duration::from_secs(1),
        },
        make: Box::new(|_| Count::default()),
        call: None,
        keyed: None,
    }
}

async fn world() -> (MemoryLog, Runtime) {
    let log = MemoryLog::new();
    let topics: Vec<TopicSpec> = [("in", 2), ("out", 2), ("dead-letter", 1), ("accounting", 1)]
        .map(|(name, partitions)| TopicSpec {
            name: name.into(),
            partitions,
            retention: Default::default(),
        })
        .into();
    log.ensure_topics(&topics).await.unwrap();
    let runtime = Runtime {
        log: Arc::new(log.clone()),
        snapshots: Arc::new(MemorySnapshots::default()),
        clock: Arc::new(WallClock),
        health: Health::default(),
        snapshot_every: Duration::from_secs(3600),
    };
    (log, runtime)
}

async fn feed(log: &MemoryLog, words: impl IntoIterator<Item = (u32, Bytes)>) {
    for (partition, value) in words {
        let record = NewRecord {
            value,
            ..NewRecord::default()
        };
        log.append(&TopicPartition::new("in", partition), vec![record])
            .await
            .unwrap();
    }
}

async fn read(log: &MemoryLog, topic: &str, partitions: u32) -> Vec<String> {
    let mut out = Vec::new();
    for partition in 0..partitions {
        let mut reader = log
            .reader(&TopicPartition::new(topic, partition), Offset(0))
            .await
            .unwrap();
        loop {
            let (records, _) = reader.read(1000, Duration::from_millis(1)).await.unwrap();
            if records.is_empty() {
                break;
            }
            let data = records.iter().filter(|r| stream::progress::is_data(r));
            out.extend(data.map(|r| String::from_utf8_lossy(&r.value).into_owned()));
        }
    }
    out.sort();
    out
}

fn words(n: usize) -> Vec<(u32, Bytes)> {
    (0..n)
        .map(|i| ((i % 2) as u32, Bytes::from(format!("w{}", i % 6))))
        .collect()
}

/// Every word numbered 1..=n without a gap.
fn expected(n: usize) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let mut out: Vec<String> = words(n)
        .into_iter()
        .map(|(_, word)| {
            let word = String::from_utf8_lossy(&word).into_owned();
            let count = counts.entry(word.clone()).or_default();
            *count += 1;
            format!("{word}:{count}")
        })
        .collect();
    out.sort();
    out
}

#[tokio::test]
async fn faults_and_restarts_lose_and_double_nothing() {
    let (log, runtime) = world().await;
    let faults = [
        CommitFault::Aborted,
        CommitFault::UnknownWritten,
        CommitFault::UnknownLost,
        CommitFault::Fenced,
    ];
    let all = words(120);
    for (round, chunk) in all.chunks(30).enumerate() {
        feed(&log, chunk.to_vec()).await;
        log.fail_next_commit("aegis.count", faults[round]);
        // Each round is a fresh driver: it restores from the snapshot of the one before.
        run_stage(
            stage(),
            runtime.clone(),
            Mode::ToEnd { past: None },
            CancellationToken::new(),
        )
        .await
        .unwrap();
    }
    assert_eq!(read(&log, "out", 2).await, expected(120));
}

/// The log's answer is lost, and the first of the two partitions has been taken over: its position says nothing about the
/// other, whose outputs are missing.
#[tokio::test]
async fn one_position_does_not_speak_for_the_others() {
    let (log, runtime) = world().await;
    feed(&log, words(20)).await;
    log.fail_next_commit("aegis.count", CommitFault::UnknownOvertaken);
    run_stage(stage(), runtime, Mode::ToEnd { past: None }, CancellationToken::new())
        .await
        .unwrap();
    let second: Vec<String> = expected(20)
        .into_iter()
        .filter(|word| ["w1", "w3", "w5"].contains(&&word[..2]))
        .collect();
    assert_eq!(read(&log, "out", 2).await, second);
}

/// A log that takes no commit is a trouble that everybody sees, and does not hold up the end of the process; what was read is
/// read again by the next start.
#[tokio::test]
async fn a_log_that_takes_no_commit_does_not_hold_up_the_end() {
    let (log, runtime) = world().await;
    feed(&log, words(6)).await;
    for _ in 0..5 {
        log.fail_next_commit("aegis.count", CommitFault::Aborted);
    }
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_stage(stage(), runtime.clone(), Mode::Live, stop.clone()));
    let told = || {
        runtime
            .health
            .troubles()
            .values()
            .any(|why| why.contains("aborted 2 times"))
    };
    while !told() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    let outcome = running.await.unwrap();
    assert!(
        matches!(outcome, Err(StageError::Log(LogError::Unavailable { .. }))),
        "{outcome:?}"
    );
    assert_eq!(read(&log, "out", 2).await.len(), 0);
    let stop = CancellationToken::new();
    run_stage(stage(), runtime.clone(), Mode::ToEnd { past: None }, stop)
        .await
        .unwrap();
    assert_eq!(read(&log, "out", 2).await.len(), 6);
}

/// Retention ran ahead of a stage: it goes on at the log's start, and its accounting says what is missing.
#[tokio::test]
async fn a_position_below_the_start_is_passed_and_accounted_for() {
    let (log, runtime) = world().await;
    let run = || {
        run_stage(
            stage(),
            runtime.clone(),
            Mode::ToEnd { past: None },
            CancellationToken::new(),
        )
    };
    feed(&log, words(20)).await;
    run().await.unwrap();
    feed(&log, words(20)).await;
    log.trim(&TopicPartition::new("in", 0), Offset(14)).unwrap();
    run().await.unwrap();
    let mut ranges: Vec<(u64, u64, u64)> = read(&log, "accounting", 1)
        .await
        .iter()
        .map(|record| serde_json::from_str::<stream::accounting::AccountingRecord>(record).unwrap())
        .filter(|record| record.partition == 0)
        .map(|record| (record.from.0, record.to.0, record.counts.skipped))
        .collect();
    ranges.sort();
    assert_eq!(ranges, [(0, 10, 0), (10, 20, 4)]);
    // Six of ten came in the second round.
    assert_eq!(read(&log, "out", 2).await.len(), 36);
}

/// A record that the store refuses is in the dead letters before the store's position passes it, under a name by which a
/// repeat is known.
#[tokio::test]
async fn a_sink_buries_before_it_passes() {
    let (log, runtime) = world().await;
    feed(&log, [(0, Bytes::from_static(b"a")), (0, Bytes::from_static(b"\xff"))]).await;
    let store = Store::default();
    run_sink(
        Box::new(store.clone()),
        dead_letters(),
        runtime,
        Mode::ToEnd { past: None },
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let letters = TopicPartition::new("dead-letter", 0);
    let mut reader = log.reader(&letters, Offset(0)).await.unwrap();
    let (found, _) = reader.read(10, Duration::from_secs(10)).await.unwrap();
    let identities: Vec<&[u8]> = found
        .iter()
        .map(|letter| letter.header(stream::driver::IDENTITY_HEADER).unwrap().as_ref())
        .collect();
    assert_eq!(identities, [b"store/in/0/1"]);
    let state = store.0.lock().unwrap();
    assert_eq!(
        (state.rows.len(), state.positions[&TopicPartition::new("in", 0)]),
        (1, Offset(2))
    );
}

#[tokio::test]
async fn bad_records_go_to_the_dead_letters_and_stop_nothing() {
    let (log, runtime) = world().await;
    feed(
        &log,
        [
            (0, Bytes::from_static(b"a")),
            (0, Bytes::from_static(b"\xff")),
            (0, Bytes::from_static(b"a")),
        ],
    )
    .await;
    run_stage(stage(), runtime, Mode::ToEnd { past: None }, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(read(&log, "out", 2).await, ["a:1", "a:2"]);
    assert_eq!(read(&log, "dead-letter", 1).await.len(), 1);
}

/// A log that at some point no longer says where partitions end.
struct Mute {
    log: MemoryLog,
    mute: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Log for Mute {
    fn id(&self) -> LogId {
        self.log.id()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.log.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.log.partitions(topic).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.log.append(to, records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        self.log.join(group, topics).await
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.log.reader(partition, from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        if self.mute.load(std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.log.bounds(partition).await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.log.sync().await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.log.committed(group, partition).await
    }
}

#[tokio::test]
async fn a_log_that_does_not_say_where_partitions_end_holds_up_nobody() {
    let (log, runtime) = world().await;
    let mute = Arc::new(Mute {
        log: log.clone(),
        mute: false.into(),
    });
    let runtime = Runtime {
        log: mute.clone(),
        ..runtime
    };
    let health = runtime.health.clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_stage(stage(), runtime, Mode::Live, stop.clone()));
    let all = async |n| {
        while read(&log, "out", 2).await != expected(n) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    feed(&log, words(10)).await;
    all(10).await;
    while health.partitions().len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    mute.mute.store(true, std::sync::atomic::Ordering::SeqCst);
    // Long enough for it to ask and not to be answered.
    tokio::time::sleep(3 * stream::driver::TICK).await;
    feed(&log, words(20).into_iter().skip(10)).await;
    tokio::time::timeout(Duration::from_secs(60), all(20))
        .await
        .expect("it goes on");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .expect("it ends")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_stopped_stage_has_committed_what_it_read() {
    let (log, runtime) = world().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(run_stage(stage(), runtime.clone(), Mode::Live, stop.clone()));
    feed(&log, words(20)).await;
    let mut reader = log.reader(&TopicPartition::new("out", 0), Offset(0)).await.unwrap();
    let (first, _) = reader.read(1, Duration::from_secs(10)).await.unwrap();
    assert!(!first.is_empty());
    stop.cancel();
    running.await.unwrap().unwrap();
    run_stage(stage(), runtime, Mode::ToEnd { past: None }, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(read(&log, "out", 2).await, expected(20));
}

/// A store with the position rule; sometimes away, sometimes writing without answering.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<StoreState>>);

#[derive(Default)]
struct StoreState {
    rows: Vec<String>,
    positions: BTreeMap<TopicPartition, Offset>,
    calls: usize,
}

#[async_trait]
impl Sink for Store {
    fn name(&self) -> &str {
        "store"
    }

    fn topics(&self) -> Vec<Topic> {
        vec!["in".into()]
    }

    async fn position(&mut self, _: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        Ok(self.0.lock().unwrap().positions.get(partition).copied())
    }

    async fn write(&mut self, _: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let mut state = self.0.lock().unwrap();
        state.calls += 1;
        let away = || SinkError::Unavailable {
            sink: "store".into(),
            cause: "down".into(),
        };
        if state.calls % 3 == 1 {
            return Err(away());
        }
        let mut rejects = Vec::new();
        for (batch, record) in batches.iter().flat_map(|b| b.records.iter().map(move |r| (b, r))) {
            if std::str::from_utf8(&record.value).is_err() {
                rejects.push(SinkReject {
                    partition: batch.partition.clone(),
                    offset: record.offset,
                    reason: "invalid_utf8",
                    detail: String::new(),
                });
            }
        }
        if !rejects.is_empty() {
            return Ok(rejects);
        }
        for batch in batches {
            let stored = state.positions.get(&batch.partition).copied();
            if stored.is_some_and(|at| at != batch.start) {
                return Err(SinkError::PositionMoved {
                    sink: "store".into(),
                    partition: batch.partition.clone(),
                    expected: batch.start,
                    stored,
                });
            }
            let text = |record: &Record| String::from_utf8_lossy(&record.value).into_owned();
            state.rows.extend(batch.records.iter().map(text));
            state.positions.insert(batch.partition.clone(), batch.next);
        }
        // Written, but the answer is lost: the next try meets the moved position.
        if state.calls % 3 == 2 {
            Err(away())
        } else {
            Ok(Vec::new())
        }
    }
}

#[tokio::test]
async fn a_sink_that_is_away_or_loses_answers_holds_every_row_once() {
    let (log, runtime) = world().await;
    let store = Store::default();
    for chunk in words(60).chunks(20) {
        feed(&log, chunk.to_vec()).await;
        let sink = Box::new(store.clone());
        run_sink(
            sink,
            dead_letters(),
            runtime.clone(),
            Mode::ToEnd { past: None },
            CancellationToken::new(),
        )
        .await
        .unwrap();
    }
    let mut rows = store.0.lock().unwrap().rows.clone();
    let mut want: Vec<String> = words(60)
        .into_iter()
        .map(|(_, word)| String::from_utf8_lossy(&word).into_owned())
        .collect();
    rows.sort();
    want.sort();
    assert_eq!(rows, want);
}

#[tokio::test]
async fn a_position_beyond_the_end_stops_the_sink_with_the_remedy() {
    let (log, runtime) = world().await;
    feed(&log, words(4)).await;
    let store = Store::default();
    store
        .0
        .lock()
        .unwrap()
        .positions
        .insert(TopicPartition::new("in", 0), Offset(99));
    let stopped = run_sink(
        Box::new(store),
        dead_letters(),
        runtime,
        Mode::ToEnd { past: None },
        CancellationToken::new(),
    )
    .await;
    let message = stopped.unwrap_err().to_string();
    assert!(message.contains("aegis sinks rebuild store"), "{message}");
}
