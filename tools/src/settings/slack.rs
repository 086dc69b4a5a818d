//! `[tools.slack]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{token_fault, url_fault, zeros};

/// What people write in channels of Slack. Read only; messages to people are `[notify]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackSettings {
    /// Address of the Web API.
    pub url: String,
    /// Bot token with the scope `channels:history`, and `groups:history` for private channels.
    pub token: Option<Secret>,
    /// Ids of the channels that may be read, such as `C0123456789`. No others are, whoever asks.
    pub channels: Vec<String>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most messages handed on. Slack hands out 999 at once.
    #[schemars(range(min = 1, max = 999))]
    pub max_messages: u32,
    /// Most characters of one message handed on.
    pub max_message_chars: usize,
}

impl Default for SlackSettings {
    fn default() -> Self {
        SlackSettings {
            url: "https://slack.com/api".to_owned(),
            token: None,
            channels: Vec::new(),
            timeout_s: 10,
            max_answer_bytes: 4 << 20,
            max_messages: 200,
            max_message_chars: 2_000,
        }
    }
}

impl SlackSettings {
    /// Whether anybody wrote what may be read.
    pub fn configured(&self) -> bool {
        self.token.is_some() || !self.channels.is_empty()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        if self.token.is_none() {
            faults.push("token is missing: write a reference to a bot token with scope channels:history".to_owned());
        }
        if self.channels.is_empty() {
            faults.push("channels is empty: write the ids of the channels that may be read".to_owned());
        }
        let id = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        for channel in self.channels.iter().filter(|channel| !id(channel)) {
            faults.push(format!(
                "channels holds `{channel}`, which is no id of a channel: they look like C0123456789"
            ));
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_messages", self.max_messages.into()),
            ("max_message_chars", self.max_message_chars as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}
