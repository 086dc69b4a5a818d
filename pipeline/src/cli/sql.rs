//! `aegis sql`: its arguments.

use clap::Args;

/// Ask the tables and the archive a question in SQL
///
/// Read only: SELECT, EXPLAIN and SHOW. Tables: incidents, incident_members, incident_events, signals, dead_letters,
/// notifications, agent_executions, remediations, logs. The query is read from standard input where it is `-`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis sql \"select severity, count(*) from incidents group by 1\"
  aegis sql --csv \"select * from signals order by event_at desc limit 100\" > signals.csv
  aegis sql --json \"select title from incidents where status = 'open'\" | jq -r .title
  aegis sql - < report.sql")]
pub struct SqlArgs {
    /// The query, or - for standard input
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// One JSON object per line
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values with a header line
    #[arg(long)]
    pub csv: bool,
    /// Refuse answers of more rows than this
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub max_rows: usize,
}
