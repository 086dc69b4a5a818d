//! The command line: what can be asked for, how answers are shown, what the exit codes mean.
//!
//! [`main`] parses, reads the configuration, sets logging up, carries out `check`, `config` and `completions` itself and
//! hands the rest to the caller as a [`Work`]. Data goes to standard output and nothing else does: logs, progress and
//! errors go to standard error, so that `aegis … --json | jq` always works.

mod audit;
mod check;
mod completions;
mod compliance;
mod config;
mod dead_letters;
pub mod exit;
mod incidents;
mod ingest;
mod logs;
mod mcp;
mod propose;
pub mod render;
pub mod repartition;
mod response;
mod run;
pub mod silences;
pub mod similar;
pub mod sinks;
mod sql;
pub mod upgrade;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};

pub use audit::{AuditArgs, AuditCommand};
pub use check::CheckArgs;
pub use completions::CompletionsArgs;
pub use compliance::{ComplianceArgs, ComplianceCommand};
pub use config::ConfigArgs;
pub use dead_letters::{DeadLettersArgs, DeadLettersCommand, DropArgs, ListArgs, ReplayArgs, ShowArgs, What, Which};
pub use exit::Exit;
pub use incidents::IncidentsArgs;
pub use ingest::{IngestArgs, Sender};
pub use logs::{LogsArgs, TemplatesArgs, WhichLines};
pub use mcp::{McpArgs, McpCommand, McpLogArgs};
pub use propose::{ProposeArgs, ProposedAction};
pub use repartition::RepartitionArgs;
pub use response::{ApproveArgs, DenyArgs, LedgerArgs, LedgerCommand, RemediationArgs, RemediationCommand, RunsArgs};
pub use run::{DemoArgs, Role, RunArgs};
pub use silences::{SilencesArgs, SilencesCommand};
pub use similar::{FetchArgs, ModelsArgs, ModelsCommand, SimilarArgs};
pub use sinks::{RebuildArgs, SinksArgs, SinksCommand, SinksListArgs};
pub use sql::SqlArgs;
pub use upgrade::UpgradeArgs;

use crate::config::{self as settings, Config, Inputs};
use crate::logging::{self, Voice};
use render::{ColorChoice, Screen};

/// Turns streams of alerts into deduplicated, correlated incidents.
#[derive(Debug, Parser)]
#[command(
    name = "aegis",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = TOP_EXAMPLES, after_long_help = exit::top_help())]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

const TOP_EXAMPLES: &str = "\
Examples:
  aegis demo                          see it work on a recorded storm of alerts
  aegis run                           listen on port 3001, everything kept in ./aegis-data
  aegis incidents --status open       what is on fire
  aegis check --config aegis.toml     all faults of a configuration at once

Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 not found, 5 unavailable, 6 done in part, 7 does not balance (see --help).";

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub struct GlobalArgs {
    /// Configuration file [default: AEGIS_CONFIG, else aegis.toml if there is one]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Folder of the log, the tables and the archive [default: data.dir of the configuration, ./aegis-data]
    #[arg(long, global = true, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// Log more: -v debug, -vv trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Whether to colour what is shown
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Ingest(IngestArgs),
    Incidents(IncidentsArgs),
    Similar(SimilarArgs),
    Logs(LogsArgs),
    Templates(TemplatesArgs),
    Sql(SqlArgs),
    Mcp(McpArgs),
    Runs(RunsArgs),
    Remediation(RemediationArgs),
    Silences(SilencesArgs),
    Propose(ProposeArgs),
    Approve(ApproveArgs),
    Deny(DenyArgs),
    Ledger(LedgerArgs),
    Compliance(ComplianceArgs),
    DeadLetters(DeadLettersArgs),
    Audit(AuditArgs),
    Demo(DemoArgs),
    Upgrade(UpgradeArgs),
    Repartition(RepartitionArgs),
    Sinks(SinksArgs),
    Models(ModelsArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
}

/// A command that needs the pipeline.
#[derive(Clone, Debug)]
pub enum Work {
    Run(RunArgs),
    Ingest(IngestArgs),
    Incidents(IncidentsArgs),
    Logs(LogsArgs),
    Templates(TemplatesArgs),
    Sql(SqlArgs),
    Mcp(McpArgs),
    Runs(RunsArgs),
    Remediation(RemediationArgs),
    Silences(SilencesArgs),
    Propose(ProposeArgs),
    Approve(ApproveArgs),
    Deny(DenyArgs),
    Ledger(LedgerArgs),
    Compliance(ComplianceArgs),
    DeadLetters(DeadLettersArgs),
    Audit(AuditArgs),
    Demo(DemoArgs),
    Upgrade(UpgradeArgs),
    Repartition(RepartitionArgs),
    Sinks(SinksArgs),
    Similar(SimilarArgs),
    Models(ModelsArgs),
}

/// What every command gets.
#[derive(Clone, Debug)]
pub struct Session {
    pub config: Config,
    pub global: GlobalArgs,
    pub screen: Screen,
}

/// Runs the command that the process was started with.
pub fn main(body: impl FnOnce(Session, Work) -> anyhow::Result<Exit>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    start(arguments, Inputs::from_process(), body).into()
}

/// The same with given arguments (the first is the program's name) and inputs.
pub fn start(
    arguments: Vec<OsString>,
    inputs: Inputs,
    body: impl FnOnce(Session, Work) -> anyhow::Result<Exit>,
) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers, the rest is usage. A closed pipe is nobody's fault.
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let screen = Screen::new(cli.global.color, &inputs.environment);
    let inputs = Inputs {
        file: cli.global.config.clone(),
        data_dir: cli.global.data_dir.clone(),
        ..inputs
    };
    let result = carry_out(cli, &screen, &inputs, body);
    let (exit, error) = match result {
        Ok(exit) => (exit, None),
        Err(error) => (exit::of(&error), Some(error)),
    };
    if let Some(error) = error.filter(|error| !exit::closed_pipe(error)) {
        let _ = render::error(&error, &screen, &mut io::stderr().lock());
    }
    exit
}

