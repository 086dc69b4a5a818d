//! `aegis config`.

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::Exit;
use crate::config;

/// Print an example configuration, or the reference of all settings
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis config example > aegis.toml       every setting with its default, commented out
  aegis config docs | less                the reference, as in docs/config.md")]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub what: ConfigCommand,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print a commented aegis.toml with every setting at its default
    #[command(after_help = "Examples:\n  aegis config example > aegis.toml")]
    Example,
    /// Print the reference of all settings, in Markdown
    #[command(after_help = "Examples:\n  aegis config docs > docs/config.md")]
    Docs,
}

pub fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let text = match args.what {
        ConfigCommand::Example => config::example(),
        ConfigCommand::Docs => config::reference(),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}
