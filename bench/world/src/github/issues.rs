//! Issues, comments and pull requests.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{NOT_FOUND, Told, of, respond, respond_written};
use super::{Forge, Repository};
use crate::World;

#[derive(Clone, Debug)]
pub struct Issue {
    pub id: u64,
    pub number: u64,
    pub title: String,
    pub body: String,
    pub labels: Vec<String>,
    /// `open` or `closed`.
    pub state: String,
    pub locked: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub comments: Vec<Comment>,
}

#[derive(Clone, Debug)]
pub struct Comment {
    pub id: u64,
    pub body: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Pull {
    pub number: u64,
    pub title: String,
    /// `open` or `closed`.
    pub state: String,
    /// That it brought.
    pub commits: Vec<String>,
    pub merged_at: Option<DateTime<Utc>>,
}

impl Forge {
    /// Writes an issue, as somebody else would; its number.
    pub fn write_issue(
        &mut self,
        repository: &str,
        title: &str,
        body: &str,
        labels: Vec<String>,
        at: DateTime<Utc>,
    ) -> u64 {
        let id = self.next_id();
        let Some(repository) = self.repositories.get_mut(repository) else {
            return 0;
        };
        let number = 1 + repository.issues.len() as u64;
        repository.issues.push(Issue {
            id,
            number,
            title: title.to_owned(),
            body: body.to_owned(),
            labels,
            state: "open".to_owned(),
            locked: false,
            created_at: at,
            updated_at: at,
            comments: Vec::new(),
        });
        number
    }
}

pub(super) fn router() -> Router<World> {
    let repository = "/github/repos/{owner}/{name}";
    Router::new()
        .route(repository, get(whole))
        .route(&format!("{repository}/issues"), get(issues).post(write))
        .route(&format!("{repository}/issues/{{number}}"), get(one))
        .route(
            &format!("{repository}/issues/{{number}}/comments"),
            get(comments).post(comment),
        )
        .route(&format!("{repository}/pulls"), get(pulls))
        .route(&format!("{repository}/commits/{{sha}}/pulls"), get(pulls_of))
}

fn html(owner: &str, name: &str, number: u64) -> String {
    format!("https://github.example/{owner}/{name}/issues/{number}")
}

fn shown(owner: &str, name: &str, issue: &Issue) -> Value {
    let labels: Vec<Value> = issue.labels.iter().map(|label| json!({"name": label})).collect();
    json!({
        "id": issue.id, "node_id": "I_x", "number": issue.number, "title": issue.title, "body": issue.body, "labels": labels,
        "state": issue.state, "locked": issue.locked, "created_at": issue.created_at, "updated_at": issue.updated_at,
        "html_url": html(owner, name, issue.number), "user": {"login": "aegis-bot"}, "comments": issue.comments.len(),
    })
}

fn shown_comment(owner: &str, name: &str, number: u64, comment: &Comment) -> Value {
    json!({
        "id": comment.id, "node_id": "IC_x", "body": comment.body, "created_at": comment.created_at,
        "updated_at": comment.created_at, "user": {"login": "aegis-bot"},
        "html_url": format!("{}#issuecomment-{}", html(owner, name, number), comment.id),
    })
}

async fn whole(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).map(|repository| {
            json!({"id": 7, "name": name, "full_name": format!("{owner}/{name}"), "archived": repository.archived,
                   "has_issues": !repository.issues_off, "default_branch": "main"})
        });
        (told, None)
    })
}

#[derive(Deserialize)]
struct Page {
    since: Option<DateTime<Utc>>,
    state: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

impl Page {
    fn of(&self, all: Vec<Value>) -> Value {
        let count = self.per_page.unwrap_or(30).min(100);
        let from = count * (self.page.unwrap_or(1).max(1) - 1);
        all.into_iter().skip(from).take(count).collect()
    }
}

/// Newest first, as it is asked.
async fn issues(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).map(|repository| {
            let wanted = repository.issues.iter().rev().filter(|issue| {
                page.since.is_none_or(|since| issue.updated_at >= since)
                    && (page.state.as_deref() == Some("all") || issue.state == "open")
            });
            page.of(wanted.map(|issue| shown(&owner, &name, issue)).collect())
        });
        (told, None)
    })
}

