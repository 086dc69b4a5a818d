//! The producer of a log, and its successor once it is of no use any more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::Producer as _;
use stream::log::LogError;

use super::super::delivery::{DeliveryContext, Producer, retire};
use super::super::error::log_error;
use super::super::lock;

/// A producer that has stored nothing for this long, though it was asked to, is replaced: it may have lost its brokers for
/// good ([`super::super::line`]). Less makes many producers while a broker is away; more adds to how long a lost one keeps every
/// door shut.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// See the module header.
pub(super) struct Producers {
    config: ClientConfig,
    pub(super) silence: Duration,
    current: Mutex<Arc<Producer>>,
}

impl Producers {
    pub fn open(config: ClientConfig, silence: Duration) -> Result<Self, LogError> {
        let current = Mutex::new(create(&config)?);
        Ok(Producers {
            config,
            silence,
            current,
        })
    }

    /// The one that was used last, whatever became of it.
    pub fn latest(&self) -> Arc<Producer> {
        lock(&self.current).clone()
    }

    /// One to send with.
    pub fn usable(&self) -> Result<Arc<Producer>, LogError> {
        let mut current = lock(&self.current);
        if let Some(why) = self.worn(&current) {
            tracing::warn!(why, "a new producer takes over");
            let fresh = create(&self.config)?;
            retire(std::mem::replace(&mut *current, fresh));
        }
        Ok(current.clone())
    }

    /// Why this producer is not to be used any more. Asked before each portion and not when one has failed: requests give up
    /// long before the client does, and then nobody is there to hear of the failure.
    pub fn worn(&self, producer: &Producer) -> Option<String> {
        if let Some((code, reason)) = producer.client().fatal_error() {
            return Some(format!("the last one gave up: {code}: {reason}"));
        }
        let silent = producer.context().unanswered_for()?;
        (silent >= self.silence).then(|| format!("the last one has stored nothing for {} s", silent.as_secs()))
    }
}

fn create(config: &ClientConfig) -> Result<Arc<Producer>, LogError> {
    let producer = config.create_with_context(DeliveryContext::default());
    producer
        .map(Arc::new)
        .map_err(|error| log_error("making a Kafka producer", &error))
}
