//! How much of it anybody may have: requests per token, calls at a time, sessions at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Callers whose pace is remembered. There are as many as tokens; more come only over stdio, under names of their own.
const CALLERS: usize = 4_096;
/// The part of a minute whose requests may come at once.
const BURST: f64 = 0.25;

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Limits {
    per_minute: f64,
    callers: Arc<Mutex<HashMap<String, Bucket>>>,
    /// Calls under way.
    pub calls: Arc<Semaphore>,
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Limits {
    pub fn new(requests_per_minute: u32, calls: u32) -> Self {
        Limits {
            per_minute: f64::from(requests_per_minute),
            callers: Arc::default(),
            calls: Arc::new(Semaphore::new(calls as usize)),
        }
    }

    /// Takes one request of `caller` into account; an error says how long to wait.
    pub fn admit(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let most = (self.per_minute * BURST).max(1.0);
        let rate = self.per_minute / 60.0;
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS && !callers.contains_key(caller) {
            // Who was not heard of for a minute has a full bucket again: nothing is lost with it.
            callers.retain(|_, bucket| now.saturating_duration_since(bucket.at) < Duration::from_secs(60));
            if callers.len() >= CALLERS {
                return Err(Duration::from_secs(60));
            }
        }
        let bucket = callers
            .entry(caller.to_owned())
            .or_insert(Bucket { left: most, at: now });
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * rate;
        *bucket = Bucket {
            left: (bucket.left + gained).min(most),
            at: now,
        };
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / rate));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_at_once_then_the_pace_and_nobody_pays_for_another() {
        let limits = Limits::new(60, 1);
        let start = Instant::now();
        let taken = (0..100).filter(|_| limits.admit("human:ada", start).is_ok()).count();
        assert_eq!(taken, 15);
        assert!(limits.admit("human:bob", start).is_ok());
        let wait = limits.admit("human:ada", start).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        assert!(limits.admit("human:ada", start + wait).is_ok());
        assert!(limits.admit("human:ada", start + wait).is_err());
        // A long rest fills the bucket and no more.
        let later = start + Duration::from_secs(3_600);
        assert_eq!(
            (0..100).filter(|_| limits.admit("human:ada", later).is_ok()).count(),
            15
        );
    }

    #[test]
    fn names_without_end_take_bounded_memory() {
        let limits = Limits::new(60, 1);
        let now = Instant::now();
        for n in 0..CALLERS {
            limits.admit(&n.to_string(), now).unwrap();
        }
        assert!(limits.admit("one more", now).is_err());
        assert!(limits.admit("one more", now + Duration::from_secs(61)).is_ok());
        assert!(limits.callers.lock().unwrap().len() <= CALLERS);
    }
}
