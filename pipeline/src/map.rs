//! How the pipeline is, for whoever looks at it: what became of items, where everybody stands, who sends, and how the stop switch stands.
//!
//! Counts are added up from the accounting records that are written from the start on, by whichever process. Places and senders are those of
//! this process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use gateway::{PipelineReads, PipelineView, PlaceView, SenderState, SinkPlaces, StageCounts, StageState};
use metrics_exporter_prometheus::PrometheusHandle;
use model::remediation::{RemediationEvent, RemediationFact, Switch};
use model::{Signer, topics};
use stream::accounting::{Accounting, AccountingRecord};
use stream::health::{Health, PartitionHealth};
use stream::time::Instant;
use stream::{Clock, Log, LogError, Offset, Record, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::topology::STAGES;
use crate::workers;

/// How often senders are looked at. More often: the metrics are written out more often; less: "heard last" is coarser.
const EVERY: Duration = Duration::from_secs(2);
/// Records asked for at once, how long one wait for them is, and before a partition that cannot be read is tried again.
const RECORDS: usize = 1_000;
const WAIT: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_secs(1);

/// See the module's header. Somebody must keep it.
pub struct Map {
    log: Arc<dyn Log>,
    health: Health,
    clock: Arc<dyn Clock>,
    signer: Signer,
    metrics: PrometheusHandle,
    dispatcher: OnceLock<SocketAddr>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    counts: BTreeMap<String, (StageCounts, bool)>,
    senders: BTreeMap<String, SenderState>,
    /// By partition of `remediations`; all of them once each was read to where it ended.
    switches: BTreeMap<u32, Switch>,
    partitions: Option<u32>,
}

impl Map {
    pub fn new(
        log: Arc<dyn Log>,
        health: Health,
        clock: Arc<dyn Clock>,
        signer: Signer,
        metrics: PrometheusHandle,
    ) -> Self {
        Map {
            log,
            health,
            clock,
            signer,
            metrics,
            dispatcher: OnceLock::new(),
            seen: Mutex::default(),
        }
    }

    /// Says where senders may send to.
    pub fn dispatcher_at(&self, address: SocketAddr) {
        let _ = self.dispatcher.set(address);
    }

    /// Looks, until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow(topics::ACCOUNTING) => {}
            () = self.follow(topics::REMEDIATIONS) => {}
            () = self.look_at_senders() => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never ends.
    async fn follow(&self, topic: &'static str) {
        let partitions = loop {
            match self.log.partitions(topic).await {
                Ok(count) => break count,
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        };
        if topic == topics::REMEDIATIONS {
            self.seen().partitions = Some(partitions);
        }
        join_all((0..partitions).map(|number| self.partition(TopicPartition::new(topic, number)))).await;
    }

    async fn partition(&self, partition: TopicPartition) {
        let mut at = None;
        loop {
            if let Err(error) = self.read(&partition, &mut at).await {
                tracing::debug!(%partition, %error, "read again later");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn read(&self, partition: &TopicPartition, at: &mut Option<Offset>) -> Result<(), LogError> {
        let bounds = self.log.bounds(partition).await?;
        let orders = &*partition.topic == topics::REMEDIATIONS;
        let begin = if orders { bounds.start } else { bounds.end };
        let mut place = at.unwrap_or(begin).max(bounds.start);
        let mut here = self
            .seen()
            .switches
            .get(&partition.partition)
            .copied()
            .unwrap_or_default();
        let mut reader = self.log.reader(partition, place).await?;
        loop {
            if orders && place >= bounds.end {
                self.seen().switches.insert(partition.partition, here);
            }
            *at = Some(place);
            let (records, next) = reader.read(RECORDS, WAIT).await?;
            for record in &records {
                match orders {
                    true => self.hear(record, &mut here),
                    false => self.count(record),
                }
            }
            place = next;
        }
    }

    fn hear(&self, record: &Record, switch: &mut Switch) {
        if record.header(stream::progress::KIND_HEADER).is_none()
            && let Ok(event) = serde_json::from_slice::<RemediationEvent>(&record.value)
            && let RemediationFact::StopSwitch { on, .. } = event.fact
        {
            switch.hear(on, event.at, workers::is_order(&self.signer, record));
        }
    }

    fn count(&self, record: &Record) {
        let Ok(said) = serde_json::from_slice::<AccountingRecord>(&record.value) else {
            return;
        };
        let mut seen = self.seen();
        let (sums, balanced) = seen.counts.entry(said.stage).or_insert((StageCounts::default(), true));
        add(sums, &said.counts);
        *balanced &= said.counts.balanced();
    }

    async fn look_at_senders(&self) {
        loop {
            self.note(&senders(&self.metrics.render()));
            tokio::time::sleep(EVERY).await;
        }
    }

    fn note(&self, found: &[(String, u64, u64)]) {
        let now = self.clock.now().to_datetime();
        let mut seen = self.seen();
        for (sender, requests, refused) in found {
            let named = || SenderState {
                sender: sender.clone(),
                ..SenderState::default()
            };
            let known = seen.senders.entry(sender.clone()).or_insert_with(named);
            if *requests > known.requests {
                known.last_at = Some(now);
            }
            (known.requests, known.refused) = (*requests, *refused);
        }
    }
}

#[async_trait]
impl PipelineReads for Map {
    async fn pipeline(&self) -> PipelineView {
        let mut places: BTreeMap<String, Vec<PlaceView>> = BTreeMap::new();
        for ((name, partition), state) in self.health.partitions() {
            places.entry(name).or_default().push(place(&partition, &state));
        }
        let mut waiting = self.health.waiting();
        let mut troubles = self.health.troubles();
        let seen = self.seen();
        let stages = STAGES.iter().map(|stage| {
            let (counts, balanced) = seen
                .counts
                .get(stage.name)
                .copied()
                .unwrap_or((StageCounts::default(), true));
            StageState {
                stage: stage.name.to_owned(),
                inputs: vec![stage.input.to_owned()],
                outputs: stage.outputs.iter().map(|topic| (*topic).to_owned()).collect(),
                counts,
                balanced,
                partitions: places.remove(stage.name).unwrap_or_default(),
                trouble: troubles.remove(stage.name),
                waiting: waiting.remove(stage.name).flatten(),
            }
        });
        let stages = stages.collect();
        let sinks = places.into_iter().map(|(sink, partitions)| SinkPlaces {
            trouble: troubles.remove(&sink),
            waiting: waiting.remove(&sink).flatten(),
            sink: sink.strip_prefix("sink.").unwrap_or(&sink).to_owned(),
            partitions,
        });
        PipelineView {
            at: self.clock.now().to_datetime(),
            stages,
            sinks: sinks.collect(),
            senders: seen.senders.values().cloned().collect(),
            dispatcher: self.dispatcher.get().map(SocketAddr::to_string),
            degraded: self.health.degradations(),
        }
    }

    async fn stopped(&self) -> Option<bool> {
        let seen = self.seen();
        let all = seen.partitions? as usize;
        let together = seen.switches.values().copied().reduce(Switch::or);
        (seen.switches.len() == all).then(|| together.is_some_and(Switch::on))
    }
}

fn place(partition: &str, state: &PartitionHealth) -> PlaceView {
    let (topic, number) = partition.rsplit_once('/').unwrap_or((partition, "0"));
    // Time zero is "none yet".
    let time = |at: Instant| (at.0 > 0).then(|| at.to_datetime());
    PlaceView {
        topic: topic.to_owned(),
        partition: number.parse().unwrap_or(0),
        position: state.position,
        lag: state.lag,
        watermark: time(state.watermark),
        caught_up_at: time(state.caught_up_at),
    }
}

fn add(sums: &mut StageCounts, counts: &Accounting) {
    sums.bodies += counts.bodies;
    sums.items_in += counts.items_in;
    sums.forwarded += counts.forwarded;
    sums.merged += counts.merged;
    sums.suppressed += counts.suppressed.values().sum::<u64>();
    sums.late += counts.late;
    sums.dead_lettered += counts.dead_lettered;
    sums.held += counts.held;
    sums.released += counts.released;
    sums.produced += counts.produced.values().sum::<u64>();
}

/// Sender, requests, and those of them that were refused, out of Prometheus' text.
fn senders(text: &str) -> Vec<(String, u64, u64)> {
    let mut found: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("aegis_webhook_requests_total{") else {
            continue;
        };
        let Some((labels, value)) = rest.split_once("} ") else {
            continue;
        };
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (Some(sender), Some(status), Ok(count)) = (label("sender"), label("status"), value.trim().parse::<u64>())
        else {
            continue;
        };
        let (requests, refused) = found.entry(sender).or_default();
        *requests += count;
        if !status.starts_with('2') {
            *refused += count;
        }
    }
    let all = found.into_iter();
    all.map(|(sender, (requests, refused))| (sender, requests, refused))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_read_out_of_the_metrics() {
        let text = "# HELP aegis_webhook_requests_total …\n\
            aegis_webhook_requests_total{sender=\"grafana\",status=\"202\"} 3\n\
            aegis_webhook_requests_total{sender=\"grafana\",status=\"400\"} 2\n\
            aegis_webhook_requests_total{status=\"200\",sender=\"json/ci\"} 7\n\
            aegis_webhook_body_bytes_total{sender=\"grafana\"} 17\n";
        assert_eq!(
            senders(text),
            [("grafana".to_owned(), 5, 2), ("json/ci".to_owned(), 7, 0)]
        );
    }
}
