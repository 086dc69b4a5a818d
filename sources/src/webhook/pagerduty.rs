//! PagerDuty's Events API v2, inbound: `POST /v2/enqueue` and `/v2/change/enqueue`
//! (<https://developer.pagerduty.com/docs/send-alert-event>, <https://developer.pagerduty.com/docs/send-change-event>). What sends to
//! PagerDuty can send here instead, with another base address.
//!
//! The routing key is the credential (`integrations.rs`). Answers are PagerDuty's: 202 with `status`, `message` and `dedup_key`; 400 with the
//! list of `errors`, which senders do not retry; 429 and 5xx, which they do. Early acknowledgements and resolves are taken like all
//! others: dedupe keeps them for their trigger.
//!
//! Not supported: `images` and `links` beyond keeping them.

mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use axum::Json;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::integrations::Integration;
use super::problem::Refusal;
use super::senders::Sender;
use super::settings::WebhookSettings;
use super::shape::Object;

/// `POST /v2/enqueue`: alerts.
pub struct PagerDuty;

/// `POST /v2/change/enqueue`: changes.
pub struct PagerDutyChanges;

impl Sender for PagerDuty {
    fn name(&self) -> &'static str {
        "pagerduty"
    }

    fn path(&self) -> &'static str {
        "/v2/enqueue"
    }

    fn integrations<'s>(&self, settings: &'s WebhookSettings) -> Option<&'s BTreeMap<String, Integration>> {
        Some(&settings.pagerduty.integrations)
    }

    fn credentials(&self) -> &'static [&'static str] {
        &["/routing_key"]
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::alert(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        (name == "user-agent").then(|| "http-user-agent".to_owned())
    }

    /// An event says what happened to its alert since the one before.
    fn order_key(&self, body: &[u8]) -> Option<String> {
        Object::read(body).ok()?.string("dedup_key")
    }

    fn accepted(&self, delivery: &str, body: &[u8]) -> Response {
        let stated = Object::read(body).ok().and_then(|event| event.string("dedup_key"));
        // As `operators::normalize::pagerduty` names an alert that its sender did not.
        let key = stated
            .filter(|key| !key.is_empty())
            .unwrap_or_else(|| delivery.chars().take(32).collect());
        let said = json!({"status": "success", "message": "Event processed", "dedup_key": key});
        (StatusCode::ACCEPTED, Json(said)).into_response()
    }

    fn refused(&self, refusal: Refusal) -> Response {
        invalid(refusal)
    }

    fn too_fast(&self) -> StatusCode {
        StatusCode::TOO_MANY_REQUESTS
    }
}

impl Sender for PagerDutyChanges {
    fn name(&self) -> &'static str {
        "pagerduty-change"
    }

    fn path(&self) -> &'static str {
        "/v2/change/enqueue"
    }

    fn settings(&self) -> &'static str {
        PagerDuty.name()
    }

    fn integrations<'s>(&self, settings: &'s WebhookSettings) -> Option<&'s BTreeMap<String, Integration>> {
        PagerDuty.integrations(settings)
    }

    fn credentials(&self) -> &'static [&'static str] {
        PagerDuty.credentials()
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::change(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        PagerDuty.keep_header(name)
    }

    fn accepted(&self, _delivery: &str, _body: &[u8]) -> Response {
        let said = json!({"status": "success", "message": "Change event processed"});
        (StatusCode::ACCEPTED, Json(said)).into_response()
    }

    fn refused(&self, refusal: Refusal) -> Response {
        invalid(refusal)
    }

    fn too_fast(&self) -> StatusCode {
        PagerDuty.too_fast()
    }
}

/// A refusal as PagerDuty says it.
fn invalid(refusal: Refusal) -> Response {
    let (status, message) = match refusal.status {
        StatusCode::BAD_REQUEST => ("invalid event", "Event object is invalid"),
        StatusCode::TOO_MANY_REQUESTS => (
            "throttle exceeded",
            "Requests are arriving too quickly. Please retry later.",
        ),
        _ => ("error", "The event was not processed"),
    };
    let mut errors: Vec<&str> = refusal
        .detail
        .split(shape::BETWEEN)
        .filter(|error| !error.is_empty())
        .collect();
    errors.extend(refusal.place.as_deref());
    let said = json!({"status": status, "message": message, "errors": errors});
    let mut response = (refusal.status, Json(said)).into_response();
    for (name, value) in refusal.into_response().headers() {
        if *name != CONTENT_TYPE && *name != CONTENT_LENGTH {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}
