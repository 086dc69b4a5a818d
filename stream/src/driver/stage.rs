//! Drives the tasks of one stage.

mod calls;
mod commit;
mod save;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::asking::Asking;
use super::ends::Ends;
use super::pace::Pace;
use super::saving::{Saving, checkpoint};
use super::snapshots::{Restoration, Standing, restore};
use super::{MAX_PENDING_BYTES, Mode, Runtime, TICK, telling};
use crate::call::Call;
use crate::failpoint;
use crate::health::PartitionHealth;
use crate::log::{Bounds, LogError, Member, MemberEvent, Offset, Topic, TopicPartition};
use crate::operator::Operator;
use crate::snapshot::{How, SnapshotError};
use crate::task::{Effect, Event, Task, TaskError, TaskSettings};

use calls::{Turn, next_turn};

/// A stage: an operator, where it reads, and what surrounds it.
pub struct Stage<O: Operator> {
    pub input: Topic,
    pub settings: TaskSettings,
    /// A fresh operator for an input partition.
    pub make: Box<dyn Fn(u32) -> O + Send + Sync>,
    /// Answers the operator's calls, if it makes any.
    pub call: Option<Arc<dyn Call>>,
    /// Partitions of the input by the topology, where its key decides the partition: with another number the state of a key
    /// would be elsewhere than its records, so the stage stops. `None`: the input has no key and may get more of them.
    pub keyed: Option<u32>,
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
        pace: Pace::default(),
        asking: Asking::default(),
        saving: Saving::default(),
        ends: Ends::default(),
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
    pace: Pace,
    asking: Asking,
    saving: Saving,
    ends: Ends,
    /// Monotonic.
    snapshot_at: Option<Duration>,
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
                    self.asking = Asking::default();
                    self.saving = Saving::default();
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
        let mut answers_first = false;
        loop {
            // By turns, so that neither a backlog nor a flood of answers keeps the other waiting.
            answers_first = !answers_first;
            let wait = self.pace.left(self.monotonic());
            let turn = {
                let Driver {
                    asking,
                    saving,
                    stage,
                    runtime,
                    ..
                } = &mut *self;
                let answer = asking.next(stage.call.as_ref(), &runtime.clock);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Turn::Stop,
                    stored = saving.done() => Turn::Stored(stored),
                    turn = next_turn(member.next(wait), answer, answers_first) => turn,
                }
            };
            let event = match turn {
                Turn::Log(event) => event,
                Turn::Answer(partition, answer) => {
                    self.answered(&partition, &answer, stop).await?;
                    Ok(None)
                }
                Turn::Stored(stored) => {
                    self.stored(stored?)?;
                    Ok(None)
                }
                Turn::Stop => {
                    if let Flow::Rejoin = self.flush(member, stop).await? {
                        return Ok(Flow::Rejoin);
                    }
                    self.save(|_| true, stop).await?;
                    return Ok(Flow::Go);
                }
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
            let behind = event.is_some();
            let mut flow = Flow::Go;
            match event {
                None => {}
                Some(MemberEvent::Assigned(partitions)) => {
                    flow = self.assign(member, partitions, stop).await?;
                }
                Some(MemberEvent::Revoked(partitions)) => {
                    failpoint::hit("stage.revoked");
                    flow = self.flush(member, stop).await?;
                    if let Flow::Go = flow {
                        // Only of what goes: who stays does not wait for the saving of its own state.
                        self.save(|partition| partitions.contains(partition), stop).await?;
                    }
                    self.drop_tasks(&partitions);
                }
                Some(MemberEvent::Lost(partitions)) => self.drop_tasks(&partitions),
                Some(MemberEvent::Fetched { partition, records }) => {
                    if self.tasks.get(&partition).is_some_and(Task::unannounced) {
                        flow = self.flush(member, stop).await?;
                    }
                    if let Flow::Go = flow {
                        self.fetched(&partition, records).await?;
                    }
                }
                Some(MemberEvent::Drained) if !self.tasks.is_empty() => {
                    if let Mode::ToEnd { past } = mode {
                        flow = self.flush(member, stop).await?;
                        self.caught_up(stop).await?;
                        let open: usize = self.tasks.values().map(Task::open_calls).sum();
                        if let (Flow::Go, 0) = (&flow, open) {
                            return self.end(member, past, stop).await;
                        }
                    } else {
                        flow = self.tick(member, true, stop).await?;
                        ticked = Some(self.monotonic());
                    }
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
            let waited = self.pace.due(self.monotonic(), behind);
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
    ) -> Result<Flow, StageError> {
        self.require_partitions(&partitions, stop).await?;
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
                    if !super::sought(member, &partition, to).await? {
                        return Ok(Flow::Rejoin);
                    }
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
        Ok(Flow::Go)
    }

    /// Refuses a keyed input that has got another number of partitions, before anything of them is read.
    async fn require_partitions(
        &self,
        assigned: &[(TopicPartition, Option<Offset>)],
        stop: &CancellationToken,
    ) -> Result<(), LogError> {
        let Some(wanted) = self.stage.keyed else {
            return Ok(());
        };
        if assigned.iter().all(|(partition, _)| partition.partition < wanted) {
            return Ok(());
        }
        let (log, topic) = (&self.runtime.log, &self.stage.input);
        let found = self
            .runtime
            .patiently(self.name, stop, || log.partitions(topic))
            .await?;
        Err(LogError::PartitionCount {
            topic: topic.clone(),
            found,
            wanted,
        })
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
            self.asking.forget(partition);
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
        task.step(Event::Fetched(records))?;
        failpoint::hit("stage.fetched");
        self.pace.waits(self.monotonic());
        Ok(())
    }

    async fn tick(
        &mut self,
        member: &mut dyn Member,
        drained: bool,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        // As it was before anything below takes time: the input is drained now, and not a moment longer.
        let now = self.runtime.clock.now();
        for task in self.tasks.values_mut() {
            task.step(Event::Tick { now, drained })?;
        }
        if drained {
            self.caught_up(stop).await?;
        }
        if drained && matches!(self.flush(member, stop).await?, Flow::Rejoin) {
            return Ok(Flow::Rejoin);
        }
        self.report(member);
        let due = self
            .snapshot_at
            .is_none_or(|at| self.passed(at, self.runtime.snapshot_every));
        if due && !self.saving.busy() {
            if let Flow::Rejoin = self.flush(member, stop).await? {
                return Ok(Flow::Rejoin);
            }
            self.snapshot_at = Some(self.monotonic());
            self.begin_save(|_| true, stop).await?;
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
        self.save(|_| true, stop).await?;
        Ok(Flow::Go)
    }

    fn report(&mut self, member: &mut dyn Member) {
        let now = self.runtime.clock.now();
        for (partition, bounds) in &self.ends.look(&self.runtime.log, self.tasks.keys()) {
            let Some(task) = self.tasks.get(partition) else {
                continue;
            };
            let lag = super::lag(&*member, partition, task.position(), *bounds);
            let label = partition.to_string();
            metrics::gauge!("aegis_stage_lag", "stage" => self.name, "partition" => label.clone()).set(lag as f64);
            if self.stage.call.is_some() {
                metrics::gauge!("aegis_stage_open_calls", "stage" => self.name, "partition" => label.clone())
                    .set(task.open_calls() as f64);
            }
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
