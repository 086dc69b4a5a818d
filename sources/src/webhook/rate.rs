//! How fast one address may send to one endpoint: a bucket of tokens, one taken per request, refilled at a rate.
//!
//! The bucket is kept as the one time at which it will be full again (the generic cell rate algorithm, ITU-T I.371). Buckets that are full are
//! forgotten when room is needed; when none is, further addresses share one, so that memory is bounded whoever knocks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Buckets kept. More: a flood from many addresses costs more memory; fewer: it makes honest ones share sooner.
const BUCKETS: usize = 4_096;

/// Between two looks for full buckets when there is no room: each looks at all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Whose bucket it is.
type Key = (&'static str, IpAddr);

/// The buckets of all endpoints.
pub struct Rates {
    /// Time to refill one token; `None`: no limit.
    interval: Option<Duration>,
    /// Time to refill them all.
    depth: Duration,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    full_at: BTreeMap<Key, Instant>,
    swept_at: Option<Instant>,
}

impl Buckets {
    /// The bucket to take from: the address' own, or where there is no room the one that all others share.
    fn choose(&mut self, sender: &'static str, address: IpAddr, shared: IpAddr, now: Instant) -> Key {
        let key = (sender, address);
        if self.full_at.len() < BUCKETS || self.full_at.contains_key(&key) {
            return key;
        }
        if self.swept_at.is_none_or(|at| now >= at + SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, at| *at > now);
        }
        if self.full_at.len() < BUCKETS {
            key
        } else {
            (sender, shared)
        }
    }
}

impl Rates {
    /// `per_second` requests on average, `burst` at once; 0 is no limit.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Rates {
            interval,
            depth: interval.unwrap_or_default().saturating_mul(burst.max(1)),
            buckets: Mutex::default(),
        }
    }

    /// Takes a token of `sender` at `address`; where there is none, the whole seconds until there is one.
    pub fn take(&self, sender: &'static str, address: Option<IpAddr>, now: Instant) -> Result<(), u32> {
        let Some(interval) = self.interval else { return Ok(()) };
        let shared = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = buckets.choose(sender, address.unwrap_or(shared), shared, now);
        let full_at = &mut buckets.full_at;
        let filled = full_at.get(&key).copied().unwrap_or(now).max(now) + interval;
        let owed = filled - now;
        if owed > self.depth {
            let wait = (owed - self.depth).as_secs_f64().ceil();
            return Err(wait as u32);
        }
        full_at.insert(key, filled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));

    #[test]
    fn a_burst_and_then_the_rate() {
        let (rates, start) = (Rates::new(10, 3), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(
            [0; 4].map(|ms| rates.take("x", A, at(ms))),
            [Ok(()), Ok(()), Ok(()), Err(1)]
        );
        assert_eq!(rates.take("x", B, at(0)), Ok(()), "another address has its own");
        assert_eq!(rates.take("y", A, at(0)), Ok(()), "and another endpoint");
        assert_eq!(rates.take("x", A, at(99)), Err(1));
        assert_eq!(rates.take("x", A, at(100)), Ok(()));
        assert_eq!(rates.take("x", A, at(100)), Err(1));
        assert_eq!(
            [5_000; 4].map(|ms| rates.take("x", A, at(ms))),
            [Ok(()), Ok(()), Ok(()), Err(1)]
        );
    }

    #[test]
    fn no_limit() {
        let (rates, now) = (Rates::new(0, 0), Instant::now());
        assert!((0..10_000).all(|_| rates.take("x", A, now).is_ok()));
    }

    #[test]
    fn many_addresses_are_bounded() {
        let (rates, now) = (Rates::new(1, 1), Instant::now());
        let address = |n: u32| Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)));
        let taken = (0..2 * BUCKETS as u32)
            .filter(|n| rates.take("x", address(*n), now).is_ok())
            .count();
        assert_eq!(taken, BUCKETS + 1, "the rest share one bucket");
        assert_eq!(rates.buckets.lock().unwrap().full_at.len(), BUCKETS + 1);
        let later = now + Duration::from_secs(2);
        assert_eq!(rates.take("x", address(9_000_000), later), Ok(()));
        assert_eq!(
            rates.buckets.lock().unwrap().full_at.len(),
            1,
            "full buckets are forgotten"
        );
    }
}
