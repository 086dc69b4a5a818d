//! Who may come in by a key that stands in the body (PagerDuty's routing key). The key is a bearer secret: compared in constant time, taken
//! out of the body before it is stored, never logged. The integration that it belongs to is stored by name.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;
use subtle::ConstantTimeEq;

use super::auth::{Stranger, digest};
use super::problem::Refusal;
use super::shape::Object;

/// Name of the record header that names the integration.
pub const HEADER: &str = "aegis-integration";
/// The field of the body.
const FIELD: &str = "routing_key";
/// What may carry the key instead.
const KEY_HEADER: &str = "x-routing-key";

/// One sender of PagerDuty events.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Integration {
    /// Its routing keys; several, so that a new one can be given out before the old one goes.
    pub routing_keys: Vec<Secret>,
}

/// Where PagerDuty events come from.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PagerdutySettings {
    /// Integrations by name. The name is the service of what they send, unless that says otherwise, and keys of alerts are its own. None:
    /// the endpoints are open, which is allowed on a loopback address only.
    pub integrations: BTreeMap<String, Integration>,
}

impl PagerdutySettings {
    /// What cannot be used, below the table's own name.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, integration) in &self.integrations {
            let at = format!("pagerduty.integrations.{name}");
            if name.is_empty() || name.chars().any(char::is_control) || name.len() > 128 {
                faults.push(format!("{at}: a name has 1 to 128 bytes and no control characters"));
            }
            if integration.routing_keys.is_empty() {
                faults.push(format!("{at}.routing_keys is empty, so nobody could send: set a key"));
            }
            if integration.routing_keys.iter().any(Secret::is_empty) {
                faults.push(format!("{at}.routing_keys: a key is empty"));
            }
        }
        faults
    }
}

/// The keys of all integrations, as digests.
#[derive(Clone)]
pub struct Integrations(Vec<(String, [u8; 32])>);

impl Integrations {
    pub fn new(settings: &BTreeMap<String, Integration>) -> Self {
        let mut keys = Vec::new();
        for (name, integration) in settings {
            let digests = integration
                .routing_keys
                .iter()
                .map(|key| digest(key.expose().as_bytes()));
            keys.extend(digests.map(|digest| (name.clone(), digest)));
        }
        Integrations(keys)
    }

    /// The integration whose key was sent; `None` where none is configured and everybody may send.
    pub fn find(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<&str>, Refusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let sent = match headers.get(KEY_HEADER) {
            Some(key) => key.to_str().ok().map(str::to_owned),
            None => Object::read(body)?.string(FIELD),
        };
        let sent = sent.map(|key| digest(key.as_bytes())).unwrap_or_default();
        // Every one is compared, whichever matches.
        let mut found = None;
        for (name, known) in &self.0 {
            if bool::from(known.ct_eq(&sent)) {
                found = Some(name.as_str());
            }
        }
        match found {
            Some(name) => Ok(Some(name)),
            None => {
                tracing::warn!(reason = %Stranger::NoIntegration, "an event from a stranger refused");
                Err(Refusal::bad("unauthorized", "Invalid routing key"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keys: &[(&str, &[&str])]) -> PagerdutySettings {
        let integration = |keys: &[&str]| Integration {
            routing_keys: keys.iter().map(|key| Secret::from(*key)).collect(),
        };
        PagerdutySettings {
            integrations: keys
                .iter()
                .map(|(name, keys)| ((*name).to_owned(), integration(keys)))
                .collect(),
        }
    }

    #[track_caller]
    fn check(keys: &[(&str, &[&str])], header: Option<&'static str>, body: &str, expected: Result<Option<&str>, &str>) {
        let mut headers = HeaderMap::new();
        if let Some(key) = header {
            headers.insert(KEY_HEADER, axum::http::HeaderValue::from_static(key));
        }
        let integrations = Integrations::new(&settings(keys).integrations);
        let found = integrations.find(&headers, body.as_bytes());
        assert_eq!(found.as_ref().copied().map_err(|refusal| refusal.reason), expected);
    }

    #[test]
    fn keys() {
        let two: &[(&str, &[&str])] = &[("cart", &["old", "new"]), ("ledger", &["l"])];
        check(&[], None, "no JSON", Ok(None));
        check(two, None, r#"{"routing_key":"old"}"#, Ok(Some("cart")));
        check(two, None, r#"{"routing_key":"new"}"#, Ok(Some("cart")));
        check(two, None, r#"{"routing_key":"l"}"#, Ok(Some("ledger")));
        check(two, Some("l"), r#"{"routing_key":"old"}"#, Ok(Some("ledger")));
        check(two, None, r#"{"routing_key":"none"}"#, Err("unauthorized"));
        check(two, None, r#"{"routing_key":["old"]}"#, Err("unauthorized"));
        check(two, None, "{}", Err("unauthorized"));
        check(two, Some("x"), r#"{"routing_key":"old"}"#, Err("unauthorized"));
        check(two, None, "{", Err("malformed-json"));
    }

    #[test]
    fn faults() {
        assert_eq!(settings(&[("a", &["k"])]).faults(), [""; 0]);
        assert_eq!(settings(&[("a", &[]), ("", &["k"]), ("b", &[""])]).faults().len(), 3);
        let shown = format!("{:?}", settings(&[("a", &["hunter2"])]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
