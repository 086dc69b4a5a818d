//! `aegis compliance`: its arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Controls, and the evidence for one
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis compliance list
  aegis compliance evidence SOC2:CC8.1 --out cc8.1.json
  aegis compliance verify cc8.1.json"
)]
pub struct ComplianceArgs {
    #[command(subcommand)]
    pub command: ComplianceCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ComplianceCommand {
    List(ControlsArgs),
    Evidence(EvidenceArgs),
    Verify(VerifyPackArgs),
}

/// Every control that a policy serves, and how many facts kept or broke it
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis compliance list
  aegis compliance list --json | jq '.controls[] | select(.violations > 0)'")]
pub struct ControlsArgs {
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Write the evidence pack of a control: the same bytes for the same log
///
/// JSON with sorted keys: every record of a policy that serves the control, chained by hashes, with the entries of the ledger about the
/// same facts. Works with and without a running aegis, and on Kafka.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis compliance evidence SOC2:CC8.1 --out cc8.1.json
  aegis compliance evidence GDPR:Art.33 | jq .violations

Exits with 4 when no policy serves such a control.")]
pub struct EvidenceArgs {
    /// As `aegis compliance list` names it
    #[arg(value_name = "CONTROL")]
    pub control: String,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub out: Option<PathBuf>,
}

/// Check the hashes of an evidence pack
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis compliance verify cc8.1.json

Exits with 0 when every hash is that of its content, and with 7 when one is not.")]
pub struct VerifyPackArgs {
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
}
