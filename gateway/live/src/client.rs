//! One client of one namespace: a snapshot, or what it missed; then what comes, for as long as it takes it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use gateway::ReadError;
use serde::Serialize;
use serde_json::Value;
use socketioxide::extract::SocketRef;
use socketioxide::{SendError, SocketError};
use stream::{LogError, TopicPartition};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::door::Admitted;
use crate::history::Found;
use crate::look::{Missed, back};
use crate::presence::Looks;
use crate::project::Message;
use crate::{Adapter, Cursor, Inner, Namespace};

/// How long a client may take nothing. Longer: a stuck one is read for in vain; shorter: a slow line loses its connection.
pub const SLOW: Duration = Duration::from_secs(10);
/// Before a full buffer is looked at again.
const FULL: Duration = Duration::from_millis(25);
/// Messages taken at once from one partition, so that the others have their turn.
const TURN: usize = 64;
/// The same for whom the newest of each incident is enough: of how many facts, how many messages at most, and the pause behind them. A page
/// that redraws for each has time for its reader in between.
const LATEST_OF: usize = 2_000;
const LATEST: usize = 100;
const PACE: Duration = Duration::from_millis(100);
/// Before the tables or the log are asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two states of the pipeline.
const SAMPLE: Duration = Duration::from_secs(1);
/// Who came with a token or a session is asked for it again after this time.
const RECHECK: Duration = Duration::from_secs(30);

/// Why a client is no longer served.
#[derive(Debug)]
enum End {
    /// It went.
    Gone,
    /// It took nothing for [`SLOW`].
    Slow,
    /// Its session ended.
    Unauthorized,
    /// The process stops.
    Stopping,
}

/// Serves until the client goes, or must.
pub async fn serve(inner: &Inner, namespace: Namespace, socket: SocketRef<Adapter>, admitted: Admitted) {
    let gone = CancellationToken::new();
    let told = gone.clone();
    socket.on_disconnect(async move |_: SocketRef<Adapter>| told.cancel());
    let name = namespace.path();
    metrics::gauge!("aegis_live_clients", "namespace" => name).increment(1.0);
    let client = Client {
        inner,
        namespace,
        latest: admitted.hello.latest && namespace == Namespace::Incidents,
        socket: &socket,
    };
    let end = tokio::select! {
        end = client.run(admitted.hello.cursor.as_deref()) => end,
        () = gone.cancelled() => End::Gone,
        () = inner.stop.cancelled() => End::Stopping,
        () = still_admitted(inner, &socket, &admitted) => End::Unauthorized,
        never = looks(inner, &socket, &admitted) => match never {},
    };
    metrics::gauge!("aegis_live_clients", "namespace" => name).decrement(1.0);
    let reason = match end {
        End::Gone | End::Stopping => return,
        End::Slow => "slow",
        End::Unauthorized => "unauthorized",
    };
    metrics::counter!("aegis_live_dropped_total", "reason" => reason).increment(1);
    tracing::info!(namespace = name, reason, "client dropped");
    // With a full buffer it cannot even be told.
    let until = Instant::now() + SLOW;
    while let Err(SocketError::InternalChannelFull) = socket.clone().disconnect() {
        if Instant::now() > until {
            return;
        }
        tokio::time::sleep(FULL).await;
    }
}

/// Returns once the client may no longer be here.
async fn still_admitted(inner: &Inner, socket: &SocketRef<Adapter>, admitted: &Admitted) {
    let mut ends = inner.stands.door.session_ends();
    loop {
        let _ = tokio::time::timeout(RECHECK, ends.changed()).await;
        let headers = &socket.req_parts().headers;
        let asked = inner.stands.door.admit(headers, admitted.hello.token.as_deref()).await;
        match asked {
            Ok(Some(caller)) if caller.name == admitted.caller.name => {}
            // Whether it may cannot be asked now: it stays as it was.
            Err(_) => {}
            Ok(_) => return,
        }
    }
}

/// Where clients may look at something.
async fn looks(inner: &Inner, socket: &SocketRef<Adapter>, admitted: &Admitted) -> Infallible {
    match socket.extensions.get::<Looks>() {
        Some(looks) => {
            inner
                .presence
                .follow(socket, admitted.caller.name.as_deref(), looks)
                .await
        }
        None => std::future::pending().await,
    }
}

