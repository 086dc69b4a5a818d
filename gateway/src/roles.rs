//! Who may do what. Each role may all that the ones before it may.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

/// The roles, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    #[default]
    Viewer,
    /// Acknowledges and resolves incidents, leads runs.
    Responder,
    /// Approves and denies remediations, turns the stop switch on.
    Approver,
    /// Turns the stop switch off.
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Responder => "responder",
            Role::Approver => "approver",
            Role::Admin => "admin",
        }
    }
}

/// A token and what it opens.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiToken {
    /// The bearer token.
    pub token: Secret,
    /// What it may: viewer, responder, approver or admin.
    pub role: Role,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; `None` for a read token, or where none is needed.
    pub name: Option<String>,
    pub role: Role,
}

impl Caller {
    /// `human:NAME`, as facts name people.
    pub fn by(&self) -> String {
        format!("human:{}", self.name.as_deref().unwrap_or("unnamed"))
    }
}
