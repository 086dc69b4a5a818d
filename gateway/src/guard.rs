//! Read tokens: compared in constant time, as digests, so that neither content nor length leaks.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use stream::secret::Secret;
use subtle::{Choice, ConstantTimeEq};

use crate::problem::Problem;

/// Lets in whoever shows one of the tokens; everybody when there is none.
#[derive(Clone)]
pub struct Guard {
    tokens: Arc<[[u8; 32]]>,
}

impl Guard {
    pub fn new(tokens: &[Secret]) -> Self {
        Guard {
            tokens: tokens.iter().map(|token| digest(token.expose().as_bytes())).collect(),
        }
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        if self.tokens.is_empty() {
            return true;
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, token)) = value.as_bytes().split_at_checked(7) else {
            return false;
        };
        let sent = digest(token.trim_ascii());
        // Every token is compared, whichever matches.
        let known = self
            .tokens
            .iter()
            .fold(Choice::from(0), |found, token| found | token.ct_eq(&sent));
        scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(known)
    }
}

/// The middleware of guarded routes.
pub async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if guard.admits(request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(path = request.uri().path(), "reader without a valid token refused");
    Problem::new(StatusCode::UNAUTHORIZED, "").into_response()
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}
