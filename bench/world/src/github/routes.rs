//! The REST API: <https://docs.github.com/en/rest>.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Commit, Forge, Hook, Repository, issues, listed, runs};
use crate::World;

pub(super) fn router() -> Router<World> {
    Router::new()
        .merge(issues::router())
        .merge(runs::router())
        .route("/github/repos/{owner}/{name}/commits", get(commits))
        .route("/github/repos/{owner}/{name}/compare/{range}", get(compare))
        .route("/github/repos/{owner}/{name}/deployments", get(deployments))
        .route("/github/repos/{owner}/{name}/deployments/{id}/statuses", get(statuses))
        .route("/github/repos/{owner}/{name}/hooks/{hook}/deliveries", get(deliveries))
        .route(
            "/github/repos/{owner}/{name}/hooks/{hook}/deliveries/{id}",
            get(delivery),
        )
        .route(
            "/github/repos/{owner}/{name}/hooks/{hook}/deliveries/{id}/attempts",
            post(redeliver),
        )
}

/// An answer, or a status and GitHub's word for it.
pub(super) type Told = Result<Value, (StatusCode, &'static str)>;

pub(super) const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "Not Found");

/// Whoever asks must say who it is, and may ask so often only.
pub(super) fn respond(
    world: &World,
    headers: &HeaderMap,
    tell: impl FnOnce(&mut Forge) -> (Told, Option<String>),
) -> Response {
    let sent = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if sent("user-agent").is_none_or(str::is_empty) {
        let message =
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
        return written(Err((StatusCode::FORBIDDEN, message)), &[]);
    }
    if sent("x-github-api-version").is_some_and(|version| version != "2022-11-28") {
        return written(Err((StatusCode::BAD_REQUEST, "Unsupported API version")), &[]);
    }
    let mut state = world.state();
    let forge = &mut state.github;
    let mut limits = Vec::new();
    if let Some((left, reset)) = &mut forge.budget {
        if *left == 0 && Utc::now() >= *reset {
            *left = 5_000;
        }
        let used_up = *left == 0;
        *left = left.saturating_sub(1);
        limits.push(("x-ratelimit-remaining", left.to_string()));
        limits.push(("x-ratelimit-reset", (reset.timestamp() + 1).to_string()));
        if used_up {
            return written(Err((StatusCode::FORBIDDEN, "API rate limit exceeded")), &limits);
        }
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token
        .and_then(|value| value.strip_prefix("Bearer "))
        .is_none_or(str::is_empty)
    {
        return written(Err((StatusCode::UNAUTHORIZED, "Requires authentication")), &limits);
    }
    let (told, link) = tell(forge);
    limits.extend(link.map(|link| ("link", link)));
    written(told, &limits)
}

/// Indented, so that a payload never has the bytes that were signed.
fn written(told: Told, headers: &[(&'static str, String)]) -> Response {
    let (status, body) = match told {
        Ok(body) => (StatusCode::OK, body),
        Err((status, message)) => (status, json!({"message": message})),
    };
    let text = serde_json::to_string_pretty(&body).unwrap_or_default();
    let mut response = (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], text).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

pub(super) fn of<'a>(forge: &'a Forge, owner: &str, name: &str) -> Result<&'a Repository, (StatusCode, &'static str)> {
    forge.repositories.get(&format!("{owner}/{name}")).ok_or(NOT_FOUND)
}

/// As [`respond`], for what writes: with a token that may, JSON that says that it is, and 201.
pub(super) fn respond_written(world: &World, headers: &HeaderMap, tell: impl FnOnce(&mut Forge) -> Told) -> Response {
    let json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let mut response = respond(world, headers, |forge| {
        if forge.readers.iter().any(|reader| token == format!("Bearer {reader}")) {
            let message = "Resource not accessible by personal access token";
            return (Err((StatusCode::FORBIDDEN, message)), None);
        }
        if !json {
            return (Err((StatusCode::BAD_REQUEST, "Problems parsing JSON")), None);
        }
        (tell(forge), None)
    });
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

fn whole(commit: &Commit) -> Value {
    json!({
        "sha": commit.sha,
        "commit": {"message": commit.message, "author": {"name": commit.author, "date": commit.at}},
        "author": {"login": commit.author},
    })
}

#[derive(Deserialize)]
struct Listed {
    sha: Option<String>,
    path: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    per_page: Option<usize>,
}

async fn commits(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    Query(asked): Query<Listed>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| {
            let end = match asked.sha.as_deref() {
                None | Some("main") => repository.commits.len(),
                Some(sha) => {
                    1 + repository
                        .commits
                        .iter()
                        .position(|one| one.sha == sha)
                        .ok_or(NOT_FOUND)?
                }
            };
            let found = repository.commits[..end].iter().rev().filter(|one| {
                asked
                    .path
                    .as_ref()
                    .is_none_or(|path| one.files.iter().any(|file| file.starts_with(path)))
                    && asked.since.is_none_or(|since| one.at >= since)
                    && asked.until.is_none_or(|until| one.at <= until)
            });
            Ok(found.take(asked.per_page.unwrap_or(30)).map(whole).collect())
        });
        (told, None)
    })
}

