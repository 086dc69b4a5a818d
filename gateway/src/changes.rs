//! That something changed: who waits for news looks again, on whichever instance the news were written.
//!
//! ```text
//!   who writes rows ─ note() ─► at most one message in PACE ─► channel `changes` ─► every instance's mark ─► who waits for another mark
//! ```
//!
//! A mark names a state of the tables: instances that have heard the same messages have the same mark, because one channel has one order. After a
//! gap the mark is one that nobody else has, so what may have been missed counts as a change. A message that cannot be sent changes the
//! mark of its own instance at least; the others are told by nobody, and their readers look when their wait is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shared::{Event, PubSub};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CHANGES: &str = "changes";
const SESSIONS: &str = "sessions";
/// Least time between two messages of one instance. Lower: more messages, and more readers that wake for one row; higher: later news.
const PACE: Duration = Duration::from_millis(100);

/// See the module's header.
pub struct Changes {
    pubsub: Arc<dyn PubSub>,
    mark: watch::Sender<String>,
    /// Counts what may have ended a session.
    ended: watch::Sender<u64>,
    noted: Notify,
    closed: CancellationToken,
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    Changed,
    /// Some session ended: perhaps that of whoever waits.
    SessionsEnded,
    /// The process stops.
    Closed,
}

impl Changes {
    pub fn new(pubsub: Arc<dyn PubSub>) -> Arc<Self> {
        Arc::new(Changes {
            pubsub,
            mark: watch::Sender::new(fresh()),
            ended: watch::Sender::new(0),
            noted: Notify::new(),
            closed: CancellationToken::new(),
        })
    }

    /// Listens and tells until `stop`; then whoever waits is woken.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.listen() => {}
            () = self.tell() => {}
        }
        self.closed.cancel();
    }

    /// Rows were written. Returns at once; told soon after.
    pub fn note(&self) {
        self.noted.notify_one();
    }

    /// The state of the tables as far as this instance has heard.
    pub fn mark(&self) -> String {
        self.mark.borrow().clone()
    }

    /// Waits until the mark is another than `mark`, or some session ended.
    pub async fn after(&self, mark: &str) -> Woken {
        let (mut marks, mut ended) = (self.mark.subscribe(), self.ended.subscribe());
        tokio::select! {
            _ = marks.wait_for(|now| now != mark) => Woken::Changed,
            _ = ended.changed() => Woken::SessionsEnded,
            () = self.closed.cancelled() => Woken::Closed,
        }
    }

    /// Changes whenever some session may have ended.
    pub fn session_ends(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Sessions ended: whoever waits on any instance asks whether his did.
    pub async fn sessions_ended(&self) {
        if let Err(error) = self.pubsub.publish(SESSIONS, Bytes::from_static(b"ended")).await {
            tracing::warn!(%error, "who waits on another instance is not told that sessions ended");
            self.ended.send_modify(|count| *count += 1);
        }
    }

    async fn listen(&self) {
        let (Ok(mut changes), Ok(mut sessions)) = (self.pubsub.subscribe(CHANGES), self.pubsub.subscribe(SESSIONS))
        else {
            // The names are within the limits.
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                event = changes.next() => match event {
                    Some(Event::Message(mark)) => self.moved(&mark),
                    Some(Event::Gap) => self.moved(fresh().as_bytes()),
                    None => return std::future::pending().await,
                },
                event = sessions.next() => match event {
                    Some(_) => self.ended.send_modify(|count| *count += 1),
                    None => return std::future::pending().await,
                },
            }
        }
    }

    fn moved(&self, mark: &[u8]) {
        // Whatever else may stand there is no mark, and a change all the same.
        let mark = std::str::from_utf8(mark)
            .ok()
            .and_then(|text| Uuid::try_parse(text).ok());
        self.mark.send_replace(mark.map_or_else(fresh, |mark| mark.to_string()));
        metrics::counter!("aegis_changes_heard_total").increment(1);
    }

    async fn tell(&self) {
        loop {
            self.noted.notified().await;
            let mark = fresh();
            if let Err(error) = self.pubsub.publish(CHANGES, Bytes::from(mark.clone())).await {
                tracing::debug!(%error, "other instances are not told of a change");
                self.moved(mark.as_bytes());
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

fn fresh() -> String {
    Uuid::new_v4().to_string()
}
