//! `aegis mcp`: its arguments.

use clap::{Args, Subcommand};

/// Let a model look at incidents (Model Context Protocol), or show what models asked
///
/// A running aegis serves MCP on 127.0.0.1:8001/mcp. --stdio joins it over a pipe, for programs that start their servers themselves.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  aegis mcp --stdio --data-dir /var/lib/aegis   what to write as the command in a client's configuration
  aegis mcp log                                 the newest calls: who, what, how it ended
  aegis mcp log --json | jq 'select(.outcome != \"ok\")'

Exits with 5 when no aegis with MCP runs on the data folder.")]
pub struct McpArgs {
    /// Speak MCP over standard input and output with the running aegis of the data folder
    #[arg(long)]
    pub stdio: bool,
    #[command(subcommand)]
    pub command: Option<McpCommand>,
}

/// What else there is.
#[derive(Clone, Debug, Subcommand)]
pub enum McpCommand {
    Log(McpLogArgs),
}

/// Show the calls of models, oldest first
///
/// Reads the log of calls in the data folder; no running aegis is needed.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis mcp log --limit 10
  aegis mcp log --json | jq -r .name | sort | uniq -c")]
pub struct McpLogArgs {
    /// At most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}
