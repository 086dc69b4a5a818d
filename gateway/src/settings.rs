//! The gateway's configuration: the doc comments here are its reference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;

use crate::roles::ApiToken;

/// The gateway: metrics, health and REST.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// Address and port to listen on. Anything but a loopback address needs a read token.
    pub listen: SocketAddr,
    /// Bearer tokens that open `/api`; several, so that a new one can be given out before the old one goes. None: open,
    /// which is allowed on a loopback address only. `/metrics`, `/healthz` and `/readyz` need none.
    pub read_tokens: Vec<Secret>,
    /// Tokens with a name and a role, `[gateway.tokens.NAME]`: what is ordered with one is ordered by `human:NAME`. Whoever orders
    /// anything needs one, on loopback too.
    pub tokens: BTreeMap<String, ApiToken>,
    /// Sign-in with a named token, for browsers.
    pub sessions: SessionSettings,
}

/// How long who signed in stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// After this time without a request a session is over.
    pub idle: HumanDuration,
    /// After this time it is over in any case.
    pub absolute: HumanDuration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        SessionSettings {
            idle: HumanDuration::from_secs(12 * 3_600),
            absolute: HumanDuration::from_secs(7 * 86_400),
        }
    }
}

impl Default for GatewaySettings {
    fn default() -> Self {
        GatewaySettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            read_tokens: Vec::new(),
            tokens: BTreeMap::new(),
            sessions: SessionSettings::default(),
        }
    }
}

impl GatewaySettings {
    /// The same, as they are for a door at another address: whether a cookie needs HTTPS depends on it.
    pub fn seen_at(&self, listen: SocketAddr) -> Self {
        GatewaySettings { listen, ..self.clone() }
    }

    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let sendable = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.read_tokens.iter().all(|token| sendable(token.expose())) {
            faults.push(
                "read_tokens: a token is empty or holds blanks or control characters: nobody can send it".to_owned(),
            );
        }
        for (name, token) in &self.tokens {
            if !sendable(token.token.expose()) {
                faults.push(format!(
                    "tokens.{name}: the token is empty or holds blanks or control characters: nobody can send it"
                ));
            }
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c)) {
                faults.push(format!(
                    "tokens.{name:?}: a name is made of letters, digits, -, _, . and @"
                ));
            }
        }
        let year = std::time::Duration::from_secs(366 * 86_400);
        for (key, span) in [("idle", self.sessions.idle), ("absolute", self.sessions.absolute)] {
            if span.get() < std::time::Duration::from_secs(1) || span.get() > year {
                faults.push(format!("sessions.{key}: it is {span}: write from \"1s\" to \"366d\""));
            }
        }
        if self.read_tokens.is_empty() && self.tokens.is_empty() && !self.listen.ip().is_loopback() {
            faults.push(format!(
                "read_tokens is empty and {} is not a loopback address, so anybody could read: set a token, or listen on 127.0.0.1",
                self.listen
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |listen: [u8; 4], tokens: &[&str], expected: usize| {
            let read_tokens = tokens.iter().map(|token| Secret::from(*token)).collect();
            let settings = GatewaySettings {
                listen: (listen, 8000).into(),
                read_tokens,
                ..GatewaySettings::default()
            };
            assert_eq!(settings.faults().len(), expected, "{settings:?}");
            let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
            assert!(
                tokens.iter().all(|token| token.is_empty() || !shown.contains(token)),
                "{shown}"
            );
        };
        check([127, 0, 0, 1], &[], 0);
        check([0, 0, 0, 0], &[], 1);
        check([0, 0, 0, 0], &["t0ken"], 0);
        check([127, 0, 0, 1], &["t0ken", ""], 1);
        check([127, 0, 0, 1], &["t0 ken"], 1);
    }
}
