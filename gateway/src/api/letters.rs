//! The routes about one dead letter. Its bytes are what a stranger sent, so who may read lists may not read them; dealing with letters
//! changes what the pipeline takes in.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router, middleware};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::acts::{ordered, read, words};
use crate::guard;
use crate::letters::{LetterPlace, Letters};
use crate::problem::Problem;
use crate::roles::{Caller, Role};

type Office = Arc<dyn Letters>;

/// Body of `drop`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropBody {
    /// Why it needs nothing more.
    pub because: String,
}

pub fn routes(letters: Office) -> Router {
    let needs = |role: Role| middleware::from_fn_with_state(role, guard::require);
    let shown = Router::new()
        .route("/dead-letters/{partition}/{offset}", get(show))
        .route_layer(needs(Role::Responder));
    let dealt = Router::new()
        .route("/dead-letters/{partition}/{offset}/replay", post(replay))
        .route("/dead-letters/{partition}/{offset}/drop", post(drop_it))
        .route_layer(needs(Role::Admin));
    shown.merge(dealt).with_state(letters)
}

async fn show(State(letters): State<Office>, Path(path): Path<(String, String)>) -> Result<Response, Problem> {
    let place = place(&path)?;
    match letters.show(place).await {
        Ok(Some(letter)) => Ok(Json(letter).into_response()),
        Ok(None) => Err(Problem::new(StatusCode::NOT_FOUND, "there is no such dead letter")),
        Err(error) => ordered(Err(error)),
    }
}

async fn replay(
    State(letters): State<Office>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    ordered(letters.replay(place(&path)?, &caller.by()).await)
}

async fn drop_it(
    State(letters): State<Office>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<(String, String)>,
    body: Result<Json<DropBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let place = place(&path)?;
    let body = read(body)?;
    words("because", &body.because)?;
    ordered(letters.drop_it(place, &body.because, &caller.by()).await)
}

fn place((partition, offset): &(String, String)) -> Result<LetterPlace, Problem> {
    let bad = |field: &str, text: &str| Problem::bad(field, format!("{text:?} is not a whole number"));
    Ok(LetterPlace {
        partition: partition.parse().map_err(|_| bad("partition", partition))?,
        offset: offset.parse().map_err(|_| bad("offset", offset))?,
    })
}