fn issue(repository: &Repository, number: u64) -> Result<&Issue, (StatusCode, &'static str)> {
    repository
        .issues
        .iter()
        .find(|issue| issue.number == number)
        .ok_or(NOT_FOUND)
}

async fn one(
    State(world): State<World>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| Ok(shown(&owner, &name, issue(repository, number)?)));
        (told, None)
    })
}

/// Oldest first.
async fn comments(
    State(world): State<World>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| {
            let comments = issue(repository, number)?.comments.iter();
            let wanted = comments.filter(|one| page.since.is_none_or(|since| one.created_at >= since));
            Ok(page.of(wanted.map(|one| shown_comment(&owner, &name, number, one)).collect()))
        });
        (told, None)
    })
}

#[derive(Deserialize)]
struct NewIssue {
    title: Option<String>,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
}

const PARSE: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "Problems parsing JSON");
const INVALID: (StatusCode, &str) = (StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
const READ_ONLY: (StatusCode, &str) = (StatusCode::FORBIDDEN, "Repository was archived so is read-only.");
const GONE: (StatusCode, &str) = (StatusCode::GONE, "Issues has been disabled in this repository.");

fn writable(forge: &Forge, owner: &str, name: &str) -> Result<(), (StatusCode, &'static str)> {
    let repository = of(forge, owner, name)?;
    match (repository.archived, repository.issues_off) {
        (true, _) => Err(READ_ONLY),
        (_, true) => Err(GONE),
        _ => Ok(()),
    }
}

async fn write(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond_written(&world, &headers, |forge| -> Told {
        writable(forge, &owner, &name)?;
        let new: NewIssue = serde_json::from_slice(&body).map_err(|_| PARSE)?;
        let title = new
            .title
            .filter(|title| !title.is_empty() && title.chars().count() <= 256)
            .ok_or(INVALID)?;
        let repository = format!("{owner}/{name}");
        let number = forge.write_issue(
            &repository,
            &title,
            &new.body.unwrap_or_default(),
            new.labels,
            Utc::now(),
        );
        of(forge, &owner, &name).and_then(|repository| Ok(shown(&owner, &name, issue(repository, number)?)))
    })
}

#[derive(Deserialize)]
struct NewComment {
    body: String,
}

async fn comment(
    State(world): State<World>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    respond_written(&world, &headers, |forge| -> Told {
        writable(forge, &owner, &name)?;
        let new: NewComment = serde_json::from_slice(&body).map_err(|_| PARSE)?;
        if new.body.is_empty() {
            return Err(INVALID);
        }
        let id = forge.next_id();
        let repository = forge
            .repositories
            .get_mut(&format!("{owner}/{name}"))
            .ok_or(NOT_FOUND)?;
        let issue = repository
            .issues
            .iter_mut()
            .find(|issue| issue.number == number)
            .ok_or(NOT_FOUND)?;
        if issue.locked {
            return Err((
                StatusCode::FORBIDDEN,
                "Unable to create comment because issue is locked.",
            ));
        }
        let comment = Comment {
            id,
            body: new.body,
            created_at: Utc::now(),
        };
        let told = shown_comment(&owner, &name, number, &comment);
        issue.updated_at = comment.created_at;
        issue.comments.push(comment);
        Ok(told)
    })
}

fn shown_pull(pull: &Pull) -> Value {
    json!({"id": 1, "number": pull.number, "title": pull.title, "state": pull.state, "merged_at": pull.merged_at,
           "updated_at": pull.merged_at, "user": {"login": "kim"}, "labels": [{"name": "backend"}], "locked": false})
}

async fn pulls(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let open = |repository: &Repository| {
            repository
                .pulls
                .iter()
                .filter(|one| one.state == "open")
                .map(shown_pull)
                .collect()
        };
        (of(forge, &owner, &name).map(open), None)
    })
}

async fn pulls_of(
    State(world): State<World>,
    Path((owner, name, sha)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).map(|repository| {
            let brought = repository.pulls.iter().filter(|one| one.commits.contains(&sha));
            brought.map(shown_pull).collect()
        });
        (told, None)
    })
}
