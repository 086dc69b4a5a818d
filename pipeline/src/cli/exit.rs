//! Exit codes. Scripts rely on them: a code is never given another meaning.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use stream::LogError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    Failed,
    Usage,
    Configuration,
    NotFound,
    Unavailable,
    InPart,
    Unbalanced,
}

impl Exit {
    pub const ALL: &[Exit] = &[
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Configuration,
        Exit::NotFound,
        Exit::Unavailable,
        Exit::InPart,
        Exit::Unbalanced,
    ];

    pub const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Configuration => 3,
            Exit::NotFound => 4,
            Exit::Unavailable => 5,
            Exit::InPart => 6,
            Exit::Unbalanced => 7,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Configuration => "configuration",
            Exit::NotFound => "not found",
            Exit::Unavailable => "unavailable",
            Exit::InPart => "done in part",
            Exit::Unbalanced => "does not balance",
        }
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Done => {
                "the command did what it was asked; `aegis run` was stopped by a signal and shut down in order"
            }
            Exit::Failed => "it tried and could not; the error says what was tried on what",
            Exit::Usage => "the command line makes no sense; nothing was tried",
            Exit::Configuration => "the configuration has faults; all of them are listed",
            Exit::NotFound => "what was asked for by name does not exist: an incident, a dead letter, a file",
            Exit::Unavailable => {
                "something needed does not answer, or is held by another process; trying again may work"
            }
            Exit::InPart => {
                "done, but not all of it: part of the input was refused and lies in the dead letters, or was left alone and is named"
            }
            Exit::Unbalanced => "an audit found that something does not add up; what and where is listed",
        }
    }

    /// An error that ends the process with this code.
    pub fn because(self, problem: impl Into<String>) -> anyhow::Error {
        Coded {
            exit: self,
            problem: problem.into(),
        }
        .into()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
struct Coded {
    exit: Exit,
    problem: String,
}

/// The code for an error: the one it carries, else by what caused it.
pub fn of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(coded) = cause.downcast_ref::<Coded>() {
            return coded.exit;
        }
        if let Some(LogError::Unavailable { .. }) = cause.downcast_ref::<LogError>() {
            return Exit::Unavailable;
        }
        if let Some(e) = cause.downcast_ref::<io::Error>() {
            match e.kind() {
                // `aegis sql … | head`: the reader has seen enough.
                io::ErrorKind::BrokenPipe => return Exit::Done,
                io::ErrorKind::NotFound => return Exit::NotFound,
                io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrInUse | io::ErrorKind::TimedOut => {
                    return Exit::Unavailable;
                }
                _ => {}
            }
        }
    }
    Exit::Failed
}

/// Whether the error is only that nobody reads our output any more.
pub fn closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The end of `aegis --help`.
pub fn top_help() -> String {
    let mut text = super::TOP_EXAMPLES
        .split("\n\nExit codes")
        .next()
        .unwrap_or_default()
        .to_owned();
    text.push_str("\n\nExit codes:\n");
    for exit in Exit::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}  {}: {}", exit.code(), exit.name(), exit.meaning());
    }
    text
}

/// `docs/exit-codes.md`.
pub fn reference() -> String {
    let mut page = "# Exit codes\n\nThe same for every command; `aegis --help` lists them too.\n\n\
                    | code | name | meaning |\n|---|---|---|\n"
        .to_owned();
    for exit in Exit::ALL {
        let _ = writeln!(page, "| {} | {} | {} |", exit.code(), exit.name(), exit.meaning());
    }
    page.push_str(
        "\nA command that writes into a pipe whose reader has gone (`aegis sql … | head`) ends with 0.\n\
         A process that is killed has no code of its own; shells show 128 and the signal's number.\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn codes() {
        let check = |error: anyhow::Error, exit| assert_eq!(of(&error), exit, "{error:#}");
        check(anyhow::anyhow!("it broke"), Exit::Failed);
        check(Exit::NotFound.because("no incident x"), Exit::NotFound);
        check(
            Err::<(), _>(Exit::NotFound.because("x"))
                .context("while asking")
                .unwrap_err(),
            Exit::NotFound,
        );
        let away = LogError::Unavailable {
            doing: "connecting".into(),
            cause: "refused".into(),
        };
        check(anyhow::Error::new(away).context("opening the log"), Exit::Unavailable);
        check(io::Error::from(io::ErrorKind::BrokenPipe).into(), Exit::Done);
        check(io::Error::from(io::ErrorKind::PermissionDenied).into(), Exit::Failed);
    }

    #[test]
    fn codes_are_distinct_and_fixed() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
