//! What librdkafka reports aside: its log lines, its connection errors, and rebalances.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use stream::log::TopicPartition;

use super::error::needs_a_person;
use super::lock;

/// A connection error and its explanation.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    pub code: Code,
    pub reason: String,
}

/// Keeps the last complaint and, apart from it, the last that needs a person.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Mutex<Option<Complaint>>,
    refusal: Mutex<Option<Complaint>>,
}

impl Watch {
    pub fn last(&self) -> Option<Complaint> {
        lock(&self.last).clone()
    }

    pub fn refusal(&self) -> Option<Complaint> {
        lock(&self.refusal).clone()
    }

    pub fn note(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let complaint = Complaint {
            code,
            reason: reason.to_owned(),
        };
        tracing::debug!(%code, reason, "kafka client complains");
        if needs_a_person(code) {
            *lock(&self.refusal) = Some(complaint.clone());
        }
        // "All brokers down" follows the complaint that says why.
        let mut last = lock(&self.last);
        if code != Code::AllBrokersDown || last.is_none() {
            *last = Some(complaint);
        }
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Watch {}

/// Into our log. librdkafka calls each failed connection attempt an error; the caller that it concerns reports it,
/// so here it is only told to who asks for details.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::warn!(facility, "librdkafka: {message}");
        }
        RDKafkaLogLevel::Debug => tracing::trace!(facility, "librdkafka: {message}"),
        _ => tracing::debug!(facility, "librdkafka: {message}"),
    }
}

/// A rebalance that waits for the member's thread.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke {
        partitions: Vec<TopicPartition>,
        lost: bool,
    },
}

/// The context of a group member's consumer. The callback only takes note: the member's thread answers with
/// `incremental_assign` or `incremental_unassign` once the driver has had its say, and meanwhile goes on polling.
#[derive(Debug, Default)]
pub(super) struct MemberContext {
    watch: Watch,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Leaving: nobody is left to ask.
    closing: AtomicBool,
}

impl MemberContext {
    pub fn take_rebalance(&self) -> Option<Rebalance> {
        lock(&self.rebalances).pop_front()
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.watch.note(&error, reason);
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            let answered = if assign {
                consumer.incremental_assign(list)
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "rebalance while leaving");
            }
            return;
        }
        let partitions = partitions_of(list);
        let rebalance = if assign {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke {
                partitions,
                lost: consumer.assignment_lost(),
            }
        };
        lock(&self.rebalances).push_back(rebalance);
    }
}

/// The partitions of `list` (those with a number).
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let elements = list.elements();
    let named = elements.iter().filter_map(|element| {
        let partition = u32::try_from(element.partition()).ok()?;
        Some(TopicPartition::new(element.topic(), partition))
    });
    named.collect()
}
