//! One partition's appends: in their order, a portion at a time ([`Room`]). What comes while one is under way makes up the next, so
//! many callers share a round trip, and the longer it takes, the more they share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use stream::log::{NewRecord, TopicPartition};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::convert::to_kafka;
use super::super::delivery::{Batch, InFlight, Producer};
use super::super::portion::Room;
use super::producers::Producers;

/// Records of one call on their way into the lane.
pub(super) struct Waiting {
    pub records: Vec<NewRecord>,
    /// Hears of all of them.
    pub batch: Arc<Batch>,
    /// From then on nobody waits for those that are not under way.
    pub until: Instant,
}

/// The way into a lane. Its task ends when this is dropped and everything is sent.
pub(super) type Entrance = UnboundedSender<Waiting>;

/// Starts the lane of a partition. `patience`: longest wait for the acknowledgements of a producer that is not used any more.
pub(super) fn start(producers: Arc<Producers>, to: &TopicPartition, number: i32, patience: Duration) -> Entrance {
    let (entrance, waiting) = unbounded_channel();
    let lane = Lane {
        producers,
        topic: to.topic.to_string(),
        number,
        patience,
        queue: VecDeque::new(),
    };
    tokio::spawn(lane.run(waiting));
    entrance
}

struct Lane {
    producers: Arc<Producers>,
    topic: String,
    number: i32,
    patience: Duration,
    queue: VecDeque<Waiting>,
}

impl Lane {
    async fn run(mut self, mut waiting: UnboundedReceiver<Waiting>) {
        loop {
            if self.queue.is_empty() {
                match waiting.recv().await {
                    Some(first) => self.queue.push_back(first),
                    None => return,
                }
            }
            while let Ok(more) = waiting.try_recv() {
                self.queue.push_back(more);
            }
            let portion = self.portion();
            if !portion.is_empty() {
                self.send(portion).await;
            }
        }
    }

    /// The next portion, call by call. Calls whose time is over are answered instead.
    fn portion(&mut self) -> Vec<(Vec<NewRecord>, Arc<Batch>)> {
        let (mut room, mut portion, now) = (Room::default(), Vec::new(), Instant::now());
        while let Some(next) = self.queue.front_mut() {
            if next.until <= now {
                next.batch.unsent(next.records.len(), Code::MessageTimedOut);
                self.queue.pop_front();
                continue;
            }
            let taken = room.take(&next.records);
            if taken == 0 {
                break;
            }
            let later = next.records.split_off(taken);
            portion.push((std::mem::replace(&mut next.records, later), next.batch.clone()));
            if next.records.is_empty() {
                self.queue.pop_front();
            }
        }
        portion
    }

    /// Returns when the portion is settled, or its producer is not to be waited for any more.
    async fn send(&self, portion: Vec<(Vec<NewRecord>, Arc<Batch>)>) {
        let producer = match self.producers.usable() {
            Ok(producer) => producer,
            Err(error) => {
                tracing::warn!(%error, "nothing can be appended");
                for (records, batch) in &portion {
                    batch.unsent(records.len(), Code::Fail);
                }
                return;
            }
        };
        let mut settled = self.enqueue(&producer, &portion);
        drop(portion);
        while timeout(self.producers.silence, &mut settled).await.is_err() {
            if self.producers.worn(&producer).is_some() {
                // It works on what it has for as long as it is held.
                let patience = self.patience;
                tokio::spawn(async move {
                    let _ = timeout(patience, settled).await;
                    drop(producer);
                });
                return;
            }
        }
    }

    /// Hands the records to the client. The answer comes when all are settled.
    fn enqueue(&self, producer: &Producer, portion: &[(Vec<NewRecord>, Arc<Batch>)]) -> oneshot::Receiver<()> {
        let (send, settled) = oneshot::channel();
        let end = Arc::new(End(Some(send)));
        producer.context().asked();
        for (records, whole) in portion {
            let (count, whole, end) = (records.len(), whole.clone(), end.clone());
            let piece = Batch::new(count, 0, InFlight::default(), move |outcome| {
                whole.settle(count, outcome);
                drop(end);
            });
            for (index, record) in records.iter().enumerate() {
                if let Err((error, _)) = producer.send(to_kafka(&self.topic, self.number, record, piece.clone())) {
                    piece.unsent(count - index, error.rdkafka_error_code().unwrap_or(Code::Fail));
                    break;
                }
            }
        }
        settled
    }
}

/// Tells when the last piece of a portion lets it go.
struct End(Option<oneshot::Sender<()>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(send) = self.0.take() {
            let _ = send.send(());
        }
    }
}
