//! What an audit found.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::screen::{Screen, bold, printable};
use super::table::{Table, Value};
use super::{Format, json_line};
use crate::audit::Report;

/// What was counted, then what could not be decided, then what does not balance.
pub fn audit(report: &Report, format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return json_line(report, out);
    }
    let mut counted = Table::new([
        "stage",
        "input",
        "offsets",
        "commits",
        "items",
        "forwarded",
        "merged",
        "suppressed",
        "late",
        "refused",
        "held",
        "produced",
        "unread",
    ]);
    for stage in &report.stages {
        let mut row = vec![
            Value::text(&stage.stage),
            Value::text(format!("{}/{}", stage.topic, stage.partition)),
            Value::text(format!("{}..{}", stage.from, stage.to)),
        ];
        let numbers = [
            stage.commits,
            stage.items,
            stage.forwarded,
            stage.merged,
            stage.suppressed,
            stage.late,
            stage.dead_lettered,
            stage.held,
            stage.produced,
            stage.unread,
        ];
        row.extend(numbers.map(Value::number));
        counted.row(row);
    }
    counted.write(screen.stdout, out)?;
    if !report.notes.is_empty() {
        writeln!(out)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {}", printable(note))?;
    }
    writeln!(out)?;
    if report.findings.is_empty() {
        let items: u64 = report.stages.iter().map(|stage| stage.items).sum();
        let good = screen.stdout.paint(bold(AnsiColor::Green), "everything balances");
        return writeln!(out, "{good}: {items} items over all stages, each with one fate");
    }
    let mut found = Table::new(["stage", "check", "where", "offsets", "expected", "found", "detail"]);
    for finding in &report.findings {
        found.row(vec![
            Value::text(&finding.stage),
            Value::text(finding.check.as_str()).color(AnsiColor::Red),
            Value::text(format!("{}/{}", finding.topic, finding.partition)),
            Value::text(format!("{}..{}", finding.from, finding.to)),
            Value::text(&finding.expected),
            Value::text(&finding.found),
            Value::text(&finding.detail),
        ]);
    }
    found.write(screen.stdout, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Audited, Check, Finding};

    fn shown(report: &Report) -> String {
        let mut out = Vec::new();
        audit(report, Format::Table, &Screen::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tables() {
        let mut report = Report {
            balanced: true,
            stages: vec![Audited {
                stage: "dedupe".into(),
                topic: "signals".into(),
                partition: 1,
                to: 12,
                items: 40,
                ..Audited::default()
            }],
            ..Report::default()
        };
        let text = shown(&report);
        assert!(text.contains("dedupe  signals/1  0..12"), "{text}");
        assert!(
            text.ends_with("everything balances: 40 items over all stages, each with one fate\n"),
            "{text}"
        );
        report.findings.push(Finding {
            stage: "dedupe".into(),
            topic: "signals".into(),
            partition: 1,
            from: 3,
            to: 9,
            check: Check::Items,
            expected: "4".into(),
            found: "5".into(),
            detail: "items".into(),
        });
        let text = shown(&report);
        assert!(
            text.ends_with(
                "stage   check  where      offsets  expected  found  detail\n\
                 dedupe  items  signals/1  3..9     4         5      items\n"
            ),
            "{text}"
        );
    }
}
