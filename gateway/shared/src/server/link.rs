//! The connection to the server: bounded in time, made anew by itself, and out of the way while the server is.
//!
//! The client's own `ConnectionManager` comes back after a lost connection, and only then: a wrong password, a server that still loads, and
//! nonsense in the greeting it keeps for good. So it is thrown away after any failure. Its successor is made by the next call, not before
//! [`QUIET`] is over, and one call at a time tries: the others fail at once. Without that, everybody would wait out the time limit of a
//! server that stands still.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError, RedisResult, ScriptInvocation};
use tokio::time::Instant;

use crate::{SharedError, SharedSettings};

/// How long nothing is asked after a failure. Longer: it comes back later. Shorter: a server that stands still costs more time limits.
const QUIET: Duration = Duration::from_millis(500);

pub struct Link {
    client: Client,
    prefix: String,
    connect: Duration,
    call: Duration,
    /// What no message may hold.
    hidden: Option<String>,
    state: Mutex<State>,
}

struct State {
    manager: Option<ConnectionManager>,
    /// Counts managers: an answer that comes late says nothing about a newer one.
    number: u64,
    answered: bool,
    trouble: Option<String>,
    /// Before then nothing is tried.
    not_before: Option<Instant>,
}

/// What is asked.
pub(super) enum Ask<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl<'a> From<&'a Cmd> for Ask<'a> {
    fn from(command: &'a Cmd) -> Self {
        Ask::Command(command)
    }
}

impl<'a> From<&'a ScriptInvocation<'a>> for Ask<'a> {
    fn from(script: &'a ScriptInvocation<'a>) -> Self {
        Ask::Script(script)
    }
}

impl Ask<'_> {
    async fn of<T: FromRedisValue>(&self, manager: &mut ConnectionManager) -> RedisResult<T> {
        match self {
            Ask::Command(command) => command.query_async(manager).await,
            Ask::Script(script) => script.invoke_async(manager).await,
        }
    }
}

/// A way to the server for one call.
struct Try {
    manager: ConnectionManager,
    number: u64,
    limit: Duration,
}

impl Link {
    /// Reads the settings; asks nothing.
    pub fn open(settings: &SharedSettings) -> Result<Self, SharedError> {
        let doing = "reading shared.redis_url";
        if let Some(fault) = settings.faults().into_iter().next() {
            return Err(SharedError::refused(doing, fault));
        }
        // The error could quote the URL.
        let unusable = |_: RedisError| SharedError::refused(doing, "it cannot be used");
        let info = settings.redis_url.expose().into_connection_info().map_err(unusable)?;
        let hidden = info.redis_settings().password().map(str::to_owned);
        metrics::gauge!("aegis_shared_up").set(0.0);
        Ok(Link {
            client: Client::open(info).map_err(unusable)?,
            prefix: settings.prefix.clone(),
            connect: settings.connect_timeout.get(),
            call: settings.call_timeout.get(),
            hidden: hidden.filter(|password| !password.is_empty()),
            state: Mutex::new(State {
                manager: None,
                number: 0,
                answered: false,
                trouble: None,
                not_before: None,
            }),
        })
    }

    pub(super) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    pub(super) fn channel(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn limits(&self) -> (Duration, Duration) {
        (self.connect, self.call)
    }

    /// Asks the server once. An error means that it may have happened.
    pub(super) async fn call<'a, T: FromRedisValue>(
        &self,
        part: &'static str,
        doing: &'static str,
        ask: impl Into<Ask<'a>>,
    ) -> Result<T, SharedError> {
        let ask = ask.into();
        let Try {
            mut manager,
            number,
            limit,
        } = match self.way() {
            Ok(way) => way,
            Err(cause) => {
                count(part, "skipped");
                return Err(SharedError::Unavailable { doing, cause });
            }
        };
        let cause = match tokio::time::timeout(limit, ask.of(&mut manager)).await {
            Ok(Ok(answer)) => {
                self.answered(number);
                count(part, "done");
                return Ok(answer);
            }
            Ok(Err(error)) => self.words(&error),
            Err(_) => format!("no answer within {limit:?}"),
        };
        count(part, "failed");
        self.failed(number, &cause);
        Err(SharedError::Unavailable { doing, cause })
    }

    pub async fn ping(&self) -> Result<(), SharedError> {
        let doing = "asking for a sign of life";
        let pong: String = self.call("probe", doing, &redis::cmd("PING")).await?;
        match pong.as_str() {
            "PONG" => Ok(()),
            _ => Err(SharedError::refused(doing, "it answers something else")),
        }
    }

    /// A connection, or why there is none to be tried.
    fn way(&self) -> Result<Try, String> {
        let mut state = self.state();
        let now = Instant::now();
        if state.answered
            && let Some(manager) = state.manager.clone()
        {
            let (number, limit) = (state.number, self.call);
            return Ok(Try { manager, number, limit });
        }
        let limit = self.connect + self.call;
        if let Some(trouble) = &state.trouble {
            if state.not_before.is_some_and(|at| now < at) {
                return Err(trouble.clone());
            }
            // The others fail for as long as this one tries.
            state.not_before = Some(now + limit);
        }
        if state.manager.is_none() {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(self.connect))
                .set_response_timeout(Some(self.call));
            let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config);
            state.manager = Some(made.map_err(|error| self.words(&error))?);
            state.number += 1;
        }
        let (manager, number) = (state.manager.clone(), state.number);
        let manager = manager.ok_or("no connection")?;
        Ok(Try { manager, number, limit })
    }

    fn answered(&self, number: u64) {
        let mut state = self.state();
        if state.number != number || state.answered {
            return;
        }
        state.answered = true;
        state.not_before = None;
        metrics::gauge!("aegis_shared_up").set(1.0);
        if state.trouble.take().is_some() {
            tracing::info!("Redis is there again");
        }
    }

    fn failed(&self, number: u64, cause: &str) {
        let mut state = self.state();
        if state.number != number {
            return;
        }
        if state.trouble.is_none() {
            tracing::warn!(
                cause,
                "Redis is unavailable: it is tried again, and done without meanwhile"
            );
        }
        state.manager = None;
        state.number += 1;
        state.answered = false;
        state.trouble = Some(cause.to_owned());
        state.not_before = Some(Instant::now() + QUIET);
        metrics::gauge!("aegis_shared_up").set(0.0);
    }

    /// The client's words, without the password.
    pub(super) fn words(&self, error: &RedisError) -> String {
        let words = error.to_string();
        match &self.hidden {
            Some(password) => words.replace(password.as_str(), "[secret]"),
            None => words,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn count(part: &'static str, outcome: &'static str) {
    metrics::counter!("aegis_shared_calls_total", "part" => part, "outcome" => outcome).increment(1);
}
