//! Bounded queues between those who must not wait and the shippers.

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::logs::SdkLogRecord;
use tokio::sync::mpsc;

/// The end that takes in. Clones share the queue.
#[derive(Debug)]
pub struct Queue<T> {
    signal: &'static str,
    sender: mpsc::Sender<T>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue {
            signal: self.signal,
            sender: self.sender.clone(),
        }
    }
}

impl<T> Queue<T> {
    /// For `capacity` items of `signal` (`traces`, `logs`).
    pub fn bounded(signal: &'static str, capacity: usize) -> (Self, mpsc::Receiver<T>) {
        let (sender, waiting) = mpsc::channel(capacity.max(1));
        (Queue { signal, sender }, waiting)
    }

    /// Takes it, or drops and counts it. Never waits.
    pub fn push(&self, item: T) {
        if let Err(refused) = self.sender.try_send(item) {
            let reason = match refused {
                mpsc::error::TrySendError::Full(_) => "full",
                mpsc::error::TrySendError::Closed(_) => "stopped",
            };
            dropped(self.signal, reason, 1);
        }
    }
}

/// Log lines that wait for a shipper.
#[derive(Debug)]
pub struct LogQueue {
    pub(crate) waiting: mpsc::Receiver<(SdkLogRecord, InstrumentationScope)>,
}

/// Counts what will not be sent. `reason`: `full` (the queue), `undelivered` (not taken within `retry_for`), `shutdown` (not taken within
/// `flush_within`), `stale` (older than `fresh_within`), `stopped` (said after the end).
pub(crate) fn dropped(signal: &'static str, reason: &'static str, count: usize) {
    if count > 0 {
        metrics::counter!("aegis_telemetry_dropped_total", "signal" => signal, "reason" => reason)
            .increment(count as u64);
    }
}
