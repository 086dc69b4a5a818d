//! The receivers: what each is sent for a notification, and what its answer means. Of Slack the summaries alone: its messages are in `slack`.

use std::time::Duration;

use model::{Notification, Severity};
use ring::hmac;
use serde_json::{Value, json};

use super::card::escaped;
use super::client::{Failed, Http, retrying};
use super::settings::{ReceiverKind, ReceiverSettings};
use crate::sql::Held;

/// Lines of a summary. More: Slack cuts the message.
const LINES: usize = 15;

/// One receiver and how it is reached.
#[derive(Clone, Debug)]
pub struct Outward {
    pub name: String,
    pub settings: ReceiverSettings,
    pub http: Http,
}

impl Outward {
    /// What a receiver other than Slack is to hear of `n`, at most `attempts` tries per call.
    pub async fn tell(&self, n: &Notification, attempts: u32) -> Result<(), Failed> {
        match self.settings.kind {
            ReceiverKind::PagerDuty => match pager_event(n, self.settings.routing_key.expose()) {
                Some(event) => self.page(&event, attempts).await,
                None => Ok(()),
            },
            ReceiverKind::Webhook => {
                let body = json!({"type": "notification", "notification": n});
                self.hook(&body, attempts).await
            }
            ReceiverKind::Slack => Ok(()),
        }
    }

    /// One message for many; the first of them names it.
    pub async fn summary(&self, held: &[Held]) -> Result<(), Failed> {
        let lines: Vec<&str> = held.iter().take(LINES).map(|one| one.line.as_str()).collect();
        let count = held.len();
        let worst = ["critical", "warning", "info"]
            .into_iter()
            .find(|word| held.iter().any(|h| h.severity == *word));
        let worst = worst.unwrap_or("info");
        let first = held.first().map(|one| one.notification).unwrap_or_default();
        let attempts = self.settings.attempts;
        match self.settings.kind {
            ReceiverKind::Slack => {
                let mut text = format!("*{count} more messages within a minute*, the worst {worst}:");
                for line in &lines {
                    text.push_str(&format!("\n• {}", escaped(line, 150)));
                }
                if count > LINES {
                    text.push_str(&format!("\n… and {} more", count - LINES));
                }
                let body = json!({"channel": self.settings.channel, "text": text, "unfurl_links": false,
                                  "metadata": self.summary_metadata(first, count)});
                // Once: whoever tries again looks first.
                self.slack_call("chat.postMessage", &body, 1).await.map(drop)
            }
            ReceiverKind::PagerDuty => {
                let event = json!({
                    "routing_key": self.settings.routing_key.expose(),
                    "event_action": "trigger",
                    "dedup_key": format!("aegis-storm-{}-{first}", self.name),
                    "payload": {"summary": format!("{count} more incidents within a minute"), "source": "aegis",
                                "severity": worst, "custom_details": {"lines": lines}},
                });
                self.page(&event, attempts).await
            }
            ReceiverKind::Webhook => {
                let ids: Vec<_> = held.iter().map(|one| one.notification).collect();
                let body =
                    json!({"type": "summary", "count": count, "worst": worst, "lines": lines, "notifications": ids});
                self.hook(&body, attempts).await
            }
        }
    }

    async fn page(&self, event: &Value, attempts: u32) -> Result<(), Failed> {
        let url = format!("{}/v2/enqueue", self.base("https://events.pagerduty.com"));
        retrying(attempts, async || {
            self.http
                .post(&url, &[], event.to_string().into_bytes(), self.timeout())
                .await
        })
        .await
        .map(drop)
    }

    async fn hook(&self, body: &Value, attempts: u32) -> Result<(), Failed> {
        let body = body.to_string().into_bytes();
        let mut headers = Vec::new();
        if !self.settings.secret.is_empty() {
            headers.push(("x-aegis-signature", signature(self.settings.secret.expose(), &body)));
        }
        retrying(attempts, async || {
            self.http
                .post(&self.settings.url, &headers, body.clone(), self.timeout())
                .await
        })
        .await
        .map(drop)
    }

    pub(super) fn base<'a>(&'a self, usual: &'a str) -> &'a str {
        if self.settings.url.is_empty() {
            usual
        } else {
            self.settings.url.trim_end_matches('/')
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout.get()
    }
}

/// `sha256=` and the lower-case hex of HMAC-SHA256 over the body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let hex: String = hmac::sign(&key, body)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256={hex}")
}

/// `POST /v2/enqueue` (<https://developer.pagerduty.com/docs/send-alert-event>); `None` for what PagerDuty has no word for.
pub fn pager_event(n: &Notification, routing_key: &str) -> Option<Value> {
    let action = match n.event.as_str() {
        "opened" | "escalated" | "reopened" | "remediation_waiting" => "trigger",
        "acknowledged" => "acknowledge",
        "resolved" | "closed" | "merged" => "resolve",
        _ => return None,
    };
    let severity = match n.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let summary: String = n.title.chars().take(1_000).collect();
    let source = n.service.as_deref().filter(|s| !s.is_empty()).unwrap_or("aegis");
    Some(json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": n.incident_id.to_string(),
        "payload": {
            "summary": if summary.trim().is_empty() { "(no title)" } else { summary.as_str() },
            "source": source,
            "severity": severity,
            "timestamp": n.at.to_rfc3339(),
            "component": n.service,
            "group": n.environment,
            "class": n.event,
            "custom_details": {"incident": n.incident_id.to_string(), "event": n.event, "detail": n.detail},
        },
        "client": "Aegis",
    }))
}
