//! Sessions within one process: they end with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::SteadyClock;
use crate::SharedError;
use crate::limits::millis;
use crate::sessions::{MAX_PER_USER, Session, SessionId, Sessions, Terms, check};

/// Of all users.
const MOST: usize = 100_000;

pub struct ProcessSessions {
    clock: SteadyClock,
    sessions: Mutex<HashMap<SessionId, Kept>>,
}

struct Kept {
    session: Session,
    idle: i64,
    /// Orders those of one millisecond.
    number: usize,
}

impl Kept {
    fn over(&self, now: i64) -> bool {
        now >= self.session.ends_at || now >= self.session.used_at.saturating_add(self.idle)
    }
}

impl ProcessSessions {
    pub fn new(clock: SteadyClock) -> Self {
        ProcessSessions {
            clock,
            sessions: Mutex::default(),
        }
    }

    /// What is not over.
    fn alive(&self) -> (MutexGuard<'_, HashMap<SessionId, Kept>>, i64) {
        let now = self.clock.millis();
        (self.sessions.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

fn of<'a>(all: &'a HashMap<SessionId, Kept>, user: &str, now: i64) -> Vec<&'a Kept> {
    let mut found: Vec<&Kept> = all
        .values()
        .filter(|one| one.session.user == user && !one.over(now))
        .collect();
    found.sort_by_key(|one| (one.session.created_at, one.number));
    found
}

#[async_trait]
impl Sessions for ProcessSessions {
    async fn create(&self, id: &SessionId, user: &str, facts: &str, terms: Terms) -> Result<Session, SharedError> {
        check(user, facts, terms)?;
        let (mut all, now) = self.alive();
        if all.len() >= MOST {
            all.retain(|_, one| !one.over(now));
        }
        let doing = "making a session";
        if all.len() >= MOST {
            return Err(SharedError::refused(doing, format!("there are {MOST} sessions")));
        }
        if all.get(id).is_some_and(|one| !one.over(now)) {
            return Err(SharedError::refused(doing, "there is one of this id"));
        }
        let theirs = of(&all, user, now);
        let too_many = (theirs.len() + 1).saturating_sub(MAX_PER_USER);
        let go: Vec<SessionId> = theirs.iter().take(too_many).map(|one| one.session.id.clone()).collect();
        let number = theirs.last().map_or(0, |one| one.number + 1);
        for id in go {
            all.remove(&id);
        }
        let session = Session {
            id: id.clone(),
            user: user.to_owned(),
            facts: facts.to_owned(),
            created_at: now,
            used_at: now,
            ends_at: now.saturating_add(millis(terms.absolute)),
        };
        let kept = Kept {
            session: session.clone(),
            idle: millis(terms.idle),
            number,
        };
        all.insert(id.clone(), kept);
        Ok(session)
    }

    async fn look_up(&self, id: &SessionId) -> Result<Option<Session>, SharedError> {
        let (all, now) = self.alive();
        Ok(all.get(id).filter(|one| !one.over(now)).map(|one| one.session.clone()))
    }

    async fn extend(&self, id: &SessionId) -> Result<Option<Session>, SharedError> {
        let (mut all, now) = self.alive();
        let Some(one) = all.get_mut(id).filter(|one| !one.over(now)) else {
            all.remove(id);
            return Ok(None);
        };
        one.session.used_at = now;
        Ok(Some(one.session.clone()))
    }

    async fn revoke(&self, id: &SessionId) -> Result<bool, SharedError> {
        let (mut all, now) = self.alive();
        Ok(all.remove(id).is_some_and(|one| !one.over(now)))
    }

    async fn revoke_user(&self, user: &str) -> Result<u64, SharedError> {
        let (mut all, now) = self.alive();
        let theirs = of(&all, user, now).len();
        all.retain(|_, one| one.session.user != user);
        Ok(theirs as u64)
    }

    async fn list(&self, user: &str) -> Result<Vec<Session>, SharedError> {
        let (all, now) = self.alive();
        Ok(of(&all, user, now).into_iter().map(|one| one.session.clone()).collect())
    }
}
