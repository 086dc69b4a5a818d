//! Writing: tickets, comments, transitions. A request is held against what Jira asks for.

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Comment, Ticket, time, told, turned_away};
use crate::World;

/// Id, name, and the status that it leads to.
const WORKFLOW: &[(&str, &str, &str)] = &[
    ("11", "Stop work", "To Do"),
    ("21", "Start work", "In Progress"),
    ("31", "Close", "Closed"),
];

const ISSUE_TYPES: &[(&str, bool)] = &[("Task", false), ("Bug", false), ("Sub-task", true)];

pub(super) fn router() -> Router<World> {
    let api = "/jira/rest/api/{version}";
    Router::new()
        .route(&format!("{api}/project/{{key}}"), get(project))
        .route(&format!("{api}/issue"), axum::routing::post(create))
        .route(&format!("{api}/issue/{{key}}/comment"), get(comments).post(comment))
        .route(
            &format!("{api}/issue/{{key}}/transitions"),
            get(transitions).post(transition),
        )
}

pub(super) fn status_id(name: &str) -> String {
    let known = WORKFLOW.iter().position(|(_, _, to)| *to == name);
    (known.map_or(1, |place| place + 3)).to_string()
}

pub(super) fn no_issue() -> Response {
    told(
        StatusCode::NOT_FOUND,
        "Issue does not exist or you do not have permission to see it.",
    )
}

/// A text as this version gives it.
pub(super) fn text_of(plain: &str, version: &str) -> Value {
    if version == "2" {
        return json!(plain);
    }
    let paragraphs: Vec<Value> = plain
        .split("\n\n")
        .map(|text| json!({"type": "paragraph", "content": [{"type": "text", "text": text}]}))
        .collect();
    json!({"type": "doc", "version": 1, "content": paragraphs})
}

/// A text as this version takes it: a document, or plain text.
fn plain(value: &Value, version: &str) -> Option<String> {
    if version == "2" {
        return value.as_str().map(str::to_owned);
    }
    let whole = value["type"] == "doc" && value["version"] == 1;
    let paragraphs = whole.then(|| value["content"].as_array())??;
    let text = |paragraph: &Value| -> Option<String> {
        let nodes = paragraph["content"].as_array()?.iter();
        nodes
            .map(|node| match node["type"].as_str()? {
                "text" => node["text"].as_str().filter(|text| !text.is_empty()).map(str::to_owned),
                "hardBreak" => Some("\n".to_owned()),
                _ => None,
            })
            .collect()
    };
    let texts: Option<Vec<String>> = paragraphs.iter().map(text).collect();
    texts.map(|texts| texts.join("\n\n"))
}

fn field_fault(field: &str, message: &str) -> Response {
    let body = json!({"errorMessages": [], "errors": {field: message}});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// What stands in the way of a body, or the JSON that it is.
fn taken(world: &World, headers: &HeaderMap, body: &Bytes) -> Result<Value, Box<Response>> {
    if let Some(no) = turned_away(world, headers) {
        return Err(Box::new(no));
    }
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        return Err(Box::new(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()));
    }
    serde_json::from_slice(body)
        .map_err(|_| Box::new(told(StatusCode::BAD_REQUEST, "There was an error parsing JSON.")))
}

async fn project(State(world): State<World>, Path((_, key)): Path<(String, String)>, headers: HeaderMap) -> Response {
    if let Some(no) = turned_away(&world, &headers) {
        return no;
    }
    let types: Vec<Value> = ISSUE_TYPES
        .iter()
        .enumerate()
        .map(|(number, (name, subtask))| json!({"id": (10_001 + number).to_string(), "name": name, "subtask": subtask}))
        .collect();
    let state = world.state();
    match state.jira.tickets.iter().any(|ticket| ticket.project() == key) {
        true => Json(json!({"id": "10100", "key": key, "name": "Operations", "issueTypes": types})).into_response(),
        false => told(
            StatusCode::NOT_FOUND,
            &format!("No project could be found with key '{key}'."),
        ),
    }
}

