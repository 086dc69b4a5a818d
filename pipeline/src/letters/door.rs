//! The desk behind the control socket of a running Aegis, and one way to ask for both: [`Office`].
//!
//! The daemon holds no seat between requests, and serves one at a time.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use stream::{Clock, Log};
use tokio::sync::Mutex;

use super::desk::check_piece;
use super::{Chosen, Deed, Desk, Entry, Filter, LetterId, Outcome, Whole};
use crate::control::Client;

type Shared = Arc<Mutex<Desk>>;
type Refused = (StatusCode, String);

#[derive(Serialize, Deserialize)]
struct ListRequest {
    filter: Filter,
    limit: usize,
}

#[derive(Serialize, Deserialize)]
struct ActRequest {
    letters: Vec<Chosen>,
    deed: Deed,
    again: bool,
}

/// The routes below `/dead-letters`.
pub fn routes(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/dead-letters/list", post(list))
        .route("/dead-letters/select", post(select))
        .route("/dead-letters/show", post(show))
        .route("/dead-letters/act", post(act))
        .with_state(Arc::new(Mutex::new(Desk::new(log, clock))))
}

async fn list(State(desk): State<Shared>, Json(ask): Json<ListRequest>) -> Result<Json<Vec<Entry>>, Refused> {
    let listed = desk.lock().await.list(&ask.filter, ask.limit).await;
    listed.map(Json).map_err(refused)
}

async fn select(State(desk): State<Shared>, Json(filter): Json<Filter>) -> Result<Json<Vec<Chosen>>, Refused> {
    desk.lock().await.select(&filter).await.map(Json).map_err(refused)
}

async fn show(State(desk): State<Shared>, Json(id): Json<LetterId>) -> Result<Json<Option<Whole>>, Refused> {
    desk.lock().await.show(id).await.map(Json).map_err(refused)
}

async fn act(State(desk): State<Shared>, Json(ask): Json<ActRequest>) -> Result<Json<Outcome>, Refused> {
    check_piece(ask.letters.len()).map_err(refused)?;
    let mut desk = desk.lock().await;
    let done = desk.act(&ask.letters, &ask.deed, ask.again).await;
    // The seat goes back whatever came of it; the deed is in the log, or not, without it.
    if let Err(error) = desk.leave().await {
        tracing::warn!(%error, "the seat at the dead letters goes back by itself");
    }
    done.map(Json).map_err(refused)
}

fn refused(error: anyhow::Error) -> Refused {
    let code = match crate::cli::exit::of(&error) {
        crate::cli::Exit::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (code, format!("{error:#}"))
}

/// Where dead letters are asked for: in this process, or at the running one.
pub enum Office {
    Here(Box<Desk>),
    There(Client),
}

impl Office {
    pub async fn list(&mut self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Entry>> {
        match self {
            Office::Here(desk) => desk.list(filter, limit).await,
            Office::There(client) => {
                let filter = filter.clone();
                client.post("/dead-letters/list", &ListRequest { filter, limit }).await
            }
        }
    }

    pub async fn select(&mut self, filter: &Filter) -> anyhow::Result<Vec<Chosen>> {
        match self {
            Office::Here(desk) => desk.select(filter).await,
            Office::There(client) => client.post("/dead-letters/select", filter).await,
        }
    }

    pub async fn show(&mut self, id: LetterId) -> anyhow::Result<Option<Whole>> {
        match self {
            Office::Here(desk) => desk.show(id).await,
            Office::There(client) => client.post("/dead-letters/show", &id).await,
        }
    }

    /// At most [`super::PIECE`] letters.
    pub async fn act(&mut self, letters: &[Chosen], deed: &Deed, again: bool) -> anyhow::Result<Outcome> {
        match self {
            Office::Here(desk) => desk.act(letters, deed, again).await,
            Office::There(client) => {
                let ask = ActRequest {
                    letters: letters.to_vec(),
                    deed: deed.clone(),
                    again,
                };
                client.post("/dead-letters/act", &ask).await
            }
        }
    }

    pub async fn close(self) -> anyhow::Result<()> {
        match self {
            Office::Here(mut desk) => desk.leave().await,
            Office::There(_) => Ok(()),
        }
    }
}
