//! CloudEvents 1.0 over HTTP: structured, batched and binary mode, and the web-hook handshake.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>,
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>.
//!
//! Not supported: event formats other than JSON, tokens in the query string, and handshakes by callback (Aegis calls
//! no address that a stranger names).

mod handshake;
mod shape;
#[cfg(test)]
mod tests;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::problem::Refusal;
use super::senders::Sender;

/// `POST /webhooks/events`.
pub struct Events;

impl Sender for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn path(&self) -> &'static str {
        "/webhooks/events"
    }

    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::check(headers, body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        match name {
            // In binary mode the attributes are headers.
            _ if name.starts_with("ce-") => Some(name.to_owned()),
            "user-agent" | "traceparent" | "tracestate" => Some(format!("http-{name}")),
            _ => None,
        }
    }

    /// In binary mode two events may differ in their attributes only.
    fn header_identifies(&self, name: &str) -> bool {
        name.starts_with("ce-")
    }

    /// As the web-hook text says.
    fn too_fast(&self) -> StatusCode {
        StatusCode::TOO_MANY_REQUESTS
    }

    fn handshake(&self) -> Option<fn(&HeaderMap) -> Response> {
        Some(handshake::answer)
    }
}
