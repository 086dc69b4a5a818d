//! `aegis audit`: its arguments.

use clap::{Args, Subcommand};

/// Check the books of the pipeline against the log
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis audit conservation
  aegis audit conservation --json | jq .findings"
)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    Conservation(ConservationArgs),
}

/// Count every item once more, and compare with what each stage says became of it
///
/// Decodes the topics with code of its own, and compares with the accounting records of each stage: ranges without gap or
/// overlap, items in, rows out, dead letters, digests of merged ids. Changes nothing. Works with and without a running aegis,
/// and on Kafka. Where retention has dropped the beginning it says from which offset it could audit.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis audit conservation
  aegis audit conservation --json | jq -r '.findings[] | [.stage, .check, .topic, .partition, .from, .to] | @tsv'

Exits with 0 when everything balances, and with 7 when something does not; the findings say what, and at which offsets.")]
pub struct ConservationArgs {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}
