//! Who is knocking. Each kind of credential that an endpoint has been given is required: a bearer token or a name with its
//! password in the head of the request, a signature over the body. Everything is compared in constant time.
//!
//! A stranger learns nothing but 401; what was wrong goes to the log, without the credential. Tokens in the query string
//! (which the CloudEvents web-hook text allows) are not taken: addresses end up in access logs.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use stream::Instant;
use stream::secret::Secret;
use subtle::{Choice, ConstantTimeEq};

use super::problem::Refusal;
use super::signature::{Forgery, Signatures, Signing};

/// How a request was let in. Stored as `aegis-verdict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a signature over the body.
    Signed,
    /// With a token.
    Bearer,
    /// With a name and a password.
    Basic,
    /// Asked for at the sender's own API.
    Fetched,
    /// The endpoint has no credentials.
    Open,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Signed => "signed",
            Verdict::Bearer => "bearer",
            Verdict::Basic => "basic",
            Verdict::Fetched => "fetched",
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
    #[error("the Authorization header is neither `Bearer TOKEN` nor `Basic CREDENTIALS`")]
    UnknownScheme,
    #[error("the token, or the name with its password, is none of this endpoint's")]
    Unknown,
    #[error("no routing key, in the body or the header X-Routing-Key, or it is of none of the integrations")]
    NoIntegration,
    #[error(transparent)]
    Forged(#[from] Forgery),
}

/// What an endpoint has been given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    pub tokens: &'a [Secret],
    /// `USER:PASSWORD` each.
    pub basic: &'a [Secret],
    pub signing: Option<Signing<'a>>,
}

impl Keys<'_> {
    /// Whether anybody may come in.
    pub fn is_empty(&self) -> bool {
        let signed = self.signing.is_some_and(|signing| !signing.secrets.is_empty());
        self.tokens.is_empty() && self.basic.is_empty() && !signed
    }
}

/// The credentials of one endpoint. Tokens and passwords are digests: of equal length, so that comparing tells nothing about
/// theirs, and a memory dump shows none.
#[derive(Clone)]
pub struct Guard {
    tokens: Vec<[u8; 32]>,
    basic: Vec<[u8; 32]>,
    signatures: Option<Signatures>,
}

impl Guard {
    pub fn new(keys: &Keys<'_>) -> Self {
        let digests = |secrets: &[Secret]| secrets.iter().map(|one| digest(one.expose().as_bytes())).collect();
        Guard {
            tokens: digests(keys.tokens),
            basic: digests(keys.basic),
            signatures: keys.signing.as_ref().and_then(Signatures::new),
        }
    }

    /// Judges the head, before memory is spent on a body.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Verdict, Stranger> {
        if self.tokens.is_empty() && self.basic.is_empty() {
            return Ok(Verdict::Open);
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(Stranger::NoHeader)?;
        if values.next().is_some() {
            return Err(Stranger::SeveralHeaders);
        }
        let value = value.as_bytes();
        let (sent, known, verdict) = if let Some(token) = credentials(value, b"bearer") {
            (digest(token), &self.tokens, Verdict::Bearer)
        } else if let Some(encoded) = credentials(value, b"basic") {
            let login = STANDARD.decode(encoded).map_err(|_| Stranger::UnknownScheme)?;
            (digest(&login), &self.basic, Verdict::Basic)
        } else {
            return Err(Stranger::UnknownScheme);
        };
        // Every one is compared, whichever matches.
        let found = known
            .iter()
            .fold(Choice::from(0), |found, one| found | one.ct_eq(&sent));
        if bool::from(found) {
            Ok(verdict)
        } else {
            Err(Stranger::Unknown)
        }
    }

    /// Judges the body as it was sent. `admitted` is what the head was worth.
    pub fn verify(
        &self,
        admitted: Verdict,
        headers: &HeaderMap,
        body: &[u8],
        now: Instant,
    ) -> Result<Verdict, Stranger> {
        match &self.signatures {
            None => Ok(admitted),
            Some(signatures) => {
                signatures.check(headers, body, now)?;
                Ok(Verdict::Signed)
            }
        }
    }
}

