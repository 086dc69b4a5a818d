//! Durable appends: one idempotent producer for the whole log.
//!
//! Records of one call are queued under a lock, so they stay together among the calls of this process; concurrent
//! calls share batches. On overload (too many bytes unacknowledged) a call is refused before anything is queued.
//!
//! An append whose acknowledgement is lost answers [`LogError::Unavailable`] although the records may be there:
//! Kafka cannot tell. Who appends again may append twice.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use stream::log::{LogError, NewRecord, Offset, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::catalog::ASK;
use super::convert::{has_unsendable_header, offset, partition_number, to_kafka};
use super::delivery::{Batch, DeliveryContext, InFlight, Outcome, Producer, retire};
use super::error::{code_error, log_error, unknown_partition};
use super::lock;
use super::settings::KafkaSettings;

/// Unacknowledged bytes beyond which appends are refused. More only delays the refusal; less refuses bursts that a
/// healthy broker takes in a second.
const IN_FLIGHT_BYTES: usize = 64 << 20;
/// Wait of a record for company, in milliseconds: appends of concurrent requests then share one round trip.
const LINGER_MS: &str = "2";
/// Beyond the client's own delivery timeout, for the thread that reports it.
const GRACE: Duration = Duration::from_secs(5);
/// A producer that has stored nothing for this long, though it was asked to, is replaced: it may have lost its brokers for
/// good ([`super::line`]). Less makes many producers while a broker is away; more adds to how long a lost one keeps every door
/// shut.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) struct Appender {
    config: ClientConfig,
    limit: usize,
    patience: Duration,
    silence: Duration,
    in_flight: InFlight,
    producer: Mutex<Arc<Producer>>,
    /// Partitions of each topic that was looked up.
    learned: Mutex<BTreeMap<String, u32>>,
}

impl Appender {
    pub fn open(settings: &KafkaSettings) -> Result<Self, LogError> {
        let mut config = settings.producer_config("append");
        config
            .set("linger.ms", LINGER_MS)
            .set("message.timeout.ms", settings.append_timeout_ms.to_string())
            .set("queue.buffering.max.kbytes", "2097151");
        let producer = Mutex::new(create(&config)?);
        let patience = settings.append_timeout() + GRACE;
        Ok(Appender {
            config,
            limit: settings.max_record_bytes,
            patience,
            silence: SILENCE,
            in_flight: InFlight::default(),
            producer,
            learned: Mutex::default(),
        })
    }

    /// Looks `topic` up where its number of partitions has grown: until it has, the client takes none of the new ones. Blocks.
    pub fn learn(&self, topic: &str, partitions: u32) -> Result<(), LogError> {
        if lock(&self.learned).get(topic).is_some_and(|known| *known >= partitions) {
            return Ok(());
        }
        let producer = lock(&self.producer).clone();
        let asked = producer.client().fetch_metadata(Some(topic), ASK);
        asked.map_err(|error| log_error(format!("looking up topic {topic}"), &error))?;
        lock(&self.learned).insert(topic.to_owned(), partitions);
        Ok(())
    }

