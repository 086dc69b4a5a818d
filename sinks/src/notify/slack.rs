//! Slack: one message per incident, changed in place, with a line below it per fact; each of them once.
//!
//! A call whose answer is missing, or that somebody made who died before he could write down how it ended, may have been taken. Slack has
//! no idempotency key, so what is posted carries metadata (<https://docs.slack.dev/messaging/message-metadata>): the incident, the
//! receiver's name, the notification. Before anything that may stand there already is posted again, the channel is read, and what is
//! found is adopted. That needs the scope `channels:history` (`groups:history` for a private channel). Where it cannot be
//! read, that is said, and the message is posted: rather twice than never.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::{IncidentId, Notification};
use serde_json::{Value, json};
use uuid::Uuid;

use super::card::{Card, escaped, told};
use super::client::{FIRST_WAIT, Failed, LONGEST_WAIT, retrying};
use super::outward::Outward;
use crate::sql::Thread;

/// Names of our metadata.
const EVENT: &str = "aegis_incident";
const SUMMARY: &str = "aegis_summary";
/// How much the clock of Slack and that of this machine may differ.
const CLOCKS: TimeDelta = TimeDelta::minutes(5);
/// Messages of one page, and pages looked through. More: minutes of reading in a channel that is never quiet.
const PAGE: &str = "200";
const PAGES: usize = 10;

/// A message of which an earlier attempt may stand at Slack already.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// When the first attempt about the incident began that did not end; `None`: there was none.
    pub before: Option<DateTime<Utc>>,
    /// An attempt at this very notification is among them.
    pub again: bool,
    pub now: DateTime<Utc>,
}

/// A message that stands.
#[derive(Clone, Debug)]
pub struct Stands {
    pub thread: Thread,
    /// The notification is the message itself and needs no line below it.
    pub whole: bool,
}

/// What was found.
struct Found {
    ts: String,
    /// Of our metadata.
    payload: Value,
}

impl Outward {
    /// Changes the incident's message, or posts it, and says what stands there then.
    pub async fn message(
        &self,
        n: &Notification,
        card: &Card,
        thread: Option<&Thread>,
        begun: Begun,
        attempts: u32,
    ) -> Result<Stands, Failed> {
        let mut body =
            json!({"text": card.text(), "blocks": card.blocks(), "unfurl_links": false, "unfurl_media": false});
        let since = begun.before.unwrap_or(begun.now);
        let mut look = begun.before.is_some();
        if let Some(thread) = thread
            && self.change(&mut body, n, thread, None, attempts).await?
        {
            return Ok(Stands {
                thread: thread.clone(),
                whole: false,
            });
        }
        let channel = self.settings.channel.clone();
        let mut patience = Patience::new(attempts);
        loop {
            if look && let Some(found) = self.found(self.find_message(n.incident_id, since).await) {
                let adopted = Thread {
                    channel: channel.clone(),
                    ts: found.ts,
                    card: Value::Null,
                };
                metrics::counter!("aegis_notify_adopted_total", "receiver" => self.name.clone()).increment(1);
                let first = found.payload["notification"].as_str().and_then(|id| id.parse().ok());
                if self.change(&mut body, n, &adopted, first, attempts).await? {
                    return Ok(Stands {
                        thread: adopted,
                        whole: first == Some(n.id),
                    });
                }
            }
            body["channel"] = json!(channel);
            body["metadata"] = self.metadata(n.incident_id, Some(n.id));
            if let Some(fields) = body.as_object_mut() {
                fields.remove("ts");
            }
            let answer = match self.slack_call("chat.postMessage", &body, 1).await {
                Ok(answer) => answer,
                Err(failed) => {
                    look |= failed.unsure();
                    patience.wait(failed).await?;
                    continue;
                }
            };
            let text = |name: &str| answer[name].as_str().map(str::to_owned);
            return match (text("channel"), text("ts")) {
                (Some(channel), Some(ts)) => Ok(Stands {
                    thread: Thread {
                        channel,
                        ts,
                        card: Value::Null,
                    },
                    whole: true,
                }),
                _ => Err(Failed::Refused("Slack's answer names no message".to_owned())),
            };
        }
    }

