//! Where partitions end, for who tells how far behind a driver is.
//!
//! Asked beside the driver, which never waits for the answer: a broker that is slow to say where a partition ends must not keep a driver from what
//! its group wants of it. A member that does not answer a revocation in time is fenced, joins again, and by that asks the same of the
//! others: on a busy broker two members fenced each other for minutes.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use crate::log::{Bounds, Log, TopicPartition};

/// Partitions that the log could say something about.
type Answers = Vec<(TopicPartition, Bounds)>;

/// The question that is on its way: one at a time.
#[derive(Default)]
pub(super) struct Ends {
    /// The mutex is never locked: it lets a driver be borrowed by its other futures, which this one alone would not.
    asked: Option<Mutex<BoxFuture<'static, Answers>>>,
}

impl Ends {
    /// What was answered since the last look; asks again. An end may be as old as the last look.
    pub fn look<'a>(&mut self, log: &Arc<dyn Log>, partitions: impl Iterator<Item = &'a TopicPartition>) -> Answers {
        let mut answers = Vec::new();
        if let Some(asked) = self.asked.take() {
            match now(asked.into_inner().unwrap_or_else(PoisonError::into_inner)) {
                Ok(answered) => answers = answered,
                Err(still) => {
                    self.asked = Some(Mutex::new(still));
                    return answers;
                }
            }
        }
        match now(ask(log, partitions.cloned().collect())) {
            Ok(answered) => answered,
            Err(begun) => {
                self.asked = Some(Mutex::new(begun));
                answers
            }
        }
    }
}

/// The answers if they are there, otherwise the question again.
fn now(mut asked: BoxFuture<'static, Answers>) -> Result<Answers, BoxFuture<'static, Answers>> {
    match asked.as_mut().now_or_never() {
        Some(answers) => Ok(answers),
        None => Err(asked),
    }
}

fn ask(log: &Arc<dyn Log>, partitions: Vec<TopicPartition>) -> BoxFuture<'static, Answers> {
    let log = log.clone();
    Box::pin(async move {
        let one = async |partition: &TopicPartition| log.bounds(partition).await.ok();
        let bounds = join_all(partitions.iter().map(one)).await;
        let answered = partitions.iter().cloned().zip(bounds);
        answered
            .filter_map(|(partition, bounds)| Some((partition, bounds?)))
            .collect()
    })
}
