//! The dispatcher's configuration: the doc comments here are its reference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::auth::Keys;
use super::integrations::PagerdutySettings;
use super::json::AnyJson;
use super::logs::PROTOCOLS;
use super::redact::Redaction;
use super::senders::SENDERS;
use super::signature::Signing;
use super::slack::SlackSettings;
use crate::logs::LogIntakeSettings;

/// Smallest share of `max_buffered_bytes` that a request takes. Lower: many tiny requests cost more memory than is
/// counted. Higher: fewer of them at a time.
pub(super) const SMALLEST_SHARE: usize = 4 << 10;

/// The webhook dispatcher.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookSettings {
    /// Address and port to listen on. Anything but a loopback address needs credentials on every endpoint.
    pub listen: SocketAddr,
    /// Address and port for OTLP logs over gRPC, by convention `127.0.0.1:4317`. Without it there is no such door: the port often belongs to a
    /// collector. Who may come in says `[dispatcher.otlp]`; the limits are those of every door. Anything but a loopback address needs credentials
    /// there.
    pub otlp_grpc_listen: Option<SocketAddr>,
    /// Largest request body taken, in bytes; of a compressed one, also when it is unpacked. Larger is answered with 413.
    pub max_body_bytes: usize,
    /// Bytes of request bodies that may be in memory at one time. When they are used up, requests are answered with
    /// 503 and `Retry-After`. At least `max_body_bytes`.
    pub max_buffered_bytes: usize,
    /// Connections held at one time, by each of the two ports. More wait in the operating system's queue.
    pub max_connections: usize,
    /// Connections that one address may hold; further ones are closed at once. At most `max_connections`. Behind a reverse proxy all
    /// senders have its address.
    pub max_connections_per_address: usize,
    /// Header lines that a request may have. More: 431.
    pub max_headers: usize,
    /// Levels that a JSON body may be nested. Deeper: 400.
    pub max_depth: usize,
    /// Requests a second that one address may send to one endpoint, on average; 0 is no limit. Faster: 429 with `Retry-After` to senders that
    /// come again on it (PagerDuty events, JSON by rules, CloudEvents, OTLP, Loki), 503 with `Retry-After` to the others.
    pub rate_per_s: u32,
    /// Requests that may come at once before `rate_per_s` counts.
    pub rate_burst: u32,
    /// Seconds in which a request's body must arrive and be stored. After that: 503 with `Retry-After`.
    pub request_timeout_s: u64,
    /// Seconds in which a request's head must arrive; also how long a connection without a request is kept.
    pub header_timeout_s: u64,
    /// Request headers that are never stored, besides `authorization`, `proxy-authorization`, `cookie` and
    /// `set-cookie`, which never are.
    pub redact_headers: Vec<String>,
    /// JSON fields whose values are replaced by `"[redacted]"` before a body is stored: a field name (`password`,
    /// at any depth, ignoring case) or a JSON pointer (`/alerts/*/annotations/token`; `*` stands for any one step). Of log
    /// lines, names hide labels and attributes; the text of a line stays.
    pub redact_fields: Vec<String>,
    /// `POST /webhooks/alertmanager`, and `POST /api/v2/alerts` for Prometheus itself.
    pub alertmanager: EndpointSettings,
    /// `POST` or `PUT /webhooks/grafana`.
    pub grafana: GrafanaSettings,
    /// `POST /webhooks/github`.
    pub github: GithubSettings,
    /// `POST /webhooks/kubernetes`: Events and workloads from who forwards them. The watch is `[sources.kubernetes]`.
    pub kubernetes: EndpointSettings,
    /// `POST /webhooks/events` (CloudEvents 1.0).
    pub events: EndpointSettings,
    /// `POST /v2/enqueue` and `/v2/change/enqueue` (PagerDuty's Events API v2).
    pub pagerduty: PagerdutySettings,
    /// `POST` or `PUT /webhooks/json/NAME`, by name: JSON that the rules of `[normalize.json.NAME]` read.
    pub json: BTreeMap<String, EndpointSettings>,
    /// `POST /v1/logs` (OTLP over HTTP), and OTLP over gRPC.
    pub otlp: EndpointSettings,
    /// `POST /loki/api/v1/push` (Loki).
    pub loki: EndpointSettings,
    pub logs: LogIntakeSettings,
    /// `POST /slack/interactivity` and `/slack/commands`: the buttons of Slack messages, and the command `/aegis`.
    pub slack: SlackSettings,
}

