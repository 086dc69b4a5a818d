//! Objects of Kubernetes from who exports or forwards them: an Event, a Deployment, a list or an array of them.
//!
//! Kubernetes signs nothing, so the endpoint is opened by tokens. `X-Aegis-Cluster` names the cluster. Nothing here asks an API server:
//! that is `crate::kubernetes`.

mod shape;
#[cfg(test)]
mod tests;

use axum::http::HeaderMap;

use super::problem::Refusal;
use super::senders::Sender;

/// In which the cluster is named.
const CLUSTER: &str = "x-aegis-cluster";

/// `POST /webhooks/kubernetes`.
pub struct Kubernetes;

impl Sender for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn path(&self) -> &'static str {
        "/webhooks/kubernetes"
    }

    fn check(&self, _headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        shape::check(body)
    }

    fn keep_header(&self, name: &str) -> Option<String> {
        matches!(name, "user-agent" | CLUSTER).then(|| format!("http-{name}"))
    }

    /// Two clusters may have an object of the same content.
    fn header_identifies(&self, name: &str) -> bool {
        name == CLUSTER
    }
}
