//! Commits: one Kafka transaction each, on a thread of its own because the client's calls block.
//!
//! begin → send outputs → wait for all acknowledgements → send positions with the group's generation → commit.
//! Whatever fails before the last step is aborted and answers `Aborted` (or `Fenced`); only a commit request without
//! an answer is `Unknown`. After that, and after a fatal error, a new producer with the same transactional id settles
//! what the old one left open.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::Producer as _;
use stream::log::{Commit, CommitError, LogError, NewRecord, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Inner;
use super::appender::check_records;
use super::convert::{partition_number, to_kafka};
use super::delivery::{Batch, DeliveryContext, InFlight, Outcome, Producer};
use super::error::{fences, log_error};
use super::ownership::{Claim, Ownership};

/// Longest single call into the client; between calls the deadline is looked at.
const SLICE: Duration = Duration::from_secs(2);
/// Pause before a call that the client says to try again.
const AGAIN: Duration = Duration::from_millis(20);
/// The group is in its next generation as soon as all members joined it, and each hears of it a moment later. A
/// commit in that moment is sent again with the new generation, if the partitions are still this member's.
const CATCH_UP: Duration = Duration::from_secs(2);
/// For aborting, beyond the transaction's own time.
const ABORT: Duration = Duration::from_secs(5);
/// Buffered output bytes; sending waits for room beyond it.
const QUEUE_KBYTES: &str = "65536";

type Answer = Result<(), CommitError>;

/// A commit and where its answer goes.
pub(super) struct Job {
    pub commit: Commit,
    pub answer: oneshot::Sender<Answer>,
}

/// Starts the thread of one member. It ends when the sender is dropped.
pub(super) fn start(inner: Arc<Inner>, id: &str, ownership: Arc<Ownership>) -> Result<Sender<Job>, LogError> {
    let mut config = inner.settings.producer_config("commit");
    config
        .set("transactional.id", id)
        .set(
            "transaction.timeout.ms",
            inner.settings.transaction_timeout_ms.to_string(),
        )
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES)
        .set("linger.ms", "1");
    let mut transactor = Transactor {
        inner,
        config,
        ownership,
        producer: None,
    };
    transactor
        .prepare()
        .map_err(|error| log_error(format!("preparing transactions as {id}"), &error))?;
    let (send, receive) = channel();
    let name = "kafka-commit".to_owned();
    let spawned = std::thread::Builder::new()
        .name(name)
        .spawn(move || transactor.run(&receive));
    spawned.map_err(|error| LogError::Unavailable {
        doing: "starting a thread for commits".to_owned(),
        cause: error.to_string(),
    })?;
    Ok(send)
}

struct Transactor {
    inner: Arc<Inner>,
    config: ClientConfig,
    ownership: Arc<Ownership>,
    /// `None` when the last one must not be used any more.
    producer: Option<Producer>,
}

/// Why a step of a transaction did not happen.
enum Failure {
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

impl Transactor {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(Job { commit, answer }) = jobs.recv() {
            let outcome = self.commit(commit);
            // A driver that does not wait any more finds the outcome in the committed position.
            let _ = answer.send(outcome);
            if self.producer.is_none()
                && let Err(error) = self.prepare()
            {
                tracing::warn!(%error, "no new transactional producer yet; the next commit tries again");
            }
        }
    }

