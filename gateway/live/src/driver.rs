//! How the Socket.IO servers of several instances talk to each other: over the same publish and subscribe as everything else between them
//! ([`shared::PubSub`]), which is Redis where there is one, and this process alone where not. What is lost there is lost here: only what
//! may be goes this way, and none of the deltas, which every instance reads off the log itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::{Event, PubSub, SharedError};
use socketioxide_redis::drivers::{ChanItem, Driver, MessageStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// See the module's header.
#[derive(Clone)]
pub struct SharedDriver {
    pubsub: Arc<dyn PubSub>,
    listening: Arc<Mutex<BTreeMap<String, AbortHandle>>>,
}

impl SharedDriver {
    pub fn new(pubsub: Arc<dyn PubSub>) -> Self {
        SharedDriver {
            pubsub,
            listening: Arc::default(),
        }
    }

    fn listen(&self, channel: String, size: usize) -> Result<MessageStream<ChanItem>, SharedError> {
        let mut heard = self.pubsub.subscribe(&channel)?;
        let (sender, receiver) = mpsc::channel(size.max(1));
        let named = channel.clone();
        let task = tokio::spawn(async move {
            while let Some(event) = heard.next().await {
                let Event::Message(bytes) = event else { continue };
                // Full: it is lost, as it may be.
                if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send((named.clone(), bytes.to_vec())) {
                    return;
                }
            }
        });
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = listening.insert(channel, task.abort_handle()) {
            before.abort();
        }
        Ok(MessageStream::new(receiver))
    }
}

impl Driver for SharedDriver {
    type Error = SharedError;

    async fn publish(&self, channel: String, message: Vec<u8>) -> Result<(), SharedError> {
        self.pubsub.publish(&channel, message.into()).await
    }

    async fn subscribe(&self, channel: String, size: usize) -> Result<MessageStream<ChanItem>, SharedError> {
        self.listen(channel, size)
    }

    async fn unsubscribe(&self, channel: String) -> Result<(), SharedError> {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = listening.remove(&channel) {
            task.abort();
        }
        Ok(())
    }

    /// Nobody is asked for an answer by all, so nobody counts.
    async fn num_serv(&self, _: &str) -> Result<u16, SharedError> {
        Ok(1)
    }
}
