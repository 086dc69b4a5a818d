//! Locks within one process. The rule of the tokens is that of the module [`crate::locks`](crate::Locks).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::SteadyClock;
use crate::SharedError;
use crate::locks::{Held, Locks, Token, check};

/// Names that are remembered; beyond it, free ones are forgotten, whose tokens go on by the clock.
const MOST: usize = 10_000;

pub struct ProcessLocks {
    clock: SteadyClock,
    locks: Mutex<HashMap<String, Lock>>,
}

#[derive(Default)]
struct Lock {
    last: i64,
    holder: Option<(Token, Instant)>,
}

impl Lock {
    fn holder(&self, now: Instant) -> Option<Token> {
        self.holder.filter(|(_, until)| *until > now).map(|(token, _)| token)
    }
}

impl ProcessLocks {
    pub fn new(clock: SteadyClock) -> Self {
        ProcessLocks {
            clock,
            locks: Mutex::default(),
        }
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<String, Lock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Locks for ProcessLocks {
    async fn acquire(&self, name: &str, lease: Duration, above: Token) -> Result<Option<Held>, SharedError> {
        check("taking a lock", name, lease)?;
        let now = Instant::now();
        let mut locks = self.locks();
        if locks.len() >= MOST && !locks.contains_key(name) {
            locks.retain(|_, lock| lock.holder(now).is_some());
            if locks.len() >= MOST {
                return Err(SharedError::refused("taking a lock", format!("{MOST} locks are held")));
            }
        }
        let lock = locks.entry(name.to_owned()).or_default();
        if lock.holder(now).is_some() {
            return Ok(None);
        }
        let token = self.clock.micros().max(lock.last + 1).max(above.0.saturating_add(1));
        lock.last = token;
        lock.holder = Some((Token(token), now + lease));
        Ok(Some(Held {
            name: name.to_owned(),
            token: Token(token),
            until: now + lease,
        }))
    }

    async fn renew(&self, held: &Held, lease: Duration) -> Result<Option<Held>, SharedError> {
        check("renewing a lock", &held.name, lease)?;
        let now = Instant::now();
        let mut locks = self.locks();
        let lock = locks.get_mut(&held.name);
        let Some(lock) = lock.filter(|lock| lock.holder(now) == Some(held.token)) else {
            return Ok(None);
        };
        lock.holder = Some((held.token, now + lease));
        Ok(Some(Held {
            until: now + lease,
            ..held.clone()
        }))
    }

    async fn release(&self, held: &Held) -> Result<bool, SharedError> {
        let now = Instant::now();
        let mut locks = self.locks();
        let lock = locks.get_mut(&held.name);
        let Some(lock) = lock.filter(|lock| lock.holder(now) == Some(held.token)) else {
            return Ok(false);
        };
        lock.holder = None;
        Ok(true)
    }
}
