//! The routes that show runs, remediations and dead letters.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use uuid::Uuid;

use super::{in_time, query};
use crate::problem::Problem;
use crate::reads::Page;
use crate::responses::ResponseReads;

type Reads = Arc<dyn ResponseReads>;

pub fn routes(reads: Reads) -> Router {
    Router::new()
        .route("/runs", get(steps))
        .route("/runs/{id}", get(step))
        .route("/remediations", get(remediations))
        .route("/remediations/{id}", get(remediation))
        .route("/dead-letters", get(letters))
        .with_state(reads)
}

async fn steps(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (filter, page) = query::response(query.as_deref().unwrap_or_default())?;
    let rows = in_time(reads.steps(&filter, one_more(page))).await?;
    Ok(paged("steps", rows, page))
}

async fn step(State(reads): State<Reads>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = uuid(&id)?;
    found("step", id, in_time(reads.step(id)).await?)
}

async fn remediations(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (filter, page) = query::response(query.as_deref().unwrap_or_default())?;
    let rows = in_time(reads.remediations(&filter, one_more(page))).await?;
    Ok(paged("remediations", rows, page))
}

async fn remediation(State(reads): State<Reads>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = uuid(&id)?;
    found("remediation", id, in_time(reads.remediation(id)).await?)
}

async fn letters(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (filter, page) = query::response(query.as_deref().unwrap_or_default())?;
    if filter.incident.is_some() {
        return Err(Problem::bad("incident", "dead letters belong to no incident"));
    }
    let rows = in_time(reads.letters(filter.status.as_deref(), one_more(page))).await?;
    Ok(paged("dead_letters", rows, page))
}

/// One more than asked for tells whether there is more.
fn one_more(page: Page) -> Page {
    Page {
        limit: page.limit + 1,
        ..page
    }
}

fn paged<T: Serialize>(name: &str, mut rows: Vec<T>, page: Page) -> Response {
    let more = rows.len() > page.limit as usize;
    rows.truncate(page.limit as usize);
    Json(serde_json::json!({ name: rows, "limit": page.limit, "offset": page.offset, "more": more })).into_response()
}

fn uuid(id: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(id).map_err(|_| Problem::bad("id", format!("{id:?} is not a UUID")))
}

fn found<T: Serialize>(what: &str, id: Uuid, row: Option<T>) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} {id}"));
    row.map(|row| Json(row).into_response()).ok_or_else(missing)
}