async fn create(State(world): State<World>, Path(version): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let body = match taken(&world, &headers, &body) {
        Ok(body) => body,
        Err(no) => return *no,
    };
    let fields = &body["fields"];
    let Some(project) = fields["project"]["key"].as_str() else {
        return field_fault("project", "Specify a valid project ID or key");
    };
    if !ISSUE_TYPES.iter().any(|(name, _)| fields["issuetype"]["name"] == *name) {
        return field_fault("issuetype", "Specify a valid issue type");
    }
    let summary = fields["summary"]
        .as_str()
        .filter(|text| !text.is_empty() && text.chars().count() < 256);
    let Some(summary) = summary.filter(|text| !text.contains('\n')) else {
        return field_fault("summary", "You must specify a summary of the issue.");
    };
    let Some(description) = plain(&fields["description"], &version) else {
        return field_fault(
            "description",
            "Operation value must be an Atlassian Document (see the Atlassian Document Format)",
        );
    };
    let labels: Option<Vec<String>> = serde_json::from_value(fields["labels"].clone()).ok();
    let Some(labels) = labels.filter(|labels| labels.iter().all(|label| !label.contains(' '))) else {
        return field_fault("labels", "The label contains spaces which is invalid.");
    };
    let mut state = world.state();
    let board = &mut state.jira;
    let of_project = board.tickets.iter().filter(|ticket| ticket.project() == project);
    let number = 1 + of_project.map(Ticket::number).max().unwrap_or(0);
    let key = format!("{project}-{number}");
    board.tickets.push(Ticket {
        key: key.clone(),
        summary: summary.to_owned(),
        description,
        labels,
        status: "To Do".to_owned(),
        done: false,
        updated: Utc::now(),
    });
    if board.lagging {
        board.unindexed.insert(key.clone());
    }
    let id = (10_000 + number).to_string();
    let place = format!("https://jira.example/rest/api/{version}/issue/{id}");
    (StatusCode::CREATED, Json(json!({"id": id, "key": key, "self": place}))).into_response()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    start_at: usize,
    max_results: Option<usize>,
    order_by: Option<String>,
}

async fn comments(
    State(world): State<World>,
    Path((version, key)): Path<(String, String)>,
    Query(asked): Query<Listed>,
    headers: HeaderMap,
) -> Response {
    if let Some(no) = turned_away(&world, &headers) {
        return no;
    }
    let state = world.state();
    if !state.jira.tickets.iter().any(|ticket| ticket.key == key) {
        return no_issue();
    }
    let mut found: Vec<&Comment> = state.jira.comments.iter().filter(|one| one.ticket == key).collect();
    if asked.order_by.as_deref() == Some("-created") {
        found.reverse();
    }
    let most = asked.max_results.unwrap_or(5_000);
    let shown: Vec<Value> = found
        .iter()
        .skip(asked.start_at)
        .take(most)
        .map(|one| shown(one, &version))
        .collect();
    Json(json!({"startAt": asked.start_at, "maxResults": most, "total": found.len(), "comments": shown}))
        .into_response()
}

fn shown(comment: &Comment, version: &str) -> Value {
    json!({"id": comment.id.to_string(), "body": text_of(&comment.body, version), "created": time(comment.created),
           "updated": time(comment.created), "author": {"displayName": "Aegis"}})
}

async fn comment(
    State(world): State<World>,
    Path((version, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = match taken(&world, &headers, &body) {
        Ok(body) => body,
        Err(no) => return *no,
    };
    let Some(text) = plain(&body["body"], &version).filter(|text| !text.is_empty()) else {
        return field_fault("comment", "Comment body can not be empty!");
    };
    let mut state = world.state();
    let board = &mut state.jira;
    if !board.tickets.iter().any(|ticket| ticket.key == key) {
        return no_issue();
    }
    let comment = Comment {
        id: 20_000 + board.comments.len() as u64,
        ticket: key,
        body: text,
        created: Utc::now(),
    };
    let told = shown(&comment, &version);
    board.comments.push(comment);
    (StatusCode::CREATED, Json(told)).into_response()
}

fn possible(ticket: &Ticket) -> Vec<&'static (&'static str, &'static str, &'static str)> {
    WORKFLOW.iter().filter(|(_, _, to)| *to != ticket.status).collect()
}

async fn transitions(
    State(world): State<World>,
    Path((_, key)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(no) = turned_away(&world, &headers) {
        return no;
    }
    let state = world.state();
    let Some(ticket) = state.jira.tickets.iter().find(|ticket| ticket.key == key) else {
        return no_issue();
    };
    let shown: Vec<Value> = possible(ticket)
        .into_iter()
        .map(|(id, name, to)| {
            let category = if *to == "Closed" { "done" } else { "indeterminate" };
            json!({"id": id, "name": name, "hasScreen": false, "isAvailable": true,
                   "to": {"id": status_id(to), "name": to, "statusCategory": {"key": category}}})
        })
        .collect();
    Json(json!({"expand": "transitions", "transitions": shown})).into_response()
}

async fn transition(
    State(world): State<World>,
    Path((_, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = match taken(&world, &headers, &body) {
        Ok(body) => body,
        Err(no) => return *no,
    };
    let mut state = world.state();
    let Some(ticket) = state.jira.tickets.iter_mut().find(|ticket| ticket.key == key) else {
        return no_issue();
    };
    let wanted = body["transition"]["id"].as_str().unwrap_or_default();
    let Some((_, _, to)) = possible(ticket).into_iter().find(|(id, _, _)| *id == wanted) else {
        let message = "It seems that you have tried to perform a workflow operation that is not valid for the current state of this issue.";
        return told(StatusCode::BAD_REQUEST, message);
    };
    ticket.status = (*to).to_owned();
    ticket.done = *to == "Closed";
    ticket.updated = Utc::now();
    StatusCode::NO_CONTENT.into_response()
}
