//! A cache of answers, and how an answer is made once for all who ask for it at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{SharedError, limits};

/// Most bytes of a key.
pub const MAX_KEY: usize = 512;
/// Most bytes of a value. Higher: a few answers are the whole of the server's memory.
pub const MAX_VALUE: usize = 1 << 20;
/// Longest that a value is kept.
pub const MAX_TTL: Duration = Duration::from_secs(86_400);
const LEAST_TTL: Duration = Duration::from_millis(1);

/// Values by key, each for a time. A value may be gone before its time; it is never there after it.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, SharedError>;

    /// Keeps it for `ttl`, in the place of what was there; ends the claim on the key.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), SharedError>;

    /// Forgets the value and ends the claim.
    async fn remove(&self, key: &str) -> Result<(), SharedError>;

    /// Says that the caller is about to make the value; false while somebody else has said so. Ends by itself after `lease`. A hint:
    /// who makes a value without one does no harm.
    async fn claim(&self, key: &str, lease: Duration) -> Result<bool, SharedError>;
}

pub(crate) fn check_key(doing: &'static str, key: &str) -> Result<(), SharedError> {
    limits::name(doing, "the key", key, MAX_KEY)
}

pub(crate) fn check_put(key: &str, value: &[u8], ttl: Duration) -> Result<(), SharedError> {
    let doing = "writing to the cache";
    check_key(doing, key)?;
    limits::size(doing, "the value", value.len(), MAX_VALUE)?;
    limits::span(doing, "the time to live", ttl, (LEAST_TTL, MAX_TTL))
}

pub(crate) fn check_claim(key: &str, lease: Duration) -> Result<(), SharedError> {
    let doing = "claiming a place in the cache";
    check_key(doing, key)?;
    limits::span(doing, "the lease", lease, (LEAST_TTL, MAX_TTL))
}

/// How often somebody who waits for another instance looks. Lower: more questions; higher: later answers.
const LOOK: Duration = Duration::from_millis(10);

/// Answers that are made once at a time: within this process by one of those that ask, and of several instances by one, as far as the cache
/// answers. Whatever fails about the cache, the answer is made.
pub struct Cached {
    cache: Arc<dyn Cache>,
    ttl: Duration,
    /// Longest wait for an answer that another instance is making. Then it is made here as well.
    patience: Duration,
    /// Those in the making, and who waits for them. Gone with the last who waits.
    flights: Mutex<HashMap<String, Weak<Flight>>>,
}

/// The last answer and when its making began.
type Flight = tokio::sync::Mutex<Option<(Instant, Bytes)>>;

impl Cached {
    /// `ttl` of zero: every question is answered anew.
    pub fn new(cache: Arc<dyn Cache>, ttl: Duration, patience: Duration) -> Self {
        Cached {
            cache,
            ttl,
            patience,
            flights: Mutex::default(),
        }
    }

    /// The answer to `key`: one whose making began no longer than `ttl` before this call ended (and before it began, no longer than the
    /// time to live that is left of it), or one that `make` makes now. An error of `make` is its caller's alone.
    pub async fn get_or<E>(&self, key: &str, make: impl Future<Output = Result<Bytes, E>>) -> Result<Bytes, E> {
        if self.ttl.is_zero() {
            return make.await;
        }
        let flight = self.flight(key);
        let mut last = flight.lock().await;
        // Who waited for the lock takes what was made meanwhile.
        if let Some((_, answer)) = last.as_ref().filter(|(began, _)| began.elapsed() < self.ttl) {
            count("joined");
            return Ok(answer.clone());
        }
        if let Some(answer) = self.elsewhere(key).await {
            count("hit");
            return Ok(answer);
        }
        let began = Instant::now();
        match make.await {
            Ok(answer) => {
                count("made");
                // It ages from when it was begun.
                let left = self.ttl.saturating_sub(began.elapsed());
                let kept = match left < LEAST_TTL || answer.len() > MAX_VALUE {
                    true => self.cache.remove(key).await,
                    false => self.cache.put(key, answer.clone(), left).await,
                };
                quietly(kept);
                *last = Some((began, answer.clone()));
                Ok(answer)
            }
            Err(error) => {
                count("failed");
                quietly(self.cache.remove(key).await);
                Err(error)
            }
        }
    }

    /// The answer that is there, or that another instance is making; `None`: make it.
    async fn elsewhere(&self, key: &str) -> Option<Bytes> {
        let until = Instant::now() + self.patience;
        loop {
            match self.cache.get(key).await {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(error) => {
                    quietly(Err(error));
                    return None;
                }
            }
            match self.cache.claim(key, self.patience).await {
                Ok(false) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                outcome => {
                    quietly(outcome.map(|_| ()));
                    return None;
                }
            }
        }
    }

    fn flight(&self, key: &str) -> Arc<Flight> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(Flight::default());
        flights.insert(key.to_owned(), Arc::downgrade(&flight));
        flight
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("aegis_shared_cache_total", "outcome" => outcome).increment(1);
}

/// The link has counted it, and said so once.
fn quietly(outcome: Result<(), SharedError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the cache was not asked");
    }
}
