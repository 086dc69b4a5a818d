//! A worker: reads records that ask for something, does it, and appends the answer to the log.
//!
//! ```text
//!  records ─ take (in order: is there anything to do?) ─┬─ no ──────────────────────────────┐
//!                                                       ├─ refused ─► dead letters ─────────┤
//!                                                       └─ task ─ work (many at once) ─ said ┴─► position, up to the first that is not done
//! ```
//!
//! It guarantees that every record is worked on at least once: answers are durable before the position moves past the record. So work
//! must be safe to repeat: an answer carries a derived id, and what acts on the world looks first whether it has acted already.
//!
//! A task that hangs holds nobody else: others begin, are answered, and those before it are passed by the position. What is behind it in
//! its partition is done again after a crash.
//!
//! On overload the log holds what it has not got to: at most [`AT_ONCE`] tasks work, and [`MOST`] have begun or wait for their turn. On
//! restart it begins at the stored position. Work itself never fails: what went wrong is part of its answer.

mod course;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stream::log::{NewRecord, Topic};
use stream::partition::partition_for;
use stream::{Log, LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition, failpoint};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::sql::Store;
use course::Courses;

/// Tasks that work at once. More: neighbours are asked more at once; fewer: a few slow neighbours hold the others longer.
pub const AT_ONCE: usize = 16;
/// Tasks that have begun or wait for their turn. More: more is done again after a crash; fewer: slow ones hold the others sooner.
pub const MOST: usize = 64;
/// Between two tries to append an answer or to move a position, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Tasks by their records' offsets, or what is refused.
type Taken<T> = Result<Vec<(Offset, T)>, Vec<SinkReject>>;

/// An answer, and where it goes.
#[derive(Clone, Debug)]
pub struct Answer {
    pub topic: &'static str,
    pub key: String,
    pub record: NewRecord,
}

/// Why there is no task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The record goes to the dead letters, with a reason out of a small set and words for people.
    Refused { reason: &'static str, detail: String },
    /// Nobody can tell now: the batch is shown again later.
    Unavailable(String),
}

impl NotTaken {
    pub fn undecodable(error: impl std::fmt::Display) -> Self {
        NotTaken::Refused {
            reason: "undecodable",
            detail: error.to_string(),
        }
    }
}

/// What a worker does.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// What a record asks for.
    type Task: Send + 'static;

    /// Part of the stored positions and of the consumer group.
    fn name(&self) -> &str;

    fn topics(&self) -> Vec<Topic>;

    /// Reads a record of `from` (its partition's number as the stores know it); `None` where it asks for nothing. One at a time, in
    /// order; shown again when a later record of its batch is refused.
    async fn take(&self, from: &TopicPartition, record: &Record) -> Result<Option<Self::Task>, NotTaken>;

    /// Does it. It may take its time, and appends what it must say before it acts through `say`.
    async fn work(&self, task: Self::Task, say: &Say) -> Vec<Answer>;
}

/// Appends, durably, in the middle of the work.
pub struct Say {
    log: Arc<dyn Log>,
}

