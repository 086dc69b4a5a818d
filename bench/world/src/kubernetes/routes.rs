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
use super::{selector, watch};
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
const EVENTS: [(&str, &str); 1] = [("events", "Event")];

/// An API group.
#[derive(Clone, Copy)]
struct Group {
    name: &'static str,
    served: &'static [(&'static str, &'static str)],
    /// How it shows its objects.
    form: fn(&Value) -> Value,
}

const APPS_V1: Group = Group {
    name: "apps",
    served: &APPS,
    form: Value::clone,
};
const CORE_V1: Group = Group {
    name: "",
    served: &CORE,
    form: Value::clone,
};
const EVENTS_V1: Group = Group {
    name: "events.k8s.io",
    served: &EVENTS,
    form: watch::as_events_k8s_io,
};

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/version", get(version))
        .route("/apis/apps/v1/{plural}", get(list_apps_everywhere))
        .route("/apis/apps/v1/namespaces/{namespace}/{plural}", get(list_apps))
        .route(
            "/apis/apps/v1/namespaces/{namespace}/{plural}/{name}",
            get(get_apps).patch(patch_apps),
        )
        .route("/apis/events.k8s.io/v1/{plural}", get(list_events_everywhere))
        .route(
            "/apis/events.k8s.io/v1/namespaces/{namespace}/{plural}",
            get(list_events),
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

/// What a list or a watch may be refused for.
fn allowed(world: &World, headers: &HeaderMap, group: Group, plural: &str, verb: &str) -> Result<(), Fault> {
    let_in(world, headers)?;
    let state = world.state();
    let cluster = &state.kubernetes;
    let served = group.served.iter().any(|(known, _)| *known == plural) && !cluster.unserved.contains(group.name);
    if !served {
        return Err(not_found(format!(
            "the server could not find the requested resource {plural}"
        )));
    }
    match cluster.forbidden.contains(&(verb.to_owned(), plural.to_owned())) {
        false => Ok(()),
        true => Err(Fault {
            code: 403,
            reason: "Forbidden",
            message: format!(
                "{plural} is forbidden: User \"system:serviceaccount:aegis:aegis\" cannot {verb} resource \"{plural}\" in API group {:?} at the cluster scope",
                group.name
            ),
        }),
    }
}

/// A list, or a watch where the query asks for one.
fn collection(
    world: &World,
    headers: &HeaderMap,
    group: Group,
    namespace: Option<&str>,
    plural: &str,
    parameters: HashMap<String, String>,
) -> Response {
    let watched = matches!(parameters.get("watch").map(String::as_str), Some("1" | "true"));
    let verb = if watched { "watch" } else { "list" };
    let answered = allowed(world, headers, group, plural, verb).and_then(|()| match watched {
        false => Ok(Json(list(world, group, namespace, plural, &parameters)?).into_response()),
        true => {
            let asked = watch::Asked {
                plural: plural.to_owned(),
                namespace: namespace.map(str::to_owned),
                parameters,
                form: group.form,
            };
            watch::answer(world, asked)
        }
    });
    answered.unwrap_or_else(failed)
}

fn list(
    world: &World,
    group: Group,
    namespace: Option<&str>,
    plural: &str,
    parameters: &HashMap<String, String>,
) -> Result<Value, Fault> {
    let bad = |message: String| Fault {
        code: 400,
        reason: "BadRequest",
        message,
    };
    let kind = group.served.iter().find(|(known, _)| *known == plural);
    let kind = kind.map(|(_, kind)| *kind).unwrap_or_default();
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
            items.push((group.form)(object));
        }
    }
    let mut rest = items.split_off(start.min(items.len()));
    let mut metadata = json!({"resourceVersion": state.kubernetes.version().to_string()});
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
    collection(&world, &headers, APPS_V1, None, &plural, parameters)
}

async fn list_apps(
    State(world): State<World>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    collection(&world, &headers, APPS_V1, Some(&namespace), &plural, parameters)
}

async fn list_core_everywhere(
    State(world): State<World>,
    Path(plural): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    collection(&world, &headers, CORE_V1, None, &plural, parameters)
}

async fn list_core(
    State(world): State<World>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    collection(&world, &headers, CORE_V1, Some(&namespace), &plural, parameters)
}

async fn list_events_everywhere(
    State(world): State<World>,
    Path(plural): Path<String>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    collection(&world, &headers, EVENTS_V1, None, &plural, parameters)
}

async fn list_events(
    State(world): State<World>,
    Path((namespace, plural)): Path<(String, String)>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Response {
    collection(&world, &headers, EVENTS_V1, Some(&namespace), &plural, parameters)
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
