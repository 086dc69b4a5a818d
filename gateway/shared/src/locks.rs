//! Locks with fencing tokens.
//!
//! A lease alone keeps nobody from acting late: a holder that stood still (a long pause, a frozen machine) wakes up and does not know that
//! its lease ran out. So each acquisition has a [`Token`], greater than all before it, and whoever is acted upon (a row of the store)
//! remembers the greatest it has seen and refuses lesser ones.
//!
//! **Tokens increase strictly**, by this rule: a new token is the greatest of
//!
//! - the last token of this lock plus one, while the server remembers it;
//! - the server's clock in microseconds, so that a server that lost its memory goes on behind where it was, unless its clock was set
//!   back behind the last token as well;
//! - `above` plus one, where the caller says which token the fenced resource has seen: with it the new token is good there whatever the
//!   server lost, and whatever its clock says.
//!
//! What Redis cannot promise: that there is one holder. A server that lost its memory, or a replica that was promoted, gives a lock out that
//! somebody still holds. The tokens then differ, and the fenced resource takes the greater alone.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{SharedError, limits};

/// Most bytes of a lock's name.
pub const MAX_NAME: usize = 128;
/// Least and most that a lease may last. Shorter: it is over before its holder knows that it has it. Longer: who died keeps the others
/// waiting.
pub const LEASES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3_600));

/// Orders the acquisitions of a lock. Fits the BIGINT of every store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub i64);

/// A lock that was acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub name: String,
    pub token: Token,
    /// When it is over at the latest, on this process's clock: counted from before the server was asked, so it ends here first.
    pub until: Instant,
}

impl Held {
    /// Whether the lease still runs, as far as can be told without asking.
    pub fn good(&self) -> bool {
        Instant::now() < self.until
    }
}

/// Locks by name. Where the server cannot be asked, nobody has a lock: every method then is an error.
#[async_trait]
pub trait Locks: Send + Sync + 'static {
    /// Takes the lock for `lease`; `None` while somebody has it. The token is greater than `above`. After an error the lock may be taken
    /// by nobody until the lease is over.
    async fn acquire(&self, name: &str, lease: Duration, above: Token) -> Result<Option<Held>, SharedError>;

    /// From now on for `lease`; `None` where it is no longer held under this token: then stop.
    async fn renew(&self, held: &Held, lease: Duration) -> Result<Option<Held>, SharedError>;

    /// Lets go of it, if it is held under this token; whether it was.
    async fn release(&self, held: &Held) -> Result<bool, SharedError>;
}

pub(crate) fn check(doing: &'static str, name: &str, lease: Duration) -> Result<(), SharedError> {
    limits::name(doing, "the name", name, MAX_NAME)?;
    limits::span(doing, "the lease", lease, LEASES)
}
