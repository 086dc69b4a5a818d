//! What the tasks of a stage ask the outside, on its way there and back: see [`crate::call`].

use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::{Driver, StageError};
use crate::call::Answer;
use crate::driver::asking::Question;
use crate::driver::saving::Stored;
use crate::log::{LogError, MemberEvent, TopicPartition};
use crate::operator::Operator;
use crate::task::{Effect, Event};

/// What happened first.
pub(super) enum Turn {
    Log(Result<Option<MemberEvent>, LogError>),
    Answer(TopicPartition, Answer),
    /// Snapshots are stored, or could not be.
    Stored(Result<Stored, StageError>),
    Stop,
}

/// The first of the two; when both are there, the one whose turn it is.
pub(super) async fn next_turn(
    event: impl Future<Output = Result<Option<MemberEvent>, LogError>>,
    answer: impl Future<Output = (TopicPartition, Answer)>,
    answers_first: bool,
) -> Turn {
    let (event, answer) = (
        event.map(Turn::Log),
        answer.map(|(partition, answer)| Turn::Answer(partition, answer)),
    );
    match answers_first {
        true => tokio::select! { biased; turn = answer => turn, turn = event => turn },
        false => tokio::select! { biased; turn = event => turn, turn = answer => turn },
    }
}

impl<O: Operator> Driver<O> {
    /// What tasks ask the outside goes out when what they have committed cannot be undone any more.
    pub(super) async fn ask(
        &mut self,
        effects: Vec<(TopicPartition, Effect)>,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        let mut synced = false;
        for (partition, effect) in effects {
            let Effect::Call { request, again } = effect else {
                continue;
            };
            if self.stage.call.is_none() {
                return Err(StageError::NoCall { stage: self.name });
            }
            if !synced {
                let log = &self.runtime.log;
                self.runtime.patiently(self.name, stop, || log.sync()).await?;
                synced = true;
            }
            self.asking.add(Question {
                partition,
                request,
                again,
            });
        }
        Ok(())
    }

    /// The answer becomes a record of the input of the task that asked. One that cannot be written because the process ends
    /// is lost, and its question asked again by the next life.
    pub(super) async fn answered(
        &mut self,
        partition: &TopicPartition,
        answer: &Answer,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        let record = answer.to_record(self.name, self.runtime.clock.now());
        let log = &self.runtime.log;
        let append = || log.append(partition, vec![record.clone()]);
        match self.runtime.patiently(self.name, stop, append).await {
            Err(error @ LogError::Unavailable { .. }) if stop.is_cancelled() => {
                tracing::warn!(stage = self.name, %partition, key = answer.key, %error, "an answer is lost, its question will be asked again");
                Ok(())
            }
            appended => Ok(appended.map(drop)?),
        }
    }

    /// Everything visible has been fetched: what another life has asked without an answer is asked again.
    pub(super) async fn caught_up(&mut self, stop: &CancellationToken) -> Result<(), StageError> {
        let mut questions = Vec::new();
        for (partition, task) in &mut self.tasks {
            let effects = task.step(Event::CaughtUp)?;
            questions.extend(effects.into_iter().map(|effect| (partition.clone(), effect)));
        }
        self.ask(questions, stop).await
    }
}
