//! Sessions: who signed in, and until when.
//!
//! A session is named by the SHA-256 of a secret of 32 bytes from the operating system ([`SessionSecret`]). The port sees the name alone:
//! the secret goes to the person who signed in and is kept nowhere. So whoever reads the server's memory can sign in as nobody.
//!
//! A session is over when it was not used for [`Terms::idle`], when [`Terms::absolute`] is over, used or not, and when it is revoked. No
//! implementation keeps a copy beside the one that is shared: a session that is revoked anywhere is gone everywhere with the next
//! look. A server that comes back with an older memory (from a snapshot) has sessions that were revoked since; with an append-only file, or
//! with nothing, it has not.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use sha2::{Digest as _, Sha256};

use crate::{SharedError, limits};

/// Most bytes of a user's name.
pub const MAX_USER: usize = 128;
/// Most bytes of what is kept with a session.
pub const MAX_FACTS: usize = 1_024;
/// Sessions of one user; with one more the oldest is over. Higher: a script that signs in each time fills the memory.
pub const MAX_PER_USER: usize = 32;
/// Least and most that the terms may say.
const TERMS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(366 * 86_400));

/// Opens a session. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionSecret([u8; 32]);

impl SessionSecret {
    /// A new one, from the operating system's source of randomness.
    pub fn new() -> Result<Self, SharedError> {
        let mut bytes = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
            SharedError::refused("making a session", format!("the system has no randomness: {error}"))
        })?;
        Ok(SessionSecret(bytes))
    }

    /// 43 letters, digits, `-` and `_`.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// `None` for what is no secret of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(SessionSecret(bytes.try_into().ok()?))
    }

    pub fn id(&self) -> SessionId {
        SessionId(hex(&Sha256::digest(self.0)))
    }

    /// A digest that only who has the secret can make, for `purpose`, over `bytes`.
    pub fn derive(&self, purpose: &str, bytes: &[u8]) -> String {
        let mut digest = Sha256::new();
        // The lengths are fixed or said, so no two inputs run into one another.
        digest.update(self.0);
        digest.update((purpose.len() as u64).to_le_bytes());
        digest.update(purpose);
        digest.update(bytes);
        hex(&digest.finalize())
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Names a session; opens nothing. 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    /// `None` for what is no name of a session.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        digits.then(|| SessionId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Unused.
    pub idle: Duration,
    /// At most.
    pub absolute: Duration,
}

/// A session that is not over. Times are milliseconds since 1970 on the server's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user: String,
    /// What its maker keeps with it.
    pub facts: String,
    pub created_at: i64,
    pub used_at: i64,
    /// It is over then, used or not.
    pub ends_at: i64,
}

/// Who signed in.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Makes one. An id that is taken is refused.
    async fn create(&self, id: &SessionId, user: &str, facts: &str, terms: Terms) -> Result<Session, SharedError>;

    /// Looks, and changes nothing; `None` when it is over.
    async fn look_up(&self, id: &SessionId) -> Result<Option<Session>, SharedError>;

    /// Looks, and counts as use: it is idle from now on. Never past [`Session::ends_at`].
    async fn extend(&self, id: &SessionId) -> Result<Option<Session>, SharedError>;

    /// Ends it; whether there was one.
    async fn revoke(&self, id: &SessionId) -> Result<bool, SharedError>;

    /// Ends all of a user's; how many there were.
    async fn revoke_user(&self, user: &str) -> Result<u64, SharedError>;

    /// A user's, oldest first.
    async fn list(&self, user: &str) -> Result<Vec<Session>, SharedError>;
}

pub(crate) fn check(user: &str, facts: &str, terms: Terms) -> Result<(), SharedError> {
    let doing = "making a session";
    limits::name(doing, "the user's name", user, MAX_USER)?;
    limits::size(doing, "what is kept with it", facts.len(), MAX_FACTS)?;
    limits::span(doing, "the idle time", terms.idle, TERMS)?;
    limits::span(doing, "the absolute time", terms.absolute, TERMS)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_names() {
        let (one, two) = (SessionSecret::new().unwrap(), SessionSecret::new().unwrap());
        assert_ne!(one, two);
        assert_eq!(SessionSecret::parse(&one.text()), Some(one.clone()));
        assert_eq!(SessionId::parse(one.id().as_str()), Some(one.id()));
        assert_ne!(one.id(), two.id());
        assert!(!format!("{one:?}").contains(&one.text()));
        for nonsense in ["", "x", &one.text()[1..], one.id().as_str(), "äääää"] {
            assert_eq!(SessionSecret::parse(nonsense), None, "{nonsense}");
        }
        for nonsense in [
            "",
            &one.text(),
            &one.id().as_str().to_uppercase(),
            &one.id().as_str()[1..],
        ] {
            assert_eq!(SessionId::parse(nonsense), None, "{nonsense}");
        }
        // FIPS 180-2: the SHA-256 of 32 zero bytes.
        let zero = SessionSecret([0; 32]).id();
        assert_eq!(
            zero.as_str(),
            "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"
        );
    }

    #[test]
    fn what_is_derived_depends_on_all_of_it() {
        let (one, two) = (SessionSecret([1; 32]), SessionSecret([2; 32]));
        let all = [
            one.derive("a", b"b"),
            two.derive("a", b"b"),
            one.derive("b", b"b"),
            one.derive("a", b"c"),
            one.derive("ab", b""),
        ];
        for (n, text) in all.iter().enumerate() {
            assert!(!all[..n].contains(text), "{n}");
        }
    }
}
