//! The JSON encoding: proto3's, except that ids are hex.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::{Collector, Fault, MAX_ENTRY_BYTES, micros};
use super::{Said, take};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow, default)]
    resource_logs: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(default)]
    resource: Option<Resource>,
    #[serde(borrow, default)]
    scope_logs: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Resource {
    #[serde(default)]
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(borrow, default)]
    log_records: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Scope {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct LogRecord {
    time_unix_nano: Nanos,
    observed_time_unix_nano: Nanos,
    severity_number: i32,
    severity_text: String,
    body: Option<Value>,
    attributes: Vec<KeyValue>,
    trace_id: String,
    span_id: String,
    event_name: String,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Value,
}

/// A 64-bit number, as text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Nanos {
    Number(u64),
    Text(String),
}

impl Default for Nanos {
    fn default() -> Self {
        Nanos::Number(0)
    }
}

impl Nanos {
    fn micros(&self) -> Result<Option<i64>, String> {
        match self {
            Nanos::Number(number) => Ok(micros(*number)),
            Nanos::Text(text) => match text.parse() {
                Ok(number) => Ok(micros(number)),
                Err(_) => Err(format!("{text:?} is no time in nanoseconds")),
            },
        }
    }
}

pub fn read(body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| Fault::json("", &error))?;
    for (i, resource_logs) in request.resource_logs.into_iter().enumerate() {
        let place = format!("/resourceLogs/{i}");
        let read: ResourceLogs<'_> = part(resource_logs, &place)?;
        let stream = collector.stream(pairs(read.resource.unwrap_or_default().attributes))?;
        for (j, scope_logs) in read.scope_logs.into_iter().enumerate() {
            let place = format!("{place}/scopeLogs/{j}");
            let read: ScopeLogs<'_> = part(scope_logs, &place)?;
            let scope = read.scope.unwrap_or_default().name;
            for (k, record) in read.log_records.into_iter().enumerate() {
                take(
                    said(record.get()),
                    &scope,
                    stream,
                    || format!("{place}/logRecords/{k}"),
                    collector,
                )?;
            }
        }
    }
    Ok(())
}

fn part<'a, T: Deserialize<'a>>(raw: &'a RawValue, place: &str) -> Result<T, Fault> {
    serde_json::from_str(raw.get()).map_err(|error| Fault::json(place, &error))
}

fn said(record: &str) -> Result<Said, String> {
    if record.len() > MAX_ENTRY_BYTES {
        return Err(format!("over {MAX_ENTRY_BYTES} bytes"));
    }
    let record: LogRecord = serde_json::from_str(record).map_err(|error| error.to_string())?;
    let id = |name: &str, text: String| match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true if text.bytes().all(|byte| byte == b'0') => Ok(String::new()),
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("{name} {text:?} is not hex")),
    };
    let at = match record.time_unix_nano.micros()? {
        Some(at) => Some(at),
        None => record.observed_time_unix_nano.micros()?,
    };
    Ok(Said {
        at,
        number: record.severity_number,
        word: record.severity_text,
        text: record.body.map(text).unwrap_or_default(),
        event: record.event_name,
        trace_id: id("traceId", record.trace_id)?,
        span_id: id("spanId", record.span_id)?,
        attributes: pairs(record.attributes),
    })
}

fn pairs(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

/// An AnyValue (`{"stringValue": …}`) as text, or as plain JSON.
fn text(value: Value) -> String {
    match plain(value) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn plain(value: Value) -> Value {
    let Value::Object(mut fields) = value else {
        return Value::Null;
    };
    if let Some(values) = fields.get_mut("arrayValue").and_then(|array| array.get_mut("values")) {
        let values = values.as_array_mut().map(std::mem::take).unwrap_or_default();
        return values.into_iter().map(plain).collect();
    }
    if let Some(values) = fields.get_mut("kvlistValue").and_then(|list| list.get_mut("values")) {
        let values = values.as_array_mut().map(std::mem::take).unwrap_or_default();
        let pair = |pair: Value| {
            let Value::Object(mut pair) = pair else { return None };
            let key = pair.get("key")?.as_str()?.to_owned();
            Some((key, plain(pair.remove("value").unwrap_or_default())))
        };
        return Value::Object(values.into_iter().filter_map(pair).collect());
    }
    if let Some(Value::String(number)) = fields.get("intValue") {
        return number
            .parse::<i64>()
            .map_or_else(|_| number.clone().into(), Value::from);
    }
    let simple = ["stringValue", "boolValue", "intValue", "doubleValue", "bytesValue"];
    simple
        .into_iter()
        .find_map(|name| fields.remove(name))
        .unwrap_or_default()
}