struct Client<'a> {
    inner: &'a Inner,
    namespace: Namespace,
    latest: bool,
    socket: &'a SocketRef<Adapter>,
}

impl Client<'_> {
    async fn run(&self, cursor: Option<&str>) -> End {
        let ended = match self.namespace.topic() {
            None => self.sample().await,
            Some(topic) => self.follow(topic, cursor).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// The state again and again.
    async fn sample(&self) -> Result<Infallible, End> {
        let mut event = "snapshot";
        loop {
            let state = self.snapshot().await;
            let sent = match event {
                "snapshot" => {
                    let mut state = state.state;
                    state["cursor"] = Value::from("");
                    self.send(event, &state).await
                }
                _ => {
                    let delta = serde_json::json!({ "type": "sample", "cursor": "", "at": state.state["at"], "data": state.state });
                    self.send(event, &delta).await
                }
            };
            sent?;
            event = "delta";
            tokio::time::sleep(SAMPLE).await;
        }
    }

    async fn follow(&self, topic: &'static str, cursor: Option<&str>) -> Result<Infallible, End> {
        let partitions = loop {
            match self.inner.stands.log.partitions(topic).await {
                Ok(count) => break count as usize,
                Err(error) => self.wait_for(&error).await,
            }
        };
        let id = self.inner.stands.log.id();
        let mut cursor = cursor.and_then(|text| Cursor::parse(text, &id, partitions));
        let history = self.inner.history(topic);
        let mut changes = history.changes();
        loop {
            let mut at = match cursor.take() {
                Some(at) => at,
                None => self.begin(topic, partitions).await?,
            };
            // Until it has to begin anew.
            'told: loop {
                changes.borrow_and_update();
                let mut quiet = true;
                for number in 0..at.partitions() {
                    let missed = self.turn(topic, number, &mut at).await?;
                    match missed {
                        Turn::Nothing => {}
                        Turn::Told => quiet = false,
                        Turn::Gone => break 'told,
                    }
                }
                match quiet {
                    true => wait(&mut changes).await,
                    false if self.latest => tokio::time::sleep(PACE).await,
                    false => {}
                }
            }
        }
    }

    /// A few messages of one partition.
    async fn turn(&self, topic: &'static str, number: usize, at: &mut Cursor) -> Result<Turn, End> {
        let history = self.inner.history(topic);
        let partition = TopicPartition::new(topic, number as u32);
        let from = at.at(number);
        let most = if self.latest { LATEST_OF } else { TURN };
        let (messages, next) = match history.after(partition.partition, from, most) {
            Found::Nothing => return Ok(Turn::Nothing),
            Found::Messages(messages, next) => (messages, next),
            Found::NotHere(until) => match back(self.inner, &partition, from, until).await {
                Ok(Missed::Messages(_, next)) if next == from => return Ok(Turn::Nothing),
                Ok(Missed::Messages(messages, next)) => (messages, next),
                Ok(Missed::Gone) => return Ok(Turn::Gone),
                Err(error) => {
                    self.wait_for(&error).await;
                    return Ok(Turn::Nothing);
                }
            },
        };
        let (messages, next) = match self.latest {
            true => newest(messages, next, LATEST),
            false => (messages, next),
        };
        for message in messages {
            at.advance(number, message.offset + 1);
            if message.namespace == self.namespace {
                self.send("delta", &message.told(at.to_string())).await?;
            }
        }
        at.advance(number, next);
        Ok(Turn::Told)
    }

    /// Sends a snapshot; where to go on behind it.
    async fn begin(&self, topic: &'static str, partitions: usize) -> Result<Cursor, End> {
        let snapshot = self.snapshot().await;
        let log = &self.inner.stands.log;
        let mut next = Vec::with_capacity(partitions);
        for number in 0..partitions {
            let known = snapshot.next.get(number).copied().flatten();
            next.push(match known {
                Some(next) => next,
                None => loop {
                    match log.bounds(&TopicPartition::new(topic, number as u32)).await {
                        Ok(bounds) => break bounds.start.0,
                        Err(error) => self.wait_for(&error).await,
                    }
                },
            });
        }
        let cursor = Cursor::new(&log.id(), next);
        let mut state = snapshot.state;
        state["cursor"] = Value::from(cursor.to_string());
        self.send("snapshot", &state).await?;
        Ok(cursor)
    }

    /// Asks until there is an answer.
    async fn snapshot(&self) -> crate::Snapshot {
        loop {
            match self.inner.stands.snapshots.snapshot(self.namespace).await {
                Ok(snapshot) => return snapshot,
                Err(error @ (ReadError::Unavailable(_) | ReadError::Failed(_))) => {
                    tracing::debug!(%error, namespace = self.namespace.path(), "a client waits for its snapshot");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn wait_for(&self, error: &LogError) {
        tracing::debug!(%error, namespace = self.namespace.path(), "a client waits for the log");
        tokio::time::sleep(AGAIN).await;
    }

    /// Waits for room, as long as a client may take.
    async fn send(&self, event: &str, data: &impl Serialize) -> Result<(), End> {
        let until = Instant::now() + SLOW;
        loop {
            match self.socket.emit(event, data) {
                Ok(()) => return Ok(()),
                Err(SendError::Socket(SocketError::Closed)) => return Err(End::Gone),
                Err(SendError::Socket(SocketError::InternalChannelFull)) if Instant::now() < until => {
                    tokio::time::sleep(FULL).await;
                }
                Err(SendError::Socket(SocketError::InternalChannelFull)) => return Err(End::Slow),
                Err(SendError::Serialize(error)) => {
                    tracing::error!(%error, event, "a message cannot be written: clients miss it");
                    return Ok(());
                }
            }
        }
    }
}

/// What one turn brought.
enum Turn {
    Nothing,
    Told,
    /// The client must begin anew.
    Gone,
}

/// Of each subject the newest message, in order, from as many as bring `most` subjects; and the place behind those. Whoever goes on behind one of
/// them misses nothing: what was left out before it has a newer one behind it.
fn newest(messages: Vec<Arc<Message>>, next: u64, most: usize) -> (Vec<Arc<Message>>, u64) {
    let mut last: HashMap<Uuid, u64> = HashMap::new();
    let mut end = messages.len();
    for (at, message) in messages.iter().enumerate() {
        let Some(subject) = message.subject else { continue };
        if last.len() == most && !last.contains_key(&subject) {
            end = at;
            break;
        }
        last.insert(subject, message.offset);
    }
    let next = messages.get(end).map_or(next, |behind| behind.offset);
    let taken = messages.into_iter().take(end);
    let told = taken.filter(|message| message.subject.is_none_or(|subject| last[&subject] == message.offset));
    (told.collect(), next)
}

async fn wait(changes: &mut watch::Receiver<u64>) {
    // The sender is the history's: it does not go away before its clients. Looked again all the same, for what no feeder reads.
    let _ = tokio::time::timeout(AGAIN, changes.changed()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: u64, subject: Option<u128>) -> Arc<Message> {
        let told = Message::new(Namespace::Incidents, 0, offset, 0, "opened", &Value::Null).unwrap();
        Arc::new(Message {
            subject: subject.map(Uuid::from_u128),
            ..told
        })
    }

    #[test]
    fn the_newest_of_each_subject_in_order() {
        let all = [
            (3, Some(1)),
            (4, Some(2)),
            (5, None),
            (6, Some(1)),
            (8, Some(3)),
            (9, Some(2)),
        ];
        let told = |most| {
            let messages = all.iter().map(|(offset, subject)| message(*offset, *subject)).collect();
            let (told, next) = newest(messages, 12, most);
            (told.iter().map(|message| message.offset).collect::<Vec<_>>(), next)
        };
        assert_eq!(told(10), (vec![5, 6, 8, 9], 12));
        assert_eq!(told(2), (vec![4, 5, 6], 8));
        assert_eq!(told(1), (vec![3], 4));
        assert_eq!(newest(Vec::new(), 7, 1), (Vec::new(), 7));
    }
}
