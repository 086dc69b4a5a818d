//! A process as the log sees it: every operation of its drivers passes a gate where the weather decides.
//!
//! A process that dies hangs at the gate until its drivers are dropped, so nothing it does can have an effect after its
//! death.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::weather::{Fault, Op};
use super::world::World;
use crate::invariants::FENCING;
use crate::log::local::{FetchLimit, LocalMember, LocalReader, Seat, Store};
use crate::log::membership::lock;
use crate::log::{
    Bounds, Commit, CommitError, Log, LogError, LogId, Member, NewRecord, Offset, Reader, Record, Topic,
    TopicPartition, TopicSpec,
};

/// One life of a process.
#[derive(Clone)]
pub struct Process {
    pub world: Arc<World>,
    /// Which process, and its how manieth life.
    pub name: Arc<str>,
    /// It has died, or is about to.
    pub crash: CancellationToken,
}

impl Process {
    /// The entry of every operation: takes its time, and may not return at all.
    pub async fn gate(&self, op: Op, what: &str) -> Fault {
        if self.crash.is_cancelled() {
            return std::future::pending().await;
        }
        let draw = self.world.draw(op);
        self.note(&format!("{op:?} {what}"), draw.fault);
        if !draw.delay.is_zero() {
            self.world.executor.sleep(draw.delay).await;
        }
        if draw.fault == Fault::CrashBefore {
            self.crash.cancel();
        }
        if self.crash.is_cancelled() {
            return std::future::pending().await;
        }
        draw.fault
    }

    /// Its exit: what was done is done, but the process may not hear of it.
    pub async fn leave_gate(&self, fault: Fault) {
        if fault == Fault::CrashAfter {
            self.crash.cancel();
            std::future::pending::<()>().await;
        }
    }

    fn apply(&self, seat: &Seat, commit: Commit) -> Result<(), CommitError> {
        let moved = commit.positions.clone();
        match self.world.log.commit(&seat.group_name, commit) {
            Ok(broken) => broken.into_iter().for_each(|broken| self.world.violated(broken)),
            Err(error) => return Err(CommitError::Aborted(error.to_string())),
        }
        lock(&seat.group).set_positions(moved);
        Ok(())
    }

    /// The answer (or the request) is lost because the process is cut off, and while it waits its session ends: when it
    /// looks, others may have gone on where it stood.
    async fn cut_off(&self, seat: &Seat, commit: Commit, fault: Fault) -> Result<(), CommitError> {
        if fault == Fault::AnswerLost {
            lock(&seat.group)
                .may_commit(seat.member, &commit.positions)
                .map_err(CommitError::Fenced)?;
            self.apply(seat, commit)?;
        }
        lock(&seat.group).expire(seat.member);
        self.world.log.changed.notify_waiters();
        let pause = self.world.pause();
        self.world.executor.sleep(pause).await;
        Err(CommitError::Unknown("cut off".to_owned()))
    }

    pub fn note(&self, what: &str, fault: Fault) {
        let line = match fault {
            Fault::None => format!("{} {what}", self.name),
            fault => format!("{} {what} !{fault:?}", self.name),
        };
        self.world.note(&line, fault != Fault::None);
    }

    /// An operation that is done or refused whole.
    async fn ask<T>(&self, op: Op, what: &str, act: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        let fault = self.gate(op, what).await;
        if fault == Fault::Unavailable {
            return Err(unavailable(what));
        }
        let answer = act();
        self.leave_gate(fault).await;
        answer
    }
}

fn unavailable(what: &str) -> LogError {
    LogError::Unavailable {
        doing: what.to_owned(),
        cause: "the weather".to_owned(),
    }
}

#[async_trait]
impl Store for Process {
    async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        limit: FetchLimit,
    ) -> Result<Vec<Record>, LogError> {
        let log = &self.world.log;
        if self.crash.is_cancelled() {
            return std::future::pending().await;
        }
        if log.bounds(partition)?.end <= from {
            return Ok(Vec::new());
        }
        let cut = FetchLimit {
            records: limit.records.min(self.world.cut()),
            ..limit
        };
        let what = format!("{partition}@{}", from.0);
        self.ask(Op::Fetch, &what, || log.fetch(partition, from, cut)).await
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.world.log.bounds(partition)
    }

    async fn commit(&self, seat: &Seat, commit: Commit) -> Result<(), CommitError> {
        let positions: Vec<String> = commit
            .positions
            .iter()
            .map(|(partition, offset)| format!("{partition}@{}", offset.0))
            .collect();
        let what = format!(
            "{} {} of {}",
            seat.group_name,
            positions.join(" "),
            commit.outputs.len()
        );
        let fault = self.gate(Op::Commit, &what).await;
        let mut zombie = false;
        if matches!(fault, Fault::AnswerLost | Fault::RequestLost) && self.world.below(3) == 0 {
            return self.cut_off(seat, commit, fault).await;
        }
        match fault {
            Fault::Aborted => return Err(CommitError::Aborted("the weather".to_owned())),
            Fault::RequestLost => return Err(CommitError::Unknown("the weather".to_owned())),
            Fault::Fenced => {
                zombie = !commit.positions.is_empty();
                lock(&seat.group).expire(seat.member);
                self.world.log.changed.notify_waiters();
                // Time for others to take over and to commit for the same partitions.
                let pause = self.world.pause();
                self.world.executor.sleep(pause).await;
            }
            _ => {}
        }
        lock(&seat.group)
            .may_commit(seat.member, &commit.positions)
            .map_err(CommitError::Fenced)?;
        if zombie {
            let broken = FENCING.broken(format!("{} of {} lost {what} and may commit", seat.member, self.name));
            self.world.violated(broken);
        }
        self.apply(seat, commit)?;
        self.leave_gate(fault).await;
        match fault {
            Fault::AnswerLost => Err(CommitError::Unknown("the weather".to_owned())),
            _ => Ok(()),
        }
    }

    fn changed(&self) -> &Notify {
        &self.world.log.changed
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.world.executor.sleep(span)
    }
}

#[async_trait]
impl Log for Process {
    fn id(&self) -> LogId {
        LogId("simulated".to_owned())
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        for topic in topics {
            let found = self.world.log.count(&topic.name)?;
            if found != topic.partitions {
                return Err(LogError::PartitionCount {
                    topic: topic.name.clone(),
                    found,
                    wanted: topic.partitions,
                });
            }
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.ask(Op::Ask, topic, || self.world.log.count(topic)).await
    }

    async fn append(&self, to: &TopicPartition, mut records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.answer_twice(&mut records);
        self.ask(Op::Append, &to.to_string(), || self.world.log.append(to, records))
            .await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        let wants = topics.iter().flat_map(|topic| self.world.log.partitions_of(topic));
        let wants: Vec<TopicPartition> = wants.collect();
        let members = self.world.log.groups.group(group);
        let joined = || Ok(LocalMember::join(Arc::new(self.clone()), group, members, wants));
        let member = self.ask(Op::Ask, group, joined).await?;
        Ok(Box::new(member))
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(LocalReader::open(Arc::new(self.clone()), partition, from)?))
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.ask(Op::Ask, &partition.to_string(), || self.world.log.bounds(partition))
            .await
    }

    async fn sync(&self) -> Result<(), LogError> {
        self.ask(Op::Sync, "", || {
            self.world.log.sync();
            Ok(())
        })
        .await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        let what = format!("{group} {partition}");
        let answer = || Ok(self.world.log.committed(group, partition));
        self.ask(Op::Ask, &what, answer).await
    }
}
