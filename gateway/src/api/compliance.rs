//! The routes about compliance.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::{in_time, query};
use crate::compliance::ComplianceReads;
use crate::problem::Problem;

type Reads = Arc<dyn ComplianceReads>;

pub fn routes(reads: Reads) -> Router {
    Router::new()
        .route("/compliance", get(controls))
        .route("/compliance/{control}", get(records))
        .route("/compliance/{control}/evidence", get(evidence))
        .with_state(reads)
}

async fn controls(State(reads): State<Reads>) -> Result<Response, Problem> {
    let controls = in_time(reads.controls()).await?;
    Ok(Json(json!({ "controls": controls })).into_response())
}

async fn records(
    State(reads): State<Reads>,
    Path(control): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (_, page) = query::response(query.as_deref().unwrap_or_default())?;
    let found = in_time(reads.records(&control)).await?.ok_or_else(|| none(&control))?;
    let (limit, offset) = (page.limit as usize, page.offset as usize);
    let more = found.len() > offset.saturating_add(limit);
    let shown: Vec<_> = found.into_iter().skip(offset).take(limit).collect();
    Ok(Json(json!({ "records": shown, "limit": page.limit, "offset": page.offset, "more": more })).into_response())
}

async fn evidence(State(reads): State<Reads>, Path(control): Path<String>) -> Result<Response, Problem> {
    let pack = in_time(reads.evidence(&control)).await?.ok_or_else(|| none(&control))?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CONTENT_DISPOSITION, "attachment; filename=\"evidence.json\""),
    ];
    Ok((headers, pack).into_response())
}

fn none(control: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no policy serves a control {control:?}"))
}
