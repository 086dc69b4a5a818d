//! `aegis runs`, `aegis remediation`, `aegis approve`, `aegis deny`, `aegis ledger`: their arguments.

use clap::{Args, Subcommand};
use uuid::Uuid;

/// List the steps of investigations, or show one
///
/// Reads the tables; no running aegis is needed. The newest come first.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis runs
  aegis runs --incident 0198f0c2-7a55-7b5e-9a55-3f1d5a0a6e11
  aegis runs 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10
  aegis runs --json | jq -r 'select(.status == \"timeout\") | .agent_name'

Exits with 4 when there is no step of the given id.")]
pub struct RunsArgs {
    /// Show this step
    #[arg(value_name = "ID", conflicts_with_all = ["incident", "status", "limit"])]
    pub id: Option<Uuid>,
    /// Only about this incident
    #[arg(long, value_name = "ID")]
    pub incident: Option<Uuid>,
    /// Only with this status
    #[arg(long, value_parser = ["running", "success", "failed", "timeout", "cancelled"])]
    pub status: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Look at remediations, and stop all of them
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis remediation list --status waiting
  aegis remediation show 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10
  aegis remediation stop
  aegis remediation go"
)]
pub struct RemediationArgs {
    #[command(subcommand)]
    pub command: RemediationCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum RemediationCommand {
    List(RemediationListArgs),
    Show(RemediationShowArgs),
    /// Turn the stop switch on: nothing is executed until `go`, whatever was granted
    #[command(after_help = "Examples:\n  aegis remediation stop")]
    Stop,
    /// Turn the stop switch off
    #[command(after_help = "Examples:\n  aegis remediation go")]
    Go,
}

/// List remediations, newest first
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis remediation list --status waiting
  aegis remediation list --json | jq -r .plan_hash")]
pub struct RemediationListArgs {
    /// Only about this incident
    #[arg(long, value_name = "ID")]
    pub incident: Option<Uuid>,
    /// Only with this status: proposed, waiting, denied, expired, granted, attempted, executed, verified, unverified, rolled_back,
    /// failed
    #[arg(long)]
    pub status: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Show a remediation: plan, reason, dry run, what it would touch, and what became of it
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis remediation show 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10")]
pub struct RemediationShowArgs {
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Say yes to a remediation that waits
///
/// The yes is bound to the plan as it is shown, to its target as it stood, and ends with the proposal. It counts as given by
/// `human:` and your user name. Needs a running aegis on the embedded log; with Kafka it is written to the log.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis approve 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10
  aegis approve 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10 --yes      without being asked

Exits with 4 when there is no such remediation, with 1 when it waits for nobody.")]
pub struct ApproveArgs {
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// Do not ask back
    #[arg(long)]
    pub yes: bool,
}

/// Say no to a remediation that waits
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis deny 6c0b6a52-3c1e-5d0a-8c0b-2a2f3d9b7e10 --because \"a deployment is under way\"")]
pub struct DenyArgs {
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// Why
    #[arg(long, value_name = "REASON")]
    pub because: String,
}

/// Verify the ledger of remediations
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  aegis ledger verify"
)]
pub struct LedgerArgs {
    #[command(subcommand)]
    pub command: LedgerCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    Verify(VerifyArgs),
}

/// Check every chain of the ledger, and every record of `remediations` against its entry
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis ledger verify
  aegis ledger verify --json | jq .faults

Exits with 0 when everything verifies, and with 7 when something does not.")]
pub struct VerifyArgs {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}
