//! The configuration of the MCP server; the doc comments here are its reference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};

/// The MCP server: models look at incidents, and propose what a person must approve. Tokens are those of `[gateway]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpSettings {
    /// Whether there is such a server, here and for `aegis mcp --stdio`.
    pub enabled: bool,
    /// Address and port to listen on; the endpoint is `/mcp`. Anything but a loopback address needs a token in `[gateway]`, and its own names in `allowed_hosts`.
    pub listen: SocketAddr,
    /// Names under which it is reached, with or without a port. A request with another `Host` is refused, because a web page may have made a browser believe that its own name is this machine.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may ask, as `https://app.example.com:443` or `http://localhost:*`. A request without `Origin` comes from no page.
    pub allowed_origins: Vec<String>,
    /// Largest body of a request, and largest line over stdio.
    pub max_body: HumanSize,
    /// Largest answer of a tool or resource. More is an error that says so, never a part.
    pub max_answer: HumanSize,
    /// Sessions at a time, and clients over stdio. One more is refused, and told so.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_sessions: u32,
    /// A session that is not used for so long ends.
    pub session_idle: HumanDuration,
    /// Requests per minute and token; a quarter of a minute's worth may come at once.
    #[schemars(range(min = 4, max = 1_000_000))]
    pub requests_per_minute: u32,
    /// Calls under way at a time, of all clients together.
    #[schemars(range(min = 1, max = 1_024))]
    pub max_calls: u32,
    /// Longest time of a call. After that it is given up, and told so.
    pub call_timeout: HumanDuration,
    /// Most rows of an answer to a SQL query; more is an error, never a part.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_rows: u64,
    /// A folder of runbooks in Markdown (`*.md`), to be read as resources.
    pub runbooks: Option<PathBuf>,
    /// Largest runbook; a larger one is not listed.
    pub max_runbook: HumanSize,
    /// Size at which the log of calls (`mcp-calls.jsonl` in the data folder) begins anew; the one before it is kept.
    pub audit_size: HumanSize,
}

impl Default for McpSettings {
    fn default() -> Self {
        let words = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
        McpSettings {
            enabled: true,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001),
            allowed_hosts: words(&["localhost", "127.0.0.1", "::1"]),
            allowed_origins: words(&["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]),
            max_body: HumanSize(1 << 20),
            max_answer: HumanSize(256 << 10),
            max_sessions: 64,
            session_idle: HumanDuration::from_secs(600),
            requests_per_minute: 600,
            max_calls: 16,
            call_timeout: HumanDuration::from_secs(30),
            max_rows: 500,
            runbooks: None,
            max_runbook: HumanSize(128 << 10),
            audit_size: HumanSize(16 << 20),
        }
    }
}

impl McpSettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used. `tokens`: whether anybody needs a token.
    pub fn faults(&self, tokens: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.enabled {
            return faults;
        }
        if !self.listen.ip().is_loopback() {
            if !tokens {
                faults.push(format!(
                    "listen: {} is not a loopback address, and there is no token in [gateway], so anybody could read: set gateway.read_tokens or gateway.tokens, or listen on 127.0.0.1",
                    self.listen
                ));
            }
            if self.allowed_hosts == McpSettings::default().allowed_hosts {
                faults.push(format!(
                    "allowed_hosts: it names only this machine, so nobody could reach {}: add the names under which it is reached",
                    self.listen
                ));
            }
        }
        if self.allowed_hosts.iter().all(|host| host.trim().is_empty()) {
            faults.push("allowed_hosts: it is empty: name at least \"127.0.0.1\"".to_owned());
        }
        for origin in &self.allowed_origins {
            let rest = ["http://", "https://"]
                .iter()
                .find_map(|scheme| origin.strip_prefix(scheme));
            let port = |host: &str| {
                host.rsplit_once(':')
                    .map(|(_, port)| port == "*" || port.parse::<u16>().is_ok())
            };
            if rest.is_none_or(|host| host.contains('/') || port(host) != Some(true)) {
                faults.push(format!(
                    "allowed_origins: {origin:?} is no origin: write for example \"https://app.example.com:443\" or \"http://localhost:*\""
                ));
            }
        }
        for (field, size, least) in [
            ("max_body", self.max_body, 4 << 10),
            ("max_answer", self.max_answer, 4 << 10),
            ("max_runbook", self.max_runbook, 1 << 10),
            ("audit_size", self.audit_size, 64 << 10),
        ] {
            if size.0 < least {
                faults.push(format!(
                    "{field}: {size} is too small: write at least \"{}\"",
                    HumanSize(least)
                ));
            }
        }
        for (field, time) in [("call_timeout", self.call_timeout), ("session_idle", self.session_idle)] {
            if time.get().is_zero() {
                faults.push(format!("{field}: it must be more than 0s"));
            }
        }
        if let Some(folder) = self.runbooks.as_ref().filter(|folder| !folder.is_dir()) {
            faults.push(format!("runbooks: {} is no folder that can be read", folder.display()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |tokens: bool, change: &dyn Fn(&mut McpSettings), expected: &[&str]| {
            let mut settings = McpSettings::default();
            change(&mut settings);
            let faults = settings.faults(tokens);
            let fields: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
            assert_eq!(fields, expected, "{faults:?}");
        };
        check(false, &|_| {}, &[]);
        let everywhere = |settings: &mut McpSettings| settings.listen = ([0, 0, 0, 0], 8001).into();
        check(false, &everywhere, &["listen", "allowed_hosts"]);
        let named = |settings: &mut McpSettings| {
            everywhere(settings);
            settings.allowed_hosts = vec!["aegis.example.com".to_owned()];
        };
        check(true, &named, &[]);
        check(false, &|settings| settings.allowed_hosts.clear(), &["allowed_hosts"]);
        let origin =
            |origin: &'static str| move |settings: &mut McpSettings| settings.allowed_origins = vec![origin.to_owned()];
        check(false, &origin("https://app.example.com:443"), &[]);
        check(false, &origin("http://[::1]:*"), &[]);
        check(false, &origin("https://app.example.com"), &["allowed_origins"]);
        check(false, &origin("app.example.com:443"), &["allowed_origins"]);
        check(false, &|settings| settings.max_body = HumanSize(1), &["max_body"]);
        check(
            false,
            &|settings| settings.runbooks = Some("/nowhere/at/all".into()),
            &["runbooks"],
        );
        check(
            false,
            &|settings| {
                everywhere(settings);
                settings.enabled = false;
            },
            &[],
        );
    }
}
