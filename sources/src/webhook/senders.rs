//! What the dispatcher knows of a sender, and the list of all senders.
//!
//! A sender says where it knocks and refuses what it can mend. It decodes nothing: that is `operators::normalize`,
//! which dead-letters single bad alerts of an otherwise good body.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::alertmanager::{Alertmanager, AlertmanagerApi};
use super::auth::Keys;
use super::events::Events;
use super::github::Github;
use super::grafana::Grafana;
use super::integrations::Integration;
use super::kubernetes::Kubernetes;
use super::pagerduty::{PagerDuty, PagerDutyChanges};
use super::problem::Refusal;
use super::settings::WebhookSettings;

/// All senders. A new one: a folder beside the others, and a line here.
pub(super) const SENDERS: &[Registered] = &[
    Registered {
        sender: &Alertmanager,
        keys: |settings| settings.alertmanager.keys(),
    },
    Registered {
        sender: &Grafana,
        keys: |settings| settings.grafana.keys(),
    },
    Registered {
        sender: &Github,
        keys: |settings| settings.github.keys(),
    },
    Registered {
        sender: &Kubernetes,
        keys: |settings| settings.kubernetes.keys(),
    },
    Registered {
        sender: &Events,
        keys: |settings| settings.events.keys(),
    },
    Registered {
        sender: &AlertmanagerApi,
        keys: |settings| settings.alertmanager.keys(),
    },
    Registered {
        sender: &PagerDuty,
        keys: |_| Keys::default(),
    },
    Registered {
        sender: &PagerDutyChanges,
        keys: |_| Keys::default(),
    },
];

/// A sender and where its credentials stand.
pub(super) struct Registered {
    pub sender: &'static dyn Sender,
    pub keys: fn(&WebhookSettings) -> Keys<'_>,
}

/// One kind of sender.
pub trait Sender: Send + Sync {
    /// Goes into `aegis-sender`, where it picks the decoder, and into metrics.
    fn name(&self) -> &'static str;

    fn path(&self) -> &'static str;

    /// The methods it delivers with.
    fn methods(&self) -> MethodFilter {
        MethodFilter::POST
    }

    /// The JSON document of a body that wraps one (a form), `None` where the body is the document.
    fn unwrapped(&self, _headers: &HeaderMap, _body: &[u8]) -> Result<Option<Bytes>, Refusal> {
        Ok(None)
    }

    /// Refuses, with 4xx, what the sender must mend: a body that is not JSON, a top level of another shape. Faults of
    /// single alerts pass.
    fn check(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal>;

    /// The name under which a request header (lower case) is stored, `None` to drop it.
    fn keep_header(&self, name: &str) -> Option<String>;

    /// Whether this header tells two deliveries with the same body apart.
    fn header_identifies(&self, _name: &str) -> bool {
        false
    }

    /// The table of its settings, where it shares that of another sender.
    fn settings(&self) -> &'static str {
        self.name()
    }

    /// Who may come in by a key in the body, where the sender has no other credentials.
    fn integrations<'s>(&self, _settings: &'s WebhookSettings) -> Option<&'s BTreeMap<String, Integration>> {
        None
    }

    /// JSON pointers to what is a credential in its bodies: taken out before a body is stored.
    fn credentials(&self) -> &'static [&'static str] {
        &[]
    }

    /// What its deliveries must stay in order by: equal keys are stored in one partition. `None`: each delivery stands for itself.
    fn order_key(&self, _body: &[u8]) -> Option<String> {
        None
    }

    /// The answer to a stored delivery.
    fn accepted(&self, delivery: &str, _body: &[u8]) -> Response {
        let accepted = serde_json::json!({"accepted": true, "delivery": delivery});
        (StatusCode::ACCEPTED, Json(accepted)).into_response()
    }

    /// The answer to a refused one, in the sender's own words where it has some.
    fn refused(&self, refusal: Refusal) -> Response {
        refusal.into_response()
    }

    /// The status that makes it slow down and send again.
    fn too_fast(&self) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }

    /// The answer to `OPTIONS`, for senders that ask before they deliver. Default: `OPTIONS` is no method of theirs.
    fn handshake(&self) -> Option<fn(&HeaderMap) -> Response> {
        None
    }
}

/// The delivery key: lower-case hex of SHA-256 over the name that the body is stored under (the sender's, and of JSON by rules the mapper's), the headers that identify a delivery (if any)
/// and the body as it was sent, before redaction. Each part ends where the next begins, so no two requests share a key
/// by shifting bytes between parts.
pub fn delivery_key(stored_as: &str, sender: &dyn Sender, headers: &HeaderMap, body: &[u8]) -> String {
    let mut identifying: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| sender.header_identifies(name))
        .collect();
    identifying.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(stored_as);
    hash.update([0]);
    for (name, value) in identifying {
        // Neither a header's name nor its value can hold a line feed.
        hash.update(name);
        hash.update(b":");
        hash.update(value);
        hash.update(b"\n");
    }
    hash.update([0]);
    hash.update(body);
    hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_and_paths_are_unique() {
        let names: BTreeSet<_> = SENDERS.iter().map(|registered| registered.sender.name()).collect();
        let paths: BTreeSet<_> = SENDERS.iter().map(|registered| registered.sender.path()).collect();
        assert_eq!((names.len(), paths.len()), (SENDERS.len(), SENDERS.len()));
    }

    #[test]
    fn delivery_keys() {
        let with_id =
            |id: &'static str| HeaderMap::from_iter([("ce-id".parse().unwrap(), HeaderValue::from_static(id))]);
        let plain = HeaderMap::new();
        let delivery_key =
            |sender: &dyn Sender, headers: &HeaderMap, body: &[u8]| delivery_key(sender.name(), sender, headers, body);
        let key = delivery_key(&Alertmanager, &plain, b"{}");
        // printf 'alertmanager\0\0{}' | sha256sum
        assert_eq!(key, "59bdbb4ee428ad7dd35b68ca226b75de47c5b49b8b773fd1d572ea1e1051e93a");
        assert_ne!(key, delivery_key(&Grafana, &plain, b"{}"), "the sender counts");
        assert_eq!(
            key,
            delivery_key(&Alertmanager, &with_id("1"), b"{}"),
            "other headers do not count"
        );
        assert_ne!(
            delivery_key(&Events, &with_id("1"), b"{}"),
            delivery_key(&Events, &with_id("2"), b"{}")
        );
    }
}
