//! Who asks: by a bearer token, compared in constant time, as a digest, so that neither content nor length leaks; or by the cookie of a
//! session ([`crate::sessions`]). A token comes before a cookie.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::roles::{Caller, Role};
use crate::sessions::{Presented, SessionDesk, Signed};
use crate::settings::GatewaySettings;

/// Knows who may what. Without any token everybody may read, and nobody may do more.
#[derive(Clone)]
pub struct Guard {
    known: Arc<[([u8; 32], Caller)]>,
    desk: SessionDesk,
}

/// Who was let in, and by what.
enum Admitted {
    /// Where no token is needed.
    Anybody,
    Token(Caller, Presented),
    Session(Caller, Signed),
}

impl Guard {
    pub fn new(settings: &GatewaySettings, desk: SessionDesk) -> Self {
        let readers = settings.read_tokens.iter().map(|token| {
            let caller = Caller {
                name: None,
                role: Role::Viewer,
            };
            (digest(token.expose().as_bytes()), caller)
        });
        let named = settings.tokens.iter().map(|(name, token)| {
            let caller = Caller {
                name: Some(name.clone()),
                role: token.role,
            };
            (digest(token.token.expose().as_bytes()), caller)
        });
        Guard {
            known: readers.chain(named).collect(),
            desk,
        }
    }

    /// `Ok(None)`: nobody we know.
    async fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Admitted>, Problem> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            // Also a token that opens nothing does not keep anybody from what is open.
            (_, None) if self.known.is_empty() => Ok(Some(Admitted::Anybody)),
            (None, None) => self.by_session(method, headers).await,
            (Some(value), None) => Ok(self.by_token(value.as_bytes())),
            _ => Ok(None),
        }
    }

    fn by_token(&self, value: &[u8]) -> Option<Admitted> {
        let (scheme, token) = value.split_at_checked(7)?;
        let sent = digest(token.trim_ascii());
        // Every token is compared, whichever matches.
        let mut found = None;
        for (token, caller) in self.known.iter() {
            if bool::from(token.ct_eq(&sent)) {
                found = Some(caller);
            }
        }
        let caller = found.filter(|_| scheme.eq_ignore_ascii_case(b"bearer "))?;
        Some(Admitted::Token(caller.clone(), Presented(sent)))
    }

    async fn by_session(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Admitted>, Problem> {
        let Some(secret) = self.desk.carried(headers) else {
            return Ok(None);
        };
        let Some(signed) = self.desk.find(&secret).await? else {
            return Ok(None);
        };
        // The token that opened it must still be there, and says what it may now.
        let of = |(token, caller): &&([u8; 32], Caller)| {
            caller.name.as_deref() == Some(signed.session.user.as_str())
                && SessionDesk::opened_with(&secret, &signed, token)
        };
        let Some((_, caller)) = self.known.iter().find(of) else {
            return Ok(None);
        };
        SessionDesk::same_site(&signed, method, headers)?;
        Ok(Some(Admitted::Session(caller.clone(), signed)))
    }
}

/// The middleware of guarded routes: lets in whoever is known, and says who it is.
pub async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let admitted = match guard.admit(request.method(), request.headers()).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let caller = match admitted {
        Some(Admitted::Anybody) => Caller {
            name: None,
            role: Role::Viewer,
        },
        Some(Admitted::Token(caller, token)) => {
            request.extensions_mut().insert(token);
            caller
        }
        Some(Admitted::Session(caller, signed)) => {
            request.extensions_mut().insert(signed);
            caller
        }
        None => {
            tracing::warn!(
                path = request.uri().path(),
                "caller without a valid token or session refused"
            );
            return Problem::new(StatusCode::UNAUTHORIZED, "").into_response();
        }
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// The middleware of routes that need a role: who is not known gets 401, who may not gets 403, both without a word more.
pub async fn require(State(least): State<Role>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller {
        Some(caller) if caller.name.is_some() && caller.role >= least => next.run(request).await,
        Some(caller) => {
            let status = match caller.name {
                Some(_) => StatusCode::FORBIDDEN,
                None => StatusCode::UNAUTHORIZED,
            };
            tracing::warn!(
                path = request.uri().path(),
                needed = least.as_str(),
                had = caller.role.as_str(),
                "refused"
            );
            Problem::new(status, "").into_response()
        }
        None => Problem::new(StatusCode::UNAUTHORIZED, "").into_response(),
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}
