//! Deliveries that were asked for instead of being sent: what GitHub keeps of those that it could not get through.
//!
//! An answer of GitHub's API holds the payload as JSON that was written anew, and the signature of the bytes that were sent. The identity
//! of a delivery is of the signed bytes, so these are looked for ([`Candidates`]): the payload as it stands, without white space, and with
//! the other ways to write an escape, as JSON and as the form. The one that the signature fits is what was signed, byte for byte; it
//! gets the delivery key and the verdict of a request at the door. Where none fits (another secret since, none at all, other
//! bytes), what was fetched over TLS with our own token is believed under the verdict `fetched`, and who it is, the event says
//! (`operators::dedupe`): the same one that did arrive creates nothing twice. docs/adr/0028.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use stream::time::Clock;
use stream::{Ingress, Instant};

use super::auth::{Guard, Verdict};
use super::flow::{Dispatcher, Endpoint};
use super::form;
use super::github::Github;
use super::problem::Refusal;
use super::senders::{Sender as _, delivery_key};
use super::settings::WebhookSettings;
use super::{WebhookError, body, redaction_of, shape};

/// The way of fetched deliveries into the log: that of the door, behind its check of who knocks.
pub struct Fetched {
    endpoint: Endpoint,
}

/// A delivery that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The delivery key.
    pub delivery: String,
    /// These are the signed bytes: the key is that of the request that did not get through.
    pub signed: bool,
}

/// Why a delivery is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotTaken {
    pub detail: String,
    /// The same may be taken later.
    pub later: bool,
}

impl Fetched {
    /// Of GitHub's endpoint: its secrets, its limits, its redaction.
    pub fn github(settings: &WebhookSettings, ingress: Ingress, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        Ok(Fetched {
            endpoint: Endpoint {
                sender: &Github,
                stored_as: Github.name().to_owned(),
                integrations: None,
                redaction: redaction_of(settings, Github.credentials())?,
                guard: Guard::new(&settings.github.keys()),
                dispatcher: Arc::new(Dispatcher::new(settings, ingress, clock)?),
            },
        })
    }

    /// Takes what was once sent with these headers, durably. `sent_at` stands for the time at which it would have been received: an event
    /// that tells no time of its own is the same one however often it is fetched.
    pub async fn take(&self, headers: &HeaderMap, payload: &str, sent_at: Instant) -> Result<Taken, NotTaken> {
        self.store(headers, payload, sent_at).await.map_err(|refusal| NotTaken {
            later: refusal.status.is_server_error(),
            detail: if refusal.detail.is_empty() {
                refusal.reason.to_owned()
            } else {
                refusal.detail
            },
        })
    }

    async fn store(&self, headers: &HeaderMap, payload: &str, sent_at: Instant) -> Result<Taken, Refusal> {
        let endpoint = &self.endpoint;
        let dispatcher = &endpoint.dispatcher;
        if payload.len() > dispatcher.max_body_bytes {
            return Err(body::too_large(dispatcher.max_body_bytes));
        }
        let deadline = tokio::time::Instant::now() + dispatcher.request_timeout;
        let (sent, verdict) = self.sent(headers, payload, dispatcher.clock.now());
        let delivery = delivery_key(&endpoint.stored_as, endpoint.sender, headers, &sent);
        let order = endpoint.sender.order_key(&sent);
        let body = endpoint.sender.unwrapped(headers, &sent)?.unwrap_or(sent);
        shape::depth(&body, dispatcher.max_depth)?;
        endpoint.sender.check(headers, &body)?;
        let content_type = Some("application/json".to_owned());
        let mut event = endpoint.event(headers, body, delivery, content_type, verdict)?;
        event.received_at = sent_at.0;
        let delivery = endpoint.append(event, order, deadline).await?;
        Ok(Taken {
            delivery,
            signed: verdict == Verdict::Signed,
        })
    }

    /// The bytes that were sent, as far as they can be had.
    fn sent(&self, headers: &HeaderMap, payload: &str, now: Instant) -> (Bytes, Verdict) {
        let candidates = Candidates::of(headers, payload);
        for bytes in &candidates.0 {
            if let Ok(Verdict::Signed) = self.endpoint.guard.verify(Verdict::Fetched, headers, bytes, now) {
                return (bytes.clone(), Verdict::Signed);
            }
        }
        let usual = candidates.0.into_iter().next().unwrap_or_default();
        (usual, Verdict::Fetched)
    }
}

/// Ways to write a payload, the usual one first.
struct Candidates(Vec<Bytes>);

impl Candidates {
    fn of(headers: &HeaderMap, payload: &str) -> Self {
        let compact = without_spaces(payload);
        let upper = escapes(&compact, |digit| digit.to_ascii_uppercase());
        let lower = escapes(&compact, |digit| digit.to_ascii_lowercase());
        let form = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes().to_ascii_lowercase();
            kind.starts_with(b"application/x-www-form-urlencoded")
        });
        let mut all: Vec<Bytes> = Vec::new();
        for text in [compact, payload.to_owned(), upper, lower] {
            let bytes = Bytes::from(if form { form::of_payload(&text) } else { text });
            if !all.contains(&bytes) {
                all.push(bytes);
            }
        }
        Candidates(all)
    }
}

/// The same JSON without white space between its tokens.
fn without_spaces(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted {
            (quoted, escaped) = (escaped || c != '"', !escaped && c == '\\');
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        out.push(c);
    }
    out
}

/// The same JSON with the digits of its `\u` escapes written otherwise.
fn escapes(json: &str, digit: impl Fn(char) -> char) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        if c != '\\' {
            continue;
        }
        let Some(kind) = rest.next() else { break };
        out.push(kind);
        if kind == 'u' {
            out.extend(rest.by_ref().take(4).map(&digit));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_json_in_fewer_bytes() {
        let check = |json: &str, expected: &str| assert_eq!(without_spaces(json), expected, "{json}");
        check("{ \"a\" : [ 1.50 , true ] }\n", r#"{"a":[1.50,true]}"#);
        check(
            r#"{"a b": "c \" d \\" , "e": "\\\" "}"#,
            r#"{"a b":"c \" d \\","e":"\\\" "}"#,
        );
        check("", "");
    }

    #[test]
    fn escapes_written_otherwise() {
        let upper = |json: &str| escapes(json, |digit| digit.to_ascii_uppercase());
        assert_eq!(upper(r#""\u00e9 \\u00e9 \n é""#), r#""\u00E9 \\u00e9 \n é""#);
        assert_eq!(upper(r#""\"#), r#""\"#);
    }
}
