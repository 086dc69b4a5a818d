//! What people write to each other.

use serde_json::Value;

use super::{Purpose, Tool, arguments_of, json, observing, unknown};
use crate::ToolError;
use crate::observe::{Chat, ChatAnswer, ChatQuery, Observe};

pub(super) fn tools() -> Vec<Tool> {
    vec![observing::<ChatQuery, ChatAnswer>(
        "slack_history",
        "What people wrote in a channel, newest first.",
    )]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    match name {
        "slack_history" => {
            let read: ChatQuery = arguments_of("slack_history", arguments)?;
            Ok(json(chat(observe)?.history(&read).await?))
        }
        other => Err(unknown(other, Purpose::Observe)),
    }
}

fn chat(observe: &Observe) -> Result<&dyn Chat, ToolError> {
    observe.chat.as_deref().ok_or(ToolError::Absent {
        tool: "slack",
        setting: "tools.slack.token and channels",
    })
}
