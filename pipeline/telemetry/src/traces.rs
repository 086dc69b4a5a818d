//! The sink that tells the traces of incidents.
//!
//! It follows `incidents`, `remediations` and `notifications` with positions of its own, like every sink; a position moves when the
//! collector has taken the spans, so a crash in between sends them again, under the same ids. While the collector is away the log holds
//! what it does not take. What it does not take within `retry_for` is dropped, counted, and passed by the position; so is what is older
//! than `fresh_within`.
//!
//! At the end of the process one more try is made, for at most `flush_within`; what is not taken then is sent at the next start.
//!
//! A record whose signature is not ours tells nothing. The raw record that a fact names is read for what its sender said of its own trace;
//! where retention took it, the trace has less to say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Origin, topics};
use stream::log::Topic;
use stream::trace::Span;
use stream::{Clock, Log, LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition, failpoint};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::project::{Arrival, Projection, Told};
use crate::queue::dropped;
use crate::settings::TelemetrySettings;
use crate::shipper::{BATCH, Export, Pace, Sent, send};

const NAME: &str = "traces";
/// How long a raw record is waited for. Longer: a log that is slow holds up the traces; shorter: they say less then.
const READ: Duration = Duration::from_secs(2);

/// Keeps the positions of sinks.
#[async_trait]
pub trait Positions: Send + Sync + 'static {
    /// Where `sink` stands in `partition` of `log`.
    async fn read(&self, sink: &str, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError>;

    /// Moves it past `batches`, all or none. `unwritten`: where nothing stood when it asked.
    async fn advance(
        &self,
        sink: &str,
        log: &LogId,
        batches: &[SinkBatch],
        unwritten: &BTreeSet<TopicPartition>,
    ) -> Result<(), SinkError>;
}

/// Whether a record of a topic was written by this installation.
pub type Believed = Box<dyn Fn(&TopicPartition, &Record) -> bool + Send + Sync>;

/// What it stands on.
pub struct TracesParts<E, P> {
    pub export: Arc<E>,
    pub positions: P,
    pub log: Arc<dyn Log>,
    pub clock: Arc<dyn Clock>,
    pub believed: Believed,
    /// The process ends.
    pub stop: CancellationToken,
}

/// See the module's header.
pub struct Traces<E, P> {
    parts: TracesParts<E, P>,
    pace: Pace,
    fresh_within: Duration,
    projection: Projection,
    unwritten: BTreeSet<TopicPartition>,
}

impl<E: Export<Span>, P: Positions> Traces<E, P> {
    pub fn new(settings: &TelemetrySettings, parts: TracesParts<E, P>) -> Self {
        Traces {
            parts,
            pace: Pace::of(settings),
            fresh_within: settings.fresh_within.get(),
            projection: Projection::new(settings.sampling()),
            unwritten: BTreeSet::new(),
        }
    }

    async fn spans(&mut self, batches: &[SinkBatch]) -> Vec<Span> {
        let mut spans = Vec::new();
        for batch in batches {
            for record in &batch.records {
                let data = stream::progress::is_data_for(record, "sink.traces");
                if !data || !(self.parts.believed)(&batch.partition, record) {
                    continue;
                }
                let Some(told) = Told::read(&batch.partition.topic, record) else {
                    continue;
                };
                if !self.projection.wants(&told) {
                    continue;
                }
                if self.parts.clock.now().since(record.timestamp) > self.fresh_within {
                    dropped(NAME, "stale", 1);
                    continue;
                }
                let arrival = match self.projection.asks_for(&told) {
                    Some(origin) => self.arrival(origin).await,
                    None => None,
                };
                spans.extend(self.projection.spans(&told, arrival.as_ref()));
            }
        }
        spans
    }

    async fn arrival(&self, origin: Origin) -> Option<Arrival> {
        let partition = TopicPartition::new(topics::EVENTS_RAW, origin.partition);
        let read = async {
            let mut reader = self.parts.log.reader(&partition, Offset(origin.offset)).await.ok()?;
            let (records, _) = reader.read(1, READ).await.ok()?;
            records.into_iter().find(|record| record.offset.0 == origin.offset)
        };
        let record = timeout(READ, read).await.ok()??;
        Some(Arrival::of(&record))
    }

    /// Whether the position may pass them.
    async fn ship(&self, spans: &[Span]) -> bool {
        let export = self.parts.export.as_ref();
        let mut pace = self.pace;
        for chunk in spans.chunks(BATCH) {
            match send(NAME, export, chunk, pace, &self.parts.stop).await {
                Sent::Taken => {}
                Sent::GivenUp => {
                    // The rest of them has waited as long.
                    pace.retry_for = Duration::ZERO;
                    dropped(NAME, "undelivered", chunk.len());
                }
                Sent::Stopped => {
                    let last = timeout(self.pace.flush_within, export.export(chunk)).await;
                    if !matches!(last, Ok(Ok(()))) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

#[async_trait]
impl<E: Export<Span>, P: Positions> Sink for Traces<E, P> {
    fn name(&self) -> &str {
        NAME
    }

    fn topics(&self) -> Vec<Topic> {
        vec![
            topics::INCIDENTS.into(),
            topics::REMEDIATIONS.into(),
            topics::NOTIFICATIONS.into(),
        ]
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        let position = self.parts.positions.read(NAME, log, partition).await?;
        match position {
            None => self.unwritten.insert(partition.clone()),
            Some(_) => self.unwritten.remove(partition),
        };
        Ok(position)
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let spans = self.spans(batches).await;
        if !self.ship(&spans).await {
            // The driver is told to stop, and leaves the rest to the next start.
            return Err(SinkError::Unavailable {
                sink: NAME.to_owned(),
                cause: "the collector did not take the last spans".to_owned(),
            });
        }
        if !spans.is_empty() {
            failpoint::hit("traces.sent");
        }
        self.parts
            .positions
            .advance(NAME, log, batches, &self.unwritten)
            .await?;
        for batch in batches {
            self.unwritten.remove(&batch.partition);
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests;
