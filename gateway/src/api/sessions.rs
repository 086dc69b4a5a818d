//! The routes about sessions.

use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router, middleware};
use shared::SessionId;

use crate::guard;
use crate::problem::Problem;
use crate::roles::{Caller, Role};
use crate::sessions::{Presented, SessionDesk, Signed, refused, view};

type Own = Option<Extension<Signed>>;

pub fn routes(desk: SessionDesk) -> Router {
    let named = middleware::from_fn_with_state(Role::Viewer, guard::require);
    Router::new()
        .route("/sessions", post(open).get(list).delete(end_all))
        .route("/sessions/current", get(current).delete(end_current))
        .route("/sessions/{session}", delete(end_one))
        .route_layer(named)
        .with_state(desk)
}

async fn open(
    State(desk): State<SessionDesk>,
    Extension(caller): Extension<Caller>,
    token: Option<Extension<Presented>>,
) -> Result<Response, Problem> {
    // A session that makes sessions would outlive its term.
    let Some(Extension(token)) = token else {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "to sign in, come with a bearer token",
        ));
    };
    let user = caller.name.as_deref().unwrap_or_default();
    let (signed, cookie) = desk.open(user, token).await?;
    tracing::info!(user, session = signed.session.id.as_str(), "signed in");
    let body = Json(signed.own(caller.role));
    let headers = [
        (SET_COOKIE, cookie),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

async fn current(Extension(caller): Extension<Caller>, own: Own) -> Result<Response, Problem> {
    let Some(Extension(signed)) = own else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "this request came with a token, not with a session",
        ));
    };
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(signed.own(caller.role))).into_response())
}

async fn list(
    State(desk): State<SessionDesk>,
    Extension(caller): Extension<Caller>,
    own: Own,
    uri: Uri,
) -> Result<Response, Problem> {
    let user = whose(&caller, &uri)?;
    let found = desk.sessions.list(&user).await.map_err(refused)?;
    let own = own.map(|Extension(signed)| signed.session);
    let sessions: Vec<_> = found.iter().map(|one| view(one, own.as_ref())).collect();
    Ok(Json(serde_json::json!({ "sessions": sessions })).into_response())
}

async fn end_all(
    State(desk): State<SessionDesk>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let user = whose(&caller, &uri)?;
    let ended = desk.sessions.revoke_user(&user).await.map_err(refused)?;
    desk.changes.sessions_ended().await;
    tracing::info!(by = caller.by(), user, ended, "sessions ended");
    let body = Json(serde_json::json!({ "ended": ended }));
    match caller.name.as_deref() == Some(user.as_str()) {
        true => Ok(([(SET_COOKIE, desk.cookie("", 0)?)], body).into_response()),
        false => Ok(body.into_response()),
    }
}

async fn end_current(State(desk): State<SessionDesk>, own: Own) -> Result<Response, Problem> {
    if let Some(Extension(signed)) = own {
        end(&desk, &signed.session.id).await?;
    }
    let mut headers = HeaderMap::new();
    headers.insert(SET_COOKIE, desk.cookie("", 0)?);
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

async fn end_one(
    State(desk): State<SessionDesk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = SessionId::parse(&id).ok_or_else(|| {
        Problem::bad(
            "session",
            format!("{id:?} is no id of a session: 64 hexadecimal digits"),
        )
    })?;
    let found = desk.sessions.look_up(&id).await.map_err(refused)?;
    // Of other people's sessions nobody but an admin learns whether they are there.
    let may = |user: &str| caller.role == Role::Admin || caller.name.as_deref() == Some(user);
    match found {
        Some(session) if may(&session.user) => end(&desk, &id).await?,
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "there is no such session")),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn end(desk: &SessionDesk, id: &SessionId) -> Result<(), Problem> {
    desk.sessions.revoke(id).await.map_err(refused)?;
    desk.changes.sessions_ended().await;
    tracing::info!(session = id.as_str(), "a session ended");
    Ok(())
}

/// The caller, or whom the query names, which is for admins.
fn whose(caller: &Caller, uri: &Uri) -> Result<String, Problem> {
    let unreadable = |_| Problem::bad("query", "the query string cannot be decoded");
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    let own = caller.name.clone().unwrap_or_default();
    match pairs.as_slice() {
        [] => Ok(own),
        [(name, user)] if name == "user" => match caller.role == Role::Admin || *user == own {
            true if !user.is_empty() => Ok(user.clone()),
            true => Err(Problem::bad("user", "it is empty")),
            false => Err(Problem::new(StatusCode::FORBIDDEN, "")),
        },
        [(name, _)] => Err(Problem::bad(name, format!("unknown parameter {name:?}: known is user"))),
        _ => Err(Problem::bad("query", "at most one parameter is taken: user")),
    }
}
