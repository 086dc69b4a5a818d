//! A Jira: tickets in memory, searched by the part of JQL that Aegis writes, got by key, written, commented on and moved on. Cloud
//! (version 3, Basic, documents) and Data Center (version 2, Bearer, plain text) stand side by side below `/jira`.
//!
//! As in Jira Cloud the search may lag behind ([`Board::lagging`]): a ticket is read by its key at once and found later.

mod jql;
mod write;

use std::collections::BTreeSet;

use axum::extract::{Path, Query, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
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
    /// Oldest first.
    pub comments: Vec<Comment>,
    /// What is written from now on is not found by the search.
    pub lagging: bool,
    /// Seconds that whoever asks is told to wait, instead of an answer.
    pub busy_s: Option<u32>,
    unindexed: BTreeSet<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ticket {
    /// `PROJECT-NUMBER`.
    pub key: String,
    pub summary: String,
    /// Plain text.
    pub description: String,
    pub labels: Vec<String>,
    pub status: String,
    pub done: bool,
    pub updated: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Comment {
    pub id: u64,
    /// Key of the ticket.
    pub ticket: String,
    /// Plain text.
    pub body: String,
    pub created: DateTime<Utc>,
}

impl Ticket {
    pub fn project(&self) -> &str {
        self.key.split_once('-').map_or("", |(project, _)| project)
    }

    fn number(&self) -> u64 {
        self.key
            .rsplit_once('-')
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(0)
    }
}

impl Board {
    /// The search has caught up.
    pub fn index(&mut self) {
        self.unindexed.clear();
    }
}

pub(crate) fn router() -> Router<World> {
    Router::new()
        .route("/jira/rest/api/3/search/jql", get(search))
        .route("/jira/rest/api/2/search", get(search))
        .route("/jira/rest/api/{version}/issue/{key}", get(issue))
        .merge(write::router())
}

fn told(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"errorMessages": [message], "errors": {}}))).into_response()
}

fn time(at: DateTime<Utc>) -> String {
    // An offset without a colon.
    at.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

/// Why somebody is not answered: without Basic or Bearer, or for a while.
fn turned_away(world: &World, headers: &HeaderMap) -> Option<Response> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = value.is_some_and(|value| value.starts_with("Basic ") || value.starts_with("Bearer "));
    if !known {
        return Some(told(StatusCode::UNAUTHORIZED, "You are not authenticated."));
    }
    let seconds = world.state().jira.busy_s?;
    let mut response = told(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.");
    response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    Some(response)
}

/// `version`: 3 gives documents, 2 plain text. `fields`: those that are told; `*all` is all of them.
fn shown(ticket: &Ticket, version: &str, fields: &str) -> Value {
    let category = if ticket.done { "done" } else { "indeterminate" };
    let mut all = json!({
        "summary": ticket.summary, "labels": ticket.labels, "updated": time(ticket.updated),
        "description": write::text_of(&ticket.description, version),
        "status": {"id": write::status_id(&ticket.status), "name": ticket.status, "statusCategory": {"key": category}},
    });
    if let Some(all) = all.as_object_mut().filter(|_| fields != "*all") {
        all.retain(|name, _| fields.split(',').any(|field| field == name));
    }
    json!({"id": (10_000 + ticket.number()).to_string(), "key": ticket.key, "fields": all})
}

#[derive(Deserialize)]
struct Asked {
    jql: String,
    #[serde(rename = "maxResults", default = "fifty")]
    most: usize,
    #[serde(default)]
    fields: String,
}

#[derive(Deserialize)]
struct Fields {
    /// One ticket is told whole where nobody asks for less; a search tells ids.
    #[serde(default = "all_fields")]
    fields: String,
}

fn all_fields() -> String {
    "*all".to_owned()
}

fn fifty() -> usize {
    50
}

async fn search(State(world): State<World>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if let Some(no) = turned_away(&world, &headers) {
        return no;
    }
    let query = match jql::parse(&asked.jql) {
        Ok(query) => query,
        Err(fault) => return told(StatusCode::BAD_REQUEST, &format!("Error in the JQL Query: {fault}")),
    };
    let state = world.state();
    let board = &state.jira;
    let listed = board
        .tickets
        .iter()
        .filter(|ticket| !board.unindexed.contains(&ticket.key));
    let mut found: Vec<&Ticket> = listed.filter(|ticket| query.holds(ticket)).collect();
    match asked.jql.to_lowercase().contains("order by created") {
        true => found.sort_by_key(|ticket| std::cmp::Reverse(ticket.number())),
        false => found.sort_by_key(|ticket| std::cmp::Reverse(ticket.updated)),
    }
    let mut answer =
        json!({"issues": found.iter().take(asked.most).map(|one| shown(one, "3", &asked.fields)).collect::<Vec<_>>()});
    match found.len() > asked.most {
        true => answer["nextPageToken"] = json!("next"),
        false => answer["isLast"] = json!(true),
    }
    Json(answer).into_response()
}

async fn issue(
    State(world): State<World>,
    Path((version, key)): Path<(String, String)>,
    Query(asked): Query<Fields>,
    headers: HeaderMap,
) -> Response {
    if let Some(no) = turned_away(&world, &headers) {
        return no;
    }
    let state = world.state();
    match state.jira.tickets.iter().find(|ticket| ticket.key == key) {
        Some(ticket) => Json(shown(ticket, &version, &asked.fields)).into_response(),
        None => write::no_issue(),
    }
}
