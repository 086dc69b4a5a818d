//! The dispatcher's configuration: the doc comments here are its reference.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::logs::PROTOCOLS;
use super::redact::Redaction;
use super::senders::SENDERS;
use super::slack::SlackSettings;
use crate::logs::LogIntakeSettings;

/// Smallest share of `max_buffered_bytes` that a request takes. Lower: many tiny requests cost more memory than is
/// counted. Higher: fewer of them at a time.
pub(super) const SMALLEST_SHARE: usize = 4 << 10;

/// The webhook dispatcher.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// Address and port to listen on. Anything but a loopback address needs tokens on every endpoint.
    pub listen: SocketAddr,
    /// Largest request body taken, in bytes; of a compressed one, also when it is unpacked. Larger is answered with 413.
    pub max_body_bytes: usize,
    /// Bytes of request bodies that may be in memory at one time. When they are used up, requests are answered with
    /// 503 and `Retry-After`. At least `max_body_bytes`.
    pub max_buffered_bytes: usize,
    /// Connections held at one time. More wait in the operating system's queue.
    pub max_connections: usize,
    /// Seconds in which a request's body must arrive and be stored. After that: 503 with `Retry-After`.
    pub request_timeout_s: u64,
    /// Seconds in which a request's head must arrive; also how long an idle connection is kept.
    pub header_timeout_s: u64,
    /// Request headers that are never stored, besides `authorization`, `proxy-authorization`, `cookie` and
    /// `set-cookie`, which never are.
    pub redact_headers: Vec<String>,
    /// JSON fields whose values are replaced by `"[redacted]"` before a body is stored: a field name (`password`,
    /// at any depth, ignoring case) or a JSON pointer (`/alerts/*/annotations/token`; `*` stands for any one step). Of log
    /// lines, names hide labels and attributes; the text of a line stays.
    pub redact_fields: Vec<String>,
    /// `POST /webhooks/alertmanager`.
    pub alertmanager: EndpointSettings,
    /// `POST` or `PUT /webhooks/grafana`.
    pub grafana: EndpointSettings,
    /// `POST /webhooks/events` (CloudEvents 1.0).
    pub events: EndpointSettings,
    /// `POST /v1/logs` (OTLP over HTTP).
    pub otlp: EndpointSettings,
    /// `POST /loki/api/v1/push` (Loki).
    pub loki: EndpointSettings,
    pub logs: LogIntakeSettings,
    /// `POST /slack/interactivity`: the buttons of Slack messages.
    pub slack: SlackSettings,
}

/// One endpoint of the dispatcher.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// Bearer tokens that open this endpoint; several, so that a new one can be given out before the old one goes.
    /// None: the endpoint is open, which is allowed on a loopback address only.
    pub tokens: Vec<Secret>,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        WebhookSettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3001),
            max_body_bytes: 5 << 20,
            max_buffered_bytes: 64 << 20,
            max_connections: 1024,
            request_timeout_s: 10,
            header_timeout_s: 30,
            redact_headers: Vec::new(),
            redact_fields: Vec::new(),
            alertmanager: EndpointSettings::default(),
            grafana: EndpointSettings::default(),
            events: EndpointSettings::default(),
            otlp: EndpointSettings::default(),
            loki: EndpointSettings::default(),
            logs: LogIntakeSettings::default(),
            slack: SlackSettings::default(),
        }
    }
}

impl WebhookSettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut at_least_one = |name: &str, value: u64| {
            if value == 0 {
                faults.push(format!("{name} is 0: set at least 1"));
            }
        };
        at_least_one("max_body_bytes", self.max_body_bytes as u64);
        at_least_one("max_connections", self.max_connections as u64);
        at_least_one("request_timeout_s", self.request_timeout_s);
        at_least_one("header_timeout_s", self.header_timeout_s);
        let needed = self.max_body_bytes.max(SMALLEST_SHARE);
        if self.max_buffered_bytes < needed {
            faults.push(format!(
                "max_buffered_bytes is {}: set at least {needed}",
                self.max_buffered_bytes
            ));
        }
        if self.max_buffered_bytes > u32::MAX as usize {
            faults.push(format!(
                "max_buffered_bytes is {}: set at most {}",
                self.max_buffered_bytes,
                u32::MAX
            ));
        }
        if let Err(fault) = Redaction::new(&self.redact_headers, &self.redact_fields) {
            faults.push(fault);
        }
        faults.extend(self.slack.faults());
        faults.extend(self.logs.faults());
        let senders = SENDERS
            .iter()
            .map(|registered| (registered.sender.name(), registered.settings));
        let logs = PROTOCOLS
            .iter()
            .map(|(protocol, settings)| (protocol.name(), *settings));
        for (name, settings) in senders.chain(logs) {
            let tokens = &settings(self).tokens;
            if tokens.iter().any(|token| !sendable(token.expose())) {
                faults.push(format!(
                    "{name}.tokens: a token is empty or holds blanks or control characters: no sender can send it"
                ));
            }
            if tokens.is_empty() && !self.listen.ip().is_loopback() {
                faults.push(format!(
                    "{name}.tokens is empty and {} is not a loopback address, so anybody could send: set a token, or listen on 127.0.0.1",
                    self.listen
                ));
            }
        }
        faults
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

/// What can stand after `Bearer ` in a header.
fn sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut WebhookSettings), expected: &[&str]) {
        let mut settings = WebhookSettings::default();
        change(&mut settings);
        let faults = settings.faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(expected) {
            assert!(fault.starts_with(start), "{fault:?} does not start with {start:?}");
        }
    }

    #[test]
    fn faults() {
        let token = || EndpointSettings {
            tokens: vec!["t0".into()],
        };
        check(|_| (), &[]);
        check(|s| s.max_body_bytes = 0, &["max_body_bytes"]);
        check(
            |s| s.max_buffered_bytes = 1 << 20,
            &["max_buffered_bytes is 1048576: set at least 5242880"],
        );
        check(
            |s| s.alertmanager.tokens = vec!["a".into(), "".into()],
            &["alertmanager.tokens: a token is empty"],
        );
        check(
            |s| s.events.tokens = vec!["a\nb".into()],
            &["events.tokens: a token is empty or holds"],
        );
        check(|s| s.redact_fields = vec!["/a/~2".into()], &["redact_fields"]);
        check(
            |s| s.listen = ([0, 0, 0, 0], 3001).into(),
            &[
                "alertmanager.tokens",
                "grafana.tokens",
                "events.tokens",
                "otlp.tokens",
                "loki.tokens",
            ],
        );
        check(
            |s| {
                s.listen = ([0, 0, 0, 0], 3001).into();
                (s.alertmanager, s.events, s.otlp, s.loki) = (token(), token(), token(), token());
            },
            &["grafana.tokens is empty and 0.0.0.0:3001 is not a loopback address"],
        );
    }

    #[test]
    fn tokens_are_shown_nowhere() {
        let settings = EndpointSettings {
            tokens: vec!["hunter2".into()],
        };
        assert_eq!(format!("{settings:?}"), "EndpointSettings { tokens: [[secret]] }");
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(written, r#"{"tokens":["[secret]"]}"#);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let refused = serde_json::from_str::<WebhookSettings>(r#"{"grafana": {"token": "x"}}"#);
        assert!(refused.unwrap_err().to_string().contains("unknown field `token`"));
    }
}
