//! `aegis completions`.

use std::io::{self, Write as _};

use clap::Args;
use clap_complete::Shell;

use super::Exit;

/// Print completions for a shell
///
/// The output is a script for the shell to read. Print it anew after an update of aegis.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis completions bash > ~/.local/share/bash-completion/completions/aegis
  aegis completions zsh > ~/.zfunc/_aegis
  aegis completions fish > ~/.config/fish/completions/aegis.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    // Made in memory first: the generator gives up with a panic when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "aegis", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