/// One endpoint of the dispatcher.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSettings {
    /// Bearer tokens that open this endpoint; several, so that a new one can be given out before the old one goes.
    /// Neither a token nor a password: the endpoint is open, which is allowed on a loopback address only.
    pub tokens: Vec<Secret>,
    /// Names with passwords, `USER:PASSWORD` each, for Basic authentication.
    pub basic: Vec<Secret>,
}

impl EndpointSettings {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            tokens: &self.tokens,
            basic: &self.basic,
            signing: None,
        }
    }
}

/// The endpoint of Grafana. What is set of tokens and passwords on one side, secrets on the other, is required of every request.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrafanaSettings {
    /// Bearer tokens that open this endpoint.
    pub tokens: Vec<Secret>,
    /// Names with passwords, `USER:PASSWORD` each, for Basic authentication.
    pub basic: Vec<Secret>,
    /// Secrets of the contact point's HMAC signature; several, so that a new one can be set before the old one goes.
    pub secrets: Vec<Secret>,
    /// The header with the signature, as set in the contact point.
    pub signature_header: String,
    /// The header with the signed time, as set in the contact point; empty where none is. With it, a request that is older than
    /// five minutes is refused.
    pub timestamp_header: String,
}

impl Default for GrafanaSettings {
    fn default() -> Self {
        GrafanaSettings {
            tokens: Vec::new(),
            basic: Vec::new(),
            secrets: Vec::new(),
            signature_header: "X-Grafana-Alerting-Signature".to_owned(),
            timestamp_header: String::new(),
        }
    }
}

impl GrafanaSettings {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            tokens: &self.tokens,
            basic: &self.basic,
            signing: Some(Signing {
                secrets: &self.secrets,
                header: &self.signature_header,
                prefix: "",
                timestamp: Some(self.timestamp_header.as_str()).filter(|name| !name.is_empty()),
            }),
        }
    }
}

/// The endpoint of GitHub.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubSettings {
    /// The webhooks' secrets; several, so that a new one can be set before the old one goes. None: the endpoint is open, which is
    /// allowed on a loopback address only.
    pub secrets: Vec<Secret>,
}

impl GithubSettings {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            tokens: &[],
            basic: &[],
            signing: Some(Signing {
                secrets: &self.secrets,
                header: "X-Hub-Signature-256",
                prefix: "sha256=",
                timestamp: None,
            }),
        }
    }
}

