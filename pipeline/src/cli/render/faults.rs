//! Faults of a configuration, and errors of a command, on standard error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::screen::{Screen, bold, printable};
use crate::config::{Fault, Warning};

/// Every fault and warning: one line with the place first, as editors and CI logs want it, and the remedy below.
pub fn faults(faults: &[Fault], warnings: &[Warning], screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    for fault in faults {
        one(fault, ("error", AnsiColor::Red), screen, out)?;
    }
    for warning in warnings {
        one(&warning.0, ("warning", AnsiColor::Yellow), screen, out)?;
    }
    match faults.len() {
        0 => Ok(()),
        1 => writeln!(out, "1 fault in the configuration"),
        many => writeln!(out, "{many} faults in the configuration"),
    }
}

/// An error with what caused it.
pub fn error(error: &anyhow::Error, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    let label = screen.stderr.paint(bold(AnsiColor::Red), "error:");
    let mut said = printable(&error.to_string());
    writeln!(out, "{label} {said}")?;
    for cause in error.chain().skip(1) {
        let cause = printable(&cause.to_string());
        // Many errors repeat their cause in their own words; once is enough.
        if !said.contains(&cause) {
            writeln!(out, "  because: {cause}")?;
            said = cause;
        }
    }
    Ok(())
}

fn one(fault: &Fault, level: (&str, AnsiColor), screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    let stream = screen.stderr;
    let place = stream.paint(Style::new().bold(), &printable(&fault.place.to_string()));
    let level = stream.paint(bold(level.1), level.0);
    let key = if fault.key.is_empty() {
        String::new()
    } else {
        format!("{}: ", printable(&fault.key))
    };
    writeln!(out, "{place}: {level}: {key}{}", printable(&fault.problem))?;
    if let Some(help) = &fault.help {
        writeln!(
            out,
            "  {} {}",
            stream.paint(AnsiColor::Cyan.on_default(), "help:"),
            printable(help)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::config::Place;

    #[test]
    fn one_fault() {
        let fault = Fault {
            place: Place::File {
                path: "aegis.toml".into(),
                line: 3,
                column: 1,
            },
            key: "log.knd".into(),
            problem: "unknown key".into(),
            help: Some("did you mean \"kind\"?".into()),
        };
        let mut out = Vec::new();
        faults(&[fault], &[], &Screen::default(), &mut out).unwrap();
        let expected = "aegis.toml:3:1: error: log.knd: unknown key\n  help: did you mean \"kind\"?\n\
                        1 fault in the configuration\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_cause_is_told_once() {
        let cause = io::Error::other("disk full");
        let failed = Err::<(), _>(cause)
            .context("cannot write a.db: disk full")
            .context("while storing")
            .unwrap_err();
        let mut out = Vec::new();
        error(&failed, &Screen::default(), &mut out).unwrap();
        let expected = "error: while storing\n  because: cannot write a.db: disk full\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
