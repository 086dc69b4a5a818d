//! Publish and subscribe: hints to whoever listens now.
//!
//! - **At most once.** A message reaches those that listen, or is lost; nothing is kept and nothing is sent again.
//! - **In order, per channel.** Who gets two messages of one channel gets them in the order in which the server took them; two that one
//!   task published one after the other come in that order. Between channels there is no order.
//! - **Losses show.** After every interruption, and at the beginning, a subscriber gets [`Event::Gap`]: what happened before may have been
//!   missed, so look for yourself; what is published from here on is heard, until the next gap.
//! - **Bounded.** A message has at most [`MAX_MESSAGE`] bytes. A subscriber that is slower than its channel loses the oldest messages, and
//!   gets a gap in their place.
//! - Who publishes on a channel that he listens to hears himself.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::{SharedError, limits};

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Most bytes of a channel's name.
pub const MAX_CHANNEL: usize = 128;
/// Channels that one process may listen to.
pub(crate) const MAX_CHANNELS: usize = 1_024;
/// Messages of a channel that may wait for a subscriber. Higher: more memory for one that is stuck; lower: gaps in bursts.
pub(crate) const WAITING: usize = 256;

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Messages may have been missed until here.
    Gap,
    Message(Bytes),
}

/// One listener on one channel.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Event>,
    /// The channel is listened to already, so nobody will say so.
    gap_first: bool,
}

impl Subscription {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>, gap_first: bool) -> Self {
        Subscription { receiver, gap_first }
    }

    /// Waits for the next; `None` when the other side is closed for good. Dropped half way, it loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.gap_first) {
            return Some(Event::Gap);
        }
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(_)) => Some(Event::Gap),
            Err(RecvError::Closed) => None,
        }
    }
}

/// See the module's header.
#[async_trait]
pub trait PubSub: Send + Sync + 'static {
    /// Tells those that listen now. Done says that the server took it, not that anybody heard it.
    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), SharedError>;

    /// Listens from the first [`Event::Gap`] on. A server that is away is no error: the gap comes when it is there.
    fn subscribe(&self, channel: &str) -> Result<Subscription, SharedError>;
}

pub(crate) fn check(doing: &'static str, channel: &str, bytes: usize) -> Result<(), SharedError> {
    limits::name(doing, "the channel's name", channel, MAX_CHANNEL)?;
    limits::size(doing, "the message", bytes, MAX_MESSAGE)
}
