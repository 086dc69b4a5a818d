//! Loki's push, protobuf and JSON: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>,
//! `pkg/push/push.proto`. The protobuf body is a snappy block, which the caller has taken apart.
//!
//! Loki takes a push or refuses it: a bad entry refuses the body, with its place. Structured metadata stays with its line. The
//! level is the entry's or the stream's `level`, `severity` or `detected_level`.

use std::collections::BTreeMap;

use model::{Level, LogLine};
use prost::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::Fields;
use super::{Collector, Fault, Form, MAX_ENTRY_BYTES};

/// Reads a body into `collector`.
pub fn read(form: Form, body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    match form {
        Form::Protobuf => protobuf(body, collector),
        Form::Json => json(body, collector),
    }
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

fn protobuf(body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    let torn = |place: &str| {
        Fault::bad(
            "malformed-protobuf",
            place,
            "these bytes are no protobuf message of Loki's push",
        )
    };
    let (mut request, mut number) = (Fields::of(body), 0);
    while let Some((tag, stream)) = request.next_block().map_err(|_| torn("streams"))? {
        if tag != 1 {
            continue;
        }
        let place = format!("streams[{number}]");
        number += 1;
        let (mut fields, mut labels) = (Fields::of(stream), None);
        while let Some((tag, block)) = fields.next_block().map_err(|_| torn(&place))? {
            if tag == 1 {
                let place = format!("{place}.labels");
                let text = std::str::from_utf8(block).map_err(|_| torn(&place))?;
                let read = parse_labels(text).map_err(|problem| Fault::bad("malformed-labels", &*place, problem))?;
                labels = Some(read);
            }
        }
        let labels =
            labels.ok_or_else(|| Fault::bad("missing-field", format!("{place}.labels"), "a stream has labels"))?;
        let level = level_of(&labels);
        let to = collector.stream(labels)?;
        let (mut fields, mut number) = (Fields::of(stream), 0);
        while let Some((tag, block)) = fields.next_block().map_err(|_| torn(&place))? {
            if tag != 2 {
                continue;
            }
            let at = || format!("{place}.entries[{number}]");
            if block.len() > MAX_ENTRY_BYTES {
                return Err(Fault::too_large(format!("{} is over {MAX_ENTRY_BYTES} bytes", at())));
            }
            let entry = Entry::decode(block);
            let entry = entry.map_err(|error| Fault::bad("malformed-protobuf", at(), error.to_string()))?;
            let time = entry.timestamp.map(|time| {
                let micros = time.seconds.saturating_mul(1_000_000);
                micros.saturating_add(i64::from(time.nanos) / 1_000)
            });
            let metadata = entry
                .metadata
                .into_iter()
                .map(|label| (label.name, label.value))
                .collect();
            put(to, time, entry.line, metadata, level, collector)?;
            number += 1;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    streams: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    stream: BTreeMap<String, String>,
    #[serde(borrow)]
    values: Vec<&'a RawValue>,
}

/// `["1700000000000000000", "line"]`, or with structured metadata behind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Plain(String, String),
    Rich(String, String, BTreeMap<String, String>),
}

fn json(body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    let push: Push<'_> = serde_json::from_slice(body).map_err(|error| Fault::json("", &error))?;
    for (i, raw) in push.streams.into_iter().enumerate() {
        let place = format!("/streams/{i}");
        let stream: Stream<'_> = serde_json::from_str(raw.get()).map_err(|error| Fault::json(&place, &error))?;
        let level = level_of(&stream.stream);
        let to = collector.stream(stream.stream)?;
        for (k, raw) in stream.values.into_iter().enumerate() {
            let place = || format!("{place}/values/{k}");
            if raw.get().len() > MAX_ENTRY_BYTES {
                return Err(Fault::too_large(format!("{} is over {MAX_ENTRY_BYTES} bytes", place())));
            }
            let value = serde_json::from_str(raw.get()).map_err(|_| {
                let detail = "is not [\"nanoseconds\", \"line\"], or the same with an object of text behind";
                Fault::bad("wrong-type", place(), detail)
            })?;
            let (time, line, metadata) = match value {
                Value::Plain(time, line) => (time, line, BTreeMap::new()),
                Value::Rich(time, line, metadata) => (time, line, metadata),
            };
            let nanos: i64 = time.parse().map_err(|_| {
                let detail = format!("{time:?} is no time in nanoseconds since the epoch");
                Fault::bad("wrong-type", format!("{}/0", place()), detail)
            })?;
            put(to, Some(nanos.div_euclid(1_000)), line, metadata, level, collector)?;
        }
    }
    Ok(())
}

fn put(
    stream: usize,
    at: Option<i64>,
    text: String,
    attributes: BTreeMap<String, String>,
    level: Option<Level>,
    collector: &mut Collector<'_>,
) -> Result<(), Fault> {
    let line = LogLine {
        at,
        level: level_of(&attributes).or(level),
        text,
        trace_id: attributes.get("trace_id").cloned(),
        span_id: attributes.get("span_id").cloned(),
        attributes,
        template: None,
    };
    collector.line(stream, line)
}

fn level_of(labels: &BTreeMap<String, String>) -> Option<Level> {
    let names = ["level", "severity", "detected_level"];
    let level = names.iter().find_map(|name| Level::from_word(labels.get(*name)?));
    level.filter(|level| *level != Level::Unknown)
}

/// `{app="checkout", env="prod"}`: names, and values quoted as Go quotes them.
fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let no_braces = || "labels stand in braces: {name=\"value\", …}".to_owned();
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.ok_or_else(no_braces)?.trim_start();
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').ok_or_else(|| format!("no `=` in {rest:?}"))?;
        let quoted = value.trim_start().strip_prefix('"');
        let quoted = quoted.ok_or_else(|| format!("the value of {:?} is not quoted", name.trim()))?;
        let (value, behind) =
            unquote(quoted).ok_or_else(|| format!("the value of {:?} is not quoted to its end", name.trim()))?;
        labels.insert(name.trim().to_owned(), value);
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => {}
            None => return Err(format!("no comma before {rest:?}")),
        }
    }
    Ok(labels)
}

/// The value up to its closing quote, and what is behind. Go's escapes; a byte that is no character of its own is replaced.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'a' => out.push('\u{7}'),
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'v' => out.push('\u{b}'),
                length @ ('x' | 'u' | 'U') => {
                    let digits = match length {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let from = chars.offset();
                    let code = u32::from_str_radix(text.get(from..from + digits)?, 16).ok()?;
                    chars.nth(digits - 1)?;
                    let code = if length == 'x' && code > 0x7f {
                        None
                    } else {
                        char::from_u32(code)
                    };
                    out.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let check = |text: &str, expected: Option<&[(&str, &str)]>| {
            let read = parse_labels(text).ok();
            let expected =
                expected.map(|pairs| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect());
            assert_eq!(read, expected, "{text}");
        };
        check("{}", Some(&[]));
        check(r#"{app="checkout"}"#, Some(&[("app", "checkout")]));
        check(
            r#" { app="a", env = "p,=}" ,} "#,
            Some(&[("app", "a"), ("env", "p,=}")]),
        );
        check(r#"{a="\"\\\n\u00e9\x41\xff"}"#, Some(&[("a", "\"\\\n\u{e9}A\u{fffd}")]));
        for bad in [
            "",
            "app",
            "{app}",
            "{app=x}",
            r#"{app="x}"#,
            r#"{a="x" b="y"}"#,
            r#"{a="\x4"}"#,
            r#"{a="\"#,
        ] {
            check(bad, None);
        }
    }
}
