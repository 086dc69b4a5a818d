//! A Loki: lines in memory, `push`, `query_range` and labels, and of LogQL the selectors, line filters and label filters.

pub mod query;

use std::collections::BTreeMap;

use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::World;

/// Every line that was pushed.
#[derive(Default)]
pub struct Store {
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Line {
    pub labels: BTreeMap<String, String>,
    /// Labels of the line alone.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
    pub text: String,
}

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/loki/api/v1/query_range", get(query_range))
        .route("/loki/api/v1/labels", get(labels))
        .route("/loki/api/v1/label/{name}/values", get(values))
}

#[derive(Deserialize)]
struct Push {
    streams: Vec<PushedStream>,
}

#[derive(Deserialize)]
struct PushedStream {
    stream: BTreeMap<String, String>,
    values: Vec<Vec<Value>>,
}

async fn push(State(world): State<World>, Json(push): Json<Push>) -> Response {
    let mut lines = Vec::new();
    for stream in push.streams {
        for value in stream.values {
            let (Some(at), Some(text)) = (
                value.first().and_then(Value::as_str),
                value.get(1).and_then(Value::as_str),
            ) else {
                return (StatusCode::BAD_REQUEST, "a value is a time and a line").into_response();
            };
            let Ok(at_ns) = at.parse() else {
                return (StatusCode::BAD_REQUEST, "a time is nanoseconds").into_response();
            };
            let metadata = value.get(2).cloned().unwrap_or_else(|| json!({}));
            lines.push(Line {
                labels: stream.stream.clone(),
                metadata: serde_json::from_value(metadata).unwrap_or_default(),
                at_ns,
                text: text.to_owned(),
            });
        }
    }
    world.state().loki.lines.extend(lines);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
struct Span {
    start: i64,
    end: i64,
}

impl Span {
    fn labels<'a>(&self, lines: &'a [Line]) -> impl Iterator<Item = (&'a String, &'a String)> {
        let (start, end) = (self.start, self.end);
        let within = lines.iter().filter(move |line| (start..end).contains(&line.at_ns));
        within.flat_map(|line| &line.labels)
    }
}

async fn labels(State(world): State<World>, Parameters(span): Parameters<Span>) -> Response {
    let state = world.state();
    let names: std::collections::BTreeSet<&String> = span.labels(&state.loki.lines).map(|(name, _)| name).collect();
    Json(json!({"status": "success", "data": names})).into_response()
}

/// Without `data` where there are none.
async fn values(
    State(world): State<World>,
    axum::extract::Path(label): axum::extract::Path<String>,
    Parameters(span): Parameters<Span>,
) -> Response {
    let state = world.state();
    let found = span.labels(&state.loki.lines).filter(|(name, _)| **name == label);
    let values: std::collections::BTreeSet<&String> = found.map(|(_, value)| value).collect();
    match values.is_empty() {
        true => Json(json!({"status": "success"})).into_response(),
        false => Json(json!({"status": "success", "data": values})).into_response(),
    }
}

#[derive(Deserialize)]
struct Range {
    query: String,
    start: i64,
    end: i64,
    #[serde(default = "hundred")]
    limit: usize,
    #[serde(default)]
    direction: String,
}

fn hundred() -> usize {
    100
}

async fn query_range(State(world): State<World>, Parameters(range): Parameters<Range>) -> Response {
    let query = match query::Query::parse(&range.query) {
        Ok(query) => query,
        Err(fault) => return (StatusCode::BAD_REQUEST, format!("parse error : {fault}")).into_response(),
    };
    if range.limit > 5000 {
        let fault = "max entries limit per query exceeded, limit > max_entries_limit_per_query (5000)";
        return (StatusCode::BAD_REQUEST, fault).into_response();
    }
    let state = world.state();
    let within = |line: &&Line| (range.start..range.end).contains(&line.at_ns) && query.matches(line);
    let mut lines: Vec<&Line> = state.loki.lines.iter().filter(within).collect();
    lines.sort_by_key(|line| line.at_ns);
    if range.direction != "forward" {
        lines.reverse();
    }
    lines.truncate(range.limit);
    let mut streams: BTreeMap<&BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
    for line in lines {
        let mut value = vec![json!(line.at_ns.to_string()), json!(line.text)];
        if !line.metadata.is_empty() {
            value.push(json!({"structuredMetadata": line.metadata}));
        }
        streams.entry(&line.labels).or_default().push(Value::Array(value));
    }
    let result: Vec<Value> = streams
        .into_iter()
        .map(|(stream, values)| json!({"stream": stream, "values": values}))
        .collect();
    Json(json!({"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}})).into_response()
}
