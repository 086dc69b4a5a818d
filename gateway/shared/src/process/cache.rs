//! The cache within one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::SharedError;
use crate::cache::{Cache, check_claim, check_key, check_put};

/// Bytes of all keys and values. Higher: memory for answers that are good for a second.
const MOST_BYTES: usize = 16 << 20;
/// Values, and claims.
const MOST: usize = 4_096;

/// Bounded in values and bytes: what is over goes first, then what is soonest over.
#[derive(Default)]
pub struct ProcessCache {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    values: HashMap<String, (Bytes, Instant)>,
    claims: HashMap<String, Instant>,
    bytes: usize,
}

impl Inside {
    fn take(&mut self, key: &str) {
        if let Some((value, _)) = self.values.remove(key) {
            self.bytes -= key.len() + value.len();
        }
        self.claims.remove(key);
    }

    /// Makes room for one of `size` bytes.
    fn make_room(&mut self, size: usize, now: Instant) {
        let full = |inside: &Inside| inside.values.len() >= MOST || inside.bytes + size > MOST_BYTES;
        if !full(self) {
            return;
        }
        let mut by_end: Vec<(Instant, String)> =
            self.values.iter().map(|(key, (_, end))| (*end, key.clone())).collect();
        by_end.sort();
        for (end, key) in by_end {
            if end > now && !full(self) {
                break;
            }
            self.take(&key);
        }
    }
}

impl ProcessCache {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get_at(&self, key: &str, now: Instant) -> Option<Bytes> {
        let mut inside = self.inside();
        let (value, end) = inside.values.get(key)?;
        if *end > now {
            return Some(value.clone());
        }
        let claim = inside.claims.get(key).copied();
        inside.take(key);
        claim.and_then(|claim| inside.claims.insert(key.to_owned(), claim));
        None
    }
}

#[async_trait]
impl Cache for ProcessCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, SharedError> {
        check_key("reading the cache", key)?;
        Ok(self.get_at(key, Instant::now()))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), SharedError> {
        check_put(key, &value, ttl)?;
        let now = Instant::now();
        let mut inside = self.inside();
        inside.take(key);
        let size = key.len() + value.len();
        inside.make_room(size, now);
        inside.bytes += size;
        inside.values.insert(key.to_owned(), (value, now + ttl));
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<(), SharedError> {
        check_key("removing from the cache", key)?;
        self.inside().take(key);
        Ok(())
    }

    async fn claim(&self, key: &str, lease: Duration) -> Result<bool, SharedError> {
        check_claim(key, lease)?;
        let now = Instant::now();
        let mut inside = self.inside();
        if inside.claims.get(key).is_some_and(|end| *end > now) {
            return Ok(false);
        }
        if inside.claims.len() >= MOST {
            inside.claims.retain(|_, end| *end > now);
        }
        // One too many is not remembered: both make the value.
        if inside.claims.len() < MOST {
            inside.claims.insert(key.to_owned(), now + lease);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_soonest_over_makes_room() {
        let cache = ProcessCache::default();
        let value = Bytes::from(vec![0; 1 << 20]);
        for n in 0..20u64 {
            // The first are the last to be over.
            let ttl = Duration::from_secs(100 - n);
            cache.put(&format!("key{n}"), value.clone(), ttl).await.unwrap();
        }
        let mut there = Vec::new();
        for n in 0..20 {
            if cache.get(&format!("key{n}")).await.unwrap().is_some() {
                there.push(n);
            }
        }
        // 15 of a mebibyte and their keys fit; each that came pushed out the one that was soonest over.
        assert_eq!(there.len(), 15, "{there:?}");
        assert_eq!(there[..14], (0..14).collect::<Vec<_>>(), "{there:?}");
        assert!(there.contains(&19), "the newest is there");
        assert!(cache.inside().bytes <= MOST_BYTES);
        let later = Instant::now() + Duration::from_secs(101);
        for n in 0..20 {
            assert_eq!(cache.get_at(&format!("key{n}"), later), None);
        }
        assert_eq!(cache.inside().bytes, 0);
    }
}
