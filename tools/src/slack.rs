//! What people wrote in a Slack channel, by `conversations.history`: <https://docs.slack.dev/reference/methods/conversations.history>.
//!
//! Reads the channels that are configured and no others, whoever asks. It needs a token of its own with `channels:history` (and
//! `groups:history` for private channels), not the one that posts. What people wrote is untrusted text.
//!
//! Not here: the lines below a message (`conversations.replies`), names of people (they are ids), files.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::ToolError;
use crate::observe::{Chat, ChatAnswer, ChatMessage, ChatQuery};
use crate::redact::{redact, shorten};
use crate::settings::SlackSettings;
use crate::wire::{Failure, Http};

const TOOL: &str = "slack";

/// Slack's words for "not now".
const LATER: &[&str] = &[
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

/// A Slack.
pub struct Slack {
    http: Http,
    channels: Vec<String>,
    max_messages: u32,
    max_message_chars: usize,
}

impl Slack {
    pub fn new(settings: &SlackSettings) -> Result<Self, ToolError> {
        let (token, limit) = (settings.token.clone(), settings.max_answer_bytes);
        Ok(Slack {
            http: Http::new(TOOL, &settings.url, token, settings.timeout(), limit)?,
            channels: settings.channels.clone(),
            max_messages: settings.max_messages,
            max_message_chars: settings.max_message_chars,
        })
    }

    fn channel(&self, asked: Option<&str>) -> Result<&str, ToolError> {
        let found = match asked {
            None => self.channels.first(),
            Some(asked) => self.channels.iter().find(|channel| *channel == asked),
        };
        found.map(String::as_str).ok_or_else(|| {
            let known = self.channels.join(", ");
            ToolError::refused(TOOL, format!("only these channels are read: {known}"))
        })
    }

    fn message(&self, entry: Entry) -> Result<ChatMessage, Failure> {
        let at = time(&entry.ts).ok_or_else(|| Failure::Garbled("a message without a readable ts".to_owned()))?;
        Ok(ChatMessage {
            at,
            author: entry.user.or(entry.bot_id).map(|name| redact(&name)),
            // Hidden before it is cut: a token cut in half is no longer recognised.
            text: shorten(&redact(&entry.text), self.max_message_chars),
        })
    }
}

#[async_trait]
impl Chat for Slack {
    async fn history(&self, query: &ChatQuery) -> Result<ChatAnswer, ToolError> {
        if query.limit == 0 || query.to <= query.from {
            let cause = "a question asks for at least one message, and ends after it starts";
            return Err(ToolError::refused(TOOL, cause));
        }
        let channel = self.channel(query.channel.as_deref())?;
        let limit = query.limit.min(self.max_messages);
        let seconds = |at: DateTime<Utc>| format!("{}.{:06}", at.timestamp(), at.timestamp_subsec_micros());
        let (oldest, latest, count) = (seconds(query.from), seconds(query.to), limit.to_string());
        let parameters = [
            ("channel", channel),
            ("oldest", &oldest),
            ("latest", &latest),
            ("limit", &count),
        ];
        let answer = self.http.get("/conversations.history", &parameters).await;
        let answer: Answer = answer.map_err(|failure| failure.of_a_question(TOOL))?;
        if !answer.ok {
            let word = answer.error.unwrap_or_default();
            let cause = format!("Slack says {}", shorten(&redact(&word), 100));
            return Err(match LATER.contains(&word.as_str()) || word.is_empty() {
                true => ToolError::DidNotHappen {
                    tool: TOOL,
                    cause,
                    retry: true,
                },
                false => ToolError::refused(TOOL, cause),
            });
        }
        let found = answer.messages.unwrap_or_default();
        let cut = answer.has_more || found.len() > limit as usize;
        let messages = found.into_iter().take(limit as usize).map(|entry| self.message(entry));
        let messages: Result<Vec<ChatMessage>, Failure> = messages.collect();
        Ok(ChatAnswer {
            channel: channel.to_owned(),
            messages: messages.map_err(|failure| failure.of_a_question(TOOL))?,
            cut,
        })
    }
}

/// `1512085950.000216`: seconds, and a counter that makes it a name.
fn time(ts: &str) -> Option<DateTime<Utc>> {
    let (seconds, micros) = ts.split_once('.')?;
    let micros: u32 = micros.parse().ok().filter(|micros| *micros < 1_000_000)?;
    DateTime::from_timestamp(seconds.parse().ok()?, micros * 1_000)
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    error: Option<String>,
    messages: Option<Vec<Entry>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Entry {
    ts: String,
    user: Option<String>,
    bot_id: Option<String>,
    #[serde(default)]
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ts_is_a_time() {
        assert_eq!(
            time("1512085950.000216").unwrap().to_rfc3339(),
            "2017-11-30T23:52:30.000216+00:00"
        );
        for bad in ["", "1", "1.", ".1", "x.1", "1.1000000", "99999999999999999.1", "1.-1"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