async fn compare(
    State(world): State<World>,
    Path((owner, name, range)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| {
            let (base, head) = range.split_once("...").ok_or(NOT_FOUND)?;
            let place = |sha: &str| repository.commits.iter().position(|commit| commit.sha == sha);
            let (from, to) = place(base).zip(place(head)).ok_or(NOT_FOUND)?;
            let between = repository.commits.get(from + 1..=to).unwrap_or_default();
            let files: Vec<Value> = between
                .iter()
                .flat_map(|commit| &commit.files)
                .map(|file| {
                    let usual = || format!("@@ -1,2 +1,2 @@\n-password=hunter2\n+changed {file}\n unchanged");
                    let patch = forge.patches.get(file).cloned().unwrap_or_else(usual);
                    json!({"filename": file, "status": "modified", "additions": 1, "deletions": 1, "changes": 2, "patch": patch})
                })
                .collect();
            Ok(json!({
                "status": if from <= to { "ahead" } else { "behind" },
                "ahead_by": between.len(), "total_commits": between.len(),
                "commits": between.iter().map(whole).collect::<Vec<_>>(), "files": files,
            }))
        });
        (told, None)
    })
}

#[derive(Deserialize)]
struct Asked {
    environment: Option<String>,
    per_page: Option<usize>,
    cursor: Option<String>,
}

async fn deployments(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).map(|repository| {
            let wanted = repository.deployments.iter().rev().filter(|one| {
                asked
                    .environment
                    .as_ref()
                    .is_none_or(|environment| *environment == one.environment)
            });
            let count = asked.per_page.unwrap_or(30).min(forge.page);
            let shown = wanted.take(count).map(|one| {
                json!({"id": one.id, "sha": one.sha, "ref": "main", "task": "deploy", "environment": one.environment,
                       "created_at": one.created_at, "creator": {"login": "kim"}})
            });
            shown.collect()
        });
        (told, None)
    })
}

async fn statuses(
    State(world): State<World>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| {
            let found = repository
                .deployments
                .iter()
                .find(|one| one.id == id)
                .ok_or(NOT_FOUND)?;
            let statuses = found.statuses.iter().rev();
            Ok(statuses
                .map(|(state, at)| json!({"state": state, "created_at": at}))
                .collect())
        });
        (told, None)
    })
}

fn hook_of<'a>(forge: &'a Forge, owner: &str, name: &str, id: u64) -> Result<&'a Hook, (StatusCode, &'static str)> {
    let repository = format!("{owner}/{name}");
    let found = forge
        .hooks
        .iter()
        .find(|hook| hook.id == id && hook.repository == repository);
    found.ok_or(NOT_FOUND)
}

/// Newest first; the link that is called `next` says where the next page begins.
async fn deliveries(
    State(world): State<World>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let hook = match hook_of(forge, &owner, &name, id) {
            Ok(hook) => hook,
            Err(fault) => return (Err(fault), None),
        };
        let begin: Option<u64> = asked
            .cursor
            .as_deref()
            .and_then(|cursor| cursor.strip_prefix("v1_")?.parse().ok());
        if asked.cursor.is_some() && begin.is_none() {
            return (Err((StatusCode::BAD_REQUEST, "Invalid cursor")), None);
        }
        let from = hook.deliveries.iter().rev();
        let mut from = from.filter(|one| begin.is_none_or(|begin| one.id <= begin));
        let count = asked.per_page.unwrap_or(30).min(forge.page);
        let shown: Vec<Value> = from.by_ref().take(count).map(listed).collect();
        let next = from.next().map(|one| {
            let place = format!("http://localhost/github/repos/{owner}/{name}/hooks/{id}/deliveries");
            format!(r#"<{place}?per_page={count}&cursor=v1_{}>; rel="next""#, one.id)
        });
        (Ok(Value::Array(shown)), next)
    })
}

/// The payload is read and written anew.
async fn delivery(
    State(world): State<World>,
    Path((owner, name, hook, id)): Path<(String, String, u64, u64)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = hook_of(forge, &owner, &name, hook).and_then(|hook| {
            let one = hook.deliveries.iter().find(|one| one.id == id).ok_or(NOT_FOUND)?;
            let mut whole = listed(one);
            let payload: Value = serde_json::from_str(&one.body).unwrap_or(Value::Null);
            whole["url"] = json!(hook.url);
            whole["request"] = json!({
                "headers": {"Accept": "*/*", "content-type": "application/json", "User-Agent": "GitHub-Hookshot/0000000",
                            "X-GitHub-Event": one.event, "X-GitHub-Delivery": one.guid,
                            "X-GitHub-Hook-ID": hook.id.to_string(), "X-Hub-Signature-256": one.signature},
                "payload": payload,
            });
            whole["response"] = json!({"headers": {}, "payload": null});
            Ok(whole)
        });
        (told, None)
    })
}

async fn redeliver(
    State(world): State<World>,
    Path((owner, name, hook, id)): Path<(String, String, u64, u64)>,
    headers: HeaderMap,
) -> Response {
    let allowed = respond(&world, &headers, |forge| {
        let told = hook_of(forge, &owner, &name, hook).map(|_| json!({}));
        (told, None)
    });
    if !allowed.status().is_success() {
        return allowed;
    }
    match world.redeliver(hook, id).await {
        true => StatusCode::ACCEPTED.into_response(),
        false => written(Err(NOT_FOUND), &[]),
    }
}
