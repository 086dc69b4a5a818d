//! Alertmanager's webhook, version 4: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
//!
//! Alertmanager signs nothing and repeats whole groups; it retries 5xx and network errors only. Its own API, as a door for Prometheus, is in
//! `api.rs`.

mod api;
mod shape;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;

use super::problem::Refusal;
use super::senders::Sender;

pub use api::AlertmanagerApi;

/// `POST /webhooks/alertmanager`.
pub struct Alertmanager;

impl Sender for Alertmanager {
    fn name(&self) -> &'static str {
        "alertmanager"
    }

    fn path(&self) -> &'static str {
        "/webhooks/alertmanager"
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::check(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        // Carries Alertmanager's version.
        (name == "user-agent").then(|| "http-user-agent".to_owned())
    }
}
