//! The protobuf encoding. Messages by hand, with the numbers of `logs.proto` and `common.proto`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use super::super::wire::Fields;
use super::super::{Collector, Fault, Form, MAX_ENTRY_BYTES, micros};
use super::{Said, take};

#[derive(Clone, PartialEq, Message)]
struct Attributes {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(bytes = "vec", tag = "9")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    span_id: Vec<u8>,
    #[prost(string, tag = "12")]
    event_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    #[prost(message, tag = "6")]
    Object(KeyValues),
    #[prost(bytes = "vec", tag = "7")]
    Bytes(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValues {
    #[prost(message, repeated, tag = "1")]
    values: Vec<KeyValue>,
}

/// `ExportLogsServiceRequest`.
pub fn read(body: &[u8], collector: &mut Collector<'_>) -> Result<(), Fault> {
    let torn = |place: &str| {
        let detail = "these bytes are no protobuf message of OTLP's logs";
        Fault::bad("malformed-protobuf", place, detail)
    };
    let mut request = Fields::of(body);
    let mut resource = 0;
    while let Some((tag, resource_logs)) = request.next_block().map_err(|_| torn("resource_logs"))? {
        if tag != 1 {
            continue;
        }
        let place = format!("resource_logs[{resource}]");
        resource += 1;
        // The resource may stand behind its records.
        let mut labels = BTreeMap::new();
        let mut fields = Fields::of(resource_logs);
        while let Some((tag, block)) = fields.next_block().map_err(|_| torn(&place))? {
            if tag == 1 {
                let place = format!("{place}.resource");
                if block.len() > MAX_ENTRY_BYTES {
                    return Err(Fault::too_large(format!("{place} is over {MAX_ENTRY_BYTES} bytes")));
                }
                let read = Attributes::decode(block);
                let read = read.map_err(|error| Fault::bad("malformed-protobuf", &*place, error.to_string()))?;
                labels.extend(pairs(read.attributes));
            }
        }
        let stream = collector.stream(labels)?;
        let (mut fields, mut scope) = (Fields::of(resource_logs), 0);
        while let Some((tag, scope_logs)) = fields.next_block().map_err(|_| torn(&place))? {
            if tag == 2 {
                let place = format!("{place}.scope_logs[{scope}]");
                scope += 1;
                read_scope(scope_logs, stream, &place, collector)?;
            }
        }
    }
    Ok(())
}

fn read_scope(scope_logs: &[u8], stream: usize, place: &str, collector: &mut Collector<'_>) -> Result<(), Fault> {
    let torn = |_| {
        Fault::bad(
            "malformed-protobuf",
            place,
            "these bytes are no protobuf message of OTLP's logs",
        )
    };
    let mut name = String::new();
    let (mut fields, mut record) = (Fields::of(scope_logs), 0);
    while let Some((tag, block)) = fields.next_block().map_err(torn)? {
        match tag {
            1 if block.len() <= MAX_ENTRY_BYTES => {
                let scope = Scope::decode(block);
                let scope = scope
                    .map_err(|error| Fault::bad("malformed-protobuf", format!("{place}.scope"), error.to_string()))?;
                name = scope.name;
            }
            2 => {
                let at = || format!("{place}.log_records[{record}]");
                take(said(block), &name, stream, at, collector)?;
                record += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

fn said(block: &[u8]) -> Result<Said, String> {
    if block.len() > MAX_ENTRY_BYTES {
        return Err(format!("over {MAX_ENTRY_BYTES} bytes"));
    }
    let record = LogRecord::decode(block).map_err(|error| error.to_string())?;
    let hex = |bytes: &[u8]| match bytes.iter().any(|byte| *byte != 0) {
        true => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        // All zeros is OTLP's word for none.
        false => String::new(),
    };
    Ok(Said {
        at: micros(record.time_unix_nano).or(micros(record.observed_time_unix_nano)),
        number: record.severity_number,
        word: record.severity_text,
        text: record.body.map(text).unwrap_or_default(),
        event: record.event_name,
        trace_id: hex(&record.trace_id),
        span_id: hex(&record.span_id),
        attributes: pairs(record.attributes),
    })
}

fn pairs(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pair = |pair: KeyValue| (pair.key, pair.value.map(text).unwrap_or_default());
    list.into_iter().map(pair).collect()
}

/// Text as it is, anything else as JSON.
fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::String(text)) => text,
        other => match json(AnyValue { value: other }) {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        },
    }
}

fn json(value: AnyValue) -> serde_json::Value {
    match value.value {
        None => serde_json::Value::Null,
        Some(Value::String(text)) => text.into(),
        Some(Value::Bool(yes)) => yes.into(),
        Some(Value::Int(number)) => number.into(),
        Some(Value::Double(number)) => number.into(),
        Some(Value::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        Some(Value::Array(array)) => array.values.into_iter().map(json).collect(),
        Some(Value::Object(object)) => {
            let pair = |pair: KeyValue| (pair.key, pair.value.map_or(serde_json::Value::Null, json));
            serde_json::Value::Object(object.values.into_iter().map(pair).collect())
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_log_records: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `ExportLogsServiceResponse`: the sender must not send again what `rejected` counts.
pub fn answer(form: Form, rejected: u64, message: &str) -> Vec<u8> {
    let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
    match form {
        Form::Protobuf => {
            let partial_success = (rejected > 0).then(|| PartialSuccess {
                rejected_log_records: rejected,
                error_message: message.to_owned(),
            });
            Response { partial_success }.encode_to_vec()
        }
        Form::Json if rejected == 0 => b"{}".to_vec(),
        Form::Json => {
            let partial = serde_json::json!({"rejectedLogRecords": rejected.to_string(), "errorMessage": message});
            serde_json::json!({"partialSuccess": partial}).to_string().into_bytes()
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// `google.rpc.Status`, which OTLP wants as the body of a refusal.
pub fn status(form: Form, code: i32, message: &str) -> Vec<u8> {
    match form {
        Form::Protobuf => Status {
            code,
            message: message.to_owned(),
        }
        .encode_to_vec(),
        Form::Json => serde_json::json!({"code": code, "message": message})
            .to_string()
            .into_bytes(),
    }
}
