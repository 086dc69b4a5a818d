//! The gateway's configuration: the doc comments here are its reference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

/// The gateway: metrics, health and the REST read side.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// Address and port to listen on. Anything but a loopback address needs a read token.
    pub listen: SocketAddr,
    /// Bearer tokens that open `/api`; several, so that a new one can be given out before the old one goes. None: open,
    /// which is allowed on a loopback address only. `/metrics`, `/healthz` and `/readyz` need none.
    pub read_tokens: Vec<Secret>,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        GatewaySettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000),
            read_tokens: Vec::new(),
        }
    }
}

impl GatewaySettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let sendable = |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.read_tokens.iter().all(|token| sendable(token.expose())) {
            faults.push(
                "read_tokens: a token is empty or holds blanks or control characters: nobody can send it".to_owned(),
            );
        }
        if self.read_tokens.is_empty() && !self.listen.ip().is_loopback() {
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
