//! Log lines and their templates, as shown.

use std::io::{self, Write};

use anstyle::AnsiColor;
use sql::logs::{LogRow, TemplateRow};

use super::screen::{Screen, printable};
use super::table::{Table, Value};
use super::{Format, json_line};

/// Lines as a log shows them: time, level, service, text; the rows of a trace below each other.
pub fn log_lines(rows: &[LogRow], format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return rows.iter().try_for_each(|row| json_line(row, out));
    }
    for row in rows {
        let level = format!("{:5}", row.level);
        let level = match color_of(&row.level) {
            Some(color) => screen.stdout.paint(color.on_default(), &level),
            None => level,
        };
        let mut text = row.text.lines();
        let (first, service) = (printable(text.next().unwrap_or_default()), printable(&row.service));
        writeln!(out, "{} {level} {service} {first}", row.at)?;
        for more in text {
            writeln!(out, "    {}", printable(more))?;
        }
    }
    Ok(())
}

/// Templates as a table.
pub fn templates(rows: &[TemplateRow], format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return rows.iter().try_for_each(|row| json_line(row, out));
    }
    let mut table = Table::new(["lines", "level", "service", "last", "template", "pattern"]);
    for row in rows {
        let level = Value::text(&row.level);
        table.row(vec![
            Value::number(row.lines),
            match color_of(&row.level) {
                Some(color) => level.color(color),
                None => level,
            },
            Value::text(&row.service),
            Value::text(row.last_at.get(..19).unwrap_or(&row.last_at)),
            Value::text(&row.template),
            Value::text(&row.pattern),
        ]);
    }
    table.write(screen.stdout, out)
}

fn color_of(level: &str) -> Option<AnsiColor> {
    match level {
        "error" | "fatal" => Some(AnsiColor::Red),
        "warn" => Some(AnsiColor::Yellow),
        _ => None,
    }
}