impl Say {
    pub async fn append(&self, answers: &[Answer]) -> Result<(), String> {
        for answer in answers {
            let partitions = self.log.partitions(answer.topic).await.map_err(|e| e.to_string())?;
            let partition = partition_for(answer.key.as_bytes(), partitions);
            let record = NewRecord {
                key: Some(Bytes::from(answer.key.clone())),
                ..answer.record.clone()
            };
            let to = TopicPartition::new(answer.topic, partition);
            self.log.append(&to, vec![record]).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Until it is on the log. What was appended before a failure is appended again.
    async fn patiently(&self, worker: &str, answers: &[Answer]) {
        let mut wait = PAUSES.0;
        while let Err(problem) = self.append(answers).await {
            tracing::warn!(worker, problem, "an answer cannot be appended: trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(PAUSES.1);
        }
    }
}

/// Partitions of one generation of topics. To the stores partition `p` of generation `g` has the number `g · 65536 + p`, because offsets
/// begin anew in each; no topic may have more partitions.
pub const GENERATION_STRIDE: u32 = 1 << 16;

/// The partition's number in its own topic.
pub fn real_partition(from: &TopicPartition) -> u32 {
    from.partition % GENERATION_STRIDE
}

/// Runs [`Work`] as a sink: the store keeps its position.
pub struct Worker<W> {
    desk: Arc<Desk<W>>,
    tasks: JoinSet<()>,
    /// Moves positions while no records come; ends with this.
    keeper: JoinSet<()>,
    /// Known from the first assignment on.
    log: Option<LogId>,
}

struct Desk<W> {
    work: W,
    store: Store,
    say: Say,
    courses: Mutex<Courses>,
    slots: Semaphore,
    /// A task is done.
    done: Notify,
    /// Where nothing stood when the worker asked. Held while positions move.
    unwritten: tokio::sync::Mutex<BTreeSet<TopicPartition>>,
}

impl<W: Work> Worker<W> {
    pub fn new(work: W, store: Store, log: Arc<dyn Log>) -> Self {
        let desk = Desk {
            work,
            store,
            say: Say { log },
            courses: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
            done: Notify::new(),
            unwritten: tokio::sync::Mutex::default(),
        };
        Worker {
            desk: Arc::new(desk),
            tasks: JoinSet::new(),
            keeper: JoinSet::new(),
            log: None,
        }
    }

    /// What there is to do in `batch` and was not begun yet.
    async fn take(&self, batch: &SinkBatch) -> Result<Taken<W::Task>, SinkError> {
        let work = &self.desk.work;
        let stage = format!("sink.{}", work.name());
        let begun = self.desk.courses().begun(&batch.partition, batch.start);
        let (mut tasks, mut rejects) = (Vec::new(), Vec::new());
        for record in batch.records.iter().filter(|record| record.offset >= begun) {
            if !stream::progress::is_data_for(record, &stage) {
                continue;
            }
            match work.take(&batch.partition, record).await {
                Ok(Some(task)) => tasks.push((record.offset, task)),
                Ok(None) => {}
                Err(NotTaken::Refused { reason, detail }) => rejects.push(SinkReject {
                    partition: batch.partition.clone(),
                    offset: record.offset,
                    reason,
                    detail,
                }),
                Err(NotTaken::Unavailable(cause)) => {
                    return Err(SinkError::Unavailable {
                        sink: work.name().to_owned(),
                        cause,
                    });
                }
            }
        }
        Ok(if rejects.is_empty() { Ok(tasks) } else { Err(rejects) })
    }

    async fn begin(
        &mut self,
        partition: &TopicPartition,
        epoch: u64,
        offset: Offset,
        task: W::Task,
    ) -> Result<(), SinkError> {
        while self.tasks.len() >= MOST {
            self.ended().await?;
        }
        let (desk, partition) = (self.desk.clone(), partition.clone());
        self.tasks.spawn(async move {
            // It is never closed.
            let Ok(_slot) = desk.slots.acquire().await else { return };
            let answers = desk.work.work(task, &desk.say).await;
            desk.say.patiently(desk.work.name(), &answers).await;
            if !answers.is_empty() {
                failpoint::hit_by("work.said", desk.work.name());
            }
            desk.courses().done(&partition, epoch, offset);
            desk.done.notify_one();
        });
        Ok(())
    }

    /// Waits for one task to end.
    async fn ended(&mut self) -> Result<(), SinkError> {
        match self.tasks.join_next().await {
            Some(Err(panic)) => Err(SinkError::Fatal {
                sink: self.desk.work.name().to_owned(),
                cause: format!("a task ended early: {panic}"),
            }),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

impl<W: Work> Desk<W> {
    fn courses(&self) -> std::sync::MutexGuard<'_, Courses> {
        // Every change under the lock is whole.
        self.courses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves positions past what is done.
    async fn settle(&self, log: &LogId) -> Result<(), SinkError> {
        let mut unwritten = self.unwritten.lock().await;
        let moves = self.courses().moves();
        if moves.is_empty() {
            return Ok(());
        }
        let moved = self.store.move_worker(self.work.name(), log, &moves, &unwritten).await;
        match &moved {
            Ok(()) => {
                moves.iter().for_each(|moved| {
                    unwritten.remove(&moved.partition);
                });
                self.courses().moved(&moves);
            }
            Err(SinkError::PositionMoved { partition, .. }) => self.courses().forget(partition),
            Err(_) => {}
        }
        moved
    }

    async fn keep(self: Arc<Self>, log: LogId) {
        loop {
            self.done.notified().await;
            let mut wait = PAUSES.0;
            while let Err(error) = self.settle(&log).await {
                tracing::warn!(worker = self.work.name(), %error, "the position waits");
                if !matches!(error, SinkError::Unavailable { .. }) {
                    // The driver meets it with the next records.
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(PAUSES.1);
            }
        }
    }
}

#[async_trait]
impl<W: Work> Sink for Worker<W> {
    fn name(&self) -> &str {
        self.desk.work.name()
    }

    fn topics(&self) -> Vec<Topic> {
        self.desk.work.topics()
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        // What works on it from before answers all the same; the crew and the gate take an answer once.
        self.desk.courses().forget(partition);
        if self.log.replace(log.clone()).is_none() {
            self.keeper.spawn(self.desk.clone().keep(log.clone()));
        }
        // Not in the middle of a move of the course before.
        let mut unwritten = self.desk.unwritten.lock().await;
        let store = &self.desk.store;
        let position = store.worker_position(self.desk.work.name(), log, partition).await?;
        match position {
            None => unwritten.insert(partition.clone()),
            Some(_) => unwritten.remove(partition),
        };
        Ok(position)
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        while let Some(ended) = self.tasks.try_join_next() {
            ended.map_err(|panic| SinkError::Fatal {
                sink: self.desk.work.name().to_owned(),
                cause: format!("a task ended early: {panic}"),
            })?;
        }
        let (mut taken, mut rejects) = (Vec::new(), Vec::new());
        for batch in batches {
            match self.take(batch).await? {
                Ok(tasks) => taken.push((batch, tasks)),
                Err(mut refused) => rejects.append(&mut refused),
            }
        }
        if !rejects.is_empty() {
            return Ok(rejects);
        }
        for (batch, tasks) in taken {
            let offsets: Vec<Offset> = tasks.iter().map(|(offset, _)| *offset).collect();
            let epoch = self.desk.courses().begin(batch, &offsets);
            for (offset, task) in tasks {
                self.begin(&batch.partition, epoch, offset, task).await?;
            }
        }
        self.desk.settle(log).await?;
        Ok(Vec::new())
    }

    /// Waits for what works. Should the store be away then, it is done again at the next start.
    async fn close(&mut self) -> Result<(), SinkError> {
        while !self.tasks.is_empty() {
            self.ended().await?;
        }
        match &self.log {
            Some(log) => self.desk.settle(log).await,
            None => Ok(()),
        }
    }
}
