//! What the cluster knows: topics, their partitions and bounds, groups' positions. All calls block; each is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{Bounds, LogError, LogId, Offset, Topic, TopicPartition};
use tokio::time::Instant;

use super::context::Watch;
use super::convert::{offset, partition_number};
use super::error::{code_error, log_error, unknown_partition};
use super::line::{Client, Line};
use super::lock;
use super::settings::KafkaSettings;

/// For one question to the cluster.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// For a question that tells whether anybody answers.
const PROBE: Duration = Duration::from_secs(2);
/// How often connecting looks for a refusal.
const SLICE: Duration = Duration::from_millis(250);

/// Whether a question waits for open transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Isolation {
    Committed,
    Uncommitted,
}

pub(super) struct Catalog {
    pub id: LogId,
    settings: KafkaSettings,
    line: Line,
    /// One client per group whose position was asked for, and per way to ask; none of them joins its group.
    groups: Mutex<BTreeMap<(String, Isolation), Arc<Line>>>,
    /// Partition counts seen. Topics are not expected to shrink.
    counts: Mutex<BTreeMap<Topic, u32>>,
}

impl Catalog {
    /// Connects and learns the cluster's id.
    pub fn connect(settings: &KafkaSettings) -> Result<Self, LogError> {
        let servers = settings.servers();
        let doing = || format!("connecting to Kafka at {servers}");
        let line = Line::open(settings.consumer_config("catalog")).map_err(|error| log_error(doing(), &error))?;
        let client = line.client();
        let deadline = Instant::now() + settings.connect_timeout();
        loop {
            let answered = client.fetch_metadata(None, SLICE);
            drain(&client);
            if let Some(id) = answered.ok().and_then(|_| client.client().fetch_cluster_id(SLICE)) {
                let id = LogId(format!("kafka:{id}"));
                let (groups, counts) = (Mutex::default(), Mutex::default());
                return Ok(Catalog {
                    id,
                    settings: settings.clone(),
                    line,
                    groups,
                    counts,
                });
            }
            if let Some(refusal) = client.context().refusal() {
                let remedy = if refusal.code == Code::SSL {
                    "check kafka.security_protocol, kafka.ssl_ca and the certificates"
                } else {
                    "check kafka.sasl_mechanism, kafka.username, kafka.password and the user's rights"
                };
                return Err(LogError::Fatal {
                    doing: doing(),
                    cause: format!("{}; {remedy}", refusal.reason),
                });
            }
            if Instant::now() >= deadline {
                let heard = client
                    .context()
                    .last()
                    .map_or("no broker answered".to_owned(), |last| last.reason);
                let waited = settings.connect_timeout_ms;
                let remedy =
                    "check that the broker runs and that kafka.bootstrap_servers and kafka.security_protocol fit";
                return Err(LogError::Unavailable {
                    doing: doing(),
                    cause: format!("{heard} (after {waited} ms); {remedy}"),
                });
            }
        }
    }

    /// Whether the cluster answers, but not `client`: it has lost its brokers ([`super::line`]), or is as slow as one that has,
    /// and a new one is quicker. Takes two [`PROBE`]s at most.
    pub fn has_lost<C: ClientContext>(&self, client: &rdkafka::client::Client<C>) -> bool {
        let Some(topic) = self.any_topic() else {
            return false;
        };
        let answers = self.line.ask(|line| line.fetch_metadata(Some(&topic), PROBE)).is_ok();
        answers && client.fetch_metadata(Some(&topic), PROBE).is_err()
    }

    /// Lets `client` connect, for a [`PROBE`] at most; whether it could shows in what it is asked next.
    pub fn introduce<C: ClientContext>(&self, client: &rdkafka::client::Client<C>) {
        if let Some(topic) = self.any_topic() {
            let _ = client.fetch_metadata(Some(&topic), PROBE);
        }
    }

    fn any_topic(&self) -> Option<Topic> {
        lock(&self.counts).keys().next().cloned()
    }

