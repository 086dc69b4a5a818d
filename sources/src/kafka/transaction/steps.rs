//! The client's calls of a transaction: each bounded, and each failure named by what it leaves behind.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer as _};
use stream::log::TopicPartition;
use tokio::time::Instant;

use super::super::delivery::{Batch, InFlight, Outcome, Producer};
use super::super::error::fences;

/// Longest single call into the client; between calls the deadline is looked at.
pub(super) const SLICE: Duration = Duration::from_secs(2);
/// Pause before a call that the client says to try again.
pub(super) const AGAIN: Duration = Duration::from_millis(20);
/// For aborting, beyond the transaction's own time.
pub(super) const ABORT: Duration = Duration::from_secs(5);

/// Why a step of a transaction did not happen.
pub(super) enum Failure {
    /// The transaction can be aborted, and with that surely did not happen.
    Abort { cause: String, fenced: bool },
    /// As `Abort`, after an output was refused. The client (librdkafka 2.12) then purges outputs of the next
    /// transaction, too, so the producer is replaced.
    Refused { cause: String, fenced: bool },
    /// As `Abort`: the group is in a newer generation than the client knew.
    Stale { cause: String },
    /// The producer is of no use any more.
    Fatal { cause: String, fenced: bool },
    /// The time is over.
    Late { cause: String },
}

impl Failure {
    pub fn cause(&self) -> &str {
        match self {
            Failure::Abort { cause, .. }
            | Failure::Refused { cause, .. }
            | Failure::Stale { cause }
            | Failure::Fatal { cause, .. }
            | Failure::Late { cause } => cause,
        }
    }
}

/// Outcomes of what was queued, per partition.
pub(super) struct Sent {
    waiting: usize,
    outcomes: Receiver<(TopicPartition, Outcome)>,
}

/// A queue of outcomes and the way into it.
pub(super) struct Sending {
    send: std::sync::mpsc::Sender<(TopicPartition, Outcome)>,
    sent: Sent,
}

impl Sending {
    pub fn new() -> Self {
        let (send, outcomes) = channel();
        Sending {
            send,
            sent: Sent { waiting: 0, outcomes },
        }
    }

    /// Announces `records` records for `partition`: what they have in common.
    pub fn batch(&mut self, partition: &TopicPartition, records: usize) -> std::sync::Arc<Batch> {
        self.sent.waiting += 1;
        let (send, partition) = (self.send.clone(), partition.clone());
        Batch::new(records, 0, InFlight::default(), move |outcome| {
            let _ = send.send((partition, outcome));
        })
    }

    pub fn all(self) -> Sent {
        self.sent
    }
}

impl Sent {
    /// Waits until everything is acknowledged; the first offset in each partition goes into `first`.
    pub fn acknowledged(
        self,
        first: &mut BTreeMap<TopicPartition, Option<i64>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        for _ in 0..self.waiting {
            match self
                .outcomes
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok((partition, Ok(offset))) => {
                    first.insert(partition, Some(offset));
                }
                Ok((_, Err(code))) => {
                    return Err(Failure::Refused {
                        cause: format!("an output was refused: {code}"),
                        fenced: fences(code),
                    });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Late {
                        cause: "outputs were not acknowledged in time".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Hands one record to the client, waiting for room in its queue.
pub(super) fn queue<'a>(
    producer: &Producer,
    deadline: Instant,
    record: impl Fn() -> BaseRecord<'a, [u8], [u8], std::sync::Arc<Batch>>,
) -> Result<(), Failure> {
    loop {
        let Err((error, _)) = producer.send(record()) else {
            return Ok(());
        };
        if error.rdkafka_error_code() != Some(Code::QueueFull) {
            return Err(failure("sending outputs", &error));
        }
        if Instant::now() >= deadline {
            return Err(Failure::Late {
                cause: "the output queue stayed full".to_owned(),
            });
        }
        std::thread::sleep(AGAIN);
    }
}

/// True when the transaction is aborted and the producer can begin another.
pub(super) fn abort(producer: &Producer) -> bool {
    let in_time = again(Instant::now() + ABORT, "aborting", |wait| {
        producer.abort_transaction(wait)
    });
    match in_time {
        Ok(()) => true,
        Err(failure) => {
            tracing::debug!(cause = failure.cause(), "a new producer will abort the transaction");
            false
        }
    }
}

/// Calls until it succeeds, fails for good, or `deadline` is over.
pub(super) fn again(
    deadline: Instant,
    step: &str,
    mut call: impl FnMut(Duration) -> Result<(), KafkaError>,
) -> Result<(), Failure> {
    loop {
        let wait = deadline
            .saturating_duration_since(Instant::now())
            .clamp(Duration::from_millis(100), SLICE);
        let error = match call(wait) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let retriable = match &error {
            KafkaError::Transaction(native) => native.is_retriable() || native.code() == Code::OperationTimedOut,
            KafkaError::Flush(_) => true,
            _ => false,
        };
        if !retriable {
            return Err(failure(step, &error));
        }
        if Instant::now() >= deadline {
            return Err(Failure::Late {
                cause: format!("{step}: {error}"),
            });
        }
        std::thread::sleep(AGAIN);
    }
}

pub(super) fn failure(step: &str, error: &KafkaError) -> Failure {
    let cause = format!("{step}: {error}");
    let fenced = error.rdkafka_error_code().is_some_and(fences);
    match error {
        KafkaError::Transaction(native) if native.is_fatal() => Failure::Fatal { cause, fenced },
        KafkaError::Transaction(native) if native.txn_requires_abort() => match native.code() {
            Code::IllegalGeneration | Code::RebalanceInProgress => Failure::Stale { cause },
            _ => Failure::Abort { cause, fenced },
        },
        // The client is in a state that we do not expect; a new one starts clean.
        KafkaError::Transaction(_) => Failure::Fatal { cause, fenced },
        _ => Failure::Abort { cause, fenced },
    }
}
