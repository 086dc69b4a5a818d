//! Event time and the one door through which the wall clock enters.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Covers years −290,000 to +290,000, so any
/// time that a sender can write fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub i64);

impl Instant {
    /// Before every time: the watermark of an upstream never heard from.
    pub const MIN: Instant = Instant(i64::MIN);
    /// After every time: the watermark of an input that has ended.
    pub const MAX: Instant = Instant(i64::MAX);

    pub fn from_millis(ms: i64) -> Self {
        Instant(ms.saturating_mul(1_000))
    }

    pub fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    pub fn from_datetime(at: DateTime<Utc>) -> Self {
        Instant(at.timestamp_micros())
    }

    /// The calendar form, clamped to what chrono can hold.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }

    pub fn saturating_add(self, by: Duration) -> Self {
        Instant(self.0.saturating_add(micros(by)))
    }

    pub fn saturating_sub(self, by: Duration) -> Self {
        Instant(self.0.saturating_sub(micros(by)))
    }

    /// The start of the tumbling window of `width` that holds this instant (aligned to the epoch).
    pub fn window_start(self, width: Duration) -> Self {
        let width = micros(width).max(1);
        Instant(self.0.div_euclid(width).saturating_mul(width))
    }

    /// How far `self` lies after `earlier`; zero when it does not.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

/// A duration in microseconds, saturating at `i64::MAX`.
pub fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Instant::MIN => f.write_str("-inf"),
            Instant::MAX => f.write_str("+inf"),
            at => f.write_str(&at.to_datetime().to_rfc3339_opts(SecondsFormat::Micros, true)),
        }
    }
}

/// Reads "now" and waits. Only the ingress runner, drivers and edges hold one; operators never do. A driver takes all its
/// time from here, so that the simulator can let minutes pass in no time.
pub trait Clock: Send + Sync {
    /// The wall clock; may jump.
    fn now(&self) -> Instant;

    /// Time since some fixed moment of this process; never falls. For intervals, never for records.
    fn monotonic(&self) -> Duration {
        monotonic()
    }

    /// Waits. The default needs a tokio runtime.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

fn monotonic() -> Duration {
    static START: OnceLock<tokio::time::Instant> = OnceLock::new();
    START.get_or_init(tokio::time::Instant::now).elapsed()
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    #[allow(clippy::disallowed_methods)] // The one place where the product reads the wall clock.
    fn now(&self) -> Instant {
        Instant::from_datetime(Utc::now())
    }
}

/// A clock that stands where it is put: tests, simulation, and `aegis ingest` without a daemon.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    pub fn at(now: Instant) -> Self {
        ManualClock(now.0.into())
    }

    pub fn set(&self, now: Instant) {
        self.0.store(now.0, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}
