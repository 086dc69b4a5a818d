//! Carries a queue to a collector, batch by batch.
//!
//! A batch that is not taken is tried again, with pauses that double, for `retry_for`; meanwhile the queue fills and then drops. On
//! restart what waited is gone: whoever needs more than that puts it on the log (`traces` does).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::queue::dropped;
use crate::settings::TelemetrySettings;

/// Items of one request. More: a request may pass a collector's limit of 4 MiB; fewer: more requests.
pub const BATCH: usize = 512;
/// How long the first item of a batch waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// Between two tries, at first and at most. The most is how late a collector that is back is found.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A collector as a shipper sees it.
pub trait Export<T>: Send + Sync + 'static {
    /// Sends a batch; an error says why it was not taken, for people.
    fn export(&self, batch: &[T]) -> impl Future<Output = Result<(), String>> + Send;
}

/// Limits in time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub timeout: Duration,
    pub retry_for: Duration,
    pub flush_within: Duration,
}

impl Pace {
    pub fn of(settings: &TelemetrySettings) -> Self {
        Pace {
            timeout: settings.timeout.get(),
            retry_for: settings.retry_for.get(),
            flush_within: settings.flush_within.get(),
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Taken,
    /// Not within `retry_for`.
    GivenUp,
    /// The process ends.
    Stopped,
}

/// See the module's header.
pub struct Shipper<T, E> {
    signal: &'static str,
    waiting: mpsc::Receiver<T>,
    export: Arc<E>,
    pace: Pace,
}

impl<T: Send + Sync + 'static, E: Export<T>> Shipper<T, E> {
    pub fn new(signal: &'static str, waiting: mpsc::Receiver<T>, export: Arc<E>, pace: Pace) -> Self {
        Shipper {
            signal,
            waiting,
            export,
            pace,
        }
    }

    /// Until `stop`, and then until what waits is sent or its time is over.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(batch) = self.gather(&stop).await {
            match self.send(&batch, &stop).await {
                Sent::Taken => {}
                Sent::GivenUp => dropped(self.signal, "undelivered", batch.len()),
                Sent::Stopped => return self.flush(batch).await,
            }
        }
        self.flush(Vec::new()).await;
    }

    /// The next batch; `None` when the process ends.
    async fn gather(&mut self, stop: &CancellationToken) -> Option<Vec<T>> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            first = self.waiting.recv() => first?,
        };
        let mut batch = vec![first];
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH && !stop.is_cancelled() {
            let room = BATCH - batch.len();
            match timeout_at(until, self.waiting.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        Some(batch)
    }

    async fn send(&self, batch: &[T], stop: &CancellationToken) -> Sent {
        send(self.signal, self.export.as_ref(), batch, self.pace, stop).await
    }

    /// The last try.
    async fn flush(&mut self, mut batch: Vec<T>) {
        self.waiting.close();
        let until = Instant::now() + self.pace.flush_within;
        loop {
            let room = BATCH.saturating_sub(batch.len());
            if room > 0 {
                self.waiting.recv_many(&mut batch, room).await;
            }
            if batch.is_empty() {
                return;
            }
            let taken = timeout_at(until, self.export.export(&batch)).await;
            if !matches!(taken, Ok(Ok(()))) {
                break;
            }
            count_taken(self.signal, batch.len());
            batch.clear();
        }
        dropped(self.signal, "shutdown", batch.len() + self.waiting.len());
    }
}

