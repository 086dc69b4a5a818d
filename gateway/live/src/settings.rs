//! The configuration of Socket.IO: the doc comments here are its reference.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};

/// Socket.IO, at the dispatcher's port and at the dashboard's.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LiveSettings {
    /// False: nobody is told of anything live, and the dashboard asks again and again instead.
    pub enabled: bool,
    /// Clients at one time, each namespace counted. More are refused with "busy".
    pub max_clients: u32,
    /// Memory for what was told last, for clients that were away for a moment. Less: more of them read the log, or begin anew.
    pub history: HumanSize,
    /// A client that was away for more records than this begins anew, with a snapshot.
    pub max_catch_up: u64,
    /// Between two pings. A client that answers none for 20 s more is gone.
    pub ping_interval: HumanDuration,
    /// Web pages of other origins that may connect, such as `https://status.example.com`. The dashboard's own need not be named.
    pub allowed_origins: Vec<String>,
}

impl Default for LiveSettings {
    fn default() -> Self {
        LiveSettings {
            enabled: true,
            max_clients: 1_000,
            history: HumanSize(16 << 20),
            max_catch_up: 20_000,
            ping_interval: HumanDuration::from_secs(25),
            allowed_origins: Vec::new(),
        }
    }
}

impl LiveSettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.max_clients == 0 {
            faults.push("max_clients is 0: to have none, set enabled = false".to_owned());
        }
        let ping = self.ping_interval.get().as_secs();
        if !(1..=300).contains(&ping) {
            faults.push(format!(
                "ping_interval is {}: write from \"1s\" to \"5m\"",
                self.ping_interval
            ));
        }
        for origin in &self.allowed_origins {
            let named = origin.split_once("://").map(|(_, host)| host);
            if !named.is_some_and(|host| !host.is_empty() && !host.contains('/')) {
                faults.push(format!(
                    "allowed_origins: {origin:?} is no origin: write https://HOST or https://HOST:PORT, without a path"
                ));
            }
        }
        faults
    }
}
