//! `[notify]`: receivers and routes as data.

use std::collections::{BTreeMap, BTreeSet};

use model::incident::CANARY;
use model::{Notification, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;

/// Who is told of incidents, and of which. Without receivers nobody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NotifySettings {
    /// Receivers by name. Names are of lower-case letters, digits and `-`.
    pub receivers: BTreeMap<String, ReceiverSettings>,
    /// Routes in order; the first one that matches counts, and those behind it if it says `continue`. What no route matches is told to
    /// nobody.
    pub routes: Vec<RouteSettings>,
    /// A fact that happened longer ago than this is history (a replayed file, a first start on an old log): nobody is told.
    pub fresh_within: HumanDuration,
}

/// One receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverSettings {
    /// What it is.
    pub kind: ReceiverKind,
    /// Slack: id of the channel.
    pub channel: String,
    /// Slack: the bot token, with scope `chat:write`.
    pub token: Secret,
    /// PagerDuty: the integration key of Events API v2.
    pub routing_key: Secret,
    /// Webhook: where to post to. Slack and PagerDuty: base of their API, if it is not the usual one.
    pub url: String,
    /// Webhook: key of the signature in header `X-Aegis-Signature`. Empty: not signed.
    pub secret: Secret,
    /// Messages per minute; what is over is told in one summary when the minute is over.
    #[schemars(range(min = 1, max = 10_000))]
    pub per_minute: u32,
    /// How often a message is tried before it goes to the dead letters.
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// How long one try may take.
    pub timeout: HumanDuration,
}

/// The kinds of receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverKind {
    /// A Slack channel: one message per incident, updated in place.
    Slack,
    /// PagerDuty's Events API v2.
    PagerDuty,
    /// Any HTTP endpoint: the notification as JSON.
    #[default]
    Webhook,
}

/// Which notifications go where. An empty condition holds always.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// `info`, `warning`, `critical`.
    pub severities: Vec<String>,
    /// Services of the incident.
    pub services: Vec<String>,
    /// Environments of the incident.
    pub environments: Vec<String>,
    /// `opened`, `escalated`, `resolved`, `remediation_waiting`… (`docs/guides/notifications.md`).
    pub events: Vec<String>,
    /// Names of receivers.
    pub receivers: Vec<String>,
    /// Whether the routes behind this one are looked at too.
    pub r#continue: bool,
}

impl Default for NotifySettings {
    fn default() -> Self {
        NotifySettings {
            receivers: BTreeMap::new(),
            routes: Vec::new(),
            fresh_within: HumanDuration::from_secs(24 * 3_600),
        }
    }
}

impl Default for ReceiverSettings {
    fn default() -> Self {
        ReceiverSettings {
            kind: ReceiverKind::default(),
            channel: String::new(),
            token: Secret::default(),
            routing_key: Secret::default(),
            url: String::new(),
            secret: Secret::default(),
            per_minute: 20,
            attempts: 4,
            timeout: HumanDuration::from_secs(10),
        }
    }
}

impl NotifySettings {
    /// Every fault, as key below `notify` and problem.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let routed: BTreeSet<&str> = self
            .routes
            .iter()
            .flat_map(|r| &r.receivers)
            .map(String::as_str)
            .collect();
        for (name, receiver) in &self.receivers {
            let mut fault = |field: &str, problem: &str| {
                let dot = if field.is_empty() { "" } else { "." };
                faults.push((format!("receivers.{name}{dot}{field}"), problem.to_owned()));
            };
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                fault("", "the name may have lower-case letters, digits and `-` only");
            }
            if !routed.contains(name.as_str()) {
                fault(
                    "",
                    "no route names this receiver: write [[notify.routes]] with receivers = [NAME]",
                );
            }
            match receiver.kind {
                ReceiverKind::Slack => {
                    if receiver.channel.is_empty() {
                        fault("channel", "missing: write the id of a Slack channel");
                    }
                    if receiver.token.is_empty() {
                        fault(
                            "token",
                            "missing: write a reference to a bot token with scope chat:write",
                        );
                    }
                }
                ReceiverKind::PagerDuty if receiver.routing_key.is_empty() => {
                    fault("routing_key", "missing: write a reference to the integration key");
                }
                ReceiverKind::Webhook if receiver.url.is_empty() => fault("url", "missing: write where to post to"),
                ReceiverKind::PagerDuty | ReceiverKind::Webhook => {}
            }
            if !receiver.url.is_empty() && !receiver.url.starts_with("https://") && !receiver.url.starts_with("http://")
            {
                fault("url", "it must start with https:// or http://");
            }
        }
        for (at, route) in self.routes.iter().enumerate() {
            for name in route
                .receivers
                .iter()
                .filter(|name| !self.receivers.contains_key(*name))
            {
                faults.push((
                    "routes".to_owned(),
                    format!("route {}: there is no receiver {name:?}", at + 1),
                ));
            }
            if route.receivers.is_empty() {
                faults.push(("routes".to_owned(), format!("route {} names no receivers", at + 1)));
            }
            let known = [Severity::Info, Severity::Warning, Severity::Critical].map(Severity::as_str);
            for word in route.severities.iter().filter(|word| !known.contains(&word.as_str())) {
                let problem = format!(
                    "route {}: {word:?} is no severity; they are {}",
                    at + 1,
                    known.join(", ")
                );
                faults.push(("routes".to_owned(), problem));
            }
        }
        faults
    }

    /// Whether `receiver` is told. The canary of the dead-man's switch is told to nobody.
    pub fn tells(&self, receiver: &str, notification: &Notification) -> bool {
        if notification.environment == CANARY {
            return false;
        }
        for route in self.routes.iter().filter(|route| route.matches(notification)) {
            if route.receivers.iter().any(|name| name == receiver) {
                return true;
            }
            if !route.r#continue {
                return false;
            }
        }
        false
    }
}

impl RouteSettings {
    fn matches(&self, n: &Notification) -> bool {
        let holds = |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|one| one == found);
        holds(&self.severities, n.severity.as_str())
            && holds(&self.services, n.service.as_deref().unwrap_or_default())
            && holds(&self.environments, &n.environment)
            && holds(&self.events, &n.event)
    }
}
