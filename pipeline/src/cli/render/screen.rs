//! Where output goes: whether somebody sees it, and whether in colour.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use model::Severity;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// Both outputs of the process.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    pub stdout: Stream,
    pub stderr: Stream,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    pub terminal: bool,
    pub colour: bool,
}

impl Screen {
    pub fn new(choice: ColorChoice, environment: &BTreeMap<String, String>) -> Self {
        let stream = |terminal| Stream {
            terminal,
            colour: wants_colour(choice, terminal, environment),
        };
        Screen {
            stdout: stream(io::stdout().is_terminal()),
            stderr: stream(io::stderr().is_terminal()),
        }
    }
}

impl Stream {
    /// `text` in `style`, or as it is where nothing is coloured.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Colours of severities, errors and places, the same everywhere.
pub fn severity_color(severity: Severity) -> AnsiColor {
    match severity {
        Severity::Critical => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Info => AnsiColor::Cyan,
    }
}

pub fn bold(color: AnsiColor) -> Style {
    color.on_default().bold()
}

/// `text` without anything a terminal would obey: control characters become U+FFFD, line breaks and tabs a blank, and
/// the marks that reverse the direction of writing are dropped.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn wants_colour(choice: ColorChoice, terminal: bool, environment: &BTreeMap<String, String>) -> bool {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours() {
        let check = |choice, terminal, variables: &[(&str, &str)], expected| {
            let environment = variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            assert_eq!(
                wants_colour(choice, terminal, &environment),
                expected,
                "{choice:?} {terminal} {variables:?}"
            );
        };
        check(ColorChoice::Auto, true, &[], true);
        check(ColorChoice::Auto, false, &[], false);
        check(ColorChoice::Auto, true, &[("NO_COLOR", "1")], false);
        check(ColorChoice::Auto, true, &[("NO_COLOR", "")], true);
        check(ColorChoice::Auto, true, &[("TERM", "dumb")], false);
        check(ColorChoice::Always, false, &[("NO_COLOR", "1")], true);
        check(ColorChoice::Never, true, &[], false);
    }

    #[test]
    fn hostile_text() {
        assert_eq!(
            printable("a\u{1b}[2Jb\nc\u{9b}31m\u{202e}d"),
            "a\u{fffd}[2Jb c\u{fffd}31md"
        );
        assert_eq!(printable("Zürich 🔥"), "Zürich 🔥");
    }
}
