//! The routes that order something. Each needs a named token with a role; each appends one record and answers 202: what came of it
//! stands in the incident, the run or the remediation.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router, middleware};
use model::investigation::RunVerb;
use model::{Action, IncidentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::guard;
use crate::orders::{OrderError, Orders, Suggestion};
use crate::problem::Problem;
use crate::roles::{Caller, Role};

type Desk = Arc<dyn Orders>;

/// Longest text that a person may send along, in characters.
const WORDS: usize = 2_000;

/// Body of `resolve`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// What ended it.
    pub resolution: String,
}

/// Body of `run`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunBody {
    /// `pause`, `resume`, `cancel` or `rerun`.
    #[schemars(with = "String", extend("enum" = ["pause", "resume", "cancel", "rerun"]))]
    pub verb: RunVerb,
}

/// Body of `propose`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeBody {
    pub action: Action,
    /// Why, for whoever is to grant it.
    pub reason: String,
    /// The same key with the same action is the same proposal: for whoever sends it again because no answer came.
    #[schemars(with = "Option<String>", extend("format" = "uuid"))]
    pub key: Option<Uuid>,
}

/// Body of `approve`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    /// The hash of the plan that was shown.
    pub plan_hash: String,
}

/// Body of `deny`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyBody {
    pub reason: String,
}

/// Body of `stop`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopBody {
    pub on: bool,
}

pub fn routes(orders: Desk) -> Router {
    let needs = |role: Role| middleware::from_fn_with_state(role, guard::require);
    let responder = Router::new()
        .route("/incidents/{id}/acknowledge", post(acknowledge))
        .route("/incidents/{id}/resolve", post(resolve))
        .route("/incidents/{id}/run", post(run))
        .route("/incidents/{id}/propose", post(propose))
        .route_layer(needs(Role::Responder));
    let approver = Router::new()
        .route("/remediations/{id}/approve", post(approve))
        .route("/remediations/{id}/deny", post(deny))
        .route("/remediation/stop", post(stop))
        .route_layer(needs(Role::Approver));
    responder.merge(approver).with_state(orders)
}

async fn acknowledge(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    ordered(orders.acknowledge(incident(&id)?, &caller.by()).await)
}

async fn resolve(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<ResolveBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let id = incident(&id)?;
    let body = read(body)?;
    words("resolution", &body.resolution)?;
    ordered(orders.resolve(id, &caller.by(), &body.resolution).await)
}

async fn run(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<RunBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let id = incident(&id)?;
    let body = read(body)?;
    ordered(orders.run(id, body.verb, &caller.by()).await)
}

async fn propose(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<ProposeBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let id = incident(&id)?;
    let ProposeBody { action, reason, key } = read(body)?;
    words("reason", &reason)?;
    let key = key.unwrap_or_else(Uuid::now_v7);
    let proposed = orders
        .propose(id, Suggestion { action, reason, key }, &caller.by())
        .await;
    let proposed = proposed.map_err(problem)?;
    Ok((StatusCode::ACCEPTED, Json(proposed)).into_response())
}

async fn approve(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<ApproveBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let id = uuid(&id)?;
    let body = read(body)?;
    ordered(orders.approve(id, &body.plan_hash, &caller.by()).await)
}

async fn deny(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Result<Json<DenyBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let id = uuid(&id)?;
    let body = read(body)?;
    words("reason", &body.reason)?;
    ordered(orders.deny(id, &body.reason, &caller.by()).await)
}

async fn stop(
    State(orders): State<Desk>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<StopBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let body = read(body)?;
    // Whoever sees a danger may stop; to go on is a decision of its own.
    if !body.on && caller.role < Role::Admin {
        return Err(Problem::new(StatusCode::FORBIDDEN, ""));
    }
    ordered(orders.stop(body.on, &caller.by()).await)
}

pub(super) fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => {
            let text = rejection.body_text();
            let field = field_of(&text).map(str::to_owned);
            Err(Problem {
                field,
                ..Problem::new(rejection.status(), text)
            })
        }
    }
}

/// The field that the extractor complains of: it names the path to a value, or, for one that is not there, its name in the sentence.
fn field_of(text: &str) -> Option<&str> {
    let (_, said) = text.split_once("target type: ")?;
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = said.find(|c| !letter(c)).map_or(said, |end| &said[..end]);
    let path = said[name.len()..].starts_with([':', '.', '[']);
    if path && !name.is_empty() {
        return Some(name);
    }
    let (_, named) = said.split_once("field `")?;
    named.split_once('`').map(|(name, _)| name)
}

pub(super) fn words(field: &str, text: &str) -> Result<(), Problem> {
    match text.chars().count() {
        0 => Err(Problem::bad(field, format!("{field} is empty: say it in a few words"))),
        n if n > WORDS => Err(Problem::bad(
            field,
            format!("{field} has {n} characters, at most {WORDS} are taken"),
        )),
        _ => Ok(()),
    }
}

pub(super) fn uuid(id: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(id).map_err(|_| Problem::bad("id", format!("{id:?} is not a UUID")))
}

fn incident(id: &str) -> Result<IncidentId, Problem> {
    uuid(id).map(IncidentId)
}

pub(super) fn ordered(result: Result<(), OrderError>) -> Result<Response, Problem> {
    result.map_err(problem)?;
    let body = Json(serde_json::json!({ "status": "accepted" }));
    Ok((StatusCode::ACCEPTED, body).into_response())
}

pub(super) fn problem(error: OrderError) -> Problem {
    match error {
        OrderError::NotFound(what) => Problem::new(StatusCode::NOT_FOUND, format!("there is no {what}")),
        OrderError::Conflict(why) => Problem::new(StatusCode::CONFLICT, why),
        OrderError::Forbidden(why) => Problem::new(StatusCode::FORBIDDEN, why),
        OrderError::Invalid { field, why } => Problem::bad(field, why),
        OrderError::Unavailable(cause) => {
            tracing::warn!(cause, "an order was not taken");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it was not taken, try again")
        }
    }
}
