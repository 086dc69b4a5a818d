//! Drives the tasks of one stage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::snapshots::{Restoration, Standing, checkpoint, restore};
use super::{LINGER, MAX_PENDING_BYTES, Mode, Runtime, TICK, backoff, telling};
use crate::call::Call;
use crate::failpoint;
use crate::health::PartitionHealth;
use crate::log::{Bounds, Commit, CommitError, LogError, Member, MemberEvent, Offset, Topic, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{How, SnapshotError};
use crate::task::{Effect, Event, PartitionCommit, Task, TaskError, TaskSettings};

/// Commits tried while the process is ending: enough for a rebalance that other processes' ends cause.
const LAST_ATTEMPTS: u32 = 3;

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
    /// Monotonic, as `snapshot_at`.
    pending_since: Option<Duration>,
    snapshot_at: Option<Duration>,
}

enum Flow {
    Go,
    /// Another member owns what was ours: forget the state, join again.
    Rejoin,
}

/// What the log says about a commit whose answer was lost.
enum Settled {
    Happened,
    DidNotHappen,
    /// The positions are neither those before nor those after: another member moved them.
    Overtaken,
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
                    // Of commits that belong to the state that is discarded.
                    self.runtime.health.trouble(self.name, None);
                    tracing::warn!(
                        stage = self.name,
                        "fenced: uncommitted state is discarded, joining again"
                    );
                    metrics::counter!("aegis_stage_fenced_total", "stage" => self.name).increment(1);
                    for partition in self.tasks.keys().cloned().collect::<Vec<_>>() {
                        self.drop_tasks(&[partition]);
                    }
                    let _ = member.leave().await;
                }
            }
        }
    }

    async fn join(&self, stop: &CancellationToken) -> Result<Box<dyn Member>, LogError> {
        let (log, group) = (&self.runtime.log, self.group());
        let topics = std::slice::from_ref(&self.stage.input);
        self.runtime.health.watch(self.name, super::joining());
        let joined = self
            .runtime
            .patiently(self.name, stop, || log.join(&group, topics))
            .await;
        let member = joined?;
        self.runtime.health.watch(self.name, member.waits());
        Ok(member)
    }

    async fn bounds(&self, partition: &TopicPartition, stop: &CancellationToken) -> Result<Bounds, LogError> {
        let log = &self.runtime.log;
        self.runtime.patiently(self.name, stop, || log.bounds(partition)).await
    }

    fn monotonic(&self) -> Duration {
        self.runtime.clock.monotonic()
    }

    /// Whether `span` has passed since then.
    fn passed(&self, since: Duration, span: Duration) -> bool {
        self.monotonic().saturating_sub(since) >= span
    }

    async fn serve(
        &mut self,
        member: &mut dyn Member,
        mode: Mode,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        let mut ticked: Option<Duration> = None;
        let mut attempt = 0;
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    if let Flow::Rejoin = self.flush(member, stop).await? {
                        return Ok(Flow::Rejoin);
                    }
                    self.checkpoint(stop).await?;
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
                    tracing::warn!(stage = self.name, %error, attempt, "log unavailable, trying again");
                    self.runtime.health.trouble(self.name, Some(error.to_string()));
                    self.runtime.pause(attempt, stop).await;
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if event.is_none() && member.stranded() {
                tracing::warn!(stage = self.name, "the member has lost its group: joining as a new one");
                return Ok(Flow::Rejoin);
            }
            let mut flow = Flow::Go;
            match event {
                None => {}
                Some(MemberEvent::Assigned(partitions)) => {
                    self.assign(member, partitions, stop).await?;
                }
                Some(MemberEvent::Revoked(partitions)) => {
                    failpoint::hit("stage.revoked");
                    flow = self.flush(member, stop).await?;
                    if let Flow::Go = flow {
                        self.checkpoint(stop).await?;
                    }
                    self.drop_tasks(&partitions);
                }
                Some(MemberEvent::Lost(partitions)) => self.drop_tasks(&partitions),
                Some(MemberEvent::Fetched { partition, records }) => {
                    self.fetched(&partition, records).await?;
                }
                Some(MemberEvent::Drained) if !self.tasks.is_empty() => {
                    if let Mode::ToEnd { past } = mode {
                        return self.end(member, past, stop).await;
                    }
                    flow = self.tick(member, true, stop).await?;
                    ticked = Some(self.monotonic());
                }
                Some(MemberEvent::Drained) => {}
            }
            if let Flow::Rejoin = flow {
                return Ok(Flow::Rejoin);
            }
            // "Drained" is true when it is said and not a moment longer: behind a slow commit, records may be waiting that
            // nobody has fetched, and a sender of theirs must not count as idle.
            if mode == Mode::Live && ticked.is_none_or(|at| self.passed(at, TICK)) {
                ticked = Some(self.monotonic());
                if let Flow::Rejoin = self.tick(member, false, stop).await? {
                    return Ok(Flow::Rejoin);
                }
            }
            let waited = self.pending_since.is_some_and(|since| self.passed(since, LINGER));
            let large = self.tasks.values().map(Task::pending_bytes).sum::<usize>() >= MAX_PENDING_BYTES;
            if (waited || large) && matches!(self.flush(member, stop).await?, Flow::Rejoin) {
                return Ok(Flow::Rejoin);
            }
        }
    }

    async fn assign(
        &mut self,
        member: &mut dyn Member,
        partitions: Vec<(TopicPartition, Option<Offset>)>,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        for (partition, committed) in partitions {
            let bounds = self.bounds(&partition, stop).await?;
            let standing = Standing {
                committed,
                start: bounds.start,
            };
            let restoration = self.restore(&partition, standing, stop).await?;
            let restored_at = restoration.used.as_ref().map(|(used, _)| used.manifest.offset);
            telling::gaps(self.name, &partition, committed, bounds.start, restored_at);
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
                let log = &self.runtime.log;
                self.runtime.patiently(self.name, stop, || log.sync()).await?;
                checkpoint(&mut task, self.runtime.snapshots.as_ref()).await?;
            }
            self.tasks.insert(partition, task);
            failpoint::hit("stage.assigned");
        }
        Ok(())
    }

    /// A store that cannot be read is asked again: starting without state would give other results.
    async fn restore(
        &self,
        partition: &TopicPartition,
        standing: Standing,
        stop: &CancellationToken,
    ) -> Result<Restoration<O>, StageError> {
        let mut attempt = 0;
        loop {
            match restore(&self.stage, &self.runtime.snapshots, partition, standing).await {
                Err(StageError::Snapshot(error @ SnapshotError::Store { .. })) if !stop.is_cancelled() => {
                    tracing::warn!(stage = self.name, %partition, %error, attempt, "snapshots cannot be read, trying again");
                    self.runtime.health.trouble(self.name, Some(error.to_string()));
                    self.runtime.pause(attempt, stop).await;
                    attempt += 1;
                }
                answer => {
                    if attempt > 0 && answer.is_ok() {
                        self.runtime.health.trouble(self.name, None);
                    }
                    return answer;
                }
            }
        }
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
        failpoint::hit("stage.fetched");
        let now = self.monotonic();
        self.pending_since.get_or_insert(now);
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

    async fn tick(
        &mut self,
        member: &mut dyn Member,
        drained: bool,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        let now = self.runtime.clock.now();
        for task in self.tasks.values_mut() {
            task.step(Event::Tick { now, drained })?;
        }
        if drained && matches!(self.flush(member, stop).await?, Flow::Rejoin) {
            return Ok(Flow::Rejoin);
        }
        self.report(member).await;
        if self
            .snapshot_at
            .is_none_or(|at| self.passed(at, self.runtime.snapshot_every))
        {
            if let Flow::Rejoin = self.flush(member, stop).await? {
                return Ok(Flow::Rejoin);
            }
            self.checkpoint(stop).await?;
        }
        Ok(Flow::Go)
    }

    async fn end(
        &mut self,
        member: &mut dyn Member,
        past: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        if let Flow::Rejoin = self.flush(member, stop).await? {
            return Ok(Flow::Rejoin);
        }
        for task in self.tasks.values_mut() {
            task.step(Event::End { past })?;
        }
        if let Flow::Rejoin = self.flush(member, stop).await? {
            return Ok(Flow::Rejoin);
        }
        self.checkpoint(stop).await?;
        Ok(Flow::Go)
    }

    /// One transaction for everything that waits, of all tasks.
    async fn flush(&mut self, member: &mut dyn Member, stop: &CancellationToken) -> Result<Flow, StageError> {
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
        let began = self.monotonic();
        let mut attempt = 0;
        loop {
            failpoint::hit("commit.before");
            let cause = match member.commit(merge(&commits)).await {
                Ok(()) => {
                    failpoint::hit("commit.after");
                    break;
                }
                Err(CommitError::Fenced(cause)) => {
                    tracing::warn!(stage = self.name, cause, "commit fenced");
                    return Ok(Flow::Rejoin);
                }
                Err(CommitError::Unknown(cause)) => match self.settle(&commits, stop).await? {
                    Settled::Happened => {
                        tracing::warn!(
                            stage = self.name,
                            cause,
                            "the commit's answer was lost, but it happened"
                        );
                        break;
                    }
                    Settled::Overtaken => {
                        tracing::warn!(
                            stage = self.name,
                            cause,
                            "the commit's answer was lost, and others have moved on"
                        );
                        return Ok(Flow::Rejoin);
                    }
                    Settled::DidNotHappen => cause,
                },
                Err(CommitError::Aborted(cause)) => cause,
            };
            // What was read is read again after the next start; a log that is away must not hold the end up for ever.
            if stop.is_cancelled() && attempt >= LAST_ATTEMPTS {
                let doing = format!("committing what stage {} has read before the end", self.name);
                return Err(LogError::Unavailable { doing, cause }.into());
            }
            if attempt > 0 {
                let trouble = format!("commit aborted {} times: {cause}", attempt + 1);
                self.runtime.health.trouble(self.name, Some(trouble));
            }
            tracing::warn!(
                stage = self.name,
                cause,
                attempt,
                "commit aborted, sending the same outputs again"
            );
            metrics::counter!("aegis_stage_aborts_total", "stage" => self.name).increment(1);
            self.runtime.clock.sleep(backoff(attempt)).await;
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
        if attempt > 1 {
            self.runtime.health.trouble(self.name, None);
        }
        let took = self.monotonic().saturating_sub(began);
        metrics::histogram!("aegis_stage_commit_seconds", "stage" => self.name).record(took.as_secs_f64());
        let now = self.runtime.clock.now();
        for (partition, commit) in &commits {
            let Some(task) = self.tasks.get_mut(partition) else {
                continue;
            };
            task.step(Event::Committed)?;
            telling::committed(self.name, commit, task.last_accounting(), now);
        }
        Ok(Flow::Go)
    }

    /// What became of a commit whose answer was lost. It is atomic, so every position tells the same, unless another
    /// member has taken partitions over meanwhile: then what is ours of the commit may be missing although one position
    /// is past it. A commit of Progress alone moves no position; it may be sent twice, as hearing it twice changes nothing.
    async fn settle(
        &self,
        commits: &[(TopicPartition, PartitionCommit)],
        stop: &CancellationToken,
    ) -> Result<Settled, LogError> {
        let (log, group) = (&self.runtime.log, self.group());
        let (mut after, mut before) = (true, true);
        for (partition, commit) in commits {
            let Some(position) = commit.position else { continue };
            let stored = self
                .runtime
                .patiently(self.name, stop, || log.committed(&group, partition))
                .await?;
            after &= stored == Some(position);
            before &= stored.is_none_or(|at| self.tasks.get(partition).is_some_and(|task| at == task.committed()));
        }
        Ok(match (after, before) {
            (_, true) => Settled::DidNotHappen,
            (true, false) => Settled::Happened,
            (false, false) => Settled::Overtaken,
        })
    }

    /// Saves the state of every task. The log is synced first: a snapshot must not know records that a power cut can
    /// still undo, because others may then come to stand at their offsets. A store that refuses costs the next restart
    /// its speed, not this stage its work: the older snapshot and the log serve, and retention waits for it.
    async fn checkpoint(&mut self, stop: &CancellationToken) -> Result<(), StageError> {
        self.snapshot_at = Some(self.monotonic());
        let log = &self.runtime.log;
        self.runtime.patiently(self.name, stop, || log.sync()).await?;
        failpoint::hit("snapshot.before");
        for (partition, task) in &mut self.tasks {
            match checkpoint(task, self.runtime.snapshots.as_ref()).await {
                Ok(_) => {}
                Err(StageError::Snapshot(error)) => {
                    tracing::error!(stage = self.name, %partition, %error, "no snapshot could be stored: a restart will replay from the one before");
                    metrics::counter!("aegis_snapshot_failures_total", "stage" => self.name).increment(1);
                }
                Err(error) => return Err(error),
            }
        }
        failpoint::hit("snapshot.after");
        Ok(())
    }

    async fn report(&self, member: &mut dyn Member) {
        let now = self.runtime.clock.now();
        for (partition, task) in &self.tasks {
            let Ok(bounds) = self.runtime.log.bounds(partition).await else {
                continue;
            };
            let lag = super::lag(&*member, partition, task.position(), bounds);
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
