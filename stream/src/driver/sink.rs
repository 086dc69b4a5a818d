//! Feeds one sink from the log.
//!
//! The store decides where to read. What the log must not be able to lose any more is synced before the store sees it.
//! A store that is away costs this sink its progress and nobody else anything: records stay in the log, not on the heap.
//! What the store will never take is buried before its position passes it, so a crash between the two can bury a record
//! twice (the letters carry the same [`IDENTITY_HEADER`]) but never lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::ends::Ends;
use super::pace::Pace;
use super::{Mode, Runtime, TICK};
use crate::failpoint;
use crate::health::PartitionHealth;
use crate::log::{Bounds, LogError, Member, MemberEvent, Offset, Record, TopicPartition};
use crate::operator::Reject;
use crate::partition::partition_for;
use crate::sink::{Sink, SinkBatch, SinkError, SinkReject};
use crate::task::{DeadLetters, Refused};

/// Bytes gathered before a write. Higher: larger statements and more heap; lower: more round trips.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Header of a sink's dead letter: `SINK/TOPIC/PARTITION/OFFSET`. Letters of the same identity are the same refusal.
pub const IDENTITY_HEADER: &str = "aegis-identity";

/// Why a sink stopped.
#[derive(Debug, thiserror::Error)]
pub enum SinkDriverError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Runs a sink until `stop` (live) or until its input is drained. On return everything taken is written.
pub fn run_sink(
    sink: Box<dyn Sink>,
    dead_letters: DeadLetters,
    runtime: Runtime,
    mode: Mode,
    stop: CancellationToken,
) -> BoxFuture<'static, Result<(), SinkDriverError>> {
    Box::pin(run(sink, dead_letters, runtime, mode, stop))
}

async fn run(
    sink: Box<dyn Sink>,
    dead_letters: DeadLetters,
    runtime: Runtime,
    mode: Mode,
    stop: CancellationToken,
) -> Result<(), SinkDriverError> {
    let name = sink.name().to_owned();
    let mut driver = Driver {
        stage: format!("sink.{name}"),
        sink,
        dead_letters,
        runtime,
        parts: BTreeMap::new(),
        pace: Pace::default(),
        ends: Ends::default(),
    };
    let result = driver.run(mode, stop).await;
    if let Err(error) = &result {
        driver.runtime.health.trouble(&driver.stage, Some(error.to_string()));
    }
    result
}

/// One assigned partition: where the store stands, and what has been fetched since.
struct Part {
    stored: Offset,
    records: Vec<Record>,
    bytes: usize,
}

impl Part {
    /// The position after what has been fetched.
    fn next(&self) -> Offset {
        self.records
            .last()
            .map_or(self.stored, |record| Offset(record.offset.0 + 1))
    }
}

struct Driver {
    stage: String,
    sink: Box<dyn Sink>,
    dead_letters: DeadLetters,
    runtime: Runtime,
    parts: BTreeMap<TopicPartition, Part>,
    pace: Pace,
    ends: Ends,
}

