//! The tables that the sink writes, as data: columns, kinds, and what happens when a row is there already.
//!
//! The statements are the same in both dialects; only the way of binding many rows differs. The columns are those of
//! `migrations/`; a test of each store inserts into every table.

use super::value::{Kind, Kind::*, Value};

/// A table as the sink writes it.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
    /// The `ON CONFLICT` clause. An upsert never meets the same key twice in one statement (PostgreSQL refuses that).
    pub conflict: &'static str,
}

/// Rows of one table; each has one value per column.
#[derive(Debug)]
pub struct Rows {
    pub table: &'static Table,
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// The columns that tell its rows apart, by number, of a table whose rows are inserted once and never changed.
    pub fn key(&self) -> Vec<usize> {
        let key: &[&str] = match self.name {
            "signals" => &["event_at", "raw_partition", "raw_offset", "raw_index"],
            "incident_events" => &["incident_id", "revision"],
            _ => &[],
        };
        let index = |column: &&str| self.columns.iter().position(|(name, _)| name == column);
        key.iter().filter_map(index).collect()
    }

    /// `INSERT INTO name (columns)`.
    pub fn insert_into(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("INSERT INTO {} ({})", self.name, columns.join(", "))
    }
}

/// `RETURNING a, b`.
pub fn returning(named: &[(&str, Kind)]) -> String {
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    format!("RETURNING {}", names.join(", "))
}

