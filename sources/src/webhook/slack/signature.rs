//! Slack's signature, version 0: `v0=` and the hex of HMAC-SHA256 over `v0:TIMESTAMP:BODY`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use ring::hmac;
use stream::Instant;
use stream::secret::Secret;

use crate::webhook::signature::{WINDOW_S, unhex};

/// Signatures remembered. More come within ten minutes only from somebody who has the secret.
const REMEMBERED: usize = 10_000;

/// Why it is not Slack's: for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("no X-Slack-Request-Timestamp, or not a number")]
    NoTimestamp,
    #[error("older or newer than five minutes")]
    NotNow,
    #[error("no X-Slack-Signature of the form v0=HEX")]
    NoSignature,
    #[error("the signature is of none of our secrets")]
    Forged,
}

/// The keys, and what was seen.
pub struct Signatures {
    keys: Vec<hmac::Key>,
    /// Signature to the second in which it may be forgotten.
    seen: Mutex<HashMap<Vec<u8>, i64>>,
}

impl Signatures {
    pub fn new(secrets: &[Secret]) -> Self {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        Signatures {
            keys: secrets.iter().map(key).collect(),
            seen: Mutex::default(),
        }
    }

    /// Whether it is new; `false` for a request that was here before.
    pub fn check(&self, headers: &HeaderMap, body: &[u8], now: Instant) -> Result<bool, Stranger> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp = text("x-slack-request-timestamp").ok_or(Stranger::NoTimestamp)?;
        let sent: i64 = timestamp.parse().map_err(|_| Stranger::NoTimestamp)?;
        let now = now.0.div_euclid(1_000_000);
        if now.abs_diff(sent) > WINDOW_S.unsigned_abs() {
            return Err(Stranger::NotNow);
        }
        let signature = text("x-slack-signature").and_then(|value| unhex(value.strip_prefix("v0=")?));
        let signature = signature.ok_or(Stranger::NoSignature)?;
        let signed = [b"v0:", timestamp.as_bytes(), b":", body].concat();
        // `verify` compares in constant time.
        if !self
            .keys
            .iter()
            .any(|key| hmac::verify(key, &signed, &signature).is_ok())
        {
            return Err(Stranger::Forged);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, until| *until >= now);
        if seen.len() >= REMEMBERED {
            // The buttons' nonces still hold.
            seen.clear();
        }
        Ok(seen.insert(signature, sent + 2 * WINDOW_S).is_none())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    // The example of docs.slack.dev, "Verifying requests from Slack".
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: i64 = 1_531_420_618;
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn checked(secrets: &[&str], headers: &[(&'static str, &str)], body: &str, now_s: i64) -> Result<bool, Stranger> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::from(*secret)).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Signatures::new(&secrets).check(&map, body.as_bytes(), Instant(now_s * 1_000_000))
    }

    #[test]
    fn slacks_own_example() {
        let at = AT.to_string();
        let headers = [
            ("x-slack-request-timestamp", at.as_str()),
            ("x-slack-signature", SIGNATURE),
        ];
        assert_eq!(checked(&[SECRET], &headers, BODY, AT), Ok(true));
        assert_eq!(checked(&["old", SECRET], &headers, BODY, AT + 300), Ok(true));
        assert_eq!(checked(&[SECRET], &headers, BODY, AT + 301), Err(Stranger::NotNow));
        assert_eq!(checked(&[SECRET], &headers, BODY, AT - 301), Err(Stranger::NotNow));
        assert_eq!(checked(&["other"], &headers, BODY, AT), Err(Stranger::Forged));
        assert_eq!(
            checked(&[SECRET], &headers, &BODY.replace("%2F", "/"), AT),
            Err(Stranger::Forged)
        );
        assert_eq!(checked(&[SECRET], &headers[..1], BODY, AT), Err(Stranger::NoSignature));
        assert_eq!(checked(&[SECRET], &headers[1..], BODY, AT), Err(Stranger::NoTimestamp));
        let cut = [headers[0], ("x-slack-signature", &SIGNATURE[..20])];
        assert_eq!(checked(&[SECRET], &cut, BODY, AT), Err(Stranger::NoSignature));
    }

    #[test]
    fn a_second_time_is_not_fresh() {
        let signatures = Signatures::new(&[Secret::from(SECRET)]);
        let mut headers = HeaderMap::new();
        headers.insert("x-slack-request-timestamp", HeaderValue::from(AT));
        headers.insert("x-slack-signature", HeaderValue::from_static(SIGNATURE));
        let check = || signatures.check(&headers, BODY.as_bytes(), Instant(AT * 1_000_000));
        assert_eq!((check(), check()), (Ok(true), Ok(false)));
    }
}
