//! Reads one partition outside any group, committed records only.
//!
//! At the end of what is visible the position steps over what readers never see (transaction markers, aborted
//! records): the client does not say where the end it found lies, so the end is asked for and the rest of the
//! partition read once more up to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{LogError, Offset, Reader, Record, TopicPartition};
use tokio::time::Instant;

use super::catalog::ASK;
use super::context::Watch;
use super::convert::{Page, from_kafka, partition_number, raw_offset, seals};
use super::error::{log_error, needs_a_person};
use super::{Inner, blocking, lock};

/// Bytes handed out at once (one record may be larger).
const READ_BYTES: usize = 4 << 20;
/// How long a broker waits for records to come at the end, in milliseconds, before it says that there are none. Readers read up to an
/// end and stop there, and are told of it by this answer alone, once or twice per partition; less only asks more often.
const END_MS: &str = "10";
/// Longest single wait inside the client, so that a forgotten read ends soon.
const SLICE: Duration = Duration::from_millis(250);

pub(super) struct KafkaReader(Arc<Shared>);

struct Shared {
    inner: Arc<Inner>,
    partition: TopicPartition,
    client: BaseConsumer<Watch>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Read and not yet handed out: a read that was dropped left them.
    ready: Vec<Record>,
    /// Next offset to hand out, after `ready`.
    position: Offset,
    /// The stable end that was asked for; met when the client reports the end once more.
    looking_up_to: Option<Offset>,
    page: Page,
}

impl KafkaReader {
    /// Blocks. Refuses a partition that does not exist and a position outside its bounds.
    pub fn open(inner: Arc<Inner>, partition: TopicPartition, from: Offset) -> Result<Self, LogError> {
        let bounds = inner.catalog.bounds(&partition)?;
        if from < bounds.start {
            return Err(LogError::OutOfRange {
                partition,
                offset: from,
                start: bounds.start,
            });
        }
        let doing = || format!("reading {partition} from {}", from.0);
        let mut config = inner.settings.consumer_config("reader");
        // Never joined: the client wants a name before it lets a partition be assigned.
        config
            .set("group.id", format!("{}.reader", inner.settings.client_id))
            .set("fetch.wait.max.ms", END_MS);
        let client: BaseConsumer<Watch> = config
            .create_with_context(Watch::default())
            .map_err(|error| log_error(doing(), &error))?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(
            &partition.topic,
            partition_number(&partition)?,
            RawOffset::Offset(raw_offset(from)),
        )
        .and_then(|()| client.assign(&list))
        .map_err(|error| log_error(doing(), &error))?;
        let state = Mutex::new(State {
            position: from,
            ..State::default()
        });
        Ok(KafkaReader(Arc::new(Shared {
            inner,
            partition,
            client,
            state,
        })))
    }
}

impl Drop for KafkaReader {
    /// Aside: closing a client takes a tenth of a second at least, and a command opens a reader for each partition.
    fn drop(&mut self) {
        let shared = self.0.clone();
        std::thread::spawn(move || drop(shared));
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn read(&mut self, max_records: usize, max_wait: Duration) -> Result<(Vec<Record>, Offset), LogError> {
        let deadline = Instant::now() + max_wait;
        loop {
            let shared = self.0.clone();
            let done = blocking(move || shared.fill(max_records, deadline)).await?;
            let mut state = lock(&self.0.state);
            if !state.ready.is_empty() {
                let now = state.ready.len().min(max_records.max(1));
                let rest = state.ready.split_off(now);
                let records = std::mem::replace(&mut state.ready, rest);
                let next = state.ready.first().map_or(state.position, |record| record.offset);
                return Ok((records, next));
            }
            if done {
                return Ok((Vec::new(), state.position));
            }
        }
    }
}

impl Shared {
    /// Fetches until something is ready or a slice of time is over; true when there is no more to wait for: `deadline` is
    /// over, or the position moved to the end over what readers never see.
    fn fill(&self, max_records: usize, deadline: Instant) -> Result<bool, LogError> {
        let mut state = lock(&self.state);
        let until = deadline.min(Instant::now() + SLICE);
        let mut bytes = 0;
        loop {
            let enough = state.ready.len() >= max_records || bytes >= READ_BYTES;
            if enough {
                return Ok(false);
            }
            let wait = if state.ready.is_empty() {
                until.saturating_duration_since(Instant::now())
            } else {
                Duration::ZERO
            };
            match self.client.poll(wait) {
                Some(Ok(message)) => {
                    let record = from_kafka(&message, &mut state.page);
                    state.position = Offset(record.offset.0 + 1);
                    state.looking_up_to = None;
                    if !seals(&record) {
                        bytes += record.size();
                        state.ready.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    let moved = self.at_end(&mut state)?;
                    // Told at once: who reads up to a known end would otherwise wait its whole time behind the last
                    // marker.
                    if moved && state.ready.is_empty() {
                        return Ok(true);
                    }
                }
                Some(Err(error)) => self.complain(&state, &error)?,
                None if !state.ready.is_empty() => return Ok(false),
                None if Instant::now() >= until => return Ok(Instant::now() >= deadline),
                None => {}
            }
        }
    }

    /// The client saw the end of what is visible. If it lies beyond our position, what is between must be read once
    /// more: the end we are told now may be newer than the one the client saw. True when the position moved.
    fn at_end(&self, state: &mut State) -> Result<bool, LogError> {
        if let Some(end) = state.looking_up_to.take() {
            state.position = end;
            return Ok(true);
        }
        let end = self.inner.catalog.bounds(&self.partition)?.end;
        if end <= state.position {
            return Ok(false);
        }
        state.looking_up_to = Some(end);
        let number = partition_number(&self.partition)?;
        let to = RawOffset::Offset(raw_offset(state.position));
        let sought = self.client.seek(&self.partition.topic, number, to, ASK);
        sought.map_err(|error| log_error(format!("reading {} up to its end", self.partition), &error))?;
        Ok(false)
    }

    fn complain(&self, state: &State, error: &KafkaError) -> Result<(), LogError> {
        let code = error.rdkafka_error_code();
        if matches!(code, Some(Code::AutoOffsetReset | Code::OffsetOutOfRange)) {
            let start = self.inner.catalog.bounds(&self.partition)?.start;
            return Err(LogError::OutOfRange {
                partition: self.partition.clone(),
                offset: state.position,
                start,
            });
        }
        if code.is_some_and(needs_a_person) || matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(log_error(format!("reading {}", self.partition), error));
        }
        // Connections come and go; the client goes on by itself.
        tracing::debug!(%error, partition = %self.partition, "reader goes on");
        Ok(())
    }
}
