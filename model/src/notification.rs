//! A notification: one message per fact that people should hear of. Delivery (Slack, PagerDuty, webhooks) reads this topic.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{IncidentId, Severity, Status};

/// Payload of `notifications` (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    pub schema: u32,
    /// Derived from incident and revision: a second delivery carries the same id.
    pub id: Uuid,
    pub incident_id: IncidentId,
    pub revision: u64,
    /// `opened`, `escalated`, `resolved`, `reopened`, `merged`, `acknowledged`, `postmortem_added`, `closed`, and
    /// `remediation_` with a status.
    pub event: String,
    pub severity: Severity,
    pub status: Status,
    pub title: String,
    pub service: Option<String>,
    /// With `environment`, the correlation domain. Empty in notifications of earlier programs.
    #[serde(default)]
    pub tenant: String,
    #[serde(default)]
    pub environment: String,
    pub at: DateTime<Utc>,
    /// The remediation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation: Option<Uuid>,
    /// The plan that an answer must name, [`crate::action::Action::plan_hash`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_hash: Option<String>,
    /// One sentence more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Notification {
    pub const SCHEMA: u32 = 1;
}
