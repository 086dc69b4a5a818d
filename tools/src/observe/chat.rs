//! What people write to each other.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ToolError;

/// Which messages are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatQuery {
    /// One of the channels that may be read; the first of them where it is absent.
    pub channel: Option<String>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Most messages of the answer, newest first.
    pub limit: u32,
}

/// What somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatMessage {
    pub at: DateTime<Utc>,
    /// The id of a person or a program.
    pub author: Option<String>,
    pub text: String,
}

/// The answer to a [`ChatQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChatAnswer {
    pub channel: String,
    /// Newest first.
    pub messages: Vec<ChatMessage>,
    /// There were more than the limit.
    pub cut: bool,
}

/// What people write to each other.
#[async_trait]
pub trait Chat: Send + Sync {
    async fn history(&self, query: &ChatQuery) -> Result<ChatAnswer, ToolError>;
}
