//! The configuration of the server; the doc comments here are its reference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::{HumanDuration, HumanSize};
use stream::secret::Secret;

/// SQL over PostgreSQL's wire protocol, read-only: `psql -h 127.0.0.1 -p 5433 -U aegis aegis`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqlServerSettings {
    /// Whether there is such a server.
    pub enabled: bool,
    /// Address and port to listen on. Anything but a loopback address needs a certificate, or `plaintext`.
    pub listen: SocketAddr,
    /// The user that clients log in as (SCRAM-SHA-256).
    pub user: String,
    /// The user's password. Without it one is made up at the first start, and lies in `sql-password` in the data folder.
    pub password: Option<Secret>,
    /// Certificate chain in PEM; with it, clients beyond loopback must use TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Allows other than loopback addresses without TLS, where the network itself is private.
    pub plaintext: bool,
    /// Clients at a time. One more is refused, and told so.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_connections: u32,
    /// Longest time of a statement, from its text to its last row. A client may set a shorter one (`SET statement_timeout`).
    pub statement_timeout: HumanDuration,
    /// Most rows of an answer; more is an error, never a part.
    #[schemars(range(min = 1))]
    pub max_rows: u64,
    /// Memory for sorts, joins and aggregates of all statements together; what does not fit goes to temporary files or is refused.
    pub memory: HumanSize,
    /// Memory for the newest signals, which are answered from here before any table has them.
    pub recent: HumanSize,
    /// Threads for all statements together.
    #[schemars(range(min = 1, max = 256))]
    pub threads: u32,
}

impl Default for SqlServerSettings {
    fn default() -> Self {
        SqlServerSettings {
            enabled: true,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5433),
            user: "aegis".to_owned(),
            password: None,
            tls_certificate: None,
            tls_key: None,
            plaintext: false,
            max_connections: 100,
            statement_timeout: HumanDuration::from_secs(30),
            max_rows: 1_000_000,
            memory: HumanSize(256 << 20),
            recent: HumanSize(64 << 20),
            threads: 2,
        }
    }
}

impl SqlServerSettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.enabled {
            return faults;
        }
        if self.user.is_empty() || self.user.contains('\0') {
            faults.push("user: it must not be empty".to_owned());
        }
        if self
            .password
            .as_ref()
            .is_some_and(|password| password.expose().is_empty())
        {
            faults.push("password: it is empty; leave it out to have one made up".to_owned());
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            faults.push("tls_certificate and tls_key belong together: set both, or none".to_owned());
        }
        if !self.listen.ip().is_loopback() && self.tls_certificate.is_none() && !self.plaintext {
            faults.push(format!(
                "{} is not a loopback address, and answers would cross the network in clear: set tls_certificate and tls_key, or plaintext = true where the network is private, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.statement_timeout.0.is_zero() {
            faults.push("statement_timeout: a statement without time is never answered".to_owned());
        }
        for (name, value) in [
            ("max_connections", u64::from(self.max_connections)),
            ("max_rows", self.max_rows),
            ("threads", self.threads.into()),
        ] {
            if value == 0 {
                faults.push(format!("{name}: it must be at least 1"));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |change: fn(&mut SqlServerSettings), expected: usize| {
            let mut settings = SqlServerSettings::default();
            change(&mut settings);
            assert_eq!(settings.faults().len(), expected, "{:?}", settings.faults());
        };
        check(|_| (), 0);
        check(|s| s.listen = ([0, 0, 0, 0], 5433).into(), 1);
        check(|s| (s.listen, s.plaintext) = (([0, 0, 0, 0], 5433).into(), true), 0);
        check(|s| (s.listen, s.enabled) = (([0, 0, 0, 0], 5433).into(), false), 0);
        check(|s| s.tls_key = Some("key.pem".into()), 1);
        check(|s| (s.password, s.user) = (Some("".into()), String::new()), 2);
        check(|s| (s.max_rows, s.threads) = (0, 0), 2);
    }
}
