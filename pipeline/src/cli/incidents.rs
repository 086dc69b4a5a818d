//! `aegis incidents`: its arguments.

use clap::Args;
use model::Severity;

/// List incidents, or show one with its members and history
///
/// Reads the tables; no running aegis is needed. The newest come first.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis incidents
  aegis incidents --status open --severity critical
  aegis incidents 0198f0c2-7a55-7b5e-9a55-3f1d5a0a6e11
  aegis incidents --json | jq -r .title

Exits with 4 when there is no incident of the given id.")]
pub struct IncidentsArgs {
    /// Show this incident
    #[arg(value_name = "ID", conflicts_with_all = ["status", "severity", "service", "limit"])]
    pub id: Option<String>,
    /// Only with this status
    #[arg(long, value_parser = ["open", "investigating", "resolved"])]
    pub status: Option<String>,
    /// Only of this severity
    #[arg(long, value_name = "SEVERITY", value_parser = severity_parser())]
    pub severity: Option<Severity>,
    /// Only of this service
    #[arg(long)]
    pub service: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

fn severity_parser() -> impl clap::builder::TypedValueParser<Value = Severity> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(["critical", "warning", "info"]).try_map(|word| word.parse::<Severity>())
}
