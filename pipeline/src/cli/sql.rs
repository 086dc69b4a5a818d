//! `aegis sql`: its arguments.

use clap::Args;

/// Ask the tables and the archive a question in SQL
///
/// Read only: SELECT, EXPLAIN and SHOW. Tables: incidents, incident_members, incident_events, signals (alerts,
/// changes), dead_letters, notifications, executions, remediations, pipeline_metrics, logs, and counts of them by minute, hour and day
/// (signals_by_hour); `\d` in the shell lists all. Without a query it is a shell with history and completion, or reads
/// statements from a pipe.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis sql \"select severity, count(*) from incidents group by 1\"
  aegis sql --csv \"select * from signals order by event_at desc limit 100\" > signals.csv
  aegis sql --json \"select title from incidents where status = 'open'\" | jq -r .title
  aegis sql --follow \"select at, title from incident_events order by at desc limit 100\"
  aegis sql < report.sql
  aegis sql")]
pub struct SqlArgs {
    /// The query, or - for one from standard input
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
    /// One JSON object per line
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values with a header line
    #[arg(long)]
    pub csv: bool,
    /// Ask again and again, and show the rows that are new; Ctrl-C ends it
    #[arg(short, long)]
    pub follow: bool,
    /// Seconds between two questions of --follow
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, requires = "follow")]
    pub every: f64,
    /// Refuse answers of more rows than this
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub max_rows: usize,
}
