//! The cache on a Redis server.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Script;

use super::Link;
use crate::SharedError;
use crate::cache::{Cache, check_claim, check_key, check_put};
use crate::limits::millis;

/// Value and claim in one step: who sees no claim sees the value.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) redis.call('DEL', KEYS[2]) return 1")
});

pub struct RedisCache {
    link: Arc<Link>,
}

impl RedisCache {
    pub fn new(link: Arc<Link>) -> Self {
        RedisCache { link }
    }

    fn keys(&self, key: &str) -> [String; 2] {
        [self.link.key("cache", key), self.link.key("claim", key)]
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, SharedError> {
        let doing = "reading the cache";
        check_key(doing, key)?;
        let [value, _] = self.keys(key);
        let mut get = redis::cmd("GET");
        get.arg(value);
        let found: Option<Vec<u8>> = self.link.call("cache", doing, &get).await?;
        Ok(found.map(Bytes::from))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), SharedError> {
        check_put(key, &value, ttl)?;
        let [at, claim] = self.keys(key);
        let mut put = PUT.prepare_invoke();
        put.key(at).key(claim).arg(&value[..]).arg(millis(ttl));
        let _: i64 = self.link.call("cache", "writing to the cache", &put).await?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<(), SharedError> {
        let doing = "removing from the cache";
        check_key(doing, key)?;
        let keys = self.keys(key);
        let mut remove = redis::cmd("DEL");
        remove.arg(&keys[..]);
        let _: i64 = self.link.call("cache", doing, &remove).await?;
        Ok(())
    }

    async fn claim(&self, key: &str, lease: Duration) -> Result<bool, SharedError> {
        check_claim(key, lease)?;
        let [_, claim] = self.keys(key);
        let mut set = redis::cmd("SET");
        set.arg(claim).arg("1").arg("NX").arg("PX").arg(millis(lease));
        let set: Option<String> = self.link.call("cache", "claiming a place in the cache", &set).await?;
        Ok(set.is_some())
    }
}
