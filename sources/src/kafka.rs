//! The log on Apache Kafka (or what speaks its protocol with transactions), through librdkafka.
//!
//! Guarantees: appends are acknowledged by all in-sync replicas and not duplicated by retries; a commit is one Kafka
//! transaction of outputs and positions, fenced by the group's generation (KIP-447); readers and members see
//! committed records only; partitions are handed over cooperatively, each after its holder had time to commit.
//!
//! On overload: appends are refused ([`LogError::Unavailable`]), members stop fetching when their buffer is full.
//! On restart: nothing is kept here; a transaction that a crash left open ends after `transaction_timeout_ms`, and
//! until then readers stop before it.
//!
//! What it does not do: the client library does not tell topic ids, so [`Log::id`] names the cluster only, and a topic
//! that was deleted and created again looks the same (its bounds tell). An append that fails with `Unavailable` may
//! have been written. Each member polls on a thread of its own, so a driver that hangs keeps its partitions until a
//! rebalance wants one of them.

mod appender;
mod catalog;
mod consumer;
mod context;
mod convert;
mod delivery;
mod ending;
mod error;
mod line;
mod member;
mod ownership;
mod portion;
mod prefixed;
mod reader;
mod settings;
mod topics;
mod transaction;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use stream::log::{Bounds, Log, LogError, LogId, Member, NewRecord, Offset, Reader, Topic, TopicPartition, TopicSpec};

use appender::Appender;
use catalog::Catalog;
use ending::Ending;
use member::Part;
pub use settings::{KafkaSettings, REFUSED, SaslMechanism, SecurityProtocol, SettingsError};

/// A log on a Kafka cluster. Clones share its connections.
#[derive(Clone)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

struct Inner {
    settings: KafkaSettings,
    catalog: Catalog,
    appender: Appender,
    /// Members' threads that may still have to end a transaction.
    open: Ending,
}

impl KafkaLog {
    /// Connects, within `connect_timeout_ms`. [`LogError::Fatal`] for settings that cannot work and for refused
    /// credentials or certificates, [`LogError::Unavailable`] when no broker answers; both name the servers.
    pub async fn open(settings: KafkaSettings) -> Result<Self, LogError> {
        settings.validate().map_err(|error| LogError::Fatal {
            doing: "checking the Kafka settings".to_owned(),
            cause: error.to_string(),
        })?;
        let inner = blocking(move || {
            let catalog = Catalog::connect(&settings)?;
            let appender = Appender::open(&settings)?;
            Ok(Inner {
                settings,
                catalog,
                appender,
                open: Ending::default(),
            })
        });
        Ok(KafkaLog {
            inner: Arc::new(inner.await?),
        })
    }

    /// [`KafkaLog::open`], with the settings' prefix before every topic and group.
    pub async fn open_prefixed(settings: KafkaSettings) -> Result<Arc<dyn Log>, LogError> {
        let prefix = settings.topic_prefix.clone();
        let log: Arc<dyn Log> = Arc::new(Self::open(settings).await?);
        Ok(if prefix.is_empty() {
            log
        } else {
            Arc::new(prefixed::PrefixedLog::new(log, &prefix))
        })
    }

    async fn enter(&self, group: &str, topics: &[Topic], part: Part) -> Result<Box<dyn Member>, LogError> {
        for topic in topics {
            self.partitions(topic).await?;
        }
        let (inner, group, topics) = (self.inner.clone(), group.to_owned(), topics.to_vec());
        let member = blocking(move || member::KafkaMember::join(inner, &group, &topics, part)).await?;
        Ok(Box::new(member))
    }

    async fn known(&self, partition: &TopicPartition) -> Result<(), LogError> {
        if self.inner.catalog.seen(partition) {
            return Ok(());
        }
        let (inner, partition) = (self.inner.clone(), partition.clone());
        blocking(move || inner.catalog.check(&partition)).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> LogId {
        self.inner.catalog.id.clone()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        topics::ensure(&self.inner, topics).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let (inner, topic) = (self.inner.clone(), topic.to_owned());
        blocking(move || {
            let found = inner.catalog.partitions(&topic)?;
            inner.appender.learn(&topic, found)?;
            Ok(found)
        })
        .await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.known(to).await?;
        if records.is_empty() {
            return Ok(self.bounds(to).await?.end);
        }
        self.inner.appender.append(to, records).await
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        self.enter(group, topics, Part::Committer).await
    }

    async fn follow(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        self.enter(group, topics, Part::Follower).await
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        let (inner, partition) = (self.inner.clone(), partition.clone());
        let reader = blocking(move || reader::KafkaReader::open(inner, partition, from)).await?;
        Ok(Box::new(reader))
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        let (inner, partition) = (self.inner.clone(), partition.clone());
        blocking(move || inner.catalog.bounds(&partition)).await
    }

    async fn written(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        let (inner, partition) = (self.inner.clone(), partition.clone());
        blocking(move || inner.catalog.written(&partition)).await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        let (inner, group, partition) = (self.inner.clone(), group.to_owned(), partition.clone());
        blocking(move || inner.catalog.committed(&group, &partition)).await
    }

    async fn strangers(&self, group: &str) -> Result<usize, LogError> {
        let (inner, group) = (self.inner.clone(), group.to_owned());
        blocking(move || inner.catalog.members(&group)).await
    }

    async fn close(&self) {
        self.inner.open.wait().await;
    }
}

/// Runs a client call that blocks beside the async threads.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let finished = tokio::task::spawn_blocking(call).await;
    finished.unwrap_or_else(|error| {
        Err(LogError::Unavailable {
            doing: "asking Kafka".to_owned(),
            cause: error.to_string(),
        })
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