/// Sends one batch, trying again for `retry_for` or until `stop`.
pub async fn send<T: Sync, E: Export<T>>(
    signal: &'static str,
    export: &E,
    batch: &[T],
    pace: Pace,
    stop: &CancellationToken,
) -> Sent {
    let until = Instant::now() + pace.retry_for;
    let mut pause = PAUSES.0;
    let mut told = false;
    loop {
        let tried = tokio::select! {
            biased;
            () = stop.cancelled() => return Sent::Stopped,
            tried = timeout(pace.timeout, export.export(batch)) => tried,
        };
        let problem = match tried {
            Ok(Ok(())) => {
                count_taken(signal, batch.len());
                if told {
                    tracing::info!(signal, "the collector takes what it is sent again");
                }
                return Sent::Taken;
            }
            Ok(Err(problem)) => problem,
            Err(_) => format!("no answer within {:?}", pace.timeout),
        };
        metrics::counter!("aegis_telemetry_failures_total", "signal" => signal).increment(1);
        if !told {
            tracing::warn!(
                signal,
                problem,
                "the collector does not take what it is sent: trying again"
            );
            told = true;
        }
        if Instant::now() + pause >= until {
            tracing::warn!(signal, problem, items = batch.len(), "given up: dropped");
            return Sent::GivenUp;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Sent::Stopped,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn count_taken(signal: &'static str, count: usize) {
    metrics::counter!("aegis_telemetry_sent_total", "signal" => signal).increment(count as u64);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::queue::Queue;

    /// Takes what it is sent after it has failed, or hung, so often.
    struct Collector {
        failures: Mutex<u32>,
        hangs: bool,
        taken: Mutex<Vec<u32>>,
    }

    impl Export<u32> for Collector {
        async fn export(&self, batch: &[u32]) -> Result<(), String> {
            let fails = {
                let mut left = self.failures.lock().unwrap();
                let fails = *left > 0;
                *left = left.saturating_sub(1);
                fails
            };
            match (fails, self.hangs) {
                (true, true) => std::future::pending().await,
                (true, false) => Err("away".to_owned()),
                (false, _) => {
                    self.taken.lock().unwrap().extend(batch);
                    Ok(())
                }
            }
        }
    }

    const PACE: Pace = Pace {
        timeout: Duration::from_millis(100),
        retry_for: Duration::from_secs(30),
        flush_within: Duration::from_millis(300),
    };
    /// Far more than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn collector(failures: u32, hangs: bool) -> Arc<Collector> {
        Arc::new(Collector {
            failures: Mutex::new(failures),
            hangs,
            taken: Mutex::default(),
        })
    }

    /// Sends 1 to `items` to a collector that fails so often, and waits until it has `expected` of them.
    async fn check(items: u32, capacity: usize, (failures, hangs): (u32, bool), expected: usize) {
        let collector = collector(failures, hangs);
        let (queue, waiting) = Queue::bounded("traces", capacity);
        let stop = CancellationToken::new();
        // Before anything is taken out: what fits is the queue's own choice.
        (1..=items).for_each(|item| queue.push(item));
        let running = tokio::spawn(Shipper::new("traces", waiting, collector.clone(), PACE).run(stop.clone()));
        let arrived = async {
            while collector.taken.lock().unwrap().len() < expected {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, arrived).await.expect("everything in time");
        stop.cancel();
        timeout(PATIENCE, running).await.expect("it ends").unwrap();
        let first: Vec<u32> = (1..).take(expected).collect();
        assert_eq!(*collector.taken.lock().unwrap(), first, "each once and in order");
    }

    #[tokio::test]
    async fn everything_arrives_once_and_in_order() {
        check(2_000, 4_096, (0, false), 2_000).await;
        // Away for a while, and hanging for a while.
        check(2_000, 4_096, (3, false), 2_000).await;
        check(2_000, 4_096, (2, true), 2_000).await;
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newest() {
        check(10, 4, (0, false), 4).await;
        check(10, 4, (2, false), 4).await;
    }

    #[tokio::test]
    async fn what_waits_at_the_end_is_sent_and_nobody_waits_for_a_collector_that_hangs() {
        let ended = async |failures| {
            let collector = collector(failures, true);
            let (queue, waiting) = Queue::bounded("traces", 4_096);
            (1..=1_500).for_each(|item| queue.push(item));
            let stop = CancellationToken::new();
            stop.cancel();
            let running = Shipper::new("traces", waiting, collector.clone(), PACE).run(stop);
            timeout(PATIENCE, running).await.expect("it ends");
            collector.taken.lock().unwrap().len()
        };
        assert_eq!(ended(0).await, 1_500);
        assert_eq!(ended(u32::MAX).await, 0);
    }

    #[tokio::test]
    async fn a_batch_that_nobody_takes_is_given_up() {
        let collector = collector(u32::MAX, false);
        let stop = CancellationToken::new();
        let pace = Pace {
            retry_for: Duration::from_millis(500),
            ..PACE
        };
        let sent = send("traces", collector.as_ref(), &[1], pace, &stop);
        assert_eq!(timeout(PATIENCE, sent).await, Ok(Sent::GivenUp));
        stop.cancel();
        assert_eq!(
            send("traces", collector.as_ref(), &[1], pace, &stop).await,
            Sent::Stopped
        );
    }
}
