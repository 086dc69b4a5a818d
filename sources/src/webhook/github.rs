//! GitHub's webhooks: <https://docs.github.com/en/webhooks/webhook-events-and-payloads>.
//!
//! The signature covers the body alone. So the delivery key is made of the body, never of `X-GitHub-Delivery`, and what kind of event
//! it is, is for the body to say (`operators::normalize::github`): a captured body with other headers is the same delivery. GitHub waits ten
//! seconds and does not send again by itself.

mod shape;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;

use super::form;
use super::problem::Refusal;
use super::senders::Sender;

/// `POST /webhooks/github`.
pub struct Github;

impl Sender for Github {
    fn name(&self) -> &'static str {
        "github"
    }

    fn path(&self) -> &'static str {
        "/webhooks/github"
    }

    fn unwrapped(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Bytes>, Refusal> {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        const FORM: &[u8] = b"application/x-www-form-urlencoded";
        if !kind
            .get(..FORM.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(FORM))
        {
            return Ok(None);
        }
        match form::payload(body) {
            Some(json) => Ok(Some(json.into())),
            None => Err(Refusal::bad(
                "malformed-form",
                "the form has no field `payload`, or several, or it is cut",
            )
            .field("payload")
            .remedy("send GitHub's form as it is, or set the webhook's content type to application/json")),
        }
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::check(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        const KEPT: &[&str] = &[
            "user-agent",
            "x-github-event",
            "x-github-delivery",
            "x-github-hook-id",
            "x-hub-signature-256",
        ];
        KEPT.contains(&name).then(|| format!("http-{name}"))
    }
}