fn carry_out(
    cli: Cli,
    screen: &Screen,
    inputs: &Inputs,
    body: impl FnOnce(Session, Work) -> anyhow::Result<Exit>,
) -> anyhow::Result<Exit> {
    let work = match cli.command {
        Command::Check(args) => return check::run(&args, inputs, screen),
        Command::Config(args) => return config::run(&args),
        Command::Completions(args) => return completions::run(&args),
        Command::Run(args) => Work::Run(args),
        Command::Ingest(args) => Work::Ingest(args),
        Command::Incidents(args) => Work::Incidents(args),
        Command::Logs(args) => Work::Logs(args),
        Command::Templates(args) => Work::Templates(args),
        Command::Sql(args) => Work::Sql(args),
        Command::Mcp(args) => Work::Mcp(args),
        Command::DeadLetters(args) => Work::DeadLetters(args),
        Command::Runs(args) => Work::Runs(args),
        Command::Remediation(args) => Work::Remediation(args),
        Command::Silences(args) => Work::Silences(args),
        Command::Propose(args) => Work::Propose(args),
        Command::Approve(args) => Work::Approve(args),
        Command::Deny(args) => Work::Deny(args),
        Command::Ledger(args) => Work::Ledger(args),
        Command::Compliance(args) => Work::Compliance(args),
        Command::Audit(args) => Work::Audit(args),
        Command::Demo(args) => Work::Demo(args),
        Command::Upgrade(args) => Work::Upgrade(args),
        Command::Repartition(args) => Work::Repartition(args),
        Command::Sinks(args) => Work::Sinks(args),
        Command::Similar(args) => Work::Similar(args),
        Command::Models(args) => Work::Models(args),
    };
    let (config, warnings) = match settings::load_from(inputs) {
        Ok(read) => read,
        Err(faults) => {
            let mut out = io::stderr().lock();
            render::faults(&faults, &[], screen, &mut out)?;
            writeln!(out, "`aegis check` repeats this without starting anything")?;
            return Ok(Exit::Configuration);
        }
    };
    let daemon = matches!(work, Work::Run(_));
    let voice = Voice {
        verbose: cli.global.verbose,
        daemon,
        terminal: screen.stderr.terminal,
        colour: screen.stderr.colour,
    };
    if let Err(e) = logging::init(&config.logging, &config.telemetry, &inputs.environment, voice) {
        return Err(Exit::Configuration.because(e.to_string()));
    }
    if daemon {
        for warning in &warnings {
            tracing::warn!(place = %warning.0.place, key = warning.0.key, "{}", warning.0.problem);
        }
    }
    if let Work::Run(args) = &work
        && let Some(problem) = args.refused(&config)
    {
        return Err(Exit::Usage.because(problem));
    }
    body(
        Session {
            config,
            global: cli.global,
            screen: screen.clone(),
        },
        work,
    )
}

/// The command tree, for completions and tests.
pub fn command() -> clap::Command {
    Cli::command()
}
