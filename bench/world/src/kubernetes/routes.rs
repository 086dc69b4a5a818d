//! The API server's paths. Lists have selectors, pages (`limit`, `continue`); errors are `Status` objects.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::patch::{self, Fault};
use super::selector;
use crate::World;
use crate::scenario::Kind;

type Parameters = Query<HashMap<String, String>>;

/// What each group serves, and the kind of one.
const APPS: [(&str, &str); 5] = [
    ("deployments", "Deployment"),
    ("statefulsets", "StatefulSet"),
    ("daemonsets", "DaemonSet"),
    ("replicasets", "ReplicaSet"),
    ("controllerrevisions", "ControllerRevision"),
];
const CORE: [(&str, &str); 2] = [("pods", "Pod"), ("events", "Event")];

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/version", get(version))
        .route("/apis/apps/v1/{plural}", get(list_apps_everywhere))
        .route("/apis/apps/v1/namespaces/{namespace}/{plural}", get(list_apps))
        .route(
            "/apis/apps/v1/namespaces/{namespace}/{plural}/{name}",
            get(get_apps).patch(patch_apps),
        )
        .route("/api/v1/{plural}", get(list_core_everywhere))
        .route("/api/v1/namespaces/{namespace}/{plural}", get(list_core))
        .route("/api/v1/namespaces/{namespace}/{plural}/{name}", get(get_core))
}

async fn version() -> Json<Value> {
    Json(json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0-world"}))
}

fn failed(fault: Fault) -> Response {
    let body = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": fault.message,
        "reason": fault.reason,
        "code": fault.code,
    });
    let status = StatusCode::from_u16(fault.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

fn not_found(what: String) -> Fault {
    Fault {
        code: 404,
        reason: "NotFound",
        message: format!("{what} not found"),
    }
}

/// The token, where the scenario asks for one.
fn let_in(world: &World, headers: &HeaderMap) -> Result<(), Fault> {
    let state = world.state();
    let Some(token) = &state.kubernetes.scenario.token else {
        return Ok(());
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given == Some(&format!("Bearer {token}")) {
        true => Ok(()),
        false => Err(Fault {
            code: 401,
            reason: "Unauthorized",
            message: "Unauthorized".to_owned(),
        }),
    }
}

fn list(
    world: &World,
    headers: &HeaderMap,
    served: &[(&str, &str)],
    namespace: Option<&str>,
    plural: &str,
    parameters: &HashMap<String, String>,
) -> Result<Value, Fault> {
    let_in(world, headers)?;
    let bad = |message: String| Fault {
        code: 400,
        reason: "BadRequest",
        message,
    };
    let Some((_, kind)) = served.iter().find(|(known, _)| *known == plural) else {
        return Err(not_found(format!(
            "the server could not find the requested resource {plural}"
        )));
    };
    let parameter = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| match parameter(name) {
        "" => Ok(0),
        text => text
            .parse::<usize>()
            .map_err(|_| bad(format!("{name}: {text:?} is no number"))),
    };
    let (limit, start) = (number("limit")?, number("continue")?);
    let state = world.state();
    let mut items = Vec::new();
    for object in state.kubernetes.list(plural, namespace) {
        let chosen = selector::labels(parameter("labelSelector"), object).map_err(bad)?
            && selector::fields(parameter("fieldSelector"), object).map_err(bad)?;
        if chosen {
            items.push(object.clone());
        }
    }
    let mut rest = items.split_off(start.min(items.len()));
    let mut metadata = json!({"resourceVersion": "1"});
    if limit > 0 && rest.len() > limit {
        metadata["continue"] = json!((start + limit).to_string());
        metadata["remainingItemCount"] = json!(rest.len() - limit);
        rest.truncate(limit);
    }
    Ok(json!({"kind": format!("{kind}List"), "apiVersion": "v1", "metadata": metadata, "items": rest}))
}

fn answer(result: Result<Value, Fault>) -> Response {
    result.map_or_else(failed, |object| Json(object).into_response())
}

async fn list_apps_everywhere(
    State(world): State<World>,
    Path(plural): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    answer(list(&world, &headers, &APPS, None, &plural, &parameters))
}

async fn list_apps(
    State(world): State<World>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    answer(list(&world, &headers, &APPS, Some(&namespace), &plural, &parameters))
}

async fn list_core_everywhere(
    State(world): State<World>,
    Path(plural): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    answer(list(&world, &headers, &CORE, None, &plural, &parameters))
}

async fn list_core(
    State(world): State<World>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    answer(list(&world, &headers, &CORE, Some(&namespace), &plural, &parameters))
}

fn one(
    world: &World,
    headers: &HeaderMap,
    (namespace, plural, name): &(String, String, String),
) -> Result<Value, Fault> {
    let_in(world, headers)?;
    let state = world.state();
    let found = state.kubernetes.get(plural, namespace, name).cloned();
    found.ok_or_else(|| not_found(format!("{plural} {name:?}")))
}

async fn get_apps(
    State(world): State<World>,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(one(&world, &headers, &path))
}

async fn get_core(
    State(world): State<World>,
    Path(path): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(one(&world, &headers, &path))
}

async fn patch_apps(
    State(world): State<World>,
    Path((namespace, plural, name)): Path<(String, String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let patched = || {
        let_in(&world, &headers)?;
        let kind = Kind::of_plural(&plural).ok_or_else(|| not_found(plural.clone()))?;
        let content_type = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let patch_kind = patch::Kind::of_content_type(content_type).ok_or_else(|| Fault {
            code: 415,
            reason: "UnsupportedMediaType",
            message: format!("the body of the request was in an unknown format: {content_type}"),
        })?;
        let body: Value = serde_json::from_slice(&body).map_err(|fault| Fault {
            code: 400,
            reason: "BadRequest",
            message: fault.to_string(),
        })?;
        let dry_run = match parameters.get("dryRun").map(String::as_str) {
            None => false,
            Some("All") => true,
            Some(other) => {
                return Err(Fault {
                    code: 422,
                    reason: "Invalid",
                    message: format!("dryRun: Unsupported value: {other:?}: supported values: \"All\""),
                });
            }
        };
        let mut state = world.state();
        state
            .kubernetes
            .patch(kind, (&namespace, &name), (patch_kind, &body), dry_run)
    };
    answer(patched())
}
