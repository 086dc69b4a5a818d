//! Publish and subscribe on a Redis server: one connection that listens for the whole process, in a task of its own, which connects again
//! for as long as anybody subscribes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use redis::RedisResult;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Link;
use super::link::count;
use crate::SharedError;
use crate::pubsub::{Event, MAX_CHANNELS, MAX_MESSAGE, PubSub, Subscription, WAITING, check};

/// How long to wait before connecting again: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often a quiet connection is asked for a sign of life. Longer: one that stands still is noticed later.
const SIGN: Duration = Duration::from_secs(1);

pub struct RedisPubSub {
    link: Arc<Link>,
    channels: Arc<Channels>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Channels {
    /// By their names on the server.
    all: Mutex<HashMap<String, Channel>>,
    more: Notify,
}

struct Channel {
    sender: broadcast::Sender<Event>,
    /// The server has confirmed that we listen.
    listened: bool,
}

impl Channels {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self) -> Option<String> {
        self.all()
            .iter()
            .find(|(_, channel)| !channel.listened)
            .map(|(name, _)| name.clone())
    }

    fn listened(&self, name: &str) {
        if let Some(channel) = self.all().get_mut(name) {
            channel.listened = true;
            let _ = channel.sender.send(Event::Gap);
        }
    }

    fn interrupted(&self) {
        let mut all = self.all();
        all.retain(|_, channel| channel.sender.receiver_count() > 0);
        all.values_mut().for_each(|channel| channel.listened = false);
    }

    fn hand(&self, name: &str, event: Event) {
        if let Some(channel) = self.all().get(name) {
            let _ = channel.sender.send(event);
        }
    }
}

impl RedisPubSub {
    /// Listens from the first subscription on, until it is dropped. Must be called within a tokio runtime.
    pub fn start(link: Arc<Link>) -> Self {
        let channels = Arc::new(Channels::default());
        let listening = tokio::spawn(listen(link.clone(), channels.clone()));
        RedisPubSub {
            link,
            channels,
            listening,
        }
    }
}

impl Drop for RedisPubSub {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[async_trait]
impl PubSub for RedisPubSub {
    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), SharedError> {
        let doing = "publishing";
        check(doing, channel, message.len())?;
        let channel = self.link.channel(channel);
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(&message[..]);
        let _: i64 = self.link.call("pubsub", doing, &publish).await?;
        Ok(())
    }

    fn subscribe(&self, channel: &str) -> Result<Subscription, SharedError> {
        check("subscribing", channel, 0)?;
        let name = self.link.channel(channel);
        let mut all = self.channels.all();
        if all.len() >= MAX_CHANNELS && !all.contains_key(&name) {
            let problem = format!("{MAX_CHANNELS} channels are listened to");
            return Err(SharedError::refused("subscribing", problem));
        }
        let channel = all.entry(name).or_insert_with(|| Channel {
            sender: broadcast::Sender::new(WAITING),
            listened: false,
        });
        let subscription = Subscription::new(channel.sender.subscribe(), channel.listened);
        drop(all);
        self.channels.more.notify_one();
        Ok(subscription)
    }
}

async fn listen(link: Arc<Link>, channels: Arc<Channels>) {
    let mut pause = PAUSES.0;
    loop {
        // Nobody subscribes: no connection.
        while channels.missing().is_none() {
            channels.more.notified().await;
        }
        let began = Instant::now();
        let cause = match connect(&link).await {
            Ok((sink, stream)) => serve(&link, &channels, sink, stream).await,
            Err(cause) => cause,
        };
        channels.interrupted();
        count("pubsub", "interrupted");
        tracing::debug!(cause, "not subscribed: later again");
        // One that held for a while was no failure to connect.
        pause = match began.elapsed() > PAUSES.1 * 2 {
            true => PAUSES.0,
            false => (pause * 2).min(PAUSES.1),
        };
        tokio::time::sleep(pause).await;
    }
}

async fn connect(link: &Link) -> Result<(PubSubSink, PubSubStream), String> {
    let (limit, _) = link.limits();
    let connected = in_time(link, limit, link.client().get_async_pubsub()).await?;
    Ok(connected.split())
}

/// Until the connection is of no use; why.
async fn serve(link: &Link, channels: &Channels, mut sink: PubSubSink, mut stream: PubSubStream) -> String {
    let (_, limit) = link.limits();
    let mut signs = tokio::time::interval(SIGN);
    signs.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        while let Some(name) = channels.missing() {
            if let Err(cause) = in_time(link, limit, sink.subscribe(&name)).await {
                return cause;
            }
            channels.listened(&name);
        }
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else { return "the connection ended".to_owned() };
                let payload = message.get_payload_bytes();
                let event = match payload.len() > MAX_MESSAGE {
                    // Nobody who keeps to the port has sent it.
                    true => Event::Gap,
                    false => Event::Message(Bytes::copy_from_slice(payload)),
                };
                channels.hand(message.get_channel_name(), event);
            }
            () = channels.more.notified() => {}
            _ = signs.tick() => {
                if let Err(cause) = in_time(link, limit, sink.ping::<redis::Value>()).await {
                    return cause;
                }
            }
        }
    }
}

async fn in_time<T>(link: &Link, limit: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(limit, asked).await {
        Ok(outcome) => outcome.map_err(|error| link.words(&error)),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}
