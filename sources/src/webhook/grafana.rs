//! Grafana's unified alerting webhook:
//! <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>.
//!
//! Bearer tokens, Basic authentication, and the contact point's HMAC signature with and without a signed time. Custom payload
//! templates are taken, whatever JSON they make.

mod shape;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use axum::routing::MethodFilter;

use super::problem::Refusal;
use super::senders::Sender;

/// `POST` or `PUT /webhooks/grafana`.
pub struct Grafana;

impl Sender for Grafana {
    fn name(&self) -> &'static str {
        "grafana"
    }

    fn path(&self) -> &'static str {
        "/webhooks/grafana"
    }

    fn methods(&self) -> MethodFilter {
        MethodFilter::POST.or(MethodFilter::PUT)
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::check(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        // The default names of the signature and its time, so that a stored body can still be checked.
        const KEPT: &[&str] = &[
            "user-agent",
            "x-grafana-alerting-signature",
            "x-grafana-alerting-timestamp",
        ];
        KEPT.contains(&name).then(|| format!("http-{name}"))
    }
}
