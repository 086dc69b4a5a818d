//! The tables that can be asked about: the columns of `migrations/`, as Arrow. A test compares them with the real tables. Log lines are
//! no table of the store.
//!
//! Ids and JSON are text; times are microseconds, UTC.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// How a column is stored and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Uuid,
    Text,
    Int,
    Bool,
    Time,
    Json,
}

use Kind::*;

/// One table.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Kind)],
}

impl Table {
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|(name, kind)| Field::new(*name, kind.arrow(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

impl Kind {
    pub fn arrow(self) -> DataType {
        match self {
            Uuid | Text | Json => DataType::Utf8,
            Int => DataType::Int64,
            Bool => DataType::Boolean,
            Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }
}

/// The names, for help texts.
pub fn table_names() -> Vec<&'static str> {
    TABLES.iter().chain([&LOGS]).map(|table| table.name).collect()
}

/// Whether `query` may read log lines, of which the newest are in a running aegis's memory until it writes them. A word of that
/// name anywhere will do: asking once too often costs nothing.
pub fn names_log_lines(query: &str) -> bool {
    query
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word.eq_ignore_ascii_case(LOGS.name))
}

/// Those of [`TABLES`] that are parts of others: name, table, and the kind of signal that is meant. The store has them as views; here they
/// are views on all the places where the table lies.
pub(crate) const VIEWS: &[(&str, &str, Option<&str>)] = &[
    ("alerts", "signals", Some("alert")),
    ("changes", "signals", Some("change")),
    ("executions", "agent_executions", None),
];

/// Log lines, which are in the archive alone.
pub(crate) static LOGS: Table = Table {
    name: "logs",
    columns: &[
        ("at", Time),
        ("observed_at", Time),
        ("tenant", Text),
        ("environment", Text),
        ("service", Text),
        ("cluster", Text),
        ("namespace", Text),
        ("level", Text),
        ("text", Text),
        ("template", Text),
        ("pattern", Text),
        ("trace_id", Text),
        ("span_id", Text),
        ("labels", Json),
        ("attributes", Json),
        ("log_partition", Int),
        ("log_offset", Int),
        ("log_index", Int),
    ],
};

/// Columns of `signals` and of the views over it.
const SIGNAL: &[(&str, Kind)] = &[
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
];

/// Columns of `agent_executions` and of the views over it.
const EXECUTION: &[(&str, Kind)] = &[
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
];

/// Columns of `signals_by_minute`, `_by_hour` and `_by_day`.
const SIGNALS_BY: &[(&str, Kind)] = &[
    ("bucket", Time),
    ("tenant", Text),
    ("environment", Text),
    ("source", Text),
    ("kind", Text),
    ("severity", Text),
    ("service", Text),
    ("signals", Int),
    ("firing", Int),
];

/// Columns of `incident_events_by_minute`, `_by_hour` and `_by_day`.
const EVENTS_BY: &[(&str, Kind)] = &[
    ("bucket", Time),
    ("tenant", Text),
    ("environment", Text),
    ("service", Text),
    ("severity", Text),
    ("fact", Text),
    ("events", Int),
    ("detect_ms", Int),
    ("open_ms", Int),
];

/// Columns of `executions_by_minute`, `_by_hour` and `_by_day`.
const EXECUTIONS_BY: &[(&str, Kind)] = &[
    ("bucket", Time),
    ("agent_name", Text),
    ("status", Text),
    ("runs", Int),
    ("tokens", Int),
    ("duration_ms", Int),
];

/// Columns of `remediations_by_minute`, `_by_hour` and `_by_day`.
const REMEDIATIONS_BY: &[(&str, Kind)] = &[
    ("bucket", Time),
    ("action_type", Text),
    ("namespace", Text),
    ("status", Text),
    ("remediations", Int),
];

/// Columns of `pipeline_metrics_by_minute`, `_by_hour` and `_by_day`.
const METRICS_BY: &[(&str, Kind)] = &[
    ("bucket", Time),
    ("stage", Text),
    ("commits", Int),
    ("bodies", Int),
    ("items", Int),
    ("forwarded", Int),
    ("merged", Int),
    ("suppressed", Int),
    ("late", Int),
    ("dead_lettered", Int),
    ("produced", Int),
];

pub(crate) static TABLES: &[Table] = &[
    Table {
        name: "incidents",
        columns: &[
            ("id", Uuid),
            ("alert_id", Text),
            ("source", Text),
            ("severity", Text),
            ("status", Text),
            ("title", Text),
            ("service", Text),
            ("root_cause", Text),
            ("resolution", Text),
            ("auto_resolved", Bool),
            ("resolved_by", Text),
            ("created_at", Time),
            ("resolved_at", Time),
            ("metadata", Json),
            ("canonical_key", Uuid),
            ("revision", Int),
            ("tenant", Text),
            ("environment", Text),
            ("merged_into", Uuid),
            ("updated_at", Time),
            ("members", Int),
            ("firing", Int),
        ],
    },
    Table {
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
    },
    Table {
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
    },
    Table {
        name: "agent_executions",
        columns: EXECUTION,
    },
    Table {
        name: "remediations",
        columns: &[
            ("id", Uuid),
            ("incident_id", Uuid),
            ("action_type", Text),
            ("target", Text),
            ("namespace", Text),
            ("status", Text),
            ("before_state", Json),
            ("after_state", Json),
            ("created_at", Time),
            ("cluster", Text),
            ("plan_hash", Text),
            ("reason", Text),
            ("proposal", Json),
            ("proposed_by", Text),
            ("decided_by", Text),
            ("note", Text),
            ("expires_at", Time),
            ("updated_at", Time),
        ],
    },
    Table {
        name: "signals",
        columns: SIGNAL,
    },
    Table {
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
            ("status", Text),
            ("dealt_at", Time),
            ("because", Text),
        ],
    },
    Table {
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
    },
    Table {
        name: "alerts",
        columns: SIGNAL,
    },
    Table {
        name: "changes",
        columns: SIGNAL,
    },
    Table {
        name: "executions",
        columns: EXECUTION,
    },
    Table {
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
    },
    Table {
        name: "signals_by_minute",
        columns: SIGNALS_BY,
    },
    Table {
        name: "signals_by_hour",
        columns: SIGNALS_BY,
    },
    Table {
        name: "signals_by_day",
        columns: SIGNALS_BY,
    },
    Table {
        name: "incident_events_by_minute",
        columns: EVENTS_BY,
    },
    Table {
        name: "incident_events_by_hour",
        columns: EVENTS_BY,
    },
    Table {
        name: "incident_events_by_day",
        columns: EVENTS_BY,
    },
    Table {
        name: "executions_by_minute",
        columns: EXECUTIONS_BY,
    },
    Table {
        name: "executions_by_hour",
        columns: EXECUTIONS_BY,
    },
    Table {
        name: "executions_by_day",
        columns: EXECUTIONS_BY,
    },
    Table {
        name: "remediations_by_minute",
        columns: REMEDIATIONS_BY,
    },
    Table {
        name: "remediations_by_hour",
        columns: REMEDIATIONS_BY,
    },
    Table {
        name: "remediations_by_day",
        columns: REMEDIATIONS_BY,
    },
    Table {
        name: "pipeline_metrics_by_minute",
        columns: METRICS_BY,
    },
    Table {
        name: "pipeline_metrics_by_hour",
        columns: METRICS_BY,
    },
    Table {
        name: "pipeline_metrics_by_day",
        columns: METRICS_BY,
    },
];
