//! `GET /changes`: answers when something changed, so that who shows incidents need not ask all the time.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::changes::Woken;
use crate::problem::Problem;
use crate::sessions::{SessionDesk, Signed, refused};

/// Longest wait, and the usual one. Longer: proxies cut it off.
const WAITS: (u64, u64) = (60, 25);
/// Requests that may wait at once. Higher: more open connections for strangers' pages.
const WAITING: usize = 1_024;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangesView {
    /// Names the state of the tables; send it as `after` the next time. Good at any instance.
    pub mark: String,
    /// The mark is another than `after`.
    pub changed: bool,
}

#[derive(Clone)]
struct Room {
    desk: SessionDesk,
    places: Arc<Semaphore>,
}

pub fn routes(desk: SessionDesk) -> Router {
    let places = Arc::new(Semaphore::new(WAITING));
    Router::new()
        .route("/changes", get(changes))
        .with_state(Room { desk, places })
}

async fn changes(State(room): State<Room>, own: Option<Extension<Signed>>, uri: Uri) -> Result<Response, Problem> {
    let (after, wait) = asked(&uri)?;
    let changes = &room.desk.changes;
    let answer = |changed: bool| {
        let mark = changes.mark();
        Ok(Json(ChangesView { mark, changed }).into_response())
    };
    let Some(after) = after else { return answer(false) };
    let Ok(_place) = room.places.try_acquire() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests wait already",
        ));
    };
    let end = Instant::now() + wait;
    loop {
        match tokio::time::timeout_at(end, changes.after(&after)).await {
            Ok(Woken::Changed) => return answer(true),
            Err(_) | Ok(Woken::Closed) => return answer(changes.mark() != after),
            Ok(Woken::SessionsEnded) => {
                let Some(Extension(signed)) = &own else { continue };
                let still = room.desk.sessions.look_up(&signed.session.id).await.map_err(refused)?;
                if still.is_none() {
                    return Err(Problem::new(StatusCode::UNAUTHORIZED, ""));
                }
            }
        }
    }
}

fn asked(uri: &Uri) -> Result<(Option<String>, Duration), Problem> {
    let unreadable = |_| Problem::bad("query", "the query string cannot be decoded");
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(unreadable)?;
    let (mut after, mut wait) = (None, None);
    for (name, value) in pairs {
        let repeated = match name.as_str() {
            "after" => after.replace(value).is_some(),
            "wait" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds <= WAITS.0);
                let bad = || {
                    Problem::bad(
                        "wait",
                        format!("{value:?} is not a number of seconds from 0 to {}", WAITS.0),
                    )
                };
                wait.replace(seconds.ok_or_else(bad)?).is_some()
            }
            _ => {
                return Err(Problem::bad(
                    &name,
                    format!("unknown parameter {name:?}: known are after, wait"),
                ));
            }
        };
        if repeated {
            return Err(Problem::bad(&name, format!("{name} is given twice")));
        }
    }
    Ok((after, Duration::from_secs(wait.unwrap_or(WAITS.1))))
}
