//! Acknowledgements: one for all records that were sent together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{ProducerContext, ThreadedProducer};
use tokio::time::Instant;

use super::context::{Watch, log_line};
use super::lock;

/// A producer whose acknowledgements are served by a thread of its own.
pub(super) type Producer = ThreadedProducer<DeliveryContext>;

/// Closes a producer that is not to be used any more, on a thread of its own: a client that has lost its brokers may take
/// long, and neither a runtime's thread nor the next commit can wait for it.
pub(super) fn retire(producer: Arc<Producer>) {
    std::thread::spawn(move || {
        // Calls that still wait for their acknowledgement hold it, too; the last one must not close it.
        while Arc::strong_count(&producer) > 1 {
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(producer);
    });
}

/// Offset of the first record, or why one of them failed.
pub(super) type Outcome = Result<i64, Code>;

/// Bytes handed to the client and not yet acknowledged.
pub(super) type InFlight = Arc<AtomicUsize>;

type Done = Box<dyn FnOnce(Outcome) + Send>;

/// Records sent together.
pub(super) struct Batch {
    state: Mutex<State>,
    /// Taken off `in_flight` when the last record is settled.
    bytes: usize,
    in_flight: InFlight,
}

struct State {
    remaining: usize,
    first: Option<i64>,
    failed: Option<Code>,
    done: Option<Done>,
}

impl Batch {
    /// `done` is called once, when all `records` are settled.
    pub fn new(
        records: usize,
        bytes: usize,
        in_flight: InFlight,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Arc<Self> {
        in_flight.fetch_add(bytes, Ordering::SeqCst);
        let state = State {
            remaining: records,
            first: None,
            failed: None,
            done: Some(Box::new(done)),
        };
        Arc::new(Batch {
            state: Mutex::new(state),
            bytes,
            in_flight,
        })
    }

    /// `count` records never reached the client's queue.
    pub fn unsent(&self, count: usize, code: Code) {
        self.settle(count, Err(code));
    }

    /// `count` records are settled.
    pub fn settle(&self, count: usize, outcome: Outcome) {
        let finished = {
            let mut state = lock(&self.state);
            state.remaining = state.remaining.saturating_sub(count);
            match outcome {
                Ok(offset) => state.first = Some(state.first.map_or(offset, |first| first.min(offset))),
                Err(code) => state.failed = state.failed.or(Some(code)),
            }
            if state.remaining > 0 {
                return;
            }
            let outcome = match (state.failed, state.first) {
                (Some(code), _) => Err(code),
                (None, Some(first)) => Ok(first),
                (None, None) => Err(Code::Fail),
            };
            state.done.take().map(|done| (done, outcome))
        };
        if let Some((done, outcome)) = finished {
            self.in_flight.fetch_sub(self.bytes, Ordering::SeqCst);
            done(outcome);
        }
    }
}

/// Hands each acknowledgement to its batch.
#[derive(Default)]
pub(super) struct DeliveryContext {
    watch: Watch,
    shaken: AtomicBool,
    /// When the first record was queued after the last one that was stored.
    unanswered: Mutex<Option<Instant>>,
}

impl DeliveryContext {
    /// Whether a connection broke, or a request went unanswered, since [`DeliveryContext::steady`].
    pub fn shaken(&self) -> bool {
        self.shaken.load(Ordering::SeqCst)
    }

    /// From now on only what breaks anew counts.
    pub fn steady(&self) {
        self.shaken.store(false, Ordering::SeqCst);
    }

    pub fn shake(&self) {
        self.shaken.store(true, Ordering::SeqCst);
    }

    /// Records were queued.
    pub fn asked(&self) {
        lock(&self.unanswered).get_or_insert_with(Instant::now);
    }

    /// How long records have been queued without one being stored, also when those that waited have given up or timed out
    /// meanwhile. `None` when nothing was queued since the last that was stored.
    pub fn unanswered_for(&self) -> Option<Duration> {
        lock(&self.unanswered).map(|since| since.elapsed())
    }
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.shake();
        self.watch.note(&error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, result: &DeliveryResult<'_>, batch: Arc<Batch>) {
        let outcome = match result {
            Ok(message) => {
                *lock(&self.unanswered) = None;
                Ok(message.offset())
            }
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        };
        batch.settle(1, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn check(settled: &[(usize, Outcome)], expected: Option<Outcome>) {
        let (send, receive) = channel();
        let in_flight = InFlight::default();
        let batch = Batch::new(3, 100, in_flight.clone(), move |outcome| send.send(outcome).unwrap());
        for (count, outcome) in settled {
            batch.settle(*count, *outcome);
        }
        assert_eq!(receive.try_recv().ok(), expected);
        assert_eq!(
            in_flight.load(Ordering::SeqCst),
            if expected.is_some() { 0 } else { 100 }
        );
    }

    #[test]
    fn a_batch_is_done_when_each_record_is() {
        check(&[(1, Ok(7)), (1, Ok(8))], None);
        check(&[(1, Ok(8)), (1, Ok(7)), (1, Ok(9))], Some(Ok(7)));
        check(
            &[(1, Ok(7)), (1, Err(Code::MessageTimedOut)), (1, Ok(9))],
            Some(Err(Code::MessageTimedOut)),
        );
        check(&[(1, Ok(7)), (2, Err(Code::QueueFull))], Some(Err(Code::QueueFull)));
    }
}
