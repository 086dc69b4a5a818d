//! The client's calls of a transaction: each bounded, and each failure named by what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
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
/// A step without a sign for this long is a reason to see whether the client has lost its brokers. A healthy broker takes
/// milliseconds; a look costs two questions.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
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
    silence: Duration,
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
            sent: Sent {
                waiting: 0,
                silence: SILENCE,
                outcomes,
            },
        }
    }

    /// Announces `records` records for `partition`: what they have in common.
    pub fn batch(&mut self, partition: &TopicPartition, records: usize) -> Arc<Batch> {
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
    /// Waits until everything is acknowledged; the first offset in each partition goes into `first`. `lost`: the client will
    /// never hear of it.
    pub fn acknowledged(
        mut self,
        first: &mut BTreeMap<TopicPartition, Option<i64>>,
        deadline: Instant,
        lost: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        while self.waiting > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.outcomes.recv_timeout(left.min(self.silence)) {
                Ok((partition, Ok(offset))) => {
                    let first = first.entry(partition).or_default();
                    *first = Some(first.map_or(offset, |first| first.min(offset)));
                    self.waiting -= 1;
                }
                Ok((_, Err(code))) => {
                    return Err(Failure::Refused {
                        cause: format!("an output was refused: {code}"),
                        fenced: fences(code),
                    });
                }
                Err(RecvTimeoutError::Timeout) if left > self.silence => {
                    if lost() {
                        return Err(astray("outputs were not acknowledged"));
                    }
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

/// What goes with a transaction: the group's positions, and who sends them.
pub(in super::super) struct Positions {
    pub offsets: TopicPartitionList,
    pub metadata: ConsumerGroupMetadata,
}

/// Sends the group's positions, on a thread of its own: librdkafka (2.12.1) waits there for the group's coordinator without
/// looking at the time that it was given, and a client that has lost its brokers never finds one. The thread is left in the
/// call then, with its producer, which is closed should it ever come back.
pub(super) fn send_positions(
    producer: &Arc<Producer>,
    positions: Arc<Positions>,
    deadline: Instant,
    lost: impl Fn() -> bool,
) -> Result<(), Failure> {
    let (send, answer) = channel();
    let producer = producer.clone();
    let sending = move || {
        let outcome = again(deadline, "sending positions", |wait| {
            producer.send_offsets_to_transaction(&positions.offsets, &positions.metadata, wait)
        });
        // Before the answer, so that whoever gives the producer up closes it himself.
        drop(producer);
        let _ = send.send(outcome);
    };
    let thread = std::thread::Builder::new().name("kafka-positions".to_owned());
    thread.spawn(sending).map_err(|error| Failure::Abort {
        cause: format!("starting a thread for positions: {error}"),
        fenced: false,
    })?;
    answered(&answer, SILENCE, deadline, lost)
}

/// The answer of a call that may never come back.
fn answered(
    answer: &Receiver<Result<(), Failure>>,
    silence: Duration,
    deadline: Instant,
    lost: impl Fn() -> bool,
) -> Result<(), Failure> {
    loop {
        match answer.recv_timeout(silence) {
            Ok(outcome) => return outcome,
            // It looks at the time between its tries, so it is overdue only some time after the deadline.
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline + silence && !lost() => {}
            Err(_) => return Err(astray("the client does not come back from sending positions")),
        }
    }
}

/// Nothing was committed, and the client is not to be asked even to abort.
fn astray(what: &str) -> Failure {
    metrics::counter!("aegis_kafka_clients_left_behind_total").increment(1);
    tracing::warn!("a Kafka client has lost its brokers ({what}): it is left behind, and a new one takes over");
    Failure::Fatal {
        cause: format!("{what}; the client has lost its brokers"),
        fenced: false,
    }
}

/// Hands one record to the client, waiting for room in its queue.
pub(super) fn queue<'a>(
    producer: &Producer,
    deadline: Instant,
    record: impl Fn() -> BaseRecord<'a, [u8], [u8], Arc<Batch>>,
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(3_600)
    }

    #[test]
    fn a_call_that_never_comes_back_is_left_when_the_client_is_lost() {
        let (_kept, answer) = channel();
        let looks = Cell::new(0);
        let lost = || {
            looks.set(looks.get() + 1);
            looks.get() == 3
        };
        let left = answered(&answer, SHORT, far(), lost);
        assert!(matches!(left, Err(Failure::Fatal { fenced: false, .. })));
        assert_eq!(looks.get(), 3);
    }

    #[test]
    fn a_call_that_never_comes_back_is_left_behind_its_deadline() {
        let (_kept, answer) = channel();
        let left = answered(&answer, SHORT, Instant::now(), || false);
        assert!(matches!(left, Err(Failure::Fatal { fenced: false, .. })));
    }

    #[test]
    fn a_slow_answer_is_waited_for() {
        let (send, answer) = channel();
        let lost = || {
            send.send(Ok(())).unwrap();
            false
        };
        assert!(answered(&answer, SHORT, far(), lost).is_ok());
    }

    #[test]
    fn outputs_of_a_lost_client_are_not_waited_for() {
        let mut sending = Sending::new();
        let _unsettled = sending.batch(&TopicPartition::new("t", 0), 1);
        let mut sent = sending.all();
        sent.silence = SHORT;
        let left = sent.acknowledged(&mut BTreeMap::new(), far(), || true);
        assert!(matches!(left, Err(Failure::Fatal { fenced: false, .. })));
    }
}