pub static SIGNALS: Table = Table {
    name: "signals",
    columns: &[
        ("event_at", Time),
        ("raw_partition", Int),
        ("raw_offset", Int),
        ("raw_index", Int),
        ("id", Uuid),
        ("tenant", Text),
        ("environment", Text),
        ("source", Text),
        ("kind", Text),
        ("state", Text),
        ("dedup_key", Text),
        ("dedup_rule", Text),
        ("observed_at", Time),
        ("effective_at", Time),
        ("ends_at", Time),
        ("severity", Text),
        ("title", Text),
        ("description", Text),
        ("service", Text),
        ("cluster", Text),
        ("namespace", Text),
        ("alert_group", Text),
        ("labels", Json),
        ("annotations", Json),
        ("extra", Json),
        ("log_partition", Int),
        ("log_offset", Int),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};

/// Metadata is not touched: it is for people.
pub static INCIDENTS: Table = Table {
    name: "incidents",
    columns: &[
        ("id", Uuid),
        ("alert_id", Text),
        ("source", Text),
        ("severity", Text),
        ("status", Text),
        ("title", Text),
        ("service", Text),
        ("auto_resolved", Bool),
        ("resolved_by", Text),
        ("created_at", Time),
        ("resolved_at", Time),
        ("canonical_key", Uuid),
        ("revision", Int),
        ("tenant", Text),
        ("environment", Text),
        ("merged_into", Uuid),
        ("updated_at", Time),
        ("members", Int),
        ("firing", Int),
        ("root_cause", Text),
        ("resolution", Text),
    ],
    conflict: "ON CONFLICT (id) DO UPDATE SET \
        tenant = excluded.tenant, environment = excluded.environment, \
        root_cause = excluded.root_cause, resolution = excluded.resolution, \
        alert_id = excluded.alert_id, source = excluded.source, severity = excluded.severity, status = excluded.status, \
        title = excluded.title, service = excluded.service, auto_resolved = excluded.auto_resolved, \
        resolved_by = excluded.resolved_by, created_at = excluded.created_at, resolved_at = excluded.resolved_at, \
        canonical_key = excluded.canonical_key, revision = excluded.revision, merged_into = excluded.merged_into, \
        updated_at = excluded.updated_at, members = excluded.members, firing = excluded.firing \
        WHERE incidents.revision < excluded.revision",
};

pub static INCIDENT_EVENTS: Table = Table {
    name: "incident_events",
    columns: &[
        ("incident_id", Uuid),
        ("revision", Int),
        ("at", Time),
        ("observed_at", Time),
        ("fact", Text),
        ("payload", Json),
        ("tenant", Text),
        ("environment", Text),
        ("service", Text),
        ("severity", Text),
        ("detect_ms", Int),
        ("open_ms", Int),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};

pub static INCIDENT_MEMBERS: Table = Table {
    name: "incident_members",
    columns: &[
        ("incident_id", Uuid),
        ("episode", Uuid),
        ("signal_id", Uuid),
        ("dedup_key", Text),
        ("source", Text),
        ("title", Text),
        ("severity", Text),
        ("service", Text),
        ("starts_at", Time),
        ("ends_at", Time),
        ("rule", Text),
        ("link_key", Text),
        ("linked_to", Uuid),
        ("apart_ms", Int),
        ("revision", Int),
    ],
    conflict: "ON CONFLICT (incident_id, episode) DO UPDATE SET \
        signal_id = excluded.signal_id, title = excluded.title, severity = excluded.severity, service = excluded.service, \
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, rule = excluded.rule, link_key = excluded.link_key, \
        linked_to = excluded.linked_to, apart_ms = excluded.apart_ms, revision = excluded.revision \
        WHERE incident_members.revision < excluded.revision",
};

pub static DEAD_LETTERS: Table = Table {
    name: "dead_letters",
    columns: &[
        ("log_partition", Int),
        ("log_offset", Int),
        ("stage", Text),
        ("reason", Text),
        ("detail", Text),
        ("field", Text),
        ("source_topic", Text),
        ("source_partition", Int),
        ("source_offset", Int),
        ("item", Int),
        ("received_at", Time),
        ("attempt", Int),
        ("headers", Json),
        ("body_base64", Text),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};

pub static NOTIFICATIONS: Table = Table {
    name: "notifications",
    columns: &[
        ("id", Uuid),
        ("incident_id", Uuid),
        ("revision", Int),
        ("event", Text),
        ("severity", Text),
        ("status", Text),
        ("title", Text),
        ("service", Text),
        ("at", Time),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};

/// Sums of ten seconds: what is there already is added to. The position that moves in the same transaction is what makes every
/// record count once.
pub static PIPELINE_METRICS: Table = Table {
    name: "pipeline_metrics",
    columns: &[
        ("at", Time),
        ("stage", Text),
        ("input", Text),
        ("partition", Int),
        ("commits", Int),
        ("bodies", Int),
        ("items", Int),
        ("forwarded", Int),
        ("merged", Int),
        ("suppressed", Int),
        ("late", Int),
        ("dead_lettered", Int),
        ("held", Int),
        ("released", Int),
        ("produced", Int),
    ],
    conflict: "ON CONFLICT (at, stage, input, partition) DO UPDATE SET \
        commits = pipeline_metrics.commits + excluded.commits, bodies = pipeline_metrics.bodies + excluded.bodies, \
        items = pipeline_metrics.items + excluded.items, forwarded = pipeline_metrics.forwarded + excluded.forwarded, \
        merged = pipeline_metrics.merged + excluded.merged, suppressed = pipeline_metrics.suppressed + excluded.suppressed, \
        late = pipeline_metrics.late + excluded.late, dead_lettered = pipeline_metrics.dead_lettered + excluded.dead_lettered, \
        held = pipeline_metrics.held + excluded.held, released = pipeline_metrics.released + excluded.released, \
        produced = pipeline_metrics.produced + excluded.produced",
};

/// A step is inserted when it is asked for, and changed when it is answered: [`super::response`] looks whether it is there. The id is
/// no key of its own where TimescaleDB divides the table by time, so no conflict is named.
pub static AGENT_EXECUTIONS: Table = Table {
    name: "agent_executions",
    columns: &[
        ("id", Uuid),
        ("incident_id", Uuid),
        ("agent_name", Text),
        ("input_data", Json),
        ("output_data", Json),
        ("tool_calls", Json),
        ("tokens_used", Int),
        ("duration_ms", Int),
        ("status", Text),
        ("created_at", Time),
        ("run_id", Uuid),
        ("attempt", Int),
        ("error", Text),
        ("finished_at", Time),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};

pub static REMEDIATIONS: Table = Table {
    name: "remediations",
    columns: &[
        ("id", Uuid),
        ("incident_id", Uuid),
        ("action_type", Text),
        ("target", Text),
        ("namespace", Text),
        ("status", Text),
        ("created_at", Time),
        ("cluster", Text),
        ("plan_hash", Text),
        ("reason", Text),
        ("proposal", Json),
        ("proposed_by", Text),
        ("expires_at", Time),
        ("updated_at", Time),
    ],
    conflict: "ON CONFLICT DO NOTHING",
};
