//! Work that is written down.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ToolError;

/// Which tickets are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketQuery {
    /// Has it as a label, or says it.
    pub about: String,
    /// Leaves out what is done.
    pub open: bool,
    /// Most tickets of the answer, last changed first.
    pub limit: u32,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    pub key: String,
    /// Untrusted text.
    pub title: String,
    pub status: String,
    /// It is done, in the words of its project.
    pub done: bool,
    pub labels: Vec<String>,
    pub updated_at: Option<DateTime<Utc>>,
    /// What it says, where one ticket was asked for. Untrusted text.
    #[serde(default)]
    pub text: Option<String>,
    /// The statuses that it can be brought into, where one ticket was asked for.
    #[serde(default)]
    pub next: Vec<String>,
}

/// The answer to a [`TicketQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketAnswer {
    /// The question in the words of the system that answered (JQL).
    pub query: String,
    pub tickets: Vec<Ticket>,
    /// There were more than the limit.
    pub cut: bool,
}

/// Where follow-ups go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUps {
    /// Key of the project.
    pub project: String,
    /// Name of the issue type.
    pub kind: String,
}

/// Work that is written down.
#[async_trait]
pub trait Tickets: Send + Sync {
    async fn search(&self, query: &TicketQuery) -> Result<TicketAnswer, ToolError>;

    async fn ticket(&self, key: &str) -> Result<Ticket, ToolError>;

    /// Where the follow-ups of a postmortem are proposed to be written; `None` where they are not.
    fn follow_ups(&self) -> Option<FollowUps>;
}
