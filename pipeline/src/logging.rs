//! What the process says about itself: `tracing` events on standard error, as text on a terminal and JSON elsewhere.
//!
//! What is logged, first match counts: `-v` (debug of our own crates) and `-vv` (trace), `RUST_LOG`, `logging.filter`.
//! Commands that end by themselves are quieter (warnings) unless one of the first two says otherwise.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use telemetry::{JsonWithTrace, LogLayer, LogQueue, TelemetrySettings};
use tools::redact::redact_named;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{LogFormat, LoggingSettings};

/// Lines that wait for whoever sends them on; filled from [`init`] on, so that the first ones are not lost.
static SHIPPED: Mutex<Option<LogQueue>> = Mutex::new(None);

/// The engine of vectors warns at each start that switches of its server are not set, and tells of every log file it opens.
const NOISE: &str = "qdrant_edge=warn,qdrant_edge::common=error";

/// Our crates: what `-v` speaks of. Dependencies stay at `info`.
const OWN: &[&str] = &[
    "aegis",
    "pipeline",
    "model",
    "stream",
    "sources",
    "operators",
    "sinks",
    "sql",
    "gateway",
    "telemetry",
];
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// How the command line and the terminal bear on logging.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voice {
    /// How often `-v` was given.
    pub verbose: u8,
    /// The command stays until it is stopped; its log is what one watches.
    pub daemon: bool,
    /// Standard error is a terminal.
    pub terminal: bool,
    pub colour: bool,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("RUST_LOG: {0}")]
    RustLog(String),
    #[error("logging.filter: {0}")]
    Filter(String),
    #[error("logging was set up before: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets logging up for the whole process; once. A daemon's lines are also kept for `telemetry`, where a collector is named.
///
/// JSON lines that belong to something traced carry `trace_id` and `span_id`, and `incident` where it is one.
pub fn init(
    settings: &LoggingSettings,
    telemetry: &TelemetrySettings,
    environment: &BTreeMap<String, String>,
    voice: Voice,
) -> Result<(), LoggingError> {
    let filter = filter(settings, environment.get("RUST_LOG").map(String::as_str), voice)?;
    let json = match settings.format {
        LogFormat::Auto => !voice.terminal,
        LogFormat::Pretty => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match json {
        true => lines.json().flatten_event(true).map_event_format(JsonWithTrace).boxed(),
        false => lines.with_ansi(voice.colour).boxed(),
    };
    let shipped = (voice.daemon && telemetry.on() && telemetry.logs).then(|| {
        let (layer, queue) = LogLayer::bounded(telemetry.queue as usize, redact_named);
        *SHIPPED.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        layer
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(shipped)
        .try_init()?;
    Ok(())
}

/// What waits to be sent on; once.
pub fn shipped() -> Option<LogQueue> {
    SHIPPED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Reads a filter as `logging.filter` takes it.
pub fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        // A lone word that is no level would be taken for a module, and `inof` would silence everything else.
        let lone = !part.contains(['=', '[', ':']);
        if lone && !LEVELS.contains(&part.to_lowercase().as_str()) {
            return Err(format!(
                "{part:?} is no level ({}); for a module write {part}=debug",
                LEVELS.join(", ")
            ));
        }
    }
    EnvFilter::builder().parse(text).map_err(|e| e.to_string())
}

fn filter(settings: &LoggingSettings, rust_log: Option<&str>, voice: Voice) -> Result<EnvFilter, LoggingError> {
    let own = |level: &str| {
        let own: Vec<String> = OWN.iter().map(|name| format!("{name}={level}")).collect();
        format!("info,{}", own.join(","))
    };
    match (voice.verbose, rust_log.filter(|text| !text.is_empty())) {
        (1, _) => parse_quiet(&own("debug")).map_err(LoggingError::Filter),
        (2.., _) => parse_quiet(&own("trace")).map_err(LoggingError::Filter),
        (0, Some(text)) => parse_quiet(text).map_err(LoggingError::RustLog),
        (0, None) if voice.daemon => parse_quiet(&settings.filter).map_err(LoggingError::Filter),
        (0, None) => parse_quiet("warn").map_err(LoggingError::Filter),
    }
}

/// [`parse_filter`], with [`NOISE`] left out of what the filter would let through without a word about it.
fn parse_quiet(text: &str) -> Result<EnvFilter, String> {
    let filter = parse_filter(text)?;
    let lets_through = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::WARN);
    if !lets_through || text.contains("qdrant_edge") {
        return Ok(filter);
    }
    parse_filter(&format!("{text},{NOISE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides() {
        let settings = LoggingSettings {
            filter: "error".to_owned(),
            format: LogFormat::Auto,
        };
        let check = |verbose, daemon, rust_log, expected: &str| {
            let voice = Voice {
                verbose,
                daemon,
                ..Voice::default()
            };
            let filter = filter(&settings, rust_log, voice).unwrap().to_string();
            let (noise, own): (Vec<_>, Vec<_>) = filter.split(',').partition(|part| part.contains("qdrant_edge"));
            assert_eq!(own, [expected], "{filter}");
            assert_eq!(noise.is_empty(), expected == "error", "{filter}");
        };
        check(0, true, None, "error");
        check(0, false, None, "warn");
        check(0, false, Some("debug"), "debug");
        check(0, true, Some(""), "error");
        let verbose = filter(
            &settings,
            Some("off"),
            Voice {
                verbose: 1,
                ..Voice::default()
            },
        )
        .unwrap()
        .to_string();
        assert!(
            verbose.contains("stream=debug") && verbose.contains("info"),
            "{verbose}"
        );
    }

    #[test]
    fn filters() {
        assert!(parse_filter("info,sources::kafka=debug").is_ok());
        assert!(parse_filter("").is_ok());
        assert!(parse_filter("inof").unwrap_err().contains("\"inof\" is no level"));
        assert!(parse_filter("stream=lots").is_err());
    }
}