impl Stranger {
    /// The answer: no detail.
    pub fn refusal(self) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "").closing()
    }
}

/// What stands behind the scheme; its case does not matter (RFC 9110).
fn credentials<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = value.split_at_checked(scheme.len())?;
    let credentials = rest.strip_prefix(b" ")?.trim_ascii();
    (found.eq_ignore_ascii_case(scheme) && !credentials.is_empty()).then_some(credentials)
}

pub(super) fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(tokens: &[&str], basic: &[&str], sent: &[&str], expected: Result<Verdict, Stranger>) {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let secrets = |list: &[&str]| list.iter().map(|secret| Secret::from(*secret)).collect::<Vec<_>>();
        let guard = Guard::new(&Keys {
            tokens: &secrets(tokens),
            basic: &secrets(basic),
            signing: None,
        });
        assert_eq!(guard.admit(&headers), expected);
    }

    #[test]
    fn admits() {
        check(&[], &[], &[], Ok(Verdict::Open));
        check(&[], &[], &["Bearer anything"], Ok(Verdict::Open));
        check(&["old", "new"], &[], &["Bearer old"], Ok(Verdict::Bearer));
        check(&["old", "new"], &["u:p"], &["bearer  new"], Ok(Verdict::Bearer));
        check(&["t"], &["u:p"], &["Basic dTpw"], Ok(Verdict::Basic));
        check(&[], &["u:p"], &["basic dTpw"], Ok(Verdict::Basic));
    }

    #[test]
    fn turns_away() {
        check(&["t"], &[], &[], Err(Stranger::NoHeader));
        check(&[], &["u:p"], &[], Err(Stranger::NoHeader));
        check(&["t"], &[], &["Digest dDp0"], Err(Stranger::UnknownScheme));
        check(&["t"], &[], &["Bearer"], Err(Stranger::UnknownScheme));
        check(&["t"], &[], &["Bearer "], Err(Stranger::UnknownScheme));
        check(&["t"], &[], &["Bearer u"], Err(Stranger::Unknown));
        check(&["t"], &[], &["Bearer tt"], Err(Stranger::Unknown));
        check(&["t"], &[], &["Bearer t", "Bearer t"], Err(Stranger::SeveralHeaders));
        // A token is no password, nor the other way round.
        check(&["u:p"], &[], &["Basic dTpw"], Err(Stranger::Unknown));
        check(&[], &["u:p"], &["Bearer u:p"], Err(Stranger::Unknown));
        check(&[], &["u:p"], &["Basic dTpwcA=="], Err(Stranger::Unknown));
        check(&[], &["u:p"], &["Basic !"], Err(Stranger::UnknownScheme));
    }

    #[test]
    fn every_kind_of_credential_is_required() {
        let (tokens, secrets) = ([Secret::from("t")], [Secret::from("It's a Secret to Everybody")]);
        let guard = Guard::new(&Keys {
            tokens: &tokens,
            basic: &[],
            signing: Some(Signing {
                secrets: &secrets,
                header: "x-hub-signature-256",
                prefix: "sha256=",
                timestamp: None,
            }),
        });
        let mut headers = HeaderMap::new();
        let signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        headers.insert("x-hub-signature-256", HeaderValue::from_static(signed));
        assert_eq!(guard.admit(&headers), Err(Stranger::NoHeader));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        let admitted = guard.admit(&headers).unwrap();
        let verify = |body: &[u8]| guard.verify(admitted, &headers, body, Instant(0));
        assert_eq!(verify(b"Hello, World!"), Ok(Verdict::Signed));
        assert_eq!(verify(b"Hello, World"), Err(Stranger::Forged(Forgery::Forged)));
    }
}
