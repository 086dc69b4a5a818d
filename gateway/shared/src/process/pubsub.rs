//! Publish and subscribe within one process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::SharedError;
use crate::pubsub::{Event, MAX_CHANNELS, PubSub, Subscription, WAITING, check};

#[derive(Default)]
pub struct ProcessPubSub {
    channels: Mutex<HashMap<String, broadcast::Sender<Event>>>,
}

#[async_trait]
impl PubSub for ProcessPubSub {
    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), SharedError> {
        check("publishing", channel, message.len())?;
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = channels.get(channel) {
            // Nobody listens: nobody hears it.
            let _ = sender.send(Event::Message(message));
        }
        Ok(())
    }

    fn subscribe(&self, channel: &str) -> Result<Subscription, SharedError> {
        check("subscribing", channel, 0)?;
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|_, sender| sender.receiver_count() > 0);
        if channels.len() >= MAX_CHANNELS && !channels.contains_key(channel) {
            let problem = format!("{MAX_CHANNELS} channels are listened to");
            return Err(SharedError::refused("subscribing", problem));
        }
        let sender = channels.entry(channel.to_owned());
        let sender = sender.or_insert_with(|| broadcast::Sender::new(WAITING));
        Ok(Subscription::new(sender.subscribe(), true))
    }
}
