//! The sink of traces, as this process has it: positions in the store, records by their signatures, and nobody held up by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use sinks::sql::Store;
use stream::driver::{Mode, Runtime, run_sink};
use stream::health::Health;
use stream::{LogId, Offset, Record, Sink, SinkBatch, SinkError, TopicPartition};
use telemetry::{Positions, SpanExport, TelemetrySettings, Traces, TracesParts};
use tokio_util::sync::CancellationToken;

use crate::generations::{GenerationSink, Layout};
use crate::topology::dead_letters;

struct StorePositions(Store);

#[async_trait]
impl Positions for StorePositions {
    async fn read(&self, sink: &str, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        self.0.worker_position(sink, log, partition).await
    }

    async fn advance(
        &self,
        sink: &str,
        log: &LogId,
        batches: &[SinkBatch],
        unwritten: &BTreeSet<TopicPartition>,
    ) -> Result<(), SinkError> {
        self.0.move_worker(sink, log, batches, unwritten).await
    }
}

/// The sink. `signer` knows what this installation wrote.
pub fn sink(
    settings: &TelemetrySettings,
    export: Arc<SpanExport>,
    (store, runtime): (Store, &Runtime),
    (signer, layout): (Signer, &Layout),
    stop: CancellationToken,
) -> Box<dyn Sink> {
    let parts = TracesParts {
        export,
        positions: StorePositions(store),
        log: runtime.log.clone(),
        clock: runtime.clock.clone(),
        believed: Box::new(move |from, record| believed(&signer, from, record)),
        stop,
    };
    GenerationSink::over(Box::new(Traces::new(settings, parts)), layout)
}

/// Steps and everything on `remediations` are signed; what correlate wrote is not.
fn believed(signer: &Signer, from: &TopicPartition, record: &Record) -> bool {
    let step = *from.topic == *topics::INCIDENTS && record.header(topics::header::TYPE).is_some();
    if !step && *from.topic != *topics::REMEDIATIONS {
        return true;
    }
    let message = Message {
        topic: &from.topic,
        key: record.key.as_deref().unwrap_or_default(),
        value: &record.value,
    };
    let header = record.header(signing::HEADER).map(|header| &**header);
    !matches!(signer.check(message, header), Verdict::Forged(_))
}

/// Runs a sink that nobody needs: what it is behind, and how it fails, makes the process neither unready nor end.
pub async fn run_aside(sink: Box<dyn Sink>, runtime: &Runtime, stop: CancellationToken) {
    let name = sink.name().to_owned();
    let aside = Runtime {
        health: Health::default(),
        ..runtime.clone()
    };
    if let Err(error) = run_sink(sink, dead_letters(), aside, Mode::Live, stop.clone()).await {
        tracing::error!(sink = name, %error, "stopped; everything else goes on");
        runtime
            .health
            .degraded(&format!("sink.{name}"), Some(error.to_string()));
        stop.cancelled().await;
    }
}
