//! An incident is the fold of its events. Each event carries one fact and the incident as it stands after it, so a
//! table is kept by "write the newest revision", and a reader of the log alone sees every step.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::evidence::{Finding, Postmortem};
use crate::{CanonicalKey, EpisodeId, IncidentId, Origin, Severity, SignalId};

/// Environment of the dead-man's switch's own alerts. Its incidents are investigated by nobody, told to nobody and not listed.
pub const CANARY: &str = "aegis-canary";

/// Where an incident stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    #[default]
    Open,
    Investigating,
    Resolved,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Investigating => "investigating",
            Status::Resolved => "resolved",
        }
    }
}

/// The incident after a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub id: IncidentId,
    pub canonical_key: CanonicalKey,
    /// Rises by one with every fact; guards upserts.
    pub revision: u64,
    pub tenant: String,
    pub environment: String,
    /// Dedup key of the earliest member.
    pub alert_id: String,
    /// Sender of the earliest member.
    pub source: String,
    pub severity: Severity,
    pub status: Status,
    pub title: String,
    pub service: Option<String>,
    /// Event time of the earliest member.
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// `agent` or `human:NAME`; absent when the members' own resolution closed it.
    pub resolved_by: Option<String>,
    /// The incident that this one was merged into.
    pub merged_into: Option<IncidentId>,
    /// Members so far, and how many of them still fire.
    pub members: u32,
    pub firing: u32,
    /// From the postmortem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_cause: Option<String>,
    /// What ended it, in the words of whoever ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
}

/// A change of the same service shortly before an incident. It is a suspect, not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    pub signal: SignalId,
    pub source: String,
    pub title: String,
    pub service: String,
    pub at: DateTime<Utc>,
    /// From the change to the first alert of the incident that named it.
    pub before_ms: i64,
}

/// Why a signal belongs to an incident: enough for a checker that shares no code with the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub episode: EpisodeId,
    pub signal: SignalId,
    pub dedup_key: String,
    pub source: String,
    pub title: String,
    pub severity: Severity,
    pub service: Option<String>,
    /// Of the cluster, from the sender's structured labels; never from a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    /// Rule and version that admitted it, e.g. `same-service@1`; `opened@1` for the first.
    pub rule: String,
    /// The shared value: `service:prod/checkout`.
    pub key: Option<String>,
    /// The member it was linked to, and how far apart they started.
    pub linked_to: Option<EpisodeId>,
    pub apart_ms: Option<i64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    Opened {
        member: Member,
    },
    SignalJoined {
        member: Member,
    },
    /// A member's content changed or it ended; the member as it stands now.
    MemberChanged {
        member: Member,
    },
    Escalated {
        from: Severity,
    },
    /// Every member ended.
    Resolved,
    Reopened {
        episode: EpisodeId,
    },
    /// This incident absorbed `other`, whose members are now its own.
    Absorbed {
        other: IncidentId,
        members: Vec<Member>,
    },
    /// This incident lives on in `into`.
    Merged {
        into: IncidentId,
    },
    /// A change of the same service shortly before.
    SuspectFound {
        suspect: Suspect,
    },
    /// Somebody works on it: `agent` or `human:NAME`.
    Acknowledged {
        by: String,
    },
    /// `agent:NAME` or `human:NAME` learned something.
    FindingAdded {
        by: String,
        finding: Box<Finding>,
    },
    PostmortemAdded {
        by: String,
        postmortem: Box<Postmortem>,
    },
    /// Somebody says that it is over, though members may still fire.
    Closed {
        by: String,
        resolution: String,
    },
}

impl Fact {
    /// The tag as it is written in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Opened { .. } => "opened",
            Fact::SignalJoined { .. } => "signal_joined",
            Fact::MemberChanged { .. } => "member_changed",
            Fact::Escalated { .. } => "escalated",
            Fact::Resolved => "resolved",
            Fact::Reopened { .. } => "reopened",
            Fact::Absorbed { .. } => "absorbed",
            Fact::Merged { .. } => "merged",
            Fact::SuspectFound { .. } => "suspect_found",
            Fact::Acknowledged { .. } => "acknowledged",
            Fact::FindingAdded { .. } => "finding_added",
            Fact::PostmortemAdded { .. } => "postmortem_added",
            Fact::Closed { .. } => "closed",
        }
    }
}

/// Payload of `incidents` (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentEvent {
    pub schema: u32,
    pub incident: Incident,
    pub fact: Fact,
    /// Event time of the fact.
    pub at: DateTime<Utc>,
    /// When Aegis saw what caused it.
    pub observed_at: DateTime<Utc>,
    /// Where the bytes stand that caused it, on `events.raw`. Absent where a person, an agent, the log's lines or time did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl IncidentEvent {
    pub const SCHEMA: u32 = 1;
}
