//! The gateway's configuration: the doc comments here are its reference.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway: metrics, health and the REST read side.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// Address and port to listen on. Anything but a loopback address needs a read token.
    pub listen: SocketAddr,
    /// Bearer tokens that open `/api`; several, so that a new one can be given out before the old one goes. None: open,
    /// which is allowed on a loopback address only. `/metrics`, `/healthz` and `/readyz` need none.
    pub read_tokens: Vec<String>,
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
        let sendable = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.read_tokens.iter().all(sendable) {
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

impl fmt::Debug for GatewaySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewaySettings")
            .field("listen", &self.listen)
            .field("read_tokens", &format_args!("[{} redacted]", self.read_tokens.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |listen: [u8; 4], tokens: &[&str], expected: usize| {
            let read_tokens = tokens.iter().map(|token| token.to_string()).collect();
            let settings = GatewaySettings {
                listen: (listen, 8000).into(),
                read_tokens,
            };
            assert_eq!(settings.faults().len(), expected, "{settings:?}");
            assert!(
                tokens
                    .iter()
                    .all(|token| token.is_empty() || !format!("{settings:?}").contains(token))
            );
        };
        check([127, 0, 0, 1], &[], 0);
        check([0, 0, 0, 0], &[], 1);
        check([0, 0, 0, 0], &["t0ken"], 0);
        check([127, 0, 0, 1], &["t0ken", ""], 1);
        check([127, 0, 0, 1], &["t0 ken"], 1);
    }
}
