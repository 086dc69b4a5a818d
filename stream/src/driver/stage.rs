//! Drives the tasks of one stage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant as Monotonic;
use tokio_util::sync::CancellationToken;

use super::snapshots::{Standing, checkpoint, restore};
use super::{LINGER, MAX_PENDING_BYTES, Mode, Runtime, TICK, backoff};
use crate::call::Call;
use crate::health::PartitionHealth;
use crate::log::{Commit, CommitError, LogError, Member, MemberEvent, Offset, Topic, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{How, SnapshotError};
use crate::task::{Effect, Event, PartitionCommit, Task, TaskError, TaskSettings};

/// A stage: an operator, where it reads, and what surrounds it.
pub struct Stage<O: Operator> {
    pub input: Topic,
    pub settings: TaskSettings,
    /// A fresh operator for an input partition.
    pub make: Box<dyn Fn(u32) -> O + Send + Sync>,
    /// Answers the operator's calls, if it makes any.
    pub call: Option<Arc<dyn Call>>,
}

/// Why a stage stopped. The process should end; a supervisor starts it again, and it restores.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the process is ending")]
    Ended,
    #[error("{stage} asks for the outside, but nothing answers its calls")]
    NoCall { stage: &'static str },
}

/// Runs a stage until `stop` (live) or until its input is drained. On return everything processed is committed, a
/// snapshot is taken and the group is left.
pub async fn run_stage<O: Operator>(
    stage: Stage<O>,
    runtime: Runtime,
    mode: Mode,
    stop: CancellationToken,
) -> Result<(), StageError> {
    let name = (stage.make)(0).name();
    let mut driver = Driver {
        name,
        stage,
        runtime,
        tasks: BTreeMap::new(),
        pending_since: None,
        snapshot_at: None,
    };
    let result = driver.run(mode, stop).await;
    if let Err(error) = &result {
        driver.runtime.health.trouble(name, Some(error.to_string()));
    }
    result
}

struct Driver<O: Operator> {
    name: &'static str,
    stage: Stage<O>,
    runtime: Runtime,
    tasks: BTreeMap<TopicPartition, Task<O>>,
    pending_since: Option<Monotonic>,
    snapshot_at: Option<Monotonic>,
}

enum Flow {
    Go,
    /// Another member owns what was ours: forget the state, join again.
    Rejoin,
}

impl<O: Operator> Driver<O> {
    fn group(&self) -> String {
        format!("aegis.{}", self.name)
    }

    async fn run(&mut self, mode: Mode, stop: CancellationToken) -> Result<(), StageError> {
        loop {
            let mut member = self.join(&stop).await?;
            match self.serve(member.as_mut(), mode, &stop).await? {
                Flow::Go => return Ok(member.leave().await?),
                Flow::Rejoin => {
                    tracing::warn!(
                        stage = self.name,
                        "fenced: uncommitted state is discarded, joining again"
                    );
                    metrics::counter!("aegis_stage_fenced_total", "stage" => self.name).increment(1);
                    self.tasks.clear();
                    let _ = member.leave().await;
                }
            }
        }
    }

    async fn join(&self, stop: &CancellationToken) -> Result<Box<dyn Member>, LogError> {
        let mut attempt = 0;
        loop {
            match self
                .runtime
                .log
                .join(&self.group(), std::slice::from_ref(&self.stage.input))
                .await
            {
                Err(error @ LogError::Unavailable { .. }) if !stop.is_cancelled() => {
                    self.pause(&error, &mut attempt, stop).await;
                }
                other => return other,
            }
        }
    }

    async fn pause(&self, error: &LogError, attempt: &mut u32, stop: &CancellationToken) {
        tracing::warn!(stage = self.name, %error, attempt = *attempt, "log unavailable, trying again");
        self.runtime.health.trouble(self.name, Some(error.to_string()));
        let _ = tokio::time::timeout(backoff(*attempt), stop.cancelled()).await;
        *attempt += 1;
    }

    async fn serve(
        &mut self,
        member: &mut dyn Member,
        mode: Mode,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        let mut ticked = Monotonic::now() - TICK;
        let mut drained = false;
        let mut attempt = 0;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    if let Flow::Rejoin = self.flush(member).await? {
                        return Ok(Flow::Rejoin);
                    }
                    self.checkpoint().await?;
                    return Ok(Flow::Go);
                }
                event = member.next(LINGER) => event,
            };
            let event = match event {
                Ok(event) => {
                    if attempt > 0 {
                        self.runtime.health.trouble(self.name, None);
                        attempt = 0;
                    }
                    event
                }
                Err(error @ LogError::Unavailable { .. }) => {
                    self.pause(&error, &mut attempt, stop).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut flow = Flow::Go;
            match event {
                None => {}
                Some(MemberEvent::Assigned(partitions)) => {
                    drained = false;
                    self.assign(member, partitions).await?;
                }
                Some(MemberEvent::Revoked(partitions)) => {
                    flow = self.flush(member).await?;
                    if let Flow::Go = flow {
                        self.checkpoint().await?;
                    }
                    self.drop_tasks(&partitions);
                }
                Some(MemberEvent::Lost(partitions)) => self.drop_tasks(&partitions),
                Some(MemberEvent::Fetched { partition, records }) => {
                    drained = false;
                    self.fetched(&partition, records).await?;
                }
                Some(MemberEvent::Drained) if !self.tasks.is_empty() => {
                    drained = true;
                    if let Mode::ToEnd { past } = mode {
                        return self.end(member, past).await;
                    }
                    flow = self.tick(member, true).await?;
                    ticked = Monotonic::now();
                }
                Some(MemberEvent::Drained) => {}
            }
            if let Flow::Rejoin = flow {
                return Ok(Flow::Rejoin);
            }
            if mode == Mode::Live && ticked.elapsed() >= TICK {
                ticked = Monotonic::now();
                if let Flow::Rejoin = self.tick(member, drained).await? {
                    return Ok(Flow::Rejoin);
                }
            }
            let waited = self.pending_since.is_some_and(|since| since.elapsed() >= LINGER);
            let large = self.tasks.values().map(Task::pending_bytes).sum::<usize>() >= MAX_PENDING_BYTES;
            if (waited || large) && matches!(self.flush(member).await?, Flow::Rejoin) {
                return Ok(Flow::Rejoin);
            }
        }
    }

    async fn assign(
        &mut self,
        member: &mut dyn Member,
        partitions: Vec<(TopicPartition, Option<Offset>)>,
    ) -> Result<(), StageError> {
        for (partition, committed) in partitions {
            let bounds = self.runtime.log.bounds(&partition).await?;
            if let Some(at) = committed
                && at < bounds.start
            {
                tracing::warn!(stage = self.name, %partition, committed = at.0, start = bounds.start.0, "the log no longer has the committed position: continuing at its start");
                metrics::counter!("aegis_stage_skipped_records_total", "stage" => self.name)
                    .increment(bounds.start.0 - at.0);
            }
            let standing = Standing {
                committed,
                start: bounds.start,
            };
            let restoration = restore(&self.stage, &self.runtime.snapshots, &partition, standing).await?;
            let mut task = restoration.task;
            for effect in restoration.effects {
                if let Effect::Seek(to) = effect {
                    tracing::debug!(stage = self.name, %partition, from = to.0, committed = ?committed, "assigned");
                    member.seek(&partition, to).await?;
                }
            }
            if let Some((used, how @ (How::Migrate | How::NewSettings))) = restoration.used {
                tracing::info!(stage = self.name, %partition, snapshot = used.name, ?how, "state taken over");
                // Before anything is emitted under the new rules: a crash behind it could not be restored otherwise.
                checkpoint(&mut task, self.runtime.snapshots.as_ref()).await?;
            }
            self.tasks.insert(partition, task);
        }
        Ok(())
    }

    fn drop_tasks(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.tasks.remove(partition);
            self.runtime.health.forget(self.name, &partition.to_string());
        }
    }

    async fn fetched(
        &mut self,
        partition: &TopicPartition,
        records: Vec<crate::log::Record>,
    ) -> Result<(), StageError> {
        let Some(task) = self.tasks.get_mut(partition) else {
            return Ok(());
        };
        metrics::counter!("aegis_stage_records_total", "stage" => self.name, "direction" => "in")
            .increment(records.len() as u64);
        let effects = task.step(Event::Fetched(records))?;
        self.pending_since.get_or_insert_with(Monotonic::now);
        self.answer_calls(partition.clone(), effects).await
    }

    /// Calls are answered in order, before anything else is fed to the task.
    async fn answer_calls(&mut self, partition: TopicPartition, effects: Vec<Effect>) -> Result<(), StageError> {
        let mut queue: std::collections::VecDeque<Effect> = effects.into();
        while let Some(effect) = queue.pop_front() {
            let Effect::Call(request) = effect else { continue };
            let Some(call) = &self.stage.call else {
                return Err(StageError::NoCall { stage: self.name });
            };
            let answer = call.call(&request.key, &request.request).await.map(Into::into);
            if let Some(task) = self.tasks.get_mut(&partition) {
                queue.extend(task.step(Event::Answered {
                    key: request.key,
                    answer,
                })?);
            }
        }
        Ok(())
    }

    async fn tick(&mut self, member: &mut dyn Member, drained: bool) -> Result<Flow, StageError> {
        let now = self.runtime.clock.now();
        for task in self.tasks.values_mut() {
            task.step(Event::Tick { now, drained })?;
        }
        let flow = if drained { self.flush(member).await? } else { Flow::Go };
        self.report().await;
        if self
            .snapshot_at
            .is_none_or(|at| at.elapsed() >= self.runtime.snapshot_every)
        {
            if let Flow::Rejoin = self.flush(member).await? {
                return Ok(Flow::Rejoin);
            }
            self.checkpoint().await?;
        }
        Ok(flow)
    }

    async fn end(&mut self, member: &mut dyn Member, past: Option<Duration>) -> Result<Flow, StageError> {
        if let Flow::Rejoin = self.flush(member).await? {
            return Ok(Flow::Rejoin);
        }
        for task in self.tasks.values_mut() {
            task.step(Event::End { past })?;
        }
        if let Flow::Rejoin = self.flush(member).await? {
            return Ok(Flow::Rejoin);
        }
        self.checkpoint().await?;
        Ok(Flow::Go)
    }

    /// One transaction for everything that waits, of all tasks.
    async fn flush(&mut self, member: &mut dyn Member) -> Result<Flow, StageError> {
        self.pending_since = None;
        let mut commits: Vec<(TopicPartition, PartitionCommit)> = Vec::new();
        for (partition, task) in &mut self.tasks {
            for effect in task.step(Event::Flush)? {
                if let Effect::Commit(commit) = effect {
                    commits.push((partition.clone(), commit));
                }
            }
        }
        if commits.is_empty() {
            return Ok(Flow::Go);
        }
        let began = Monotonic::now();
        let mut attempt = 0;
        loop {
            match member.commit(merge(&commits)).await {
                Ok(()) => break,
                Err(CommitError::Unknown(cause)) if self.happened(&commits).await? => {
                    tracing::warn!(
                        stage = self.name,
                        cause,
                        "the commit's answer was lost, but it happened"
                    );
                    break;
                }
                Err(CommitError::Fenced(cause)) => {
                    tracing::warn!(stage = self.name, cause, "commit fenced");
                    return Ok(Flow::Rejoin);
                }
                Err(CommitError::Aborted(cause) | CommitError::Unknown(cause)) => {
                    tracing::warn!(
                        stage = self.name,
                        cause,
                        attempt,
                        "commit aborted, sending the same outputs again"
                    );
                    metrics::counter!("aegis_stage_aborts_total", "stage" => self.name).increment(1);
                    tokio::time::sleep(backoff(attempt)).await;
                    attempt += 1;
                    commits.clear();
                    for (partition, task) in &mut self.tasks {
                        for effect in task.step(Event::Aborted)? {
                            if let Effect::Commit(commit) = effect {
                                commits.push((partition.clone(), commit));
                            }
                        }
                    }
                }
            }
        }
        metrics::histogram!("aegis_stage_commit_seconds", "stage" => self.name).record(began.elapsed().as_secs_f64());
        let now = self.runtime.clock.now();
        for (partition, commit) in &commits {
            let Some(task) = self.tasks.get_mut(partition) else {
                continue;
            };
            task.step(Event::Committed)?;
            self.count(partition, commit, now);
        }
        Ok(Flow::Go)
    }

    /// Whether a commit whose answer was lost is in the log: its positions are.
    async fn happened(&self, commits: &[(TopicPartition, PartitionCommit)]) -> Result<bool, LogError> {
        for (partition, commit) in commits {
            if let Some(position) = commit.position {
                let stored = self.runtime.log.committed(&self.group(), partition).await?;
                return Ok(stored.is_some_and(|at| at >= position));
            }
        }
        Ok(false)
    }

    fn count(&self, partition: &TopicPartition, commit: &PartitionCommit, now: crate::time::Instant) {
        let stage = self.name;
        let records: usize = commit.outputs.iter().map(|(_, records)| records.len()).sum();
        metrics::counter!("aegis_stage_records_total", "stage" => stage, "direction" => "out")
            .increment(records as u64);
        if let Some(newest) = commit.outputs.iter().flat_map(|(_, r)| r).map(|r| r.timestamp).max()
            && newest.0 > 0
            && commit.position.is_some()
        {
            metrics::histogram!("aegis_stage_latency_seconds", "stage" => stage)
                .record(now.since(newest).as_secs_f64());
        }
        let Some(task) = self.tasks.get(partition) else { return };
        let counts = task.last_accounting();
        let items = |disposition: &'static str, n: u64| {
            if n > 0 {
                metrics::counter!("aegis_stage_items_total", "stage" => stage, "disposition" => disposition)
                    .increment(n);
            }
        };
        items("in", counts.items_in);
        items("forwarded", counts.forwarded);
        items("merged", counts.merged);
        items("suppressed", counts.suppressed.values().sum());
        items("late", counts.late);
        items("dead_lettered", counts.dead_lettered);
        items("held", counts.held);
        items("released", counts.released);
        items("amended", counts.amended);
    }

    async fn checkpoint(&mut self) -> Result<(), StageError> {
        self.snapshot_at = Some(Monotonic::now());
        for (partition, task) in &mut self.tasks {
            match checkpoint(task, self.runtime.snapshots.as_ref()).await {
                Ok(_) => {}
                // Nothing is lost by it: the log has what the snapshot would save, and retention waits for it.
                Err(StageError::Snapshot(error)) => {
                    tracing::error!(stage = self.name, %partition, %error, "no snapshot could be stored; the next one is tried in time");
                    metrics::counter!("aegis_snapshot_failures_total", "stage" => self.name).increment(1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn report(&self) {
        let now = self.runtime.clock.now();
        for (partition, task) in &self.tasks {
            let Ok(bounds) = self.runtime.log.bounds(partition).await else {
                continue;
            };
            let lag = bounds.end.0.saturating_sub(task.position().0);
            let label = partition.to_string();
            metrics::gauge!("aegis_stage_lag", "stage" => self.name, "partition" => label.clone()).set(lag as f64);
            if task.watermark() > crate::time::Instant::MIN {
                metrics::gauge!("aegis_stage_watermark_lag_seconds", "stage" => self.name, "partition" => label.clone())
                    .set(now.since(task.watermark()).as_secs_f64());
            }
            let health = PartitionHealth {
                position: task.position().0,
                lag,
                caught_up_at: now,
                watermark: task.watermark(),
            };
            self.runtime.health.report(self.name, label, health);
        }
    }
}

fn merge(commits: &[(TopicPartition, PartitionCommit)]) -> Commit {
    let mut all = Commit::default();
    for (partition, commit) in commits {
        all.outputs.extend(commit.outputs.iter().cloned());
        all.positions
            .extend(commit.position.map(|position| (partition.clone(), position)));
    }
    all
}
