//! `aegis check`.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::json;

use super::Exit;
use super::render::{self, Screen};
use crate::config::{self, Inputs};

/// Check the configuration and list all of its faults
///
/// Reads the file and the environment as `aegis run` would, starts nothing and needs no network. Every fault is listed with
/// its file, line and column and with what to write instead. References to secrets are followed, so run it with the
/// environment that the daemon gets.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis check                             the aegis.toml here, or the defaults
  aegis check --config /etc/aegis.toml
  AEGIS_LOG__KIND=kafka aegis check       with an override
  aegis check --json                      one JSON object per fault and warning

Exits with 3 when there are faults; warnings do not count.")]
pub struct CheckArgs {
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &CheckArgs, inputs: &Inputs, screen: &Screen) -> anyhow::Result<Exit> {
    let (faults, warnings) = match config::load_from(inputs) {
        Ok((_, warnings)) => (Vec::new(), warnings),
        Err(faults) => (faults, Vec::new()),
    };
    let exit = if faults.is_empty() {
        Exit::Done
    } else {
        Exit::Configuration
    };
    if args.json {
        let mut out = io::stdout().lock();
        for fault in &faults {
            writeln!(
                out,
                "{}",
                json!({ "level": "error", "fault": fault, "text": fault.to_string() })
            )?;
        }
        for warning in &warnings {
            writeln!(
                out,
                "{}",
                json!({ "level": "warning", "fault": warning, "text": warning.to_string() })
            )?;
        }
        return Ok(exit);
    }
    render::faults(&faults, &warnings, screen, &mut io::stderr().lock())?;
    if faults.is_empty() {
        let source = match inputs.path() {
            Some(path) => path.display().to_string(),
            None => "no configuration file, the defaults hold".to_owned(),
        };
        writeln!(io::stdout().lock(), "ok: {source}")?;
    }
    Ok(exit)
}