    /// Number of partitions, asked for now.
    pub fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        match self.lookup(topic)? {
            Some(count) => Ok(count),
            // A cluster whose only node is fenced for a moment tells of no leader, or of no topic at all.
            None if lock(&self.counts).contains_key(topic) => Err(LogError::Unavailable {
                doing: format!("looking up topic {topic}"),
                cause: "the cluster tells of no leader of its partitions now".to_owned(),
            }),
            None => Err(LogError::UnknownTopic(topic.into())),
        }
    }

    /// Number of partitions, `None` without the topic or before each partition has a leader.
    pub fn lookup(&self, topic: &str) -> Result<Option<u32>, LogError> {
        let doing = || format!("looking up topic {topic}");
        let metadata = self
            .line
            .ask(|client| client.fetch_metadata(Some(topic), ASK))
            .map_err(|error| log_error(doing(), &error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(Code::from) {
            None => {}
            Some(code) if unknown_partition(code) => return Ok(None),
            Some(Code::InvalidTopic) => {
                return Err(LogError::Fatal {
                    doing: doing(),
                    cause: "the name is not valid".to_owned(),
                });
            }
            Some(code) => return Err(code_error(doing(), code)),
        }
        let led = found.partitions().iter().all(|partition| partition.leader() >= 0);
        let count = u32::try_from(found.partitions().len())
            .ok()
            .filter(|count| led && *count > 0);
        if let Some(count) = count {
            lock(&self.counts).insert(topic.into(), count);
        }
        Ok(count)
    }

    /// Refuses a partition that the cluster does not have. Asks only about those not seen before.
    pub fn check(&self, partition: &TopicPartition) -> Result<(), LogError> {
        if self.seen(partition) {
            return Ok(());
        }
        match self.partitions(&partition.topic)? {
            count if partition.partition < count => Ok(()),
            _ => Err(LogError::UnknownPartition(partition.clone())),
        }
    }

    /// Whether [`Catalog::check`] needs to ask nobody.
    pub fn seen(&self, partition: &TopicPartition) -> bool {
        lock(&self.counts)
            .get(&partition.topic)
            .is_some_and(|count| partition.partition < *count)
    }

    /// Kept start and last stable offset: a client that reads committed records is told the latter as the end.
    pub fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.check(partition)?;
        watermarks(&self.line, partition)
    }

    /// The high watermark.
    pub fn written(&self, partition: &TopicPartition) -> Result<Offset, LogError> {
        self.check(partition)?;
        // Of a group that nobody joins: which one makes no difference to the answer.
        let group = format!("{}.look", self.settings.client_id);
        let line = self.group_line(&group, Isolation::Uncommitted)?;
        Ok(watermarks(&line, partition)?.end)
    }

    /// The group's position. Waits for an open transaction that moves it (up to [`ASK`]), so the answer is final.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.position(group, partition, Isolation::Committed)
    }

    /// The group's position as it stands now; an open transaction may still move it.
    pub fn applied(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.position(group, partition, Isolation::Uncommitted)
    }

    fn position(
        &self,
        group: &str,
        partition: &TopicPartition,
        isolation: Isolation,
    ) -> Result<Option<Offset>, LogError> {
        self.check(partition)?;
        let doing = || format!("asking for the position of group {group} in {partition}");
        let mut list = TopicPartitionList::new();
        list.add_partition(&partition.topic, partition_number(partition)?);
        let list = self
            .group_line(group, isolation)?
            .ask(|client| client.committed_offsets(list, ASK))
            .map_err(|error| log_error(doing(), &error))?;
        let elements = list.elements();
        let Some(found) = elements.first() else { return Ok(None) };
        found.error().map_err(|error| log_error(doing(), &error))?;
        Ok(match found.offset() {
            RawOffset::Offset(raw) => offset(raw),
            _ => None,
        })
    }

    /// Members of `group` now, as its coordinator knows them; one that died is among them until its session ends.
    pub fn members(&self, group: &str) -> Result<usize, LogError> {
        let list = self
            .line
            .ask(|client| client.fetch_group_list(Some(group), ASK))
            .map_err(|error| log_error(format!("asking for the members of group {group}"), &error))?;
        Ok(list
            .groups()
            .iter()
            .filter(|found| found.name() == group)
            .map(|found| found.members().len())
            .sum())
    }

    /// The group as somebody sees it who is no member: positions sent with it are not held against a generation.
    pub fn nobody_in(&self, group: &str) -> Result<ConsumerGroupMetadata, LogError> {
        let metadata = self.group_line(group, Isolation::Committed)?.client().group_metadata();
        metadata.ok_or_else(|| LogError::Unavailable {
            doing: format!("asking about group {group}"),
            cause: "the client has no group".to_owned(),
        })
    }

    /// Whether readers get the record at `at`; false when it was aborted, is not visible yet or is gone.
    pub fn shows(&self, partition: &TopicPartition, at: i64) -> Result<bool, LogError> {
        let doing = || format!("looking for the record {at} of {partition}");
        let mut config = self.settings.consumer_config("look");
        // Never joined: the client wants a name before it lets a partition be assigned.
        config.set("group.id", format!("{}.look", self.settings.client_id));
        let client: Client = config
            .create_with_context(Watch::default())
            .map_err(|error| log_error(doing(), &error))?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition_number(partition)?, RawOffset::Offset(at))
            .and_then(|()| client.assign(&list))
            .map_err(|error| log_error(doing(), &error))?;
        let deadline = Instant::now() + ASK;
        while Instant::now() < deadline {
            match client.poll(SLICE) {
                Some(Ok(message)) => return Ok(message.offset() == at),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(false),
                Some(Err(error)) if error.rdkafka_error_code() == Some(Code::AutoOffsetReset) => return Ok(false),
                Some(Err(_)) | None => {}
            }
        }
        Err(LogError::Unavailable {
            doing: doing(),
            cause: "no broker answered".to_owned(),
        })
    }

    fn group_line(&self, group: &str, isolation: Isolation) -> Result<Arc<Line>, LogError> {
        let mut groups = lock(&self.groups);
        let key = (group.to_owned(), isolation);
        if let Some(line) = groups.get(&key) {
            return Ok(line.clone());
        }
        let mut config = self.settings.consumer_config("positions");
        config.set("group.id", group);
        if isolation == Isolation::Uncommitted {
            config.set("isolation.level", "read_uncommitted");
        }
        let line = Line::open(config).map_err(|error| log_error(format!("asking about group {group}"), &error))?;
        let line = Arc::new(line);
        groups.insert(key, line.clone());
        Ok(line)
    }
}

/// What the client of `line` may read of `partition`.
fn watermarks(line: &Line, partition: &TopicPartition) -> Result<Bounds, LogError> {
    let number = partition_number(partition)?;
    let marks = line.ask(|client| client.fetch_watermarks(&partition.topic, number, ASK));
    let (low, high) = marks.map_err(|error| log_error(format!("asking for the bounds of {partition}"), &error))?;
    let start = offset(low).unwrap_or_default();
    Ok(Bounds {
        start,
        end: offset(high).unwrap_or(start),
    })
}

/// Serves log lines and complaints, which nobody polls for otherwise.
pub(super) fn drain(client: &Client) {
    for error in served(client).filter_map(Result::err) {
        tracing::debug!(%error, "kafka client complains");
    }
}

/// All that waits in the client's queue. An event that is no message (a log line, a rebalance) ends a poll as an empty
/// queue does, so only several empty polls in a row are the end.
pub(super) fn served<C: ConsumerContext>(
    client: &BaseConsumer<C>,
) -> impl Iterator<Item = Result<BorrowedMessage<'_>, KafkaError>> {
    std::iter::from_fn(|| (0..16).find_map(|_| client.poll(Duration::ZERO)))
}
