//! What several instances of Aegis share: a cache, sessions, locks with fencing tokens, publish and subscribe.
//!
//! Four ports, each with two implementations that one suite (`tests/shared_conformance.rs`) holds to the same words: in this process
//! ([`process`]), and on a Redis server ([`server`]). Nothing here is a source of truth but the sessions: the log is, and behind it the
//! tables. So whoever uses a port goes on without it:
//!
//! ```text
//!   Cache      an answer that is not there is made anew              Redis gone: it is made by everybody
//!   Sessions   who signed in                                         Redis gone: nobody is let in by a session (tokens work on)
//!   Locks      whose turn it is                                      Redis gone: it is nobody's (fails closed)
//!   PubSub     "look again", at most once                            Redis gone: who listens looks by himself, see Event::Gap
//! ```
//!
//! Every call has a time limit, and after a call that failed the next ones fail at once for a moment, so that a server that stands still
//! slows nobody down. A connection that is lost, refused, or answers nonsense is made anew by itself.
//!
//! Not supported: Redis Cluster and Sentinel, and TLS (the client is built without it): `rediss://` is refused.

mod cache;
mod error;
mod limits;
mod locks;
pub mod process;
mod pubsub;
pub mod server;
mod sessions;
mod settings;

use std::sync::Arc;

pub use cache::{Cache, Cached, MAX_KEY, MAX_TTL, MAX_VALUE};
pub use error::SharedError;
pub use locks::{Held, LEASES, Locks, MAX_NAME, Token};
pub use pubsub::{Event, MAX_CHANNEL, MAX_MESSAGE, PubSub, Subscription};
pub use sessions::{MAX_FACTS, MAX_PER_USER, MAX_USER, Session, SessionId, SessionSecret, Sessions, Terms};
pub use settings::SharedSettings;

/// The four ports. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    pub cache: Arc<dyn Cache>,
    pub sessions: Arc<dyn Sessions>,
    pub locks: Arc<dyn Locks>,
    pub pubsub: Arc<dyn PubSub>,
    link: Option<Arc<server::Link>>,
}

impl Shared {
    /// Shared by whoever has this value, and by no other process.
    pub fn in_process() -> Self {
        let clock = process::SteadyClock::new();
        Shared {
            cache: Arc::new(process::ProcessCache::default()),
            sessions: Arc::new(process::ProcessSessions::new(clock)),
            locks: Arc::new(process::ProcessLocks::new(clock)),
            pubsub: Arc::new(process::ProcessPubSub::default()),
            link: None,
        }
    }

    /// As the settings say: on Redis where they name one. Asks it nothing yet, so a server that is away keeps nobody from starting.
    /// Must be called within a tokio runtime.
    pub fn open(settings: &SharedSettings) -> Result<Self, SharedError> {
        if settings.redis_url.is_empty() {
            return Ok(Shared::in_process());
        }
        let link = Arc::new(server::Link::open(settings)?);
        Ok(Shared {
            cache: Arc::new(server::RedisCache::new(link.clone())),
            sessions: Arc::new(server::RedisSessions::new(link.clone())),
            locks: Arc::new(server::RedisLocks::new(link.clone())),
            pubsub: Arc::new(server::RedisPubSub::start(link.clone())),
            link: Some(link),
        })
    }

    /// Whether other instances see the same.
    pub fn spans_instances(&self) -> bool {
        self.link.is_some()
    }

    /// Asks the server for a sign of life; what is wrong with it, in words that hold no secret. In process nothing ever is.
    pub async fn probe(&self) -> Option<String> {
        let link = self.link.as_ref()?;
        link.ping().await.err().map(|error| error.to_string())
    }
}
