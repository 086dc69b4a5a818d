//! Signed bodies: HMAC-SHA256 over the bytes as they were sent, checked before anything is parsed.
//!
//! ```text
//! GitHub    X-Hub-Signature-256: sha256=HEX(HMAC(secret, body))
//! Grafana   X-Grafana-Alerting-Signature: HEX(HMAC(secret, body)), or over TIME:body where a header with the time is agreed on
//! ```
//!
//! Neither signs other headers, so nothing that decides may come from those. A body without a signed time can be sent again by
//! whoever saw it: dedupe recognises it by content.

use axum::http::HeaderMap;
use ring::hmac;
use stream::Instant;
use stream::secret::Secret;

/// Seconds that a signed time may lie before or behind ours.
pub const WINDOW_S: i64 = 300;

/// How a sender signs, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    pub secrets: &'a [Secret],
    /// Name of the header with the signature.
    pub header: &'a str,
    /// What stands before the digits.
    pub prefix: &'static str,
    /// Name of the header with the time, in Unix seconds, where one is signed.
    pub timestamp: Option<&'a str>,
}

/// Why a body is not the sender's: for the log only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forgery {
    #[error("no signature of the agreed form, or several")]
    NoSignature,
    #[error("the signature is of none of our secrets")]
    Forged,
    #[error("no header with the signed time, or not a number of seconds")]
    NoTime,
    #[error("signed more than five minutes ago, or ahead of us")]
    NotNow,
}

/// The keys of one endpoint.
#[derive(Clone, Debug)]
pub struct Signatures {
    keys: Vec<hmac::Key>,
    header: String,
    prefix: &'static str,
    timestamp: Option<String>,
}

impl Signatures {
    /// `None` without secrets: nothing is checked then.
    pub fn new(signing: &Signing<'_>) -> Option<Self> {
        let key = |secret: &Secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        (!signing.secrets.is_empty()).then(|| Signatures {
            keys: signing.secrets.iter().map(key).collect(),
            header: signing.header.to_ascii_lowercase(),
            prefix: signing.prefix,
            timestamp: signing.timestamp.map(str::to_ascii_lowercase),
        })
    }

    pub fn check(&self, headers: &HeaderMap, body: &[u8], now: Instant) -> Result<(), Forgery> {
        let signature = single(headers, &self.header).and_then(|value| unhex(value.strip_prefix(self.prefix)?));
        let signature = signature.ok_or(Forgery::NoSignature)?;
        let known = match &self.timestamp {
            None => self.is_signed(body, &signature),
            Some(name) => {
                let text = single(headers, name).ok_or(Forgery::NoTime)?;
                let sent: i64 = text.parse().map_err(|_| Forgery::NoTime)?;
                if now.0.div_euclid(1_000_000).abs_diff(sent) > WINDOW_S.unsigned_abs() {
                    return Err(Forgery::NotNow);
                }
                self.is_signed(&[text.as_bytes(), b":", body].concat(), &signature)
            }
        };
        if known { Ok(()) } else { Err(Forgery::Forged) }
    }

    fn is_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        // `verify` compares in constant time; every key is tried, whichever matches.
        let matching = self
            .keys
            .iter()
            .filter(|key| hmac::verify(key, signed, signature).is_ok())
            .count();
        matching > 0
    }
}

/// The header's value, if it stands there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

/// The bytes that an even number of hexadecimal digits stands for.
pub fn unhex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// The example of docs.github.com, "Validating webhook deliveries".
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNED: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[track_caller]
    fn check(
        secrets: &[&str],
        timestamp: Option<&str>,
        headers: &[(&'static str, &str)],
        body: &[u8],
        expected: Result<(), Forgery>,
    ) {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::from(*secret)).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let signatures = Signatures::new(&Signing {
            secrets: &secrets,
            header: "X-Hub-Signature-256",
            prefix: "sha256=",
            timestamp,
        });
        let found = signatures.unwrap().check(&map, body, Instant(1_000_000_000));
        assert_eq!(found, expected);
    }

    #[test]
    fn githubs_own_example() {
        let sent = format!("sha256={SIGNED}");
        let header = ("x-hub-signature-256", sent.as_str());
        check(&[SECRET], None, &[header], BODY, Ok(()));
        check(&["old", SECRET], None, &[header], BODY, Ok(()));
        check(&["old"], None, &[header], BODY, Err(Forgery::Forged));
        check(&[SECRET], None, &[header], b"Hello, World?", Err(Forgery::Forged));
        check(&[SECRET], None, &[header, header], BODY, Err(Forgery::NoSignature));
        check(&[SECRET], None, &[], BODY, Err(Forgery::NoSignature));
        for (wrong, expected) in [
            (SIGNED, Forgery::NoSignature),
            ("sha1=00", Forgery::NoSignature),
            ("sha256=zz", Forgery::NoSignature),
            // Half a byte is missing, a whole one, all.
            (&sent[..70], Forgery::NoSignature),
            (&sent[..69], Forgery::Forged),
            ("sha256=", Forgery::Forged),
        ] {
            check(&[SECRET], None, &[("x-hub-signature-256", wrong)], BODY, Err(expected));
        }
    }

    #[test]
    fn a_signed_time_is_of_now() {
        // printf '1000:Hello, World!' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"
        let signed = |time: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
            let tag = hmac::sign(&key, &[time.as_bytes(), b":", BODY].concat());
            tag.as_ref()
                .iter()
                .fold("sha256=".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
        };
        for (time, expected) in [
            ("1000", Ok(())),
            ("700", Ok(())),
            ("1300", Ok(())),
            ("699", Err(Forgery::NotNow)),
            ("1301", Err(Forgery::NotNow)),
            ("soon", Err(Forgery::NoTime)),
            ("-9223372036854775808", Err(Forgery::NotNow)),
        ] {
            let signature = signed(time);
            let headers = [("x-hub-signature-256", signature.as_str()), ("x-time", time)];
            check(&[SECRET], Some("X-Time"), &headers, BODY, expected);
        }
        let signature = signed("1000");
        let headers = [("x-hub-signature-256", signature.as_str()), ("x-time", "1001")];
        check(&[SECRET], Some("X-Time"), &headers, BODY, Err(Forgery::Forged));
        check(&[SECRET], Some("X-Time"), &headers[..1], BODY, Err(Forgery::NoTime));
    }
}