    /// A producer that fenced its predecessor and settled what that left open.
    fn prepare(&mut self) -> Result<(), KafkaError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let producer: Producer = self.config.create_with_context(DeliveryContext::default())?;
        let deadline = Instant::now() + self.inner.settings.transaction_timeout() + ABORT;
        loop {
            match producer.init_transactions(SLICE) {
                Ok(()) => break,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(AGAIN);
                }
                Err(error) => return Err(error),
            }
        }
        self.producer = Some(producer);
        Ok(())
    }

    fn commit(&mut self, commit: Commit) -> Answer {
        if commit.positions.is_empty() && commit.outputs.iter().all(|(_, records)| records.is_empty()) {
            return Ok(());
        }
        for (partition, records) in &commit.outputs {
            let checked = check_records(partition, records, self.inner.settings.max_record_bytes)
                .and_then(|()| self.inner.catalog.check(partition));
            checked.map_err(|error| CommitError::Aborted(error.to_string()))?;
        }
        // Before the claim: making a producer takes time in which the group may move on.
        self.prepare()
            .map_err(|error| CommitError::Aborted(error.to_string()))?;
        let deadline = Instant::now() + self.inner.settings.transaction_timeout();
        let catch_up = deadline.min(Instant::now() + CATCH_UP);
        loop {
            let claim = self.ownership.claim(&commit.positions).map_err(CommitError::Fenced)?;
            let Err(failure) = self.transact(&commit, &claim, deadline) else {
                break;
            };
            let stale = matches!(failure, Failure::Stale { .. });
            let refused = self.undo(failure);
            if !stale || self.producer.is_none() || Instant::now() >= catch_up {
                return Err(refused);
            }
            std::thread::sleep(AGAIN);
        }
        self.finish(deadline)?;
        self.ownership.committed(&commit.positions);
        Ok(())
    }

    /// All steps before the request to commit.
    fn transact(&self, commit: &Commit, claim: &Claim, deadline: Instant) -> Result<(), Failure> {
        let Some(producer) = &self.producer else {
            return Err(Failure::Fatal {
                cause: "no producer".to_owned(),
                fenced: false,
            });
        };
        producer
            .begin_transaction()
            .map_err(|error| failure("beginning", &error))?;
        let acknowledged = send_outputs(producer, &commit.outputs, deadline)?;
        // Acknowledged first: aborting over refused positions purges what is still queued, and the client may take the
        // next transaction's outputs with it.
        if let Some(acknowledged) = acknowledged {
            match acknowledged.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(_)) => {}
                Ok(Err(code)) => {
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
        if claim.offsets.count() > 0 {
            again(deadline, "sending positions", |wait| {
                producer.send_offsets_to_transaction(&claim.offsets, &claim.metadata, wait)
            })?;
        }
        Ok(())
    }

    fn finish(&mut self, deadline: Instant) -> Answer {
        let Some(producer) = &self.producer else {
            return Err(CommitError::Aborted("no producer".to_owned()));
        };
        match again(deadline, "committing", |wait| producer.commit_transaction(wait)) {
            Ok(()) => Ok(()),
            Err(failure @ (Failure::Abort { .. } | Failure::Refused { .. } | Failure::Stale { .. })) => {
                Err(self.undo(failure))
            }
            Err(Failure::Fatal { cause, fenced: true }) => {
                self.producer = None;
                Err(CommitError::Fenced(cause))
            }
            Err(Failure::Fatal { cause, fenced: false } | Failure::Late { cause }) => {
                self.producer = None;
                Err(CommitError::Unknown(cause))
            }
        }
    }

    /// Nothing of the transaction will be visible: the request to commit was not sent, or was refused.
    fn undo(&mut self, failure: Failure) -> CommitError {
        let (cause, fenced, abortable, reusable) = match failure {
            Failure::Abort { cause, fenced } => (cause, fenced, true, true),
            Failure::Refused { cause, fenced } => (cause, fenced, true, false),
            Failure::Stale { cause } => (cause, false, true, true),
            Failure::Late { cause } => (cause, false, true, true),
            Failure::Fatal { cause, fenced } => (cause, fenced, false, false),
        };
        let aborted = abortable && self.producer.as_ref().is_some_and(abort);
        if !aborted || !reusable {
            self.producer = None;
        }
        if fenced {
            CommitError::Fenced(cause)
        } else {
            CommitError::Aborted(cause)
        }
    }
}

/// Queues all outputs. The receiver gets one outcome for all of them; `None` without outputs.
fn send_outputs(
    producer: &Producer,
    outputs: &[(TopicPartition, Vec<NewRecord>)],
    deadline: Instant,
) -> Result<Option<Receiver<Outcome>>, Failure> {
    let total: usize = outputs.iter().map(|(_, records)| records.len()).sum();
    if total == 0 {
        return Ok(None);
    }
    let (send, receive) = channel();
    let batch = Batch::new(total, 0, InFlight::default(), move |outcome| {
        let _ = send.send(outcome);
    });
    for (partition, records) in outputs {
        let number = partition_number(partition).map_err(|error| Failure::Abort {
            cause: error.to_string(),
            fenced: false,
        })?;
        for record in records {
            loop {
                let Err((error, _)) = producer.send(to_kafka(&partition.topic, number, record, batch.clone())) else {
                    break;
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
    }
    Ok(Some(receive))
}

/// True when the transaction is aborted and the producer can begin another.
fn abort(producer: &Producer) -> bool {
    let in_time = again(Instant::now() + ABORT, "aborting", |wait| {
        producer.abort_transaction(wait)
    });
    match in_time {
        Ok(()) => true,
        Err(
            Failure::Abort { cause, .. }
            | Failure::Refused { cause, .. }
            | Failure::Stale { cause }
            | Failure::Fatal { cause, .. }
            | Failure::Late { cause },
        ) => {
            tracing::debug!(cause, "a new producer will abort the transaction");
            false
        }
    }
}

/// Calls until it succeeds, fails for good, or `deadline` is over.
fn again(
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

fn failure(step: &str, error: &KafkaError) -> Failure {
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