    /// Append to a partition that exists. `records` is not empty.
    pub async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        let doing = || format!("appending {} records to {to}", records.len());
        check_records(to, &records, self.limit)?;
        let bytes: usize = records.iter().map(NewRecord::size).sum();
        let pending = self.in_flight.load(Ordering::SeqCst);
        if pending > 0 && pending + bytes > IN_FLIGHT_BYTES {
            let cause = format!("{pending} bytes wait for acknowledgement already");
            return Err(LogError::Unavailable { doing: doing(), cause });
        }
        let (send, receive) = oneshot::channel::<Outcome>();
        let batch = Batch::new(records.len(), bytes, self.in_flight.clone(), move |outcome| {
            // The appender may have been cancelled; the records are appended all the same.
            let _ = send.send(outcome);
        });
        // Held until the answer: a producer that is replaced meanwhile still works on it.
        let _producer = self.enqueue(to, &records, &batch)?;
        drop(batch);
        match timeout(self.patience, receive).await {
            Ok(Ok(Ok(first))) => offset(first).ok_or_else(|| LogError::Unavailable {
                doing: doing(),
                cause: "the broker acknowledged without an offset".to_owned(),
            }),
            Ok(Ok(Err(code))) => Err(self.refused(to, &records, code)),
            Ok(Err(_)) | Err(_) => Err(LogError::Unavailable {
                doing: doing(),
                cause: "no acknowledgement came".to_owned(),
            }),
        }
    }

    /// The producer that has them.
    fn enqueue(
        &self,
        to: &TopicPartition,
        records: &[NewRecord],
        batch: &Arc<Batch>,
    ) -> Result<Arc<Producer>, LogError> {
        let partition = partition_number(to)?;
        let mut producer = lock(&self.producer);
        if let Some(why) = self.worn(&producer) {
            tracing::warn!(why, "a new producer takes over");
            let fresh = create(&self.config)?;
            retire(std::mem::replace(&mut *producer, fresh));
        }
        producer.context().asked();
        for (index, record) in records.iter().enumerate() {
            if let Err((error, _)) = producer.send(to_kafka(&to.topic, partition, record, batch.clone())) {
                batch.unsent(records.len() - index, error.rdkafka_error_code().unwrap_or(Code::Fail));
                break;
            }
        }
        Ok(producer.clone())
    }

    /// Why this producer is not to be used any more. Asked before each append and not when one has failed: requests give up
    /// long before the client does, and then nobody is there to hear of the failure.
    fn worn(&self, producer: &Producer) -> Option<String> {
        if let Some((code, reason)) = producer.client().fatal_error() {
            return Some(format!("the last one gave up: {code}: {reason}"));
        }
        let silent = producer.context().unanswered_for()?;
        (silent >= self.silence).then(|| format!("the last one has stored nothing for {} s", silent.as_secs()))
    }

    fn refused(&self, to: &TopicPartition, records: &[NewRecord], code: Code) -> LogError {
        match code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
                let size = records.iter().map(NewRecord::size).max().unwrap_or(0);
                LogError::TooLarge {
                    size,
                    limit: size.saturating_sub(1).min(self.limit),
                }
            }
            code if unknown_partition(code) => LogError::UnknownPartition(to.clone()),
            code => code_error(format!("appending {} records to {to}", records.len()), code),
        }
    }
}

/// Refuses what the client would refuse, cut or change.
pub(super) fn check_records(to: &TopicPartition, records: &[NewRecord], limit: usize) -> Result<(), LogError> {
    for record in records {
        if record.size() > limit {
            return Err(LogError::TooLarge {
                size: record.size(),
                limit,
            });
        }
        if has_unsendable_header(record) {
            return Err(LogError::Fatal {
                doing: format!("appending to {to}"),
                cause: "a header's name has a zero byte or is reserved".to_owned(),
            });
        }
    }
    Ok(())
}

fn create(config: &ClientConfig) -> Result<Arc<Producer>, LogError> {
    let producer = config.create_with_context(DeliveryContext::default());
    producer
        .map(Arc::new)
        .map_err(|error| log_error("making a Kafka producer", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far beyond what is waited for; shorter than the client's own time for a delivery.
    const LONG: Duration = Duration::from_secs(20);

    /// Nothing listens there.
    fn settings() -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            ..KafkaSettings::default()
        }
    }

    #[tokio::test]
    async fn a_producer_that_stores_nothing_is_replaced_though_no_caller_waits_for_its_failure() {
        let mut appender = Appender::open(&settings()).unwrap();
        appender.silence = Duration::from_millis(50);
        let to = TopicPartition::new("t", 0);
        let record = NewRecord {
            value: "x".into(),
            ..NewRecord::default()
        };
        let size = record.size();
        let first = lock(&appender.producer).clone();
        let replaced = async {
            while Arc::ptr_eq(&first, &lock(&appender.producer)) {
                let append = appender.append(&to, vec![record.clone()]);
                // As a request does whose time is over.
                assert!(timeout(Duration::from_millis(10), append).await.is_err());
            }
        };
        timeout(LONG, replaced).await.expect("a new producer");
        // What the first was given is given up with it, but for the last record, which the new one has.
        drop(first);
        let given_up = async {
            while appender.in_flight.load(Ordering::SeqCst) > size {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, given_up).await.expect("an empty producer");
    }
}
