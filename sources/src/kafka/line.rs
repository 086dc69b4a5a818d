//! A client for questions, made anew when it seems to have lost its way.
//!
//! A cluster whose only node is fenced for a moment answers a question for metadata without any broker, and the client
//! (librdkafka 2.12) then forgets all it knew, the configured ones included, and finds no way back by itself. A new one
//! begins with the configured brokers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::time::Instant;

use super::context::Watch;
use super::lock;

/// A client has this long to find its brokers. Less makes many clients while a broker is away; more adds to how long a
/// lost one is asked in vain.
const AGE: Duration = Duration::from_secs(5);

pub(super) type Client = BaseConsumer<Watch>;

pub(super) struct Line {
    config: ClientConfig,
    client: Mutex<(Arc<Client>, Instant)>,
}

impl Line {
    pub fn open(config: ClientConfig) -> Result<Self, KafkaError> {
        let client = Arc::new(config.create_with_context(Watch::default())?);
        Ok(Line {
            config,
            client: Mutex::new((client, Instant::now())),
        })
    }

    /// Asks once; a client that answers as one does that knows no broker is replaced for the next question.
    pub fn ask<T>(&self, question: impl FnOnce(&Client) -> Result<T, KafkaError>) -> Result<T, KafkaError> {
        let client = self.client();
        super::catalog::drain(&client);
        let answer = question(&client);
        if let Err(error) = &answer
            && error.rdkafka_error_code().is_some_and(is_lost)
        {
            self.renew();
        }
        answer
    }

    pub fn client(&self) -> Arc<Client> {
        lock(&self.client).0.clone()
    }

    fn renew(&self) {
        let mut current = lock(&self.client);
        if current.1.elapsed() < AGE {
            return;
        }
        match self.config.create_with_context(Watch::default()) {
            Ok(client) => {
                let old = std::mem::replace(&mut *current, (Arc::new(client), Instant::now()));
                tracing::debug!("a client found no broker; a new one takes over");
                // Closing may take a while.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::warn!(%error, "no new client"),
        }
    }
}

/// When a member that waits should see whether its client has lost its brokers: every [`AGE`].
pub(super) struct Lookout {
    looked_at: Instant,
}

impl Default for Lookout {
    fn default() -> Self {
        Lookout {
            looked_at: Instant::now(),
        }
    }
}

impl Lookout {
    /// `waited`: for how long it has been waiting, `None` when it does not.
    pub fn due(&mut self, waited: Option<Duration>) -> bool {
        let due = waited.is_some_and(|waited| waited >= AGE) && self.looked_at.elapsed() >= AGE;
        if due {
            self.looked_at = Instant::now();
        }
        due
    }
}

fn is_lost(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::BrokerDestroy
            | Code::WaitingForCoordinator
    )
}
