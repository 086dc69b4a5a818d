//! The binary `aegis`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipeline::cli::main(pipeline::commands::carry_out)
}
