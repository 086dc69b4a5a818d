//! Arrow record batches as a table, JSON lines or CSV.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::LineDelimited;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Format;
use super::screen::Screen;
use super::table::{Table, Value};

/// The answer to a query. The schema is given apart, because an answer without rows still has columns.
pub fn batches(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    screen: &Screen,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        Format::Table => table(schema, batches, screen, out),
        Format::Json => json(batches, out),
        Format::Csv => csv(schema, batches, out),
    }
}

/// More rows of an answer whose beginning may be shown already: `first` says that it is not, and that names of columns are due.
pub fn more_batches(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    screen: &Screen,
    first: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    match format {
        _ if first => self::batches(schema, batches, format, screen, out),
        Format::Table => fill(Table::default(), batches)?.write(screen.stdout, out),
        Format::Json => json(batches, out),
        Format::Csv => csv_rows(batches, false, out),
    }
}

fn table(schema: &SchemaRef, batches: &[RecordBatch], screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    let names = schema.fields().iter().map(|field| field.name());
    fill(Table::new(names), batches)?.write(screen.stdout, out)?;
    if screen.stdout.terminal {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        writeln!(out, "({rows} {})", if rows == 1 { "row" } else { "rows" })?;
    }
    Ok(())
}

fn fill(mut table: Table, batches: &[RecordBatch]) -> io::Result<Table> {
    let options = FormatOptions::new().with_null("").with_display_error(true);
    for batch in batches {
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options));
        let columns: Vec<ArrayFormatter<'_>> = columns.collect::<Result<_, _>>().map_err(io_error)?;
        let numeric: Vec<bool> = batch
            .columns()
            .iter()
            .map(|column| is_number(column.data_type()))
            .collect();
        for row in 0..batch.num_rows() {
            table.row(
                columns
                    .iter()
                    .zip(&numeric)
                    .map(|(column, numeric)| match numeric {
                        true => Value::number(column.value(row)),
                        false => Value::text(column.value(row).to_string()),
                    })
                    .collect(),
            );
        }
    }
    Ok(table)
}

/// Every column is in every line, also where it is null, so that a reader can rely on the names.
fn json(batches: &[RecordBatch], out: &mut impl Write) -> io::Result<()> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(out);
    for batch in batches {
        writer.write(batch).map_err(io_error)?;
    }
    writer.finish().map_err(io_error)
}

fn csv(schema: &SchemaRef, batches: &[RecordBatch], out: &mut impl Write) -> io::Result<()> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        let empty = RecordBatch::new_empty(schema.clone());
        return arrow::csv::Writer::new(out).write(&empty).map_err(io_error);
    }
    csv_rows(batches, true, out)
}

fn csv_rows(batches: &[RecordBatch], header: bool, out: &mut impl Write) -> io::Result<()> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(out);
    for batch in batches {
        writer.write(batch).map_err(io_error)?;
    }
    Ok(())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

/// Keeps what an output error was, so that a closed pipe is known as one.
fn io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, cause) => cause,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn written(format: Format, empty: bool) -> String {
        let fields = vec![
            Field::new("title", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ];
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let titles = StringArray::from(vec![Some("a, \"b\""), None, Some("bell \u{7}")]);
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(titles),
                Arc::new(Int64Array::from(vec![Some(1), Some(20), None])),
            ],
        );
        let rows = if empty { vec![] } else { vec![batch.unwrap()] };
        let mut out = Vec::new();
        batches(&schema, &rows, format, &Screen::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn forms() {
        assert_eq!(
            written(Format::Table, false),
            "title   n\na, \"b\"   1\n        20\nbell \u{fffd}\n"
        );
        let json = "{\"title\":\"a, \\\"b\\\"\",\"n\":1}\n{\"title\":null,\"n\":20}\n{\"title\":\"bell \\u0007\",\"n\":null}\n";
        assert_eq!(written(Format::Json, false), json);
        assert_eq!(
            written(Format::Csv, false),
            "title,n\n\"a, \"\"b\"\"\",1\n,20\nbell \u{7},\n"
        );
    }

    #[test]
    fn no_rows() {
        assert_eq!(written(Format::Table, true), "title  n\n");
        assert_eq!(written(Format::Json, true), "");
        assert_eq!(written(Format::Csv, true), "title,n\n");
    }
}
