//! What people and the crew said about an incident. It stands beside the graph: who belongs together does not depend on it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use model::{EpisodeId, Incident, IncidentId, SignalId, Status};
use serde::{Deserialize, Serialize};
use stream::Table;
use uuid::Uuid;

/// Command ids remembered per incident. More: memory; fewer: a command sent again after that many others counts twice.
const REMEMBERED: usize = 256;

/// What was said about one incident.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Spoken {
    /// The episode that opened it: its component is the incident's, also after a merge.
    pub opener: EpisodeId,
    pub acknowledged: bool,
    /// Set until something fires anew.
    pub closed: Option<Closed>,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    pub resolved_by: Option<String>,
    /// Suspects that were told.
    pub suspects: BTreeSet<SignalId>,
    commands: BTreeSet<Uuid>,
}

/// Somebody said that it is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// Microseconds since the epoch.
    pub at: i64,
}

impl Spoken {
    pub fn of(opener: EpisodeId) -> Self {
        Spoken {
            opener,
            ..Spoken::default()
        }
    }

    /// Whether a command is heard for the first time.
    pub fn hears(&mut self, id: Uuid) -> bool {
        if self.commands.len() >= REMEMBERED {
            self.commands.pop_first();
        }
        self.commands.insert(id)
    }

    /// Takes over what was said about an incident that is merged into this one. Its suspects are told anew.
    pub fn inherit(&mut self, other: Spoken) {
        self.acknowledged |= other.acknowledged;
        self.root_cause = self.root_cause.take().or(other.root_cause);
    }

    /// The incident with what was said about it.
    pub fn upon(&self, incident: Incident) -> Incident {
        let over = incident.status == Status::Resolved;
        Incident {
            status: match over {
                false if self.acknowledged => Status::Investigating,
                _ => incident.status,
            },
            resolved_at: match &self.closed {
                // Its members may still fire: then their ends say nothing.
                Some(closed) if over && incident.firing > 0 => time(closed.at),
                _ => incident.resolved_at,
            },
            resolved_by: self.resolved_by.clone().filter(|_| over),
            root_cause: self.root_cause.clone(),
            resolution: self.resolution.clone().filter(|_| over),
            ..incident
        }
    }
}

/// By incident; those that were merged into another stay until their component is forgotten.
pub type SpokenTable = Table<IncidentId, Spoken>;

fn time(at: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(at)
}
