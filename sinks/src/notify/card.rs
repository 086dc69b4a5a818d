//! What an incident's message shows: the fold of its notifications, and how Slack is told (pure).
//!
//! Titles, services and details are written by outsiders. They are escaped (`&<>`, which is all that Slack reads as a mention or a
//! link), freed of control characters and cut to Slack's limits, so that no alert can call a channel or push the buttons away.

use model::{Notification, Severity, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Characters of a title. Slack takes 150 in a header and 3,000 in a section; entities count as they are written.
const TITLE: usize = 140;
const DETAIL: usize = 1_200;

/// The message's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    pub incident: String,
    pub revision: u64,
    pub severity: Severity,
    pub status: Status,
    pub title: String,
    pub service: Option<String>,
    pub environment: String,
    /// The last thing that happened.
    pub last: String,
    pub waiting: Option<Waiting>,
}

/// A remediation that waits for an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub remediation: Uuid,
    pub plan_hash: String,
    pub detail: String,
    pub nonce: Uuid,
}

impl Card {
    /// `known` after `n`. An older revision changes what is said about remediations only. `nonce` is that of the buttons, if `n` asks.
    pub fn after(known: Option<Card>, n: &Notification, nonce: Option<Uuid>) -> Card {
        let mut card = match known {
            Some(known) if known.revision > n.revision => known,
            known => Card {
                incident: n.incident_id.to_string(),
                revision: n.revision,
                severity: n.severity,
                status: n.status,
                title: n.title.clone(),
                service: n.service.clone(),
                environment: n.environment.clone(),
                last: String::new(),
                waiting: known.and_then(|known| known.waiting),
            },
        };
        card.last = told(n);
        if let Some(remediation) = n.remediation {
            let about = card
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.remediation == remediation);
            match (n.event.as_str(), nonce) {
                ("remediation_waiting", Some(nonce)) => {
                    card.waiting = Some(Waiting {
                        remediation,
                        plan_hash: n.plan_hash.clone().unwrap_or_default(),
                        detail: n.detail.clone().unwrap_or_default(),
                        nonce,
                    });
                }
                _ if about => card.waiting = None,
                _ => {}
            }
        }
        card
    }

    /// Text for a screen without blocks.
    pub fn text(&self) -> String {
        format!("{} {}", self.mark(), escaped(&self.title, TITLE))
    }

    /// Slack's Block Kit.
    pub fn blocks(&self) -> Value {
        let word = |text: &str| escaped(text, TITLE);
        let mut about = vec![
            format!("*Severity:* {}", self.severity.as_str()),
            format!("*Status:* {}", self.status.as_str()),
        ];
        about.extend(
            self.service
                .as_deref()
                .map(|service| format!("*Service:* {}", word(service))),
        );
        if !self.environment.is_empty() {
            about.push(format!("*Environment:* {}", word(&self.environment)));
        }
        let fields: Vec<Value> = about
            .iter()
            .map(|text| json!({"type": "mrkdwn", "text": text}))
            .collect();
        // Plain text: nothing in it is read as formatting.
        let title = cut(&format!("{} {}", self.mark(), plain(&self.title)), TITLE);
        let mut blocks = vec![
            json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}),
            json!({"type": "section", "fields": fields}),
        ];
        if let Some(waiting) = &self.waiting {
            let text = cut(&plain(&waiting.detail), DETAIL);
            let button = |action: &str, text: &str, style: &str| {
                let value = format!("{}|{}|{}", waiting.remediation, waiting.plan_hash, waiting.nonce);
                json!({"type": "button", "action_id": action, "style": style, "value": value,
                       "text": {"type": "plain_text", "text": text}})
            };
            blocks.push(json!({"type": "section", "text": {"type": "plain_text", "text": format!("Waits for an answer: {text}"), "emoji": false}}));
            blocks.push(json!({"type": "actions", "block_id": "aegis_answer", "elements": [
                button("aegis_approve", "Approve", "primary"), button("aegis_deny", "Deny", "danger")]}));
        }
        let foot = format!("{} · incident {}", escaped(&self.last, DETAIL), self.incident);
        blocks.push(json!({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]}));
        Value::Array(blocks)
    }

    fn mark(&self) -> &'static str {
        match (self.status, self.severity) {
            (Status::Resolved, _) => "[RESOLVED]",
            (_, Severity::Critical) => "[CRITICAL]",
            (_, Severity::Warning) => "[WARNING]",
            (_, Severity::Info) => "[INFO]",
        }
    }
}

/// One line about a notification, as it came (not escaped).
pub fn told(n: &Notification) -> String {
    let event = n.event.replace('_', " ");
    match &n.detail {
        Some(detail) => format!("{event}: {detail}"),
        None => event,
    }
}

/// For Slack's `mrkdwn`: cut to `limit` characters, then escaped, so that no entity is cut in two.
pub fn escaped(text: &str, limit: usize) -> String {
    let text = cut(&plain(text), limit);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Without control characters, and without the ones that turn the direction of text.
fn plain(text: &str) -> String {
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}')
    };
    let text: String = text.chars().map(|c| if odd(c) { ' ' } else { c }).collect();
    if text.trim().is_empty() {
        "(no title)".to_owned()
    } else {
        text
    }
}

fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}
