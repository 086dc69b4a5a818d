//! Tables: fitted to a terminal, or plain aligned columns where the output goes on to another program.

use std::io::{self, Write};

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, presets};

use super::screen::{Stream, printable};

/// A table under construction; the default one has no line of names. Cells are made printable here, so callers give text as it
/// is.
#[derive(Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// One cell.
#[derive(Clone, Debug, Default)]
pub struct Value {
    text: String,
    color: Option<Color>,
    right: bool,
}

impl Value {
    pub fn text(text: impl AsRef<str>) -> Self {
        Value {
            text: printable(text.as_ref()),
            ..Value::default()
        }
    }

    /// A number: its digits stand below each other.
    pub fn number(number: impl std::fmt::Display) -> Self {
        Value {
            right: true,
            ..Value::text(number.to_string())
        }
    }

    pub fn color(mut self, color: anstyle::AnsiColor) -> Self {
        self.color = Some(match color {
            anstyle::AnsiColor::Red => Color::Red,
            anstyle::AnsiColor::Yellow => Color::Yellow,
            anstyle::AnsiColor::Green => Color::Green,
            anstyle::AnsiColor::Cyan => Color::Cyan,
            _ => Color::Reset,
        });
        self
    }
}

impl Table {
    pub fn new<H: AsRef<str>>(headers: impl IntoIterator<Item = H>) -> Self {
        Table {
            headers: headers.into_iter().map(|header| printable(header.as_ref())).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: Vec<Value>) {
        self.rows.push(cells);
    }

    /// On a terminal long cells are wrapped to fit; elsewhere every row is one line.
    pub fn write(&self, stream: Stream, out: &mut impl Write) -> io::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING);
        if stream.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table
                .force_no_tty()
                .set_content_arrangement(ContentArrangement::Disabled);
        }
        if stream.colour {
            table.enforce_styling();
        }
        let header = self.headers.iter().map(|header| match stream.colour {
            true => Cell::new(header).add_attribute(Attribute::Bold),
            false => Cell::new(header),
        });
        if !self.headers.is_empty() {
            table.set_header(header);
        }
        for row in &self.rows {
            table.add_row(row.iter().map(|value| {
                let mut cell = Cell::new(&value.text);
                if value.right {
                    cell = cell.set_alignment(CellAlignment::Right);
                }
                match value.color.filter(|_| stream.colour) {
                    Some(color) => cell.fg(color),
                    None => cell,
                }
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["severity", "count"]);
        table.row(vec![
            Value::text("critical").color(anstyle::AnsiColor::Red),
            Value::number(12),
        ]);
        table.row(vec![Value::text("in\nfo"), Value::number(7)]);
        table
    }

    fn written(stream: Stream) -> String {
        let mut out = Vec::new();
        table().write(stream, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_when_piped() {
        assert_eq!(
            written(Stream::default()),
            "severity  count\ncritical     12\nin fo         7\n"
        );
    }

    #[test]
    fn coloured_when_asked() {
        let text = written(Stream {
            terminal: false,
            colour: true,
        });
        assert!(text.contains("\u{1b}[") && text.contains("critical"), "{text:?}");
        assert!(!written(Stream::default()).contains('\u{1b}'));
    }
}
