//! JSON of anybody: `POST /webhooks/json/NAME`, one endpoint for each `[dispatcher.json.NAME]`. What the body means is for the rules
//! of `[normalize.json.NAME]` to say; here it must only be JSON.

use axum::http::{HeaderMap, StatusCode};
use axum::routing::MethodFilter;

use super::problem::Refusal;
use super::senders::Sender;
use super::shape;

/// `POST` or `PUT /webhooks/json/NAME`.
pub struct AnyJson;

impl AnyJson {
    /// Where the endpoint of a mapper is.
    pub fn path_of(name: &str) -> String {
        format!("/webhooks/json/{name}")
    }

    /// Whether an endpoint can have that name.
    pub fn names(name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=64).contains(&name.len()) && name.bytes().all(plain)
    }

    /// What its bodies are stored under.
    pub fn stored_as(name: &str) -> String {
        format!("json/{name}")
    }
}

impl Sender for AnyJson {
    fn name(&self) -> &'static str {
        "json"
    }

    fn path(&self) -> &'static str {
        "/webhooks/json/NAME"
    }

    fn methods(&self) -> MethodFilter {
        MethodFilter::POST.or(MethodFilter::PUT)
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::valid(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        (name == "user-agent").then(|| "http-user-agent".to_owned())
    }

    fn too_fast(&self) -> StatusCode {
        StatusCode::TOO_MANY_REQUESTS
    }
}
