//! A twin of Prometheus for stored series. It evaluates selectors (`name{label="value"}`) and numbers, and no functions: whoever needs
//! PromQL asks the real one, which scrapes `/metrics`.

use std::collections::BTreeMap;

use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::World;
use crate::loki::query::Rest;

/// A sample older than this is no present value, as in Prometheus.
const LOOKBACK_S: f64 = 300.0;

#[derive(Default)]
pub struct Store {
    pub series: Vec<Stored>,
    /// Alerts as `/api/v1/alerts` gives them.
    pub alerts: Vec<Value>,
    /// Groups as `/api/v1/rules` gives them.
    pub groups: Vec<Value>,
    /// Targets as `/api/v1/targets` gives the active ones.
    pub targets: Vec<Value>,
}

/// A series; the label `__name__` is its name.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stored {
    pub labels: BTreeMap<String, String>,
    /// Unix seconds and values, oldest first.
    pub points: Vec<(f64, f64)>,
}

enum Expression {
    Number(f64),
    Selector(Vec<(String, String)>),
}

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/prometheus/api/v1/query", get(query))
        .route("/prometheus/api/v1/query_range", get(query_range))
        .route("/prometheus/api/v1/alerts", get(alerts))
        .route("/prometheus/api/v1/rules", get(rules))
        .route("/prometheus/api/v1/targets", get(targets))
}

/// All of them: an old one knows no selection by name.
async fn rules(State(world): State<World>) -> Response {
    success(json!({"groups": world.state().prometheus.groups}))
}

async fn targets(State(world): State<World>) -> Response {
    success(json!({"activeTargets": world.state().prometheus.targets, "droppedTargets": [], "droppedTargetCounts": {}}))
}

#[derive(Deserialize)]
struct Instant {
    query: String,
    time: String,
}

#[derive(Deserialize)]
struct Range {
    query: String,
    start: String,
    end: String,
    step: f64,
}

fn success(data: Value) -> Response {
    Json(json!({"status": "success", "data": data})).into_response()
}

fn bad_data(error: String) -> Response {
    let body = json!({"status": "error", "errorType": "bad_data", "error": error});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn query(State(world): State<World>, Parameters(instant): Parameters<Instant>) -> Response {
    let (expression, at) = match (parse(&instant.query), seconds(&instant.time)) {
        (Ok(expression), Ok(at)) => (expression, at),
        (Err(fault), _) | (_, Err(fault)) => return bad_data(fault),
    };
    let state = world.state();
    match expression {
        Expression::Number(number) => success(json!({"resultType": "scalar", "result": [at, number.to_string()]})),
        Expression::Selector(labels) => {
            let series = state
                .prometheus
                .series
                .iter()
                .filter(|series| selected(series, &labels));
            let present =
                series.filter_map(|series| Some(json!({"metric": series.labels, "value": [at, value(series, at)?]})));
            success(json!({"resultType": "vector", "result": present.collect::<Vec<_>>()}))
        }
    }
}

async fn query_range(State(world): State<World>, Parameters(range): Parameters<Range>) -> Response {
    let read =
        parse(&range.query).and_then(|expression| Ok((expression, seconds(&range.start)?, seconds(&range.end)?)));
    let (expression, start, end) = match read {
        Ok(read) => read,
        Err(fault) => return bad_data(fault),
    };
    if range.step <= 0.0 || (end - start) / range.step > 11_000.0 {
        return bad_data("exceeded maximum resolution of 11,000 points per timeseries".to_owned());
    }
    let steps = || {
        (0..)
            .map(|step| start + f64::from(step) * range.step)
            .take_while(|at| *at <= end)
    };
    let state = world.state();
    let result: Vec<Value> = match expression {
        Expression::Number(number) => {
            let values: Vec<_> = steps().map(|at| json!([at, number.to_string()])).collect();
            vec![json!({"metric": {}, "values": values})]
        }
        Expression::Selector(labels) => {
            let series = state
                .prometheus
                .series
                .iter()
                .filter(|series| selected(series, &labels));
            let filled = series.map(|series| {
                let values: Vec<_> = steps().filter_map(|at| Some(json!([at, value(series, at)?]))).collect();
                (series, values)
            });
            let some = filled.filter(|(_, values)| !values.is_empty());
            some.map(|(series, values)| json!({"metric": series.labels, "values": values}))
                .collect()
        }
    };
    success(json!({"resultType": "matrix", "result": result}))
}

async fn alerts(State(world): State<World>) -> Response {
    success(json!({"alerts": world.state().prometheus.alerts}))
}

fn selected(series: &Stored, labels: &[(String, String)]) -> bool {
    labels
        .iter()
        .all(|(name, value)| series.labels.get(name) == Some(value))
}

/// The last value at or before `at`, as text.
fn value(series: &Stored, at: f64) -> Option<String> {
    let present = series.points.iter().rev().find(|(time, _)| *time <= at);
    present
        .filter(|(time, _)| at - time < LOOKBACK_S)
        .map(|(_, value)| match value {
            value if value.is_nan() => "NaN".to_owned(),
            value => value.to_string(),
        })
}

fn parse(text: &str) -> Result<Expression, String> {
    if let Ok(number) = text.trim().parse() {
        return Ok(Expression::Number(number));
    }
    let failed = |fault: String| format!("invalid parameter \"query\": parse error: {fault}");
    let mut rest = Rest(text);
    let mut labels = vec![("__name__".to_owned(), rest.name().map_err(failed)?)];
    if rest.take("{") {
        while !rest.take("}") {
            let name = rest.name().map_err(failed)?;
            rest.expect("=").map_err(failed)?;
            labels.push((name, rest.string().map_err(failed)?));
            rest.take(",");
        }
    }
    match rest.at_end() {
        true => Ok(Expression::Selector(labels)),
        false => Err(failed(format!(
            "unexpected {:?}; the twin knows selectors alone",
            rest.0
        ))),
    }
}

fn seconds(time: &str) -> Result<f64, String> {
    if let Ok(seconds) = time.parse() {
        return Ok(seconds);
    }
    let at: DateTime<Utc> = time
        .parse()
        .map_err(|_| format!("cannot parse {time:?} to a valid timestamp"))?;
    Ok(at.timestamp_millis() as f64 / 1000.0)
}
