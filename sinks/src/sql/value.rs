//! Values on their way into a store, cleaned of what one of the stores cannot hold.
//!
//! Both stores get the same values, so that a query answers the same on either. What is changed on the way:
//!
//! * NUL characters become U+FFFD, in text and inside JSON strings: PostgreSQL's `text` and `jsonb` refuse them;
//! * text for a `varchar(n)` column is cut after `n` characters;
//! * times before year 1 or after year 9999 are moved to that bound: SQLite keeps times as text that must sort;
//! * text that should be JSON and is not becomes a JSON string with that text;
//! * unsigned numbers beyond `i64::MAX` become `i64::MAX`.
//!
//! The untouched bytes stay in `events.raw`.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

/// How a column is stored: `Uuid` is `uuid` or text, `Time` is `timestamptz` or RFC 3339 text, `Json` is `jsonb` or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Uuid,
    Text,
    Int,
    Bool,
    Time,
    Json,
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Uuid(Uuid),
    Text(String),
    Int(i64),
    Bool(bool),
    Time(DateTime<Utc>),
    Json(String),
}

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z in microseconds since the epoch.
const EARLIEST: i64 = -62_135_596_800_000_000;
const LATEST: i64 = 253_402_300_799_999_999;

impl Value {
    pub fn text(text: &str) -> Value {
        Value::Text(without_nul(text))
    }

    /// For a `varchar(limit)` column.
    pub fn varchar(text: &str, limit: usize) -> Value {
        match text.char_indices().nth(limit) {
            Some((end, _)) => Value::text(&text[..end]),
            None => Value::text(text),
        }
    }

    pub fn json(text: &str) -> Value {
        Value::Json(clean_json(text))
    }

    pub fn unsigned(number: u64) -> Value {
        Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// `micros` since the epoch.
    pub fn micros(micros: i64) -> Value {
        Value::Time(DateTime::from_timestamp_micros(clamp_micros(micros)).unwrap_or_default())
    }

    pub fn time(at: DateTime<Utc>) -> Value {
        Value::micros(at.timestamp_micros())
    }

    /// `Null` for `None`.
    pub fn option<T>(value: Option<T>, make: impl FnOnce(T) -> Value) -> Value {
        value.map_or(Value::Null, make)
    }
}

/// Years 1 to 9999.
pub fn clamp_micros(micros: i64) -> i64 {
    micros.clamp(EARLIEST, LATEST)
}

/// A time as SQLite keeps it: always the same width, so that text order is time order.
pub fn time_text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn without_nul(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}

/// JSON that `jsonb` takes: valid (that includes paired surrogates and numbers within f64), and without `\u0000`.
fn clean_json(text: &str) -> String {
    if serde_json::from_str::<Json>(text).is_ok() && !text.contains("\\u0000") {
        return text.to_owned();
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(mut value) => {
            replace_nul(&mut value);
            value.to_string()
        }
        Err(_) => serde_json::Value::String(without_nul(text)).to_string(),
    }
}

/// Any JSON, read as carefully as a `serde_json::Value` and kept nowhere. (`IgnoredAny` passes half a surrogate pair.)
struct Json;

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<Json>()?.is_some() {}
        Ok(Json)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        while entries.next_entry::<Json, Json>()?.is_some() {}
        Ok(Json)
    }
}

fn replace_nul(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = without_nul(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(replace_nul),
        serde_json::Value::Object(map) => {
            let cleaned = std::mem::take(map).into_iter().map(|(key, mut value)| {
                replace_nul(&mut value);
                (without_nul(&key), value)
            });
            *map = cleaned.collect();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json() {
        let check = |text: &str, expected: &str| assert_eq!(Value::json(text), Value::Json(expected.into()), "{text}");
        check(r#"{"a":1}"#, r#"{"a":1}"#);
        check(r#"{"a\u0000":["b\u0000c"]}"#, "{\"a\u{fffd}\":[\"b\u{fffd}c\"]}");
        // An escaped backslash before u0000 is not a NUL, and survives.
        check(r#"{"a":"\\u0000"}"#, r#"{"a":"\\u0000"}"#);
        for plain in ["null", "true", "-1", "1.5e3", r#"["a",{"\u00e9":[]}]"#] {
            check(plain, plain);
        }
        check("not json", "\"not json\"");
        check("{\"a\":\"\0\"}", "\"{\\\"a\\\":\\\"\u{fffd}\\\"}\"");
        check(r#"{"n":1e999999}"#, r#""{\"n\":1e999999}""#);
        check(r#"{"s":"\ud800"}"#, r#""{\"s\":\"\\ud800\"}""#);
    }

    #[test]
    fn text() {
        let check = |value: Value, expected: &str| assert_eq!(value, Value::Text(expected.into()));
        check(Value::text("a\0b'\"\u{1f600}"), "a\u{fffd}b'\"\u{1f600}");
        check(Value::varchar("h\u{e9}llo", 2), "h\u{e9}");
        check(Value::varchar("hello", 5), "hello");
    }

    #[test]
    fn times_sort_as_text() {
        let written = [i64::MIN, EARLIEST, -1, 0, 1_760_000_000_123_456, LATEST, i64::MAX].map(|micros| {
            match Value::micros(micros) {
                Value::Time(at) => time_text(at),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(written[0], "0001-01-01T00:00:00.000000Z");
        assert_eq!(written[2], "1969-12-31T23:59:59.999999Z");
        assert_eq!(written[6], "9999-12-31T23:59:59.999999Z");
        assert!(written.is_sorted());
    }
}
