//! Commits: one Kafka transaction each, on a thread of its own because the client's calls block.
//!
//! begin → send outputs → wait for all acknowledgements → send positions with the group's generation → commit.
//! Whatever fails before the last step is aborted and answers `Aborted` (or `Fenced`); only a commit request without
//! an answer is `Unknown`. After that, and after a fatal error, a new producer with the same transactional id settles
//! what the old one left open. What the broker itself left open is ended by a seal ([`seal`]): before anything else is
//! written, without being asked while there is nothing to commit, and also after the member has left.

mod seal;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;
use stream::log::{Commit, CommitError, LogError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Inner;
use super::appender::check_records;
use super::convert::{partition_number, to_kafka};
use super::delivery::{DeliveryContext, Producer};
use super::ending::Entered;
use super::error::log_error;
use super::ownership::{Claim, Ownership};
use super::portion::Room;
use seal::Trace;
pub(super) use steps::Positions;
use steps::{ABORT, AGAIN, Failure, SLICE, Sending, abort, again, failure, queue, send_positions};

/// The group is in its next generation as soon as all members joined it, and each hears of it a moment later. A
/// commit in that moment is sent again with the new generation, if the partitions are still this member's.
const CATCH_UP: Duration = Duration::from_secs(2);
/// How often an idle member looks whether a connection broke, and tries again to end what is open.
const LOOK: Duration = Duration::from_millis(500);
/// A commit that took longer was caught in some trouble of the broker's: a healthy one takes milliseconds.
const SLOW: Duration = Duration::from_secs(2);
/// How often, at most, an idle member looks for the end of its last commit without a reason. A look is a question per partition.
const GLANCE: Duration = Duration::from_secs(10);
/// Buffered output bytes; sending waits for room beyond it.
const QUEUE_KBYTES: &str = "65536";

type Answer = Result<(), CommitError>;

/// A commit and where its answer goes.
pub(super) struct Job {
    pub commit: Commit,
    pub answer: oneshot::Sender<Answer>,
}

/// Starts the thread of one member of `group`. It ends when the sender is dropped and nothing is left open.
pub(super) fn start(
    inner: Arc<Inner>,
    group: &str,
    id: &str,
    ownership: Arc<Ownership>,
) -> Result<Sender<Job>, LogError> {
    let mut config = inner.settings.producer_config("commit");
    config
        .set("transactional.id", id)
        .set(
            "transaction.timeout.ms",
            inner.settings.transaction_timeout_ms.to_string(),
        )
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES);
    let entered = inner.open.enter();
    let mut transactor = Transactor {
        inner,
        group: group.to_owned(),
        config,
        ownership,
        producer: None,
        last: None,
        attempt: None,
        unseen: false,
        looked: Instant::now(),
        _entered: entered,
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
    group: String,
    config: ClientConfig,
    ownership: Arc<Ownership>,
    /// `None` when the last one must not be used any more.
    producer: Option<Arc<Producer>>,
    /// The last commit that was answered well.
    last: Option<Trace>,
    /// What was begun after it and not answered well.
    attempt: Option<Trace>,
    /// Nobody has looked for the end of the last commit yet.
    unseen: bool,
    looked: Instant,
    /// Until it is dropped, [`KafkaLog::close`](super::KafkaLog) waits.
    _entered: Entered,
}

impl Transactor {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(LOOK) {
                Ok(Job { commit, answer }) => {
                    let outcome = self.commit(commit);
                    // A driver that does not wait any more finds the outcome in the committed position.
                    let _ = answer.send(outcome);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.unseen && self.looked.elapsed() >= GLANCE {
                        self.doubt();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.try_to_mend();
        }
        // The member has left, and nobody else can end what it left open.
        if self.unseen {
            self.doubt();
        }
        while self.loose() {
            self.try_to_mend();
            if self.loose() {
                std::thread::sleep(LOOK);
            }
        }
        self.give_up();
    }

    fn try_to_mend(&mut self) {
        if let Err(cause) = self.mend() {
            tracing::debug!(
                group = self.group,
                cause,
                "cannot tell yet whether everything has its end"
            );
        }
    }

    /// Something answered, and its end may be missing all the same: a broker that stood still for longer than its session is
    /// fenced when it goes on, without any connection breaking, and skips the markers of what it answers in that moment.
    fn doubt(&self) {
        if let Some(producer) = &self.producer {
            producer.context().shake();
        }
    }

    /// A producer that fenced its predecessor and settled what that left open.
    fn prepare(&mut self) -> Result<(), KafkaError> {
        if self.producer.is_some() {
            return Ok(());
        }
        let producer: Producer = self.config.create_with_context(DeliveryContext::default())?;
        // Connected first: a client (librdkafka 2.12.1) that is asked for its transactions' coordinator before it has a connection
        // asks again half a second later.
        self.inner.catalog.introduce(producer.client());
        let deadline = Instant::now() + self.inner.settings.transaction_timeout() + ABORT;
        loop {
            match producer.init_transactions(SLICE) {
                Ok(()) => break,
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(AGAIN);
                }
                Err(error) => {
                    std::thread::spawn(move || drop(producer));
                    return Err(error);
                }
            }
        }
        self.producer = Some(Arc::new(producer));
        Ok(())
    }

    /// Closes the producer, aside: a client that has lost its brokers may take long. One that a call never came back from stays
    /// with the thread of that call.
    fn give_up(&mut self) {
        if let Some(producer) = self.producer.take() {
            std::thread::spawn(move || drop(producer));
        }
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
        let time = self.inner.settings.transaction_timeout();
        let catch_up = Instant::now() + CATCH_UP;
        let begun = loop {
            // Before the claim: both take time in which the group may move on.
            self.mend().map_err(CommitError::Aborted)?;
            self.prepare()
                .map_err(|error| CommitError::Aborted(error.to_string()))?;
            let begun = Instant::now();
            let claim = self.ownership.claim(&commit.positions).map_err(CommitError::Fenced)?;
            let Err(failure) = self.transact(&commit, &claim, begun + time) else {
                break begun;
            };
            let stale = matches!(failure, Failure::Stale { .. });
            let refused = self.undo(failure);
            if !stale || self.producer.is_none() || Instant::now() >= catch_up {
                return Err(refused);
            }
            std::thread::sleep(AGAIN);
        };
        self.finish(begun + time)?;
        if begun.elapsed() >= SLOW {
            self.doubt();
        }
        self.ownership.committed(&commit.positions);
        Ok(())
    }

    /// All steps before the request to commit.
    fn transact(&mut self, commit: &Commit, claim: &Claim, deadline: Instant) -> Result<(), Failure> {
        let Some(producer) = &self.producer else {
            return Err(Failure::Fatal {
                cause: "no producer".to_owned(),
                fenced: false,
            });
        };
        let lost = || self.inner.catalog.has_lost(producer.client());
        let trace = self.attempt.insert(Trace {
            positions: claim.positions.clone(),
            repeats: commit.positions.is_empty(),
            ..Trace::default()
        });
        producer
            .begin_transaction()
            .map_err(|error| failure("beginning", &error))?;
        let mut rest = Vec::new();
        for (partition, records) in commit.outputs.iter().filter(|(_, records)| !records.is_empty()) {
            let number = partition_number(partition).map_err(|error| Failure::Abort {
                cause: error.to_string(),
                fenced: false,
            })?;
            trace.first.insert(partition.clone(), None);
            rest.push((partition, number, records.as_slice()));
        }
        // Acknowledged before anything else: aborting over refused positions purges what is still queued, and the client may
        // take the next transaction's outputs with it.
        while !rest.is_empty() {
            let (mut sending, mut rooms) = (Sending::new(), BTreeMap::<_, Room>::new());
            for (partition, number, records) in &mut rest {
                // Several tasks write to one partition.
                let taken = rooms.entry(*partition).or_default().take(records);
                let (portion, later) = records.split_at(taken);
                if portion.is_empty() {
                    continue;
                }
                let batch = sending.batch(partition, portion.len());
                for record in portion {
                    queue(producer, deadline, || {
                        to_kafka(&partition.topic, *number, record, batch.clone())
                    })?;
                }
                *records = later;
            }
            sending.all().acknowledged(&mut trace.first, deadline, lost)?;
            rest.retain(|(_, _, records)| !records.is_empty());
        }
        if !claim.positions.is_empty() {
            let sent = send_positions(producer, claim.sent.clone(), deadline, lost);
            // A group that refuses them holds none of them back.
            trace.pending = !matches!(sent, Err(Failure::Stale { .. }));
            sent?;
        }
        Ok(())
    }

    fn finish(&mut self, deadline: Instant) -> Answer {
        let Some(producer) = &self.producer else {
            return Err(CommitError::Aborted("no producer".to_owned()));
        };
        if let Some(attempt) = &mut self.attempt {
            attempt.asked = true;
        }
        match again(deadline, "committing", |wait| producer.commit_transaction(wait)) {
            Ok(()) => {
                self.last = self.attempt.take();
                self.unseen = true;
                Ok(())
            }
            Err(failure @ (Failure::Abort { .. } | Failure::Refused { .. } | Failure::Stale { .. })) => {
                // The request was refused: surely nothing was committed.
                if let Some(attempt) = &mut self.attempt {
                    attempt.asked = false;
                }
                Err(self.undo(failure))
            }
            Err(Failure::Fatal { cause, fenced: true }) => {
                self.give_up();
                Err(CommitError::Fenced(cause))
            }
            Err(Failure::Fatal { cause, fenced: false } | Failure::Late { cause }) => {
                self.give_up();
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
        let aborted = abortable && self.producer.as_ref().is_some_and(|producer| abort(producer));
        if let Some(attempt) = self.attempt.as_mut().filter(|_| aborted) {
            attempt.aborted = true;
            if !attempt.first.is_empty() || attempt.pending {
                self.doubt();
            }
        }
        if !aborted || !reusable {
            self.give_up();
        }
        if fenced {
            CommitError::Fenced(cause)
        } else {
            CommitError::Aborted(cause)
        }
    }
}