impl Driver {
    async fn run(&mut self, mode: Mode, stop: CancellationToken) -> Result<(), SinkDriverError> {
        let group = format!("aegis.{}", self.stage);
        let topics = self.sink.topics();
        let log = self.runtime.log.clone();
        self.runtime.health.watch(&self.stage, super::joining());
        let join = || log.follow(&group, &topics);
        let mut member = self.runtime.patiently(&self.stage, &stop, join).await?;
        self.runtime.health.watch(&self.stage, member.waits());
        let mut attempt = 0;
        let mut ticked = self.monotonic();
        loop {
            let wait = self.pace.left(self.monotonic());
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                event = member.next(wait) => event,
            };
            if event.is_ok() && attempt > 0 {
                attempt = 0;
                self.runtime.health.trouble(&self.stage, None);
            }
            let behind = matches!(event, Ok(Some(_)));
            let mut anew = false;
            match event {
                Ok(None) if member.stranded() => {
                    tracing::warn!(
                        sink = self.sink.name(),
                        "the member has lost its group: joining as a new one"
                    );
                    anew = true;
                }
                Ok(None) => {}
                Ok(Some(MemberEvent::Assigned(partitions))) => {
                    for (partition, _) in partitions {
                        anew |= !self.take_over(member.as_mut(), partition, &stop).await?;
                    }
                }
                Ok(Some(MemberEvent::Revoked(partitions))) => {
                    self.write(member.as_mut(), &partitions, &stop).await?;
                    self.give_up(&partitions);
                }
                Ok(Some(MemberEvent::Lost(partitions))) => self.give_up(&partitions),
                Ok(Some(MemberEvent::Fetched { partition, records })) => {
                    if let Some(part) = self.parts.get_mut(&partition) {
                        let expected = part.next();
                        for record in records.into_iter().filter(|record| record.offset >= expected) {
                            part.bytes += record.size() + 64;
                            part.records.push(record);
                        }
                        self.pace.waits(self.monotonic());
                    }
                }
                Ok(Some(MemberEvent::Drained)) => {
                    self.write(member.as_mut(), &[], &stop).await?;
                    if mode != Mode::Live && !self.parts.is_empty() {
                        break;
                    }
                }
                Err(error @ LogError::Unavailable { .. }) => {
                    self.pause(&error.to_string(), &mut attempt, &stop).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if anew {
                self.give_up(&self.parts.keys().cloned().collect::<Vec<_>>());
                let _ = member.leave().await;
                self.runtime.health.watch(&self.stage, super::joining());
                member = self.runtime.patiently(&self.stage, &stop, join).await?;
                self.runtime.health.watch(&self.stage, member.waits());
            }
            let waited = self.pace.due(self.monotonic(), behind);
            if waited || self.parts.values().map(|part| part.bytes).sum::<usize>() >= MAX_BATCH_BYTES {
                self.write(member.as_mut(), &[], &stop).await?;
            }
            if self.passed(ticked, TICK) {
                ticked = self.monotonic();
                self.report(member.as_mut());
            }
        }
        self.write(member.as_mut(), &[], &stop).await?;
        self.sink.close().await?;
        Ok(member.leave().await?)
    }

    async fn pause(&self, problem: &str, attempt: &mut u32, stop: &CancellationToken) {
        tracing::warn!(sink = self.sink.name(), problem, attempt = *attempt, "trying again");
        self.runtime.health.trouble(&self.stage, Some(problem.to_owned()));
        self.runtime.pause(*attempt, stop).await;
        *attempt += 1;
    }

    fn monotonic(&self) -> Duration {
        self.runtime.clock.monotonic()
    }

    /// Whether `span` has passed since then.
    fn passed(&self, since: Duration, span: Duration) -> bool {
        self.monotonic().saturating_sub(since) >= span
    }

    async fn bounds(&self, partition: &TopicPartition, stop: &CancellationToken) -> Result<Bounds, LogError> {
        let log = &self.runtime.log;
        self.runtime
            .patiently(&self.stage, stop, || log.bounds(partition))
            .await
    }

    /// Ask the store where it stands, and read from there. False: the member does not read it any more, so join as a new one.
    async fn take_over(
        &mut self,
        member: &mut dyn Member,
        partition: TopicPartition,
        stop: &CancellationToken,
    ) -> Result<bool, SinkDriverError> {
        let id = self.runtime.log.id();
        let mut attempt = 0;
        let stored = loop {
            match self.sink.position(&id, &partition).await {
                Ok(stored) => break stored,
                Err(SinkError::Unavailable { cause, .. }) => {
                    if stop.is_cancelled() {
                        return Ok(true);
                    }
                    self.pause(&cause, &mut attempt, stop).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.runtime.health.trouble(&self.stage, None);
        let bounds = self.bounds(&partition, stop).await?;
        let stored = stored.unwrap_or(bounds.start);
        if stored > bounds.end {
            let problem = format!(
                "position {} of {partition} is beyond the log's end {}",
                stored.0, bounds.end.0
            );
            return Err(SinkError::ForeignPosition {
                sink: self.sink.name().to_owned(),
                problem,
            }
            .into());
        }
        if stored < bounds.start {
            let gone = bounds.start.0 - stored.0;
            tracing::error!(sink = self.sink.name(), %partition, gone, "the log dropped records that this sink had not read");
            metrics::counter!("aegis_sink_skipped_records_total", "sink" => self.sink.name().to_owned())
                .increment(gone);
        }
        // The stored position stays the guard of the next write, even when reading starts later.
        if !super::sought(member, &partition, stored.max(bounds.start)).await? {
            return Ok(false);
        }
        failpoint::hit("sink.assigned");
        self.parts.insert(
            partition,
            Part {
                stored,
                records: Vec::new(),
                bytes: 0,
            },
        );
        Ok(true)
    }

    fn give_up(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.parts.remove(partition);
            self.runtime.health.forget(&self.stage, &partition.to_string());
        }
    }

    /// Write everything that waits, trying for as long as the store is away (or until stopped: then nothing is lost, the
    /// store's position says where to go on). `leaving`: partitions that are no longer to be read.
    async fn write(
        &mut self,
        member: &mut dyn Member,
        leaving: &[TopicPartition],
        stop: &CancellationToken,
    ) -> Result<(), SinkDriverError> {
        self.pace.rest();
        let mut batches: Vec<SinkBatch> = self
            .parts
            .iter_mut()
            .filter(|(_, part)| !part.records.is_empty())
            .map(|(partition, part)| {
                let next = part.next();
                part.bytes = 0;
                SinkBatch {
                    partition: partition.clone(),
                    start: part.stored,
                    next,
                    records: std::mem::take(&mut part.records),
                }
            })
            .collect();
        if batches.is_empty() {
            return Ok(());
        }
        let log = self.runtime.log.clone();
        self.runtime.patiently(&self.stage, stop, || log.sync()).await?;
        let id = self.runtime.log.id();
        let name = self.sink.name().to_owned();
        let began = self.monotonic();
        let mut attempt = 0;
        loop {
            failpoint::hit_by("sink.before", &name);
            match self.sink.write(&id, &batches).await {
                Ok(rejects) if rejects.is_empty() => {
                    failpoint::hit_by("sink.after", &name);
                    break;
                }
                // Nothing is written yet: bury them first, then let the position pass them with the rest.
                Ok(rejects) => {
                    let refused: BTreeSet<(TopicPartition, Offset)> = rejects
                        .iter()
                        .map(|reject| (reject.partition.clone(), reject.offset))
                        .collect();
                    self.bury(&batches, rejects, stop).await?;
                    let mut taken = 0;
                    for batch in &mut batches {
                        let before = batch.records.len();
                        batch
                            .records
                            .retain(|record| !refused.contains(&(batch.partition.clone(), record.offset)));
                        taken += before - batch.records.len();
                    }
                    if taken == 0 {
                        return Err(SinkError::Fatal {
                            sink: name,
                            cause: "it refuses records that it was not given".to_owned(),
                        }
                        .into());
                    }
                }
                Err(SinkError::Unavailable { cause, .. }) => {
                    if stop.is_cancelled() {
                        return Ok(());
                    }
                    self.pause(&cause, &mut attempt, stop).await;
                }
                Err(SinkError::PositionMoved { partition, stored, .. }) => {
                    tracing::warn!(sink = name, %partition, ?stored, "position moved under us: asking again");
                    for batch in &batches {
                        self.parts.remove(&batch.partition);
                        if !leaving.contains(&batch.partition) {
                            self.take_over(member, batch.partition.clone(), stop).await?;
                        }
                    }
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if attempt > 0 {
            self.runtime.health.trouble(&self.stage, None);
        }
        let took = self.monotonic().saturating_sub(began);
        self.pace.took(took);
        metrics::histogram!("aegis_sink_write_seconds", "sink" => name.clone()).record(took.as_secs_f64());
        metrics::counter!("aegis_sink_records_total", "sink" => name.clone())
            .increment(batches.iter().map(|batch| batch.records.len() as u64).sum());
        if let Some(newest) = batches.iter().flat_map(|b| &b.records).map(|r| r.timestamp).max()
            && newest.0 > 0
        {
            let behind = self.runtime.clock.now().since(newest).as_secs_f64();
            metrics::histogram!("aegis_sink_latency_seconds", "sink" => name).record(behind);
        }
        let positions: Vec<_> = batches
            .iter()
            .map(|batch| (batch.partition.clone(), batch.next))
            .collect();
        for (partition, next) in &positions {
            if let Some(part) = self.parts.get_mut(partition) {
                part.stored = *next;
            }
        }
        member.tell(positions).await;
        Ok(())
    }

    /// What the store will never take goes to the dead letters, durably.
    async fn bury(
        &self,
        batches: &[SinkBatch],
        rejects: Vec<SinkReject>,
        stop: &CancellationToken,
    ) -> Result<(), SinkDriverError> {
        let log = &self.runtime.log;
        for SinkReject {
            partition,
            offset,
            reason,
            detail,
        } in rejects
        {
            let batch = batches.iter().find(|batch| batch.partition == partition);
            let found = batch.and_then(|batch| batch.records.iter().find(|record| record.offset == offset));
            let Some(record) = found else { continue };
            metrics::counter!("aegis_dead_letters_total", "stage" => self.stage.clone(), "reason" => reason)
                .increment(1);
            tracing::warn!(sink = self.sink.name(), %partition, offset = offset.0, reason, detail, "record refused");
            if partition.topic == self.dead_letters.topic {
                // A dead letter that cannot be written stays in the log; burying it again would never end.
                continue;
            }
            let reject = Reject {
                reason,
                detail,
                field: None,
                index: None,
            };
            let refused = Refused {
                stage: &self.stage,
                from: &partition,
                record,
                reject: &reject,
                with_body: true,
            };
            let mut letter = (self.dead_letters.encode)(&refused);
            let origin = partition.to_string();
            let identity = format!("{}/{origin}/{}", self.sink.name(), offset.0);
            letter.headers.push((IDENTITY_HEADER.to_owned(), identity.into()));
            letter.key.get_or_insert_with(|| Bytes::from(origin.clone()));
            let topic = self.dead_letters.topic.clone();
            // Without a time of its own retention would take it for the oldest record of all.
            letter.timestamp = self.runtime.clock.now();
            let ask = || log.partitions(&topic);
            let count = self.runtime.patiently(&self.stage, stop, ask).await?;
            let to = TopicPartition::new(topic.clone(), partition_for(origin.as_bytes(), count));
            let append = || log.append(&to, vec![letter.clone()]);
            self.runtime.patiently(&self.stage, stop, append).await?;
        }
        Ok(())
    }

    fn report(&mut self, member: &mut dyn Member) {
        let now = self.runtime.clock.now();
        for (partition, bounds) in &self.ends.look(&self.runtime.log, self.parts.keys()) {
            let Some(part) = self.parts.get(partition) else {
                continue;
            };
            let lag = super::lag(&*member, partition, part.next(), *bounds);
            let label = partition.to_string();
            metrics::gauge!("aegis_sink_lag", "sink" => self.sink.name().to_owned(), "partition" => label.clone())
                .set(lag as f64);
            let health = PartitionHealth {
                position: part.stored.0,
                lag,
                caught_up_at: now,
                watermark: crate::time::Instant::MIN,
            };
            self.runtime.health.report(&self.stage, label, health);
        }
    }
}
