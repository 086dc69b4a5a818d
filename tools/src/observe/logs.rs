//! A store of log lines.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ToolError;
use crate::redact::Sighting;

/// Which lines are asked for. All conditions must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogQuery {
    pub service: String,
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    /// Least level: `error` asks for `error` and `fatal`. Lines whose level is not known count as asked for.
    pub min_level: Option<String>,
    /// A text that the line holds, not a pattern.
    pub contains: Option<String>,
    /// Most lines of the answer, newest first.
    pub limit: u32,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    pub at: DateTime<Utc>,
    pub level: Option<String>,
    pub text: String,
    /// Secrets that stood in it before they were hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Sighting>,
}

/// The answer to a [`LogQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogAnswer {
    /// The question in the words of the system that answered (LogQL, or SQL).
    pub query: String,
    pub lines: Vec<LogLine>,
    /// There were more than the limit.
    pub cut: bool,
}

/// Which labels are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelQuery {
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    /// The values of this label; the names of all labels where it is absent.
    pub name: Option<String>,
}

/// The answer to a [`LabelQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelAnswer {
    /// In order.
    pub values: Vec<String>,
    /// There were more than are handed on.
    pub cut: bool,
}

/// A store of log lines: Loki, or our own.
#[async_trait]
pub trait Logs: Send + Sync {
    /// `loki` or `aegis`.
    fn name(&self) -> &'static str;

    async fn search(&self, query: &LogQuery) -> Result<LogAnswer, ToolError>;

    /// Which labels there are, or which values of one.
    async fn labels(&self, query: &LabelQuery) -> Result<LabelAnswer, ToolError>;
}
