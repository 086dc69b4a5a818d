//! The ports within one process: the default, and the twin of the server in tests.

mod cache;
mod locks;
mod pubsub;
mod sessions;

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

pub use cache::ProcessCache;
pub use locks::ProcessLocks;
pub use pubsub::ProcessPubSub;
pub use sessions::ProcessSessions;

/// A wall clock that is not set back while the process runs: read once, then counted on.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    began: Instant,
    /// Microseconds since 1970.
    began_at: i64,
}

impl SteadyClock {
    #[allow(clippy::new_without_default)] // Reading a clock is no default.
    pub fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        SteadyClock {
            began: Instant::now(),
            began_at: i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn micros(&self) -> i64 {
        let since = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.began_at.saturating_add(since)
    }

    fn millis(&self) -> i64 {
        self.micros() / 1_000
    }
}
