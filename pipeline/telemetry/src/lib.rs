//! Our own traces and log lines, over OTLP (gRPC) to a collector.
//!
//! ```text
//!  incidents, remediations, notifications ─ Traces (a sink: spans from facts, position behind what was taken) ─┐
//!  gateway's requests, deliveries ─ stream::trace::record ─► queue ─ Shipper ────────────────────────────────┼─► collector
//!  tracing events ─ LogLayer ──────────────────────────────► queue ─ Shipper ────────────────────────────────┘
//! ```
//!
//! It guarantees:
//!
//! * the trace of an incident is a projection of the log: ids and times come from the facts, so a trace that is sent twice (a crash, a
//!   lost answer) is the same trace; what a collector did not take waits in the log;
//! * nothing waits for a collector: queues are bounded, every send has a time limit, and what is dropped is counted
//!   (`aegis_telemetry_dropped_total`);
//! * what leaves goes through the [`Redact`] that it is given, names and values.
//!
//! It speaks plain HTTP/2 to a collector beside it, no TLS, and it takes nothing in.

mod layer;
mod otlp;
mod project;
mod queue;
mod settings;
mod shipper;
#[cfg(test)]
mod testing;
mod traces;

use std::sync::Arc;

use stream::trace::{Recorder, Span};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use layer::{JsonWithTrace, LogLayer};
pub use otlp::{LogExport, SpanExport, StartError};
pub use project::{Arrival, Projection};
pub use queue::{LogQueue, Queue};
pub use settings::{Sampling, TelemetrySettings};
pub use shipper::{Export, Pace, Shipper};
pub use traces::{Positions, Traces, TracesParts};

/// How a value may be shown, given its name.
pub type Redact = fn(&str, &str) -> String;

/// What ships, until it is closed.
pub struct Telemetry {
    /// For the trace sink.
    pub spans: Arc<SpanExport>,
    settings: TelemetrySettings,
    stop: CancellationToken,
    shippers: Vec<JoinHandle<()>>,
}

impl Telemetry {
    /// Begins to ship the spans that are recorded, and the log lines of `logs`. `None` where no collector is named. Needs a running tokio.
    pub fn start(
        settings: &TelemetrySettings,
        logs: Option<LogQueue>,
        redact: Redact,
    ) -> Result<Option<Telemetry>, StartError> {
        if !settings.on() {
            return Ok(None);
        }
        // So that they are there before anything is wrong, and a rule sees the first one rise.
        for signal in ["traces", "logs"] {
            metrics::counter!("aegis_telemetry_sent_total", "signal" => signal).increment(0);
            metrics::counter!("aegis_telemetry_failures_total", "signal" => signal).increment(0);
            for reason in ["full", "undelivered", "shutdown", "stale", "stopped"] {
                metrics::counter!("aegis_telemetry_dropped_total", "signal" => signal, "reason" => reason).increment(0);
            }
        }
        let stop = CancellationToken::new();
        let pace = Pace::of(settings);
        let spans = Arc::new(SpanExport::new(settings, redact)?);
        let mut shippers = Vec::new();
        if settings.traces {
            let (queue, waiting) = Queue::bounded("traces", settings.queue as usize);
            let sampling = settings.sampling();
            stream::trace::install(Some(Arc::new(ToQueue { queue, sampling })));
            let shipper = Shipper::new("traces", waiting, spans.clone(), pace);
            shippers.push(tokio::spawn(shipper.run(stop.clone())));
        }
        if let (true, Some(logs)) = (settings.logs, logs) {
            let export = Arc::new(LogExport::new(settings)?);
            let shipper = Shipper::new("logs", logs.waiting, export, pace);
            shippers.push(tokio::spawn(shipper.run(stop.clone())));
        }
        Ok(Some(Telemetry {
            spans,
            settings: settings.clone(),
            stop,
            shippers,
        }))
    }

    /// Sends what waits, for at most `flush_within`; the rest is counted as dropped.
    pub async fn close(self) {
        stream::trace::install(None);
        self.stop.cancel();
        // A shipper keeps the limit itself; this one is for a runtime that is starved.
        let limit = self.settings.flush_within.get() * 2;
        for mut shipper in self.shippers {
            if timeout(limit, &mut shipper).await.is_err() {
                shipper.abort();
            }
        }
    }
}

struct ToQueue {
    queue: Queue<Span>,
    sampling: Sampling,
}

impl Recorder for ToQueue {
    fn sampled(&self, trace: u128) -> bool {
        self.sampling.takes(trace)
    }

    fn record(&self, span: Span) {
        self.queue.push(span);
    }
}
