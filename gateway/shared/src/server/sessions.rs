//! Sessions on a Redis server: a hash for each, which expires by itself, and a list of a user's ids.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use redis::Script;

use super::Link;
use crate::SharedError;
use crate::limits::millis;
use crate::sessions::{MAX_PER_USER, Session, SessionId, Sessions, Terms, check};

/// KEYS: session, user. ARGV: id, user, facts, idle, absolute, most, what keys of sessions begin with. What is over leaves the list, and the
/// oldest go where there are too many.
static CREATE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[1]) == 1 then return false end
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
        local idle, absolute = tonumber(ARGV[4]), tonumber(ARGV[5])
        local alive = {}
        for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
            if redis.call('EXISTS', ARGV[7] .. id) == 1 then
                alive[#alive + 1] = id
            else
                redis.call('LREM', KEYS[2], 0, id)
            end
        end
        while #alive >= tonumber(ARGV[6]) do
            local oldest = table.remove(alive, 1)
            redis.call('DEL', ARGV[7] .. oldest)
            redis.call('LREM', KEYS[2], 0, oldest)
        end
        local number = function(n) return string.format('%.0f', n) end
        redis.call('HSET', KEYS[1], 'user', ARGV[2], 'facts', ARGV[3], 'created', number(now), 'used', number(now),
            'ends', number(now + absolute), 'idle', ARGV[4])
        redis.call('PEXPIREAT', KEYS[1], number(math.min(now + idle, now + absolute)))
        redis.call('RPUSH', KEYS[2], ARGV[1])
        if redis.call('PTTL', KEYS[2]) < absolute then redis.call('PEXPIRE', KEYS[2], ARGV[5]) end
        return redis.call('HMGET', KEYS[1], 'user', 'facts', 'created', 'used', 'ends')",
    )
});
/// KEYS: session. ARGV: whether it counts as use.
static SEE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('EXISTS', KEYS[1]) == 0 then return false end
        if ARGV[1] == '1' then
            local time = redis.call('TIME')
            local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
            local terms = redis.call('HMGET', KEYS[1], 'idle', 'ends')
            local number = function(n) return string.format('%.0f', n) end
            redis.call('HSET', KEYS[1], 'used', number(now))
            redis.call('PEXPIREAT', KEYS[1], number(math.min(now + tonumber(terms[1]), tonumber(terms[2]))))
        end
        return redis.call('HMGET', KEYS[1], 'user', 'facts', 'created', 'used', 'ends')",
    )
});
/// KEYS: session. ARGV: id, what keys of users begin with.
static REVOKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local user = redis.call('HGET', KEYS[1], 'user')
        if not user then return 0 end
        redis.call('LREM', ARGV[2] .. user, 0, ARGV[1])
        return redis.call('DEL', KEYS[1])",
    )
});
/// KEYS: user. ARGV: what keys of sessions begin with.
static REVOKE_USER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local ended = 0
        for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
            ended = ended + redis.call('DEL', ARGV[1] .. id)
        end
        redis.call('DEL', KEYS[1])
        return ended",
    )
});
/// KEYS: user. ARGV: what keys of sessions begin with.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = {}
        for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
            local one = redis.call('HMGET', ARGV[1] .. id, 'user', 'facts', 'created', 'used', 'ends')
            if one[1] then found[#found + 1] = { id, one[1], one[2], one[3], one[4], one[5] } end
        end
        return found",
    )
});

/// User, facts, created, used, ends.
type Fields = (String, String, i64, i64, i64);

pub struct RedisSessions {
    link: Arc<Link>,
}

impl RedisSessions {
    pub fn new(link: Arc<Link>) -> Self {
        RedisSessions { link }
    }

    fn session(&self, id: &SessionId) -> String {
        self.link.key("session", id.as_str())
    }

    async fn see(&self, doing: &'static str, id: &SessionId, used: bool) -> Result<Option<Session>, SharedError> {
        let key = self.session(id);
        let mut see = SEE.prepare_invoke();
        see.key(key).arg(i64::from(used));
        let found: Option<Fields> = self.link.call("sessions", doing, &see).await?;
        Ok(found.map(|fields| session(id.clone(), fields)))
    }
}

fn session(id: SessionId, (user, facts, created_at, used_at, ends_at): Fields) -> Session {
    Session {
        id,
        user,
        facts,
        created_at,
        used_at,
        ends_at,
    }
}

#[async_trait]
impl Sessions for RedisSessions {
    async fn create(&self, id: &SessionId, user: &str, facts: &str, terms: Terms) -> Result<Session, SharedError> {
        let doing = "making a session";
        check(user, facts, terms)?;
        let (key, list, begin) = (
            self.session(id),
            self.link.key("user", user),
            self.link.key("session", ""),
        );
        let mut create = CREATE.prepare_invoke();
        create.key(key).key(list).arg(id.as_str()).arg(user).arg(facts);
        create
            .arg(millis(terms.idle))
            .arg(millis(terms.absolute))
            .arg(MAX_PER_USER)
            .arg(begin);
        let made: Option<Fields> = self.link.call("sessions", doing, &create).await?;
        let taken = || SharedError::refused(doing, "there is one of this id");
        made.map(|fields| session(id.clone(), fields)).ok_or_else(taken)
    }

    async fn look_up(&self, id: &SessionId) -> Result<Option<Session>, SharedError> {
        self.see("looking for a session", id, false).await
    }

    async fn extend(&self, id: &SessionId) -> Result<Option<Session>, SharedError> {
        self.see("using a session", id, true).await
    }

    async fn revoke(&self, id: &SessionId) -> Result<bool, SharedError> {
        let (key, users) = (self.session(id), self.link.key("user", ""));
        let mut revoke = REVOKE.prepare_invoke();
        revoke.key(key).arg(id.as_str()).arg(users);
        let ended: i64 = self.link.call("sessions", "ending a session", &revoke).await?;
        Ok(ended == 1)
    }

    async fn revoke_user(&self, user: &str) -> Result<u64, SharedError> {
        let (list, begin) = (self.link.key("user", user), self.link.key("session", ""));
        let mut revoke = REVOKE_USER.prepare_invoke();
        revoke.key(list).arg(begin);
        self.link.call("sessions", "ending a user's sessions", &revoke).await
    }

    async fn list(&self, user: &str) -> Result<Vec<Session>, SharedError> {
        let (list, begin) = (self.link.key("user", user), self.link.key("session", ""));
        let mut all = LIST.prepare_invoke();
        all.key(list).arg(begin);
        let found: Vec<(String, String, String, i64, i64, i64)> =
            self.link.call("sessions", "listing sessions", &all).await?;
        // What is no id of ours is somebody else's doing.
        let of = |(id, user, facts, created, used, ends): (String, String, String, i64, i64, i64)| {
            Some(session(SessionId::parse(&id)?, (user, facts, created, used, ends)))
        };
        Ok(found.into_iter().filter_map(of).collect())
    }
}
