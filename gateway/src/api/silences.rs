//! The routes about silences. Who may acknowledge an incident may silence it.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use uuid::Uuid;

use super::acts::{problem, read, uuid, words};
use super::{in_time, query};
use crate::guard;
use crate::problem::Problem;
use crate::roles::{Caller, Role};
use crate::silences::{SilenceBody, Silences, SilencesView};

type Desk = Arc<dyn Silences>;

pub fn routes(silences: Desk) -> Router {
    let needs = |role: Role| middleware::from_fn_with_state(role, guard::require);
    let acts = Router::new()
        .route("/silences", post(declare))
        .route("/silences/{id}/end", post(end))
        .route_layer(needs(Role::Responder));
    Router::new()
        .route("/silences", get(list))
        .merge(acts)
        .with_state(silences)
}

async fn list(State(silences): State<Desk>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let filter = query::silences(query.as_deref().unwrap_or_default())?;
    match in_time(silences.list(filter)).await? {
        Some(silences) => Ok(Json(SilencesView { silences }).into_response()),
        None => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such incident")),
    }
}

async fn declare(
    State(silences): State<Desk>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<SilenceBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let body = read(body)?;
    words("comment", &body.comment)?;
    let made = silences.declare(body, &caller.by()).await.map_err(problem)?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn end(
    State(silences): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: Uuid = uuid(&id)?;
    let ended = silences.end(id, &caller.by()).await.map_err(problem)?;
    Ok(Json(ended).into_response())
}
