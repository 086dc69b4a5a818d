//! The topics, by name. Keys and retention are described in `docs/topics.md`.

/// Record headers that tell the writers of one topic apart.
pub mod header {
    /// What a record is; absent on the topic's first kind (signals on `transitions`, facts on `incidents`, security signals on
    /// `compliance`).
    pub const TYPE: &str = "aegis-type";
    /// A [`crate::command::IncidentCommand`], on `transitions`.
    pub const COMMAND: &str = "command";
    /// A [`crate::investigation::StepEvent`], on `incidents`.
    pub const STEP: &str = "step";
    /// A [`crate::compliance::ComplianceRecord`], on `compliance`.
    pub const COMPLIANCE: &str = "compliance";
}

/// Raw bodies as they came, with origin, verdict and delivery key in the headers. Any key.
pub const EVENTS_RAW: &str = "events.raw";
/// Log lines as senders said them, one batch a record. Key: tenant/service.
pub const LOGS: &str = "logs";
/// Log lines with their templates, each delivery once: what the archive keeps. Key: tenant/service.
pub const LINES: &str = "lines";
/// Normalised signals of every kind. Key: dedup key.
pub const SIGNALS: &str = "signals";
/// What survived dedupe. Key: correlation domain.
pub const TRANSITIONS: &str = "transitions";
/// Facts about incidents. Key: correlation domain.
pub const INCIDENTS: &str = "incidents";
/// Change signals, public projection. Key: service.
pub const DEPLOYMENTS: &str = "deployments";
/// Security signals, public projection (key: service), and what the policies of compliance say (key: tenant/environment).
pub const COMPLIANCE: &str = "compliance";
pub const REMEDIATIONS: &str = "remediations";
/// One message per fact worth telling. Key: incident.
pub const NOTIFICATIONS: &str = "notifications";
pub const LEDGER: &str = "ledger";
/// What came too late for its window, whole.
pub const LATE: &str = "late";
/// What was refused, with bytes and provenance.
pub const DEAD_LETTER: &str = "dead-letter";
/// One accounting record per stage, partition and commit.
pub const ACCOUNTING: &str = "accounting";

/// Silences, said by people. One partition, kept for ever; like `topology` it is not of the dataflow, and in no generation.
pub const SILENCES: &str = "silences";

/// Every topic, in the order of the dataflow.
pub const ALL: &[&str] = &[
    EVENTS_RAW,
    LOGS,
    LINES,
    SIGNALS,
    TRANSITIONS,
    INCIDENTS,
    DEPLOYMENTS,
    COMPLIANCE,
    REMEDIATIONS,
    NOTIFICATIONS,
    LEDGER,
    LATE,
    DEAD_LETTER,
    ACCOUNTING,
];
