//! A Jira: tickets in memory, searched by the part of JQL that Aegis writes, and got by key. Cloud (version 3, Basic) and Data Center
//! (version 2, Bearer) answer in the same way here; what is searched is below `/jira`.

mod jql;

use axum::extract::{Path, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::World;

/// Every ticket, in no order.
#[derive(Default)]
pub struct Board {
    pub tickets: Vec<Ticket>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ticket {
    /// `PROJECT-NUMBER`.
    pub key: String,
    pub summary: String,
    pub description: String,
    pub labels: Vec<String>,
    pub status: String,
    pub done: bool,
    pub updated: DateTime<Utc>,
}

impl Ticket {
    pub fn project(&self) -> &str {
        self.key.split_once('-').map_or("", |(project, _)| project)
    }
}

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/jira/rest/api/3/search/jql", get(search))
        .route("/jira/rest/api/2/search", get(search))
        .route("/jira/rest/api/{version}/issue/{key}", get(issue))
}

fn told(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"errorMessages": [message], "errors": {}}))).into_response()
}

/// Basic or Bearer, whoever it is.
fn known(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.starts_with("Basic ") || value.starts_with("Bearer "))
}

/// As Jira writes a time: an offset without a colon.
fn shown(ticket: &Ticket) -> Value {
    let category = if ticket.done { "done" } else { "indeterminate" };
    json!({"id": "10000", "key": ticket.key, "fields": {
        "summary": ticket.summary, "labels": ticket.labels, "updated": ticket.updated.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string(),
        "status": {"name": ticket.status, "statusCategory": {"key": category}},
    }})
}

#[derive(Deserialize)]
struct Asked {
    jql: String,
    #[serde(rename = "maxResults", default = "fifty")]
    most: usize,
}

fn fifty() -> usize {
    50
}

async fn search(State(world): State<World>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if !known(&headers) {
        return told(StatusCode::UNAUTHORIZED, "You are not authenticated.");
    }
    let query = match jql::parse(&asked.jql) {
        Ok(query) => query,
        Err(fault) => return told(StatusCode::BAD_REQUEST, &format!("Error in the JQL Query: {fault}")),
    };
    let state = world.state();
    let mut found: Vec<&Ticket> = state.jira.tickets.iter().filter(|ticket| query.holds(ticket)).collect();
    found.sort_by_key(|ticket| std::cmp::Reverse(ticket.updated));
    let mut answer = json!({"issues": found.iter().take(asked.most).map(|one| shown(one)).collect::<Vec<_>>()});
    match found.len() > asked.most {
        true => answer["nextPageToken"] = json!("next"),
        false => answer["isLast"] = json!(true),
    }
    Json(answer).into_response()
}

async fn issue(State(world): State<World>, Path((_, key)): Path<(String, String)>, headers: HeaderMap) -> Response {
    if !known(&headers) {
        return told(StatusCode::UNAUTHORIZED, "You are not authenticated.");
    }
    let state = world.state();
    match state.jira.tickets.iter().find(|ticket| ticket.key == key) {
        Some(ticket) => Json(shown(ticket)).into_response(),
        None => told(
            StatusCode::NOT_FOUND,
            "Issue does not exist or you do not have permission to see it.",
        ),
    }
}
