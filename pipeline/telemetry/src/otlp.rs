//! Spans and log records as OTLP, through the exporters of OpenTelemetry's own crates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, RetryPolicy, SpanExporter, WithExportConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanLinks};
use stream::time::Instant;
use stream::trace::{Attribute, Span, SpanKind};

use crate::Redact;
use crate::settings::TelemetrySettings;
use crate::shipper::Export;

/// The scope of what we tell, as OpenTelemetry calls the library that tells it.
pub(crate) const SCOPE: &str = "aegis";

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("telemetry cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error("telemetry: no exporter can be made: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// What sends spans.
#[derive(Debug)]
pub struct SpanExport {
    exporter: SpanExporter,
    scope: InstrumentationScope,
    redact: Redact,
}

impl SpanExport {
    /// Needs a running tokio; nothing is sent yet.
    pub fn new(settings: &TelemetrySettings, redact: Redact) -> Result<Self, StartError> {
        let builder = SpanExporter::builder().with_tonic();
        let mut exporter = builder
            .with_endpoint(settings.otlp_endpoint.as_str())
            .with_timeout(settings.timeout.get())
            .with_metadata(headers(settings)?)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        exporter.set_resource(&resource(settings));
        Ok(SpanExport {
            exporter,
            scope: scope(),
            redact,
        })
    }

    fn data(&self, span: &Span) -> SpanData {
        let attributes = span.attributes.iter().map(|(name, value)| match value {
            Attribute::Text(text) => KeyValue::new(*name, (self.redact)(name, text)),
            Attribute::Number(number) => KeyValue::new(*name, *number),
        });
        let mut links = SpanLinks::default();
        for (trace, id) in &span.links {
            links.links.push(Link::with_context(context(*trace, *id, true)));
        }
        SpanData {
            span_context: context(span.trace, span.id, false),
            parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: false,
            span_kind: match span.kind {
                SpanKind::Internal => Kind::Internal,
                SpanKind::Server => Kind::Server,
                SpanKind::Client => Kind::Client,
                SpanKind::Producer => Kind::Producer,
                SpanKind::Consumer => Kind::Consumer,
            },
            name: span.name.clone(),
            start_time: time(span.started_at),
            end_time: time(span.ended_at.max(span.started_at)),
            attributes: attributes.collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links,
            status: match &span.error {
                Some(why) => Status::error((self.redact)("error", why)),
                None => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl Export<Span> for SpanExport {
    async fn export(&self, batch: &[Span]) -> Result<(), String> {
        let batch = batch.iter().map(|span| self.data(span)).collect();
        self.exporter.export(batch).await.map_err(|error| error.to_string())
    }
}

/// What sends log records.
#[derive(Debug)]
pub struct LogExport {
    exporter: LogExporter,
}

impl LogExport {
    /// Needs a running tokio; nothing is sent yet.
    pub fn new(settings: &TelemetrySettings) -> Result<Self, StartError> {
        let builder = LogExporter::builder().with_tonic();
        let mut exporter = builder
            .with_endpoint(settings.otlp_endpoint.as_str())
            .with_timeout(settings.timeout.get())
            .with_metadata(headers(settings)?)
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        exporter.set_resource(&resource(settings));
        Ok(LogExport { exporter })
    }
}

impl Export<(SdkLogRecord, InstrumentationScope)> for LogExport {
    async fn export(&self, batch: &[(SdkLogRecord, InstrumentationScope)]) -> Result<(), String> {
        let batch: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
        let sent = self.exporter.export(LogBatch::new(&batch)).await;
        sent.map_err(|error| error.to_string())
    }
}

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

fn resource(settings: &TelemetrySettings) -> Resource {
    let own = [
        KeyValue::new("service.name", "aegis"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        // Of this process: two of one installation are told apart.
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    let configured = settings.attributes.iter();
    let configured = configured.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    // No detectors: they would read the environment.
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(configured)
        .build()
}

fn headers(settings: &TelemetrySettings) -> Result<MetadataMap, StartError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(StartError::Settings(faults));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let both = (
            HeaderName::try_from(name.as_str()),
            HeaderValue::try_from(value.expose()),
        );
        if let (Ok(name), Ok(mut value)) = both {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Ok(MetadataMap::from_headers(headers))
}

fn context(trace: u128, span: u64, remote: bool) -> SpanContext {
    let (trace, span) = (TraceId::from(trace), SpanId::from(span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, remote, TraceState::NONE)
}

/// Times before 1970 are 1970.
pub(crate) fn time(at: Instant) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}
