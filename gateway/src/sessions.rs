//! Sign-in: a named token is exchanged for a session, which a browser carries as a cookie that no script can read.
//!
//! - The cookie holds a secret of 32 random bytes; what is kept is its hash ([`shared::Sessions`]).
//! - A session is bound to the token that opened it: with the hash of the secret stands a digest of secret and token, and the role is that of
//!   the token as it is configured now. So a token that is changed or taken away ends its sessions, and whoever can write into the server of
//!   the sessions can make none.
//! - `SameSite=Strict`, and requests that change anything must carry the header `X-Aegis-Csrf` with a value that only the page of the session
//!   knows: another site can make a browser send the cookie at most, never the header.
//! - Beyond loopback the cookie is `Secure` and named `__Host-…`, so it needs HTTPS in front of the gateway, and no subdomain can set it.

use std::sync::Arc;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use chrono::DateTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{Session, SessionSecret, Sessions, SharedError, Terms};
use subtle::ConstantTimeEq as _;

use crate::changes::Changes;
use crate::problem::Problem;
use crate::roles::Role;
use crate::settings::GatewaySettings;

/// The header of requests that change something.
pub const CSRF_HEADER: &str = "x-aegis-csrf";

/// A session as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// Names the session; opens nothing.
    pub id: String,
    pub user: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<chrono::Utc>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub used_at: DateTime<chrono::Utc>,
    /// It is over then, used or not.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub ends_at: DateTime<chrono::Utc>,
    /// The session of this request.
    pub current: bool,
}

/// The session of the request itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnSession {
    pub session: SessionView,
    /// viewer, responder, approver or admin.
    pub role: Role,
    /// To be sent as the header `X-Aegis-Csrf` with every request that changes something.
    pub csrf: String,
}

/// The session that a request came with.
#[derive(Clone)]
pub struct Signed {
    pub session: Session,
    pub csrf: String,
}

/// The digest of the token that a request came with.
#[derive(Clone, Copy)]
pub struct Presented(pub [u8; 32]);

/// Opens, finds and ends sessions.
#[derive(Clone)]
pub struct SessionDesk {
    pub sessions: Arc<dyn Sessions>,
    pub changes: Arc<Changes>,
    terms: Terms,
    secure: bool,
}

impl SessionDesk {
    pub fn new(settings: &GatewaySettings, sessions: Arc<dyn Sessions>, changes: Arc<Changes>) -> Self {
        SessionDesk {
            sessions,
            changes,
            terms: Terms {
                idle: settings.sessions.idle.get(),
                absolute: settings.sessions.absolute.get(),
            },
            secure: !settings.listen.ip().is_loopback(),
        }
    }

    fn cookie_name(&self) -> &'static str {
        match self.secure {
            true => "__Host-aegis_session",
            false => "aegis_session",
        }
    }

    /// A new session of whoever has the token with this digest, and its cookie.
    pub async fn open(&self, user: &str, token: Presented) -> Result<(Signed, HeaderValue), Problem> {
        let secret = SessionSecret::new().map_err(refused)?;
        let bound = secret.derive("token", &token.0);
        let made = self.sessions.create(&secret.id(), user, &bound, self.terms).await;
        let session = made.map_err(refused)?;
        let cookie = self.cookie(&secret.text(), self.terms.absolute.as_secs())?;
        let csrf = csrf(&secret);
        Ok((Signed { session, csrf }, cookie))
    }

    /// Sets the cookie; with nothing and 0 seconds it is gone.
    pub fn cookie(&self, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
            self.cookie_name()
        );
        let mut cookie = HeaderValue::from_str(&text)
            .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the cookie cannot be written"))?;
        cookie.set_sensitive(true);
        Ok(cookie)
    }

    /// The secret that the request carries, if it carries one and not two.
    pub fn carried(&self, headers: &HeaderMap) -> Option<SessionSecret> {
        let pairs = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let values = pairs.flat_map(|line| line.split(';')).filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.cookie_name()).then_some(value)
        });
        let mut values = values.fuse();
        match (values.next(), values.next()) {
            (Some(value), None) => SessionSecret::parse(value),
            _ => None,
        }
    }

    /// The session that `secret` opens, used by this; `None` when it is over.
    pub async fn find(&self, secret: &SessionSecret) -> Result<Option<Signed>, Problem> {
        let found = self.sessions.extend(&secret.id()).await.map_err(refused)?;
        let csrf = csrf(secret);
        Ok(found.map(|session| Signed { session, csrf }))
    }

    /// Whether the session was opened with the token of this digest.
    pub fn opened_with(secret: &SessionSecret, signed: &Signed, token: &[u8; 32]) -> bool {
        let bound = secret.derive("token", token);
        bool::from(bound.as_bytes().ct_eq(signed.session.facts.as_bytes()))
    }

    /// What a request that changes something must carry.
    pub fn same_site(signed: &Signed, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let sent = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        match bool::from(sent.ct_eq(signed.csrf.as_bytes())) {
            true => Ok(()),
            false => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "a request that changes something needs the header X-Aegis-Csrf, with what signing in or GET /api/v1/sessions/current answers",
            )),
        }
    }
}

impl Signed {
    pub fn own(&self, role: Role) -> OwnSession {
        OwnSession {
            session: view(&self.session, Some(&self.session)),
            role,
            csrf: self.csrf.clone(),
        }
    }
}

pub fn view(session: &Session, own: Option<&Session>) -> SessionView {
    let time = |millis: i64| DateTime::from_timestamp_millis(millis).unwrap_or_default();
    SessionView {
        id: session.id.as_str().to_owned(),
        user: session.user.clone(),
        created_at: time(session.created_at),
        used_at: time(session.used_at),
        ends_at: time(session.ends_at),
        current: own.is_some_and(|own| own.id == session.id),
    }
}

/// Sessions cannot be asked for now: nobody is let in by one, and nobody loses his.
pub fn refused(error: SharedError) -> Problem {
    tracing::warn!(%error, "sessions were not asked");
    match error {
        SharedError::Unavailable { .. } => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "sessions cannot be asked for now: try again, or come with a bearer token",
        ),
        SharedError::Refused { problem, .. } => Problem::new(StatusCode::BAD_REQUEST, problem),
    }
}

fn csrf(secret: &SessionSecret) -> String {
    secret.derive("csrf", b"")
}
