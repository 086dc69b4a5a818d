//! Locks on a Redis server. The rule of the tokens is that of [`Locks`].

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use tokio::time::Instant;

use super::Link;
use crate::SharedError;
use crate::limits::millis;
use crate::locks::{Held, Locks, Token, check};

/// Numbers of Lua are exact to 2^53: microseconds reach that in the year 2255. Tokens travel as text, since a number would be written with
/// an exponent.
static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[1]) == 1 then return false end
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
        local last = tonumber(redis.call('GET', KEYS[2]) or '0')
        local token = string.format('%.0f', math.max(last + 1, now, tonumber(ARGV[2]) + 1))
        redis.call('SET', KEYS[2], token)
        redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
        return token",
    )
});
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('DEL', KEYS[1])",
    )
});
/// The greatest that is exact in Lua, with room to add to.
const MOST: i64 = (1 << 53) - 2;

pub struct RedisLocks {
    link: Arc<Link>,
}

impl RedisLocks {
    pub fn new(link: Arc<Link>) -> Self {
        RedisLocks { link }
    }

    fn lock(&self, name: &str) -> String {
        self.link.key("lock", name)
    }
}

#[async_trait]
impl Locks for RedisLocks {
    async fn acquire(&self, name: &str, lease: Duration, above: Token) -> Result<Option<Held>, SharedError> {
        let doing = "taking a lock";
        check(doing, name, lease)?;
        if above.0 > MOST {
            return Err(SharedError::refused(
                doing,
                format!("token {} leaves none above it", above.0),
            ));
        }
        let (lock, fence) = (self.lock(name), self.link.key("fence", name));
        let asked = Instant::now();
        let mut acquire = ACQUIRE.prepare_invoke();
        acquire.key(lock).key(fence).arg(millis(lease)).arg(above.0);
        let token: Option<String> = self.link.call("locks", doing, &acquire).await?;
        let Some(token) = token else { return Ok(None) };
        let token = token.parse().map_err(|_| SharedError::Unavailable {
            doing,
            cause: "its token is no number".to_owned(),
        })?;
        Ok(Some(Held {
            name: name.to_owned(),
            token: Token(token),
            until: asked + lease,
        }))
    }

    async fn renew(&self, held: &Held, lease: Duration) -> Result<Option<Held>, SharedError> {
        let doing = "renewing a lock";
        check(doing, &held.name, lease)?;
        let lock = self.lock(&held.name);
        let asked = Instant::now();
        let mut renew = RENEW.prepare_invoke();
        renew.key(lock).arg(held.token.0).arg(millis(lease));
        let renewed: i64 = self.link.call("locks", doing, &renew).await?;
        let until = asked + lease;
        Ok((renewed == 1).then(|| Held { until, ..held.clone() }))
    }

    async fn release(&self, held: &Held) -> Result<bool, SharedError> {
        let lock = self.lock(&held.name);
        let mut release = RELEASE.prepare_invoke();
        release.key(lock).arg(held.token.0);
        let released: i64 = self.link.call("locks", "letting go of a lock", &release).await?;
        Ok(released == 1)
    }
}
