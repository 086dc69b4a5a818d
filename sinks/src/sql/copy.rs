//! Rows by binary `COPY`: what PostgreSQL takes fastest. For rows of which nearly always none is there yet, because COPY knows no `ON
//! CONFLICT`: behind a savepoint, and a key that is there means the slow way.
//!
//! The WASM build that the tests have for TimescaleDB does not survive a COPY. None comes to it: where rollups are continuous aggregates
//! nobody asks which rows are new.
//!
//! The format: <https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"; a value as its type's `recv` function reads it.

use sqlx::PgConnection;

use super::tables::Rows;
use super::value::Value;

/// Fewer rows than this go by a prepared statement: a COPY is parsed anew each time, and takes two more messages.
pub const WORTH_IT: usize = 64;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// 2000-01-01T00:00:00Z in microseconds since 1970, which `timestamptz` counts from.
const EPOCH: i64 = 946_684_800_000_000;
/// Bytes of one message. Higher: more memory on both sides; lower: more messages.
const MESSAGE: usize = 1 << 20;

/// The statement and its data.
pub struct Copy {
    statement: String,
    data: Vec<u8>,
}

impl Copy {
    pub fn of(rows: &Rows) -> Copy {
        let names: Vec<&str> = rows.table.columns.iter().map(|(name, _)| *name).collect();
        let statement = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            rows.table.name,
            names.join(", ")
        );
        let mut data = Vec::with_capacity(rows.rows.len() * 512);
        data.extend_from_slice(SIGNATURE);
        let width = i16::try_from(names.len()).unwrap_or(i16::MAX);
        for row in &rows.rows {
            data.extend_from_slice(&width.to_be_bytes());
            row.iter().for_each(|value| push(&mut data, value));
        }
        data.extend_from_slice(&(-1_i16).to_be_bytes());
        Copy { statement, data }
    }

    /// The number of rows written.
    pub async fn send(self, to: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let mut copy = to.copy_in_raw(&self.statement).await?;
        for piece in self.data.chunks(MESSAGE) {
            copy.send(piece).await?;
        }
        copy.finish().await
    }
}

fn push(data: &mut Vec<u8>, value: &Value) {
    let mut field = |parts: &[&[u8]]| {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // A batch is a few megabytes.
        data.extend_from_slice(&i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes());
        parts.iter().for_each(|part| data.extend_from_slice(part));
    };
    match value {
        Value::Null => data.extend_from_slice(&(-1_i32).to_be_bytes()),
        Value::Uuid(id) => field(&[id.as_bytes()]),
        Value::Text(text) => field(&[text.as_bytes()]),
        // `jsonb` has a version before its text.
        Value::Json(text) => field(&[&[1], text.as_bytes()]),
        Value::Int(number) => field(&[&number.to_be_bytes()]),
        Value::Bool(yes) => field(&[&[u8::from(*yes)]]),
        Value::Time(at) => field(&[&(at.timestamp_micros() - EPOCH).to_be_bytes()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |value: Value, expected: &[u8]| {
            let mut data = Vec::new();
            push(&mut data, &value);
            assert_eq!(data, expected, "{value:?}");
        };
        check(Value::Null, &[255, 255, 255, 255]);
        check(Value::text("ab"), &[0, 0, 0, 2, b'a', b'b']);
        check(Value::json("{}"), &[0, 0, 0, 3, 1, b'{', b'}']);
        check(Value::Int(-2), &[0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 254]);
        check(Value::Bool(true), &[0, 0, 0, 1, 1]);
        check(Value::micros(EPOCH + 1), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
