//! Who is knocking: a bearer token, compared in constant time with each of the endpoint's tokens.
//!
//! A stranger learns nothing but 401; what was wrong goes to the log, without the token. Tokens in the query string
//! (which the CloudEvents web-hook text allows) are not taken: addresses end up in access logs.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use stream::secret::Secret;
use subtle::{Choice, ConstantTimeEq};

use super::problem::Refusal;

/// How a request was let in. Stored as `aegis-verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a token.
    Bearer,
    /// The endpoint has no token.
    Open,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Bearer => "bearer",
            Verdict::Open => "none",
        }
    }
}

/// Why a stranger was turned away: for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("no Authorization header")]
    NoHeader,
    #[error("several Authorization headers")]
    SeveralHeaders,
    #[error("the Authorization header is not of the form `Bearer TOKEN`")]
    NotBearer,
    #[error("the token is none of this endpoint's")]
    UnknownToken,
}

/// The tokens of one endpoint, as digests: of equal length, so that comparing tells nothing about a token's length,
/// and a memory dump shows no token.
#[derive(Clone)]
pub struct Guard {
    tokens: Vec<[u8; 32]>,
}

impl Guard {
    pub fn new(tokens: &[Secret]) -> Self {
        Guard {
            tokens: tokens.iter().map(|token| digest(token.expose().as_bytes())).collect(),
        }
    }

    pub fn admit(&self, headers: &HeaderMap) -> Result<Verdict, Stranger> {
        if self.tokens.is_empty() {
            return Ok(Verdict::Open);
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Stranger::NoHeader)?;
        if values.next().is_some() {
            return Err(Stranger::SeveralHeaders);
        }
        let token = bearer(value.as_bytes()).ok_or(Stranger::NotBearer)?;
        let sent = digest(token);
        // Every token is compared, whichever matches.
        let known = self
            .tokens
            .iter()
            .fold(Choice::from(0), |found, token| found | token.ct_eq(&sent));
        if bool::from(known) {
            Ok(Verdict::Bearer)
        } else {
            Err(Stranger::UnknownToken)
        }
    }
}

impl Stranger {
    /// The answer: no detail.
    pub fn refusal(self) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "").closing()
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.strip_prefix(b" ")?.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(tokens: &[&str], sent: &[&str], expected: Result<Verdict, Stranger>) {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let tokens: Vec<Secret> = tokens.iter().map(|token| Secret::from(*token)).collect();
        assert_eq!(Guard::new(&tokens).admit(&headers), expected);
    }

    #[test]
    fn admits() {
        check(&[], &[], Ok(Verdict::Open));
        check(&[], &["Bearer anything"], Ok(Verdict::Open));
        check(&["old", "new"], &["Bearer old"], Ok(Verdict::Bearer));
        check(&["old", "new"], &["bearer  new"], Ok(Verdict::Bearer));
    }

    #[test]
    fn turns_away() {
        check(&["t"], &[], Err(Stranger::NoHeader));
        check(&["t"], &["Basic dDp0"], Err(Stranger::NotBearer));
        check(&["t"], &["Bearer"], Err(Stranger::NotBearer));
        check(&["t"], &["Bearer "], Err(Stranger::NotBearer));
        check(&["t"], &["Bearer u"], Err(Stranger::UnknownToken));
        check(&["t"], &["Bearer tt"], Err(Stranger::UnknownToken));
        check(&["t"], &["Bearer t", "Bearer t"], Err(Stranger::SeveralHeaders));
    }
}
