//! The questions of a stage that are on their way to the outside: some at a time, the others wait.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::backoff;
use crate::call::{Answer, Call, CallError, MAX_ANSWER_BYTES};
use crate::log::TopicPartition;
use crate::operator::CallRequest;
use crate::time::Clock;

/// A question of a task.
pub(super) struct Question {
    /// Of the task, and where its answer goes.
    pub partition: TopicPartition,
    pub request: CallRequest,
    /// An earlier attempt may have happened.
    pub again: bool,
}

/// Dropping it, or [`Asking::forget`], leaves questions without an answer: whoever owns the partition then asks again.
#[derive(Default)]
pub(super) struct Asking {
    waiting: VecDeque<Question>,
    /// The mutex is never locked: it lets a driver be borrowed by its other futures, which these alone would not.
    running: Mutex<Vec<Running>>,
}

type Running = (TopicPartition, BoxFuture<'static, Answer>);

impl Asking {
    pub fn add(&mut self, question: Question) {
        self.waiting.push_back(question);
    }

    /// The task of this partition is gone.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.waiting.retain(|question| question.partition != *partition);
        self.running().retain(|(of, _)| of != partition);
    }

    fn running(&mut self) -> &mut Vec<Running> {
        self.running.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next answer. Waits for ever when nothing is asked; may be dropped at any time.
    pub async fn next(&mut self, call: Option<&Arc<dyn Call>>, clock: &Arc<dyn Clock>) -> (TopicPartition, Answer) {
        while let Some(call) = call
            && self.running().len() < call.limits().in_flight.max(1)
            && let Some(question) = self.waiting.pop_front()
        {
            let partition = question.partition.clone();
            let answer = ask(call.clone(), clock.clone(), question);
            self.running().push((partition, Box::pin(answer)));
        }
        let running = self.running();
        poll_fn(|cx| {
            for at in 0..running.len() {
                if let Poll::Ready(answer) = running[at].1.as_mut().poll(cx) {
                    let (partition, _) = running.remove(at);
                    return Poll::Ready((partition, answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Asks until there is an answer or the time is over.
async fn ask(call: Arc<dyn Call>, clock: Arc<dyn Clock>, question: Question) -> Answer {
    let CallRequest { key, request } = question.request;
    let timeout = call.limits().timeout;
    let asked = ask_on(call.as_ref(), clock.as_ref(), &key, &request, question.again);
    let answer = tokio::select! {
        biased;
        answer = asked => answer,
        () = clock.sleep(timeout) => Err(CallError::MayHaveHappened {
            cause: format!("no answer within {timeout:?}"),
        }),
    };
    Answer { key, answer }
}

async fn ask_on(
    call: &dyn Call,
    clock: &dyn Clock,
    key: &str,
    request: &[u8],
    mut again: bool,
) -> Result<Bytes, CallError> {
    let mut attempt = 0;
    loop {
        let answer = match again {
            true => call.again(key, request).await,
            false => call.call(key, request).await,
        };
        match answer {
            Ok(bytes) if bytes.len() > MAX_ANSWER_BYTES => {
                return Err(CallError::MayHaveHappened {
                    cause: format!("the answer has {} bytes, of {MAX_ANSWER_BYTES} allowed", bytes.len()),
                });
            }
            Ok(bytes) => return Ok(bytes.into()),
            Err(CallError::DidNotHappen { retry: true, .. }) => {}
            Err(CallError::MayHaveHappened { .. }) => again = true,
            Err(refused) => return Err(refused),
        }
        clock.sleep(backoff(attempt)).await;
        attempt += 1;
    }
}
