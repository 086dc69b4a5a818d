//! Log lines: which trace and incident they belong to, and their way into the queue.

use std::fmt;
use std::time::SystemTime;

use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use stream::trace;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::Redact;
use crate::queue::{LogQueue, Queue};

/// What sends for us says nothing through us: a collector that is away would be told about in lines that it cannot be sent.
const SENDERS: &[&str] = &["telemetry", "opentelemetry", "tonic", "h2", "hyper", "tower"];

/// Puts events from `info` on into a queue, as OTLP log records.
pub struct LogLayer {
    logger: SdkLogger,
    redact: Redact,
}

impl LogLayer {
    /// The layer, and what it fills: at most `capacity` records.
    pub fn bounded(capacity: usize, redact: Redact) -> (Self, LogQueue) {
        let (queue, waiting) = Queue::bounded("logs", capacity);
        let provider = SdkLoggerProvider::builder().with_log_processor(ToQueue(queue)).build();
        let logger = provider.logger(crate::otlp::SCOPE);
        (LogLayer { logger, redact }, LogQueue { waiting })
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let root = metadata.target().split("::").next().unwrap_or_default();
        let ours = SENDERS
            .iter()
            .any(|sender| root == *sender || root.starts_with("opentelemetry"));
        if *metadata.level() > Level::INFO || ours {
            return;
        }
        let mut record = self.logger.create_log_record();
        let (severity, text) = match *metadata.level() {
            Level::ERROR => (Severity::Error, "ERROR"),
            Level::WARN => (Severity::Warn, "WARN"),
            _ => (Severity::Info, "INFO"),
        };
        record.set_timestamp(SystemTime::now());
        record.set_severity_number(severity);
        record.set_severity_text(text);
        record.set_target(metadata.target());
        event.record(&mut Fields {
            record: &mut record,
            redact: self.redact,
        });
        record.add_attribute("target", metadata.target());
        if let Some(context) = trace::current() {
            let flags = if context.sampled {
                TraceFlags::SAMPLED
            } else {
                TraceFlags::NOT_SAMPLED
            };
            record.set_trace_context(TraceId::from(context.trace), SpanId::from(context.span), Some(flags));
            if let Some(incident) = context.subject {
                record.add_attribute("incident", incident.to_string());
            }
        }
        self.logger.emit(record);
    }
}

struct Fields<'a> {
    record: &'a mut SdkLogRecord,
    redact: Redact,
}

impl Fields<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        let text = (self.redact)(field.name(), text);
        match field.name() {
            "message" => self.record.set_body(AnyValue::from(text)),
            name => self.record.add_attribute(name, text),
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record.add_attribute(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.text(field, &value.to_string()),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record.add_attribute(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record.add_attribute(field.name(), value);
    }
}

#[derive(Debug)]
struct ToQueue(Queue<(SdkLogRecord, InstrumentationScope)>);

impl LogProcessor for ToQueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.push((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        // The shipper's: it has the runtime.
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// A format of one JSON object a line, with `trace_id`, `span_id` and `incident` of the work at hand behind what the inner one writes.
pub struct JsonWithTrace<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for JsonWithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(context) = trace::current() else {
            return self.0.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        let Some(open) = line.trim_end().strip_suffix('}') else {
            return writer.write_str(&line);
        };
        let (trace, span) = (context.trace_id(), context.span_id());
        write!(writer, "{open},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"")?;
        if let Some(incident) = context.subject {
            write!(writer, ",\"incident\":\"{incident}\"")?;
        }
        writer.write_str("}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use stream::trace::TraceContext;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn redact(name: &str, value: &str) -> String {
        if name == "token" {
            "[redacted]".to_owned()
        } else {
            value.replace("hunter2", "[redacted]")
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const CONTEXT: TraceContext = TraceContext {
        trace: 0xabc,
        span: 0xdef,
        sampled: true,
        subject: Some(uuid::Uuid::from_u128(7)),
    };

    #[test]
    fn lines_and_records_say_what_they_belong_to() {
        let (layer, mut queue) = LogLayer::bounded(4, redact);
        let lines = Lines::default();
        let written = lines.clone();
        let json = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(move || written.clone())
            .map_event_format(JsonWithTrace);
        let subscriber = tracing_subscriber::registry().with(json).with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let work = async {
                tracing::info!(target: "gateway", token = "abcdef", count = 3u64, "the password is hunter2");
                tracing::debug!(target: "gateway", "not shipped");
            };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(trace::within(CONTEXT, work));
            tracing::warn!(target: "gateway", "of nothing");
            tracing::warn!(target: "telemetry::shipper", "the collector is away");
            tracing::warn!(target: "opentelemetry-otlp", "the collector is away");
        });
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["trace_id"], "00000000000000000000000000000abc");
        assert_eq!(lines[0]["span_id"], "0000000000000def");
        assert_eq!(lines[0]["incident"], "00000000-0000-0000-0000-000000000007");
        assert_eq!((&lines[0]["count"], &lines[0]["level"]), (&3.into(), &"INFO".into()));
        assert!(
            lines
                .iter()
                .any(|line| line["message"] == "of nothing" && line["trace_id"].is_null())
        );

        let (first, scope) = queue.waiting.try_recv().unwrap();
        assert_eq!(scope.name(), "aegis");
        let text = format!("{first:?}");
        assert!(!text.contains("hunter2") && !text.contains("abcdef"), "{text}");
        assert!(
            text.contains("the password is [redacted]") && text.contains("incident"),
            "{text}"
        );
        let context = first.trace_context().unwrap();
        assert_eq!(
            (context.trace_id, context.span_id),
            (TraceId::from(0xabc_u128), SpanId::from(0xdef_u64))
        );
        let (second, _) = queue.waiting.try_recv().unwrap();
        assert_eq!(second.severity_text(), Some("WARN"));
        assert!(second.trace_context().is_none());
        assert!(
            queue.waiting.try_recv().is_err(),
            "nothing about the shipping itself, nothing below info"
        );
    }
}
