//! Durable appends: one idempotent producer for the whole log.
//!
//! Records of one call stay together among the calls of this process; concurrent calls share requests ([`lane`]). On overload
//! (too many bytes unacknowledged) a call is refused before anything is queued.
//!
//! An append whose acknowledgement is lost answers [`LogError::Unavailable`] although the records may be there:
//! Kafka cannot tell. Who appends again may append twice.

mod lane;
mod producers;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::producer::Producer as _;
use stream::log::{LogError, NewRecord, Offset, TopicPartition};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::catalog::ASK;
use super::convert::{has_unsendable_header, offset, partition_number};
use super::delivery::{Batch, InFlight, Outcome};
use super::error::{code_error, log_error, unknown_partition};
use super::lock;
use super::settings::KafkaSettings;
use lane::{Entrance, Waiting};
use producers::{Producers, SILENCE};

/// Unacknowledged bytes beyond which appends are refused. More only delays the refusal; less refuses bursts that a
/// healthy broker takes in a second.
const IN_FLIGHT_BYTES: usize = 64 << 20;
/// Beyond the client's own delivery timeout, for the thread that reports it.
const GRACE: Duration = Duration::from_secs(5);

/// See the module header.
pub(super) struct Appender {
    limit: usize,
    /// Longest wait for an answer.
    patience: Duration,
    /// Longest wait of records in a lane.
    time: Duration,
    in_flight: InFlight,
    producers: Arc<Producers>,
    lanes: Mutex<BTreeMap<TopicPartition, Entrance>>,
    /// Partitions of each topic that was looked up.
    learned: Mutex<BTreeMap<String, u32>>,
}

impl Appender {
    pub fn open(settings: &KafkaSettings) -> Result<Self, LogError> {
        Self::with_silence(settings, SILENCE)
    }

    fn with_silence(settings: &KafkaSettings, silence: Duration) -> Result<Self, LogError> {
        let mut config = settings.producer_config("append");
        config
            .set("message.timeout.ms", settings.append_timeout_ms.to_string())
            .set("queue.buffering.max.kbytes", "2097151");
        Ok(Appender {
            limit: settings.max_record_bytes,
            patience: settings.append_timeout() + GRACE,
            time: settings.append_timeout(),
            in_flight: InFlight::default(),
            producers: Arc::new(Producers::open(config, silence)?),
            lanes: Mutex::default(),
            learned: Mutex::default(),
        })
    }

    /// Looks `topic` up where its number of partitions has grown: until it has, the client takes none of the new ones. Blocks.
    pub fn learn(&self, topic: &str, partitions: u32) -> Result<(), LogError> {
        if lock(&self.learned).get(topic).is_some_and(|known| *known >= partitions) {
            return Ok(());
        }
        let producer = self.producers.latest();
        let asked = producer.client().fetch_metadata(Some(topic), ASK);
        asked.map_err(|error| log_error(format!("looking up topic {topic}"), &error))?;
        lock(&self.learned).insert(topic.to_owned(), partitions);
        Ok(())
    }

    /// Append to a partition that exists. `records` is not empty.
    pub async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        let count = records.len();
        let doing = || format!("appending {count} records to {to}");
        check_records(to, &records, self.limit)?;
        let bytes: usize = records.iter().map(NewRecord::size).sum();
        let pending = self.in_flight.load(Ordering::SeqCst);
        if pending > 0 && pending + bytes > IN_FLIGHT_BYTES {
            let cause = format!("{pending} bytes wait for acknowledgement already");
            return Err(LogError::Unavailable { doing: doing(), cause });
        }
        let (send, receive) = oneshot::channel::<Outcome>();
        let batch = Batch::new(records.len(), bytes, self.in_flight.clone(), move |outcome| {
            // The caller may have given up; the records are appended all the same.
            let _ = send.send(outcome);
        });
        let largest = records.iter().map(NewRecord::size).max().unwrap_or(0);
        let waiting = Waiting {
            records,
            batch,
            until: Instant::now() + self.time,
        };
        self.enter(to, waiting)?;
        match timeout(self.patience, receive).await {
            Ok(Ok(Ok(first))) => offset(first).ok_or_else(|| LogError::Unavailable {
                doing: doing(),
                cause: "the broker acknowledged without an offset".to_owned(),
            }),
            Ok(Ok(Err(code))) => Err(self.refused(to, doing(), largest, code)),
            Ok(Err(_)) | Err(_) => Err(LogError::Unavailable {
                doing: doing(),
                cause: "no acknowledgement came".to_owned(),
            }),
        }
    }

    fn enter(&self, to: &TopicPartition, waiting: Waiting) -> Result<(), LogError> {
        let number = partition_number(to)?;
        let mut lanes = lock(&self.lanes);
        let begin = || lane::start(self.producers.clone(), to, number, self.patience);
        let entrance = lanes.entry(to.clone()).or_insert_with(begin);
        if let Err(refused) = entrance.send(waiting) {
            // The runtime that it was started on has ended.
            *entrance = begin();
            let _ = entrance.send(refused.0);
        }
        Ok(())
    }

    fn refused(&self, to: &TopicPartition, doing: String, largest: usize, code: Code) -> LogError {
        match code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => LogError::TooLarge {
                size: largest,
                limit: largest.saturating_sub(1).min(self.limit),
            },
            code if unknown_partition(code) => LogError::UnknownPartition(to.clone()),
            code => code_error(doing, code),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Far beyond what is waited for.
    const LONG: Duration = Duration::from_secs(20);

    /// Nothing listens there.
    fn settings() -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:1".to_owned()],
            append_timeout_ms: 2_000,
            ..KafkaSettings::default()
        }
    }

    #[tokio::test]
    async fn a_producer_that_stores_nothing_is_replaced_though_no_caller_waits_for_its_failure() {
        let appender = Appender::with_silence(&settings(), Duration::from_millis(50)).unwrap();
        let to = TopicPartition::new("t", 0);
        let record = NewRecord {
            value: "x".into(),
            ..NewRecord::default()
        };
        let first = appender.producers.latest();
        let replaced = async {
            while Arc::ptr_eq(&first, &appender.producers.latest()) {
                let append = appender.append(&to, vec![record.clone()]);
                // As a request does whose time is over.
                assert!(timeout(Duration::from_millis(10), append).await.is_err());
            }
        };
        timeout(LONG, replaced).await.expect("a new producer");
        drop(first);
        let given_up = async {
            while appender.in_flight.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, given_up).await.expect("every record is given up");
    }
}