impl Default for WebhookSettings {
    fn default() -> Self {
        WebhookSettings {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3001),
            otlp_grpc_listen: None,
            max_body_bytes: 5 << 20,
            max_buffered_bytes: 64 << 20,
            max_connections: 1024,
            max_connections_per_address: 512,
            max_headers: 100,
            max_depth: 100,
            rate_per_s: 50_000,
            rate_burst: 100_000,
            request_timeout_s: 10,
            header_timeout_s: 30,
            redact_headers: Vec::new(),
            redact_fields: Vec::new(),
            alertmanager: EndpointSettings::default(),
            grafana: GrafanaSettings::default(),
            github: GithubSettings::default(),
            kubernetes: EndpointSettings::default(),
            events: EndpointSettings::default(),
            pagerduty: PagerdutySettings::default(),
            json: BTreeMap::new(),
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
        at_least_one("max_connections_per_address", self.max_connections_per_address as u64);
        at_least_one("max_headers", self.max_headers as u64);
        at_least_one("max_depth", self.max_depth as u64);
        at_least_one("rate_burst", self.rate_burst.into());
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
        faults.extend(self.pagerduty.faults());
        // Two doors of one sender have one table of settings.
        let senders = SENDERS
            .iter()
            .filter(|registered| registered.sender.settings() == registered.sender.name());
        let senders = senders.map(|registered| {
            let integrations = registered.sender.integrations(self);
            let open = integrations.is_none_or(BTreeMap::is_empty);
            (registered.sender.name().to_owned(), (registered.keys)(self), open)
        });
        let json = self
            .json
            .iter()
            .map(|(name, settings)| (format!("json.{name}"), settings.keys(), true));
        let logs = PROTOCOLS
            .iter()
            .map(|protocol| (protocol.name().to_owned(), protocol.settings(self).keys(), true));
        for (name, keys, open) in senders.chain(logs).chain(json) {
            faults.extend(faults_of(&name, &keys));
            if open && keys.is_empty() && !self.listen.ip().is_loopback() {
                let (list, what) = match name.as_str() {
                    "github" => ("secrets", "secret"),
                    "pagerduty" => ("integrations", "routing key"),
                    _ => ("tokens", "token"),
                };
                faults.push(format!(
                    "{name}.{list} is empty and {} is not a loopback address, so anybody could send: set a {what}, or listen on 127.0.0.1",
                    self.listen
                ));
            }
        }
        if let Some(address) = self.otlp_grpc_listen
            && !address.ip().is_loopback()
            && self.otlp.keys().is_empty()
            && self.listen.ip().is_loopback()
        {
            faults.push(format!(
                "otlp.tokens is empty and otlp_grpc_listen {address} is not a loopback address, so anybody could send: set a token, or listen on 127.0.0.1"
            ));
        }
        for name in self.json.keys() {
            if !AnyJson::names(name) {
                faults.push(format!(
                    "json.{name}: a name is 1 to 64 letters, digits, `-` or `_`: it stands in the address"
                ));
            }
        }
        faults
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

/// What cannot be used of an endpoint's credentials.
fn faults_of(name: &str, keys: &Keys<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    if keys.tokens.iter().any(|token| !sendable(token.expose())) {
        faults.push(format!(
            "{name}.tokens: a token is empty or holds blanks or control characters: no sender can send it"
        ));
    }
    let login = |secret: &Secret| matches!(secret.expose().split_once(':'), Some((user, _)) if !user.is_empty());
    if !keys.basic.iter().all(login) {
        faults.push(format!("{name}.basic: an entry is not of the form USER:PASSWORD"));
    }
    let Some(signing) = keys.signing else { return faults };
    if signing.secrets.iter().any(|secret| secret.expose().is_empty()) {
        faults.push(format!("{name}.secrets: a secret is empty, so anybody could sign"));
    }
    for (setting, header) in [
        ("signature_header", Some(signing.header)),
        ("timestamp_header", signing.timestamp),
    ] {
        if header.is_some_and(|header| HeaderName::from_bytes(header.as_bytes()).is_err()) {
            faults.push(format!("{name}.{setting}: no name of an HTTP header"));
        }
    }
    faults
}

/// What can stand after `Bearer ` in a header.
fn sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::super::integrations::Integration;
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
            ..EndpointSettings::default()
        };
        let key = || Integration {
            routing_keys: vec!["k".into()],
        };
        check(|_| (), &[]);
        check(|s| s.max_depth = 0, &["max_depth is 0"]);
        check(
            |s| drop(s.json.insert("a/b".to_owned(), EndpointSettings::default())),
            &["json.a/b: a name is"],
        );
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
        check(
            |s| s.alertmanager.basic = vec!["u:p".into(), "u".into()],
            &["alertmanager.basic: an entry"],
        );
        check(
            |s| s.github.secrets = vec!["".into()],
            &["github.secrets: a secret is empty"],
        );
        check(
            |s| s.grafana.timestamp_header = "X Time".into(),
            &["grafana.timestamp_header"],
        );
        check(|s| s.redact_fields = vec!["/a/~2".into()], &["redact_fields"]);
        check(
            |s| s.listen = ([0, 0, 0, 0], 3001).into(),
            &[
                "alertmanager.tokens",
                "grafana.tokens",
                "github.secrets",
                "kubernetes.tokens",
                "events.tokens",
                "pagerduty.integrations",
                "otlp.tokens",
                "loki.tokens",
            ],
        );
        let everywhere = Some(([0, 0, 0, 0], 4317).into());
        check(
            |s| s.otlp_grpc_listen = everywhere,
            &["otlp.tokens is empty and otlp_grpc_listen 0.0.0.0:4317"],
        );
        check(|s| (s.otlp_grpc_listen, s.otlp) = (everywhere, token()), &[]);
        check(
            |s| {
                s.listen = ([0, 0, 0, 0], 3001).into();
                (s.alertmanager, s.events, s.otlp, s.loki) = (token(), token(), token(), token());
                s.kubernetes = token();
                s.github.secrets = vec!["s".into()];
                s.pagerduty.integrations.insert("cart".to_owned(), key());
            },
            &["grafana.tokens is empty and 0.0.0.0:3001 is not a loopback address"],
        );
    }

    #[test]
    fn tokens_are_shown_nowhere() {
        let settings = EndpointSettings {
            tokens: vec!["hunter2".into()],
            basic: vec!["u:hunter3".into()],
        };
        let shown = "EndpointSettings { tokens: [[secret]], basic: [[secret]] }";
        assert_eq!(format!("{settings:?}"), shown);
        let written = serde_json::to_string(&settings).unwrap();
        assert_eq!(written, r#"{"tokens":["[secret]"],"basic":["[secret]"]}"#);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let refused = serde_json::from_str::<WebhookSettings>(r#"{"grafana": {"token": "x"}}"#);
        assert!(refused.unwrap_err().to_string().contains("unknown field `token`"));
    }
}
