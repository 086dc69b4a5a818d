//! The dashboard's configuration: the doc comments here are its reference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The dashboard: a page for people. Who may see and do what says `[gateway]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardSettings {
    /// False: nothing listens.
    pub enabled: bool,
    /// Address and port to listen on. Anything but a loopback address needs a token in `[gateway]`, and HTTPS in front of it: cookies of
    /// sessions are sent over nothing else then.
    pub listen: SocketAddr,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        DashboardSettings {
            enabled: true,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000),
        }
    }
}

impl DashboardSettings {
    /// Every fault of these settings, each with its remedy. `tokens`: the gateway asks for some.
    pub fn faults(&self, tokens: bool) -> Vec<String> {
        match self.enabled && !tokens && !self.listen.ip().is_loopback() {
            true => vec![format!(
                "{} is not a loopback address and no token is set, so anybody could read: set gateway.read_tokens or gateway.tokens, or listen on 127.0.0.1",
                self.listen
            )],
            false => Vec::new(),
        }
    }
}
