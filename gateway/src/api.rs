//! `/api/v1`: incidents, runs, remediations, dead letters; and orders about them.

pub mod acts;
pub mod changes;
mod compliance;
pub mod console;
pub mod letters;
mod looks;
mod query;
mod sessions;
mod silences;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::IncidentId;
use serde::Serialize;
use uuid::Uuid;

use crate::problem::Problem;
use crate::reads::{IncidentReads, IncidentView, Page, ReadError};
use crate::sessions::SessionDesk;
use crate::{Shown, openapi};

/// How long a read of the store may take. Higher: a stuck store holds more requests.
const READ_TIME: Duration = Duration::from_secs(10);

type Reads = Arc<dyn IncidentReads>;

/// One page of incidents.
#[derive(Serialize)]
struct IncidentList {
    incidents: Vec<IncidentView>,
    limit: u32,
    offset: u32,
    /// There are further incidents after this page.
    more: bool,
}

pub fn routes(shown: &Shown, desk: SessionDesk, sign_in: bool) -> Router {
    Router::new()
        .route("/incidents", get(list))
        .route("/incidents/{id}", get(one))
        .route("/incidents/{id}/similar", get(similar))
        .route("/similar", get(similar_to))
        .with_state(shown.incidents.clone())
        .merge(looks::routes(shown.responses.clone()))
        .merge(acts::routes(shown.orders.clone()))
        .merge(letters::routes(shown.letters.clone()))
        .merge(silences::routes(shown.silences.clone()))
        .merge(sessions::routes(desk.clone()))
        .merge(changes::routes(desk))
        .merge(compliance::routes(shown.compliance.clone()))
        .merge(console::routes(shown, sign_in))
        .route("/openapi.json", get(async || Json(openapi::document())))
}

async fn list(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (filter, page) = query::parse(query.as_deref().unwrap_or_default())?;
    // One more than asked for tells whether there is more.
    let wanted = Page {
        limit: page.limit + 1,
        ..page
    };
    let mut incidents = in_time(reads.incidents(&filter, wanted)).await?;
    let more = incidents.len() > page.limit as usize;
    incidents.truncate(page.limit as usize);
    Ok(Json(IncidentList {
        incidents,
        limit: page.limit,
        offset: page.offset,
        more,
    })
    .into_response())
}

async fn one(State(reads): State<Reads>, Path(id): Path<String>) -> Result<Response, Problem> {
    let parsed = Uuid::parse_str(&id).map_err(|_| Problem::bad("id", format!("{id:?} is not a UUID")))?;
    let found = in_time(reads.incident(IncidentId(parsed))).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no incident {parsed}"));
    found.map(|incident| Json(incident).into_response()).ok_or_else(missing)
}

async fn similar(
    State(reads): State<Reads>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let parsed = Uuid::parse_str(&id).map_err(|_| Problem::bad("id", format!("{id:?} is not a UUID")))?;
    let limit = query::similar(query.as_deref().unwrap_or_default())?;
    let found = in_time(reads.similar(IncidentId(parsed), limit)).await?;
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no incident {parsed}"));
    found.map(|answer| Json(answer).into_response()).ok_or_else(missing)
}

async fn similar_to(State(reads): State<Reads>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (text, limit) = query::similar_to(query.as_deref().unwrap_or_default())?;
    Ok(Json(in_time(reads.similar_to(&text, limit)).await?).into_response())
}

async fn in_time<T>(read: impl Future<Output = Result<T, ReadError>>) -> Result<T, Problem> {
    match tokio::time::timeout(READ_TIME, read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error @ ReadError::Unavailable(_))) => {
            tracing::warn!(%error, "the store was not read");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the store is unavailable, try again",
            ))
        }
        Ok(Err(error @ ReadError::Failed(_))) => {
            tracing::error!(%error, "the store was not read");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "reading the store failed, see the log",
            ))
        }
        Err(_) => {
            tracing::warn!(seconds = READ_TIME.as_secs(), "the store was not read in time");
            Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the store did not answer in time, try again",
            ))
        }
    }
}
