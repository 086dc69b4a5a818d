//! Tokens: compared in constant time, as digests, so that neither content nor length leaks.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::roles::{Caller, Role};
use crate::settings::GatewaySettings;

/// Knows who may what. Without any token everybody may read, and nobody may do more.
#[derive(Clone)]
pub struct Guard {
    known: Arc<[([u8; 32], Caller)]>,
}

impl Guard {
    pub fn new(settings: &GatewaySettings) -> Self {
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
        }
    }

    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (values.next(), values.next());
        let anybody = || Caller {
            name: None,
            role: Role::Viewer,
        };
        let value = match (first, second) {
            (None, None) if self.known.is_empty() => return Some(anybody()),
            (Some(value), None) => value,
            _ => return None,
        };
        // A token that opens nothing does not keep anybody from what is open.
        if self.known.is_empty() {
            return Some(anybody());
        }
        let (scheme, token) = value.as_bytes().split_at_checked(7)?;
        let sent = digest(token.trim_ascii());
        // Every token is compared, whichever matches.
        let mut found = None;
        for (token, caller) in self.known.iter() {
            if bool::from(token.ct_eq(&sent)) {
                found = Some(caller);
            }
        }
        found.filter(|_| scheme.eq_ignore_ascii_case(b"bearer ")).cloned()
    }
}

/// The middleware of guarded routes: lets in whoever is known, and says who it is.
pub async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.caller(request.headers()) {
        Some(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None => {
            tracing::warn!(path = request.uri().path(), "caller without a valid token refused");
            Problem::new(StatusCode::UNAUTHORIZED, "").into_response()
        }
    }
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