    /// A line below the incident's message.
    pub async fn reply(&self, n: &Notification, thread: &Thread, begun: Begun, attempts: u32) -> Result<(), Failed> {
        let body = json!({"channel": thread.channel, "thread_ts": thread.ts, "text": escaped(&told(n), 1_200),
                          "unfurl_links": false, "unfurl_media": false,
                          "metadata": self.metadata(n.incident_id, Some(n.id))});
        let mut look = begun.again;
        let mut patience = Patience::new(attempts);
        loop {
            if look && self.found(self.find_line(thread, n.id, begun).await).is_some() {
                return Ok(());
            }
            match self.slack_call("chat.postMessage", &body, 1).await {
                Ok(_) => return Ok(()),
                Err(failed) => {
                    look |= failed.unsure();
                    patience.wait(failed).await?;
                }
            }
        }
    }

    /// Whether the message is there to be changed.
    async fn change(
        &self,
        body: &mut Value,
        n: &Notification,
        thread: &Thread,
        first: Option<Uuid>,
        attempts: u32,
    ) -> Result<bool, Failed> {
        body["channel"] = json!(thread.channel);
        body["ts"] = json!(thread.ts);
        body["metadata"] = self.metadata(n.incident_id, first);
        match self.slack_call("chat.update", body, attempts).await {
            Ok(_) => Ok(true),
            // Somebody deleted it, or it is too old to change: a new one takes its place.
            Err(Failed::Refused(why)) if gone(&why) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    fn metadata(&self, incident: IncidentId, notification: Option<Uuid>) -> Value {
        let mut payload = json!({"incident": incident, "receiver": self.name});
        if let Some(notification) = notification {
            payload["notification"] = json!(notification);
        }
        json!({"event_type": EVENT, "event_payload": payload})
    }

    /// The incident's message in the channel, if an attempt since then posted it.
    async fn find_message(&self, incident: IncidentId, since: DateTime<Utc>) -> Result<Option<Found>, Failed> {
        let (channel, oldest) = (self.settings.channel.as_str(), seconds(since - CLOCKS));
        let arguments = [("channel", channel), ("oldest", &oldest)];
        let own = |metadata: &Value| {
            let payload = &metadata["event_payload"];
            metadata["event_type"] == EVENT
                && payload["incident"] == json!(incident)
                && payload["receiver"] == self.name.as_str()
        };
        self.look_through("conversations.history", &arguments, own).await
    }

    /// The line of a notification below a message.
    async fn find_line(&self, thread: &Thread, notification: Uuid, begun: Begun) -> Result<Option<Found>, Failed> {
        let oldest = seconds(begun.before.unwrap_or(begun.now) - CLOCKS);
        let arguments = [
            ("channel", thread.channel.as_str()),
            ("ts", thread.ts.as_str()),
            ("oldest", &oldest),
        ];
        let own = |metadata: &Value| {
            metadata["event_type"] == EVENT && metadata["event_payload"]["notification"] == json!(notification)
        };
        self.look_through("conversations.replies", &arguments, own).await
    }

    /// Of a summary that begins with this notification.
    pub(super) fn summary_metadata(&self, first: Uuid, count: usize) -> Value {
        let payload = json!({"receiver": self.name, "first": first, "count": count});
        json!({"event_type": SUMMARY, "event_payload": payload})
    }

    /// How many notifications the summary speaks of that an attempt since then posted, if one did.
    pub async fn find_summary(&self, first: Uuid, since: DateTime<Utc>) -> Option<usize> {
        let (channel, oldest) = (self.settings.channel.as_str(), seconds(since - CLOCKS));
        let arguments = [("channel", channel), ("oldest", &oldest)];
        let own = |metadata: &Value| {
            let payload = &metadata["event_payload"];
            metadata["event_type"] == SUMMARY
                && payload["first"] == json!(first)
                && payload["receiver"] == self.name.as_str()
        };
        let looked = self.look_through("conversations.history", &arguments, own).await;
        let count = self.found(looked)?.payload["count"].as_u64()?;
        usize::try_from(count).ok()
    }

    async fn look_through(
        &self,
        method: &str,
        arguments: &[(&str, &str)],
        own: impl Fn(&Value) -> bool,
    ) -> Result<Option<Found>, Failed> {
        let mut cursor = String::new();
        for _ in 0..PAGES {
            let mut query: BTreeMap<&str, &str> = arguments.iter().copied().collect();
            query.extend([("limit", PAGE), ("include_all_metadata", "true")]);
            if !cursor.is_empty() {
                query.insert("cursor", &cursor);
            }
            let page = self.slack_read(method, &query).await?;
            for message in page["messages"].as_array().into_iter().flatten() {
                let metadata = &message["metadata"];
                if own(metadata)
                    && let Some(ts) = message["ts"].as_str()
                {
                    return Ok(Some(Found {
                        ts: ts.to_owned(),
                        payload: metadata["event_payload"].clone(),
                    }));
                }
            }
            match page["response_metadata"]["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut cursor),
                _ => return Ok(None),
            }
        }
        Err(Failed::Refused(format!(
            "{method}: more than {PAGES} pages of messages since then"
        )))
    }

    /// What was found; where nobody could look, that is said, and it counts as nothing.
    fn found<T>(&self, looked: Result<Option<T>, Failed>) -> Option<T> {
        looked.unwrap_or_else(|failed| {
            metrics::counter!("aegis_notify_unread_total", "receiver" => self.name.clone()).increment(1);
            tracing::warn!(
                receiver = self.name,
                detail = failed.detail(),
                "the channel cannot be read (scope channels:history?), so a message may stand there twice"
            );
            None
        })
    }

    async fn slack_read(&self, method: &str, query: &BTreeMap<&str, &str>) -> Result<Value, Failed> {
        let url = format!("{}/{method}", self.base("https://slack.com/api"));
        let answer = self
            .http
            .get(&url, query, &self.authorization(), self.timeout())
            .await?;
        slack_answer(&answer)
    }

    pub(super) async fn slack_call(&self, method: &str, body: &Value, attempts: u32) -> Result<Value, Failed> {
        let url = format!("{}/{method}", self.base("https://slack.com/api"));
        let headers = self.authorization();
        retrying(attempts, async || {
            let answer = self
                .http
                .post(&url, &headers, body.to_string().into_bytes(), self.timeout())
                .await?;
            slack_answer(&answer)
        })
        .await
    }

    fn authorization(&self) -> [(&'static str, String); 1] {
        [("authorization", format!("Bearer {}", self.settings.token.expose()))]
    }
}

/// The tries of one message and the pauses between them.
struct Patience {
    left: u32,
    wait: Duration,
}

impl Patience {
    fn new(attempts: u32) -> Self {
        Patience {
            left: attempts.max(1),
            wait: FIRST_WAIT,
        }
    }

    /// Waits for the next try; the failure itself where there is none.
    async fn wait(&mut self, failed: Failed) -> Result<(), Failed> {
        self.left -= 1;
        match failed {
            Failed::Later { after, .. } if self.left > 0 => {
                tokio::time::sleep(after.unwrap_or(self.wait).min(LONGEST_WAIT)).await;
                self.wait = self.wait.saturating_mul(2);
                Ok(())
            }
            failed => Err(failed),
        }
    }
}

/// As Slack's `ts` counts: seconds since 1970.
fn seconds(at: DateTime<Utc>) -> String {
    format!("{}.{:06}", at.timestamp(), at.timestamp_subsec_micros())
}

/// Slack says 200 also when it says no (<https://docs.slack.dev/apis/web-api/#responses>).
fn slack_answer(body: &Bytes) -> Result<Value, Failed> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|e| Failed::later(format!("no answer of Slack's: {e}")))?;
    if answer["ok"] == true {
        return Ok(answer);
    }
    let error = answer["error"].as_str().unwrap_or("no error named").to_owned();
    match error.as_str() {
        "ratelimited" | "rate_limited" => Err(Failed::turned_away(error, None)),
        // Slack: some of it may have happened.
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" => Err(Failed::later(error)),
        _ => Err(Failed::Refused(error)),
    }
}

fn gone(error: &str) -> bool {
    matches!(
        error,
        "message_not_found" | "cant_update_message" | "edit_window_closed" | "is_inactive" | "channel_not_found"
    )
}
