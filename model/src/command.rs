//! Commands on incidents: what people and the crew say about one. They stand on `transitions`, in the order in which correlate
//! sees the signals of the same domain, so replay and backtest see exactly what live saw.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::IncidentId;
use crate::evidence::{Finding, Postmortem};

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Order {
    /// Somebody works on it.
    Acknowledge,
    /// It is over, whatever its members say.
    Resolve { resolution: String },
    /// Something was learned.
    AddFinding { finding: Box<Finding> },
    /// The report.
    AddPostmortem { postmortem: Box<Postmortem> },
}

/// Payload of records of type `command` on `transitions` (JSON, schema 1). Key: the correlation domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentCommand {
    pub schema: u32,
    /// The same command sent twice has one id, and counts once.
    pub id: Uuid,
    pub incident_id: IncidentId,
    /// `agent`, `agent:NAME` or `human:NAME`.
    pub by: String,
    pub at: DateTime<Utc>,
    pub order: Order,
}

impl IncidentCommand {
    pub const SCHEMA: u32 = 1;
}
