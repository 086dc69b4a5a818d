//! The commit of a stage: one transaction for all its tasks, sent again until it is known what became of it.

use tokio_util::sync::CancellationToken;

use super::{Driver, Flow, StageError};
use crate::driver::{backoff, telling};
use crate::failpoint;
use crate::log::{Commit, CommitError, LogError, Member, TopicPartition};
use crate::operator::Operator;
use crate::task::{Effect, Event, PartitionCommit};

/// Commits tried while the process is ending: enough for a rebalance that other processes' ends cause.
const LAST_ATTEMPTS: u32 = 3;

/// What the log says about a commit whose answer was lost.
enum Settled {
    Happened,
    DidNotHappen,
    /// The positions are neither those before nor those after: another member moved them.
    Overtaken,
}

impl<O: Operator> Driver<O> {
    /// One transaction for everything that waits, of all tasks.
    pub(super) async fn flush(
        &mut self,
        member: &mut dyn Member,
        stop: &CancellationToken,
    ) -> Result<Flow, StageError> {
        self.pace.rest();
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
            failpoint::hit_by("commit.before", self.name);
            let cause = match member.commit(merge(&commits)).await {
                Ok(()) => {
                    failpoint::hit_by("commit.after", self.name);
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
        self.pace.took(took);
        metrics::histogram!("aegis_stage_commit_seconds", "stage" => self.name).record(took.as_secs_f64());
        let now = self.runtime.clock.now();
        let mut questions = Vec::new();
        for (partition, commit) in &commits {
            let Some(task) = self.tasks.get_mut(partition) else {
                continue;
            };
            let effects = task.step(Event::Committed)?;
            questions.extend(effects.into_iter().map(|effect| (partition.clone(), effect)));
            telling::committed(self.name, commit, task.last_accounting(), now);
        }
        self.ask(questions, stop).await?;
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
