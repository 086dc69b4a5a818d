//! Runs of workflows: they end when somebody says so ([`Forge::ended`]).

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{NOT_FOUND, Told, of, respond, respond_written};
use super::{Forge, Repository};
use crate::World;

#[derive(Clone, Debug)]
pub struct Run {
    pub id: u64,
    pub name: String,
    pub path: String,
    pub sha: String,
    pub attempt: u32,
    /// `None` while it runs.
    pub conclusion: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Of the newest attempt.
    pub jobs: Vec<Job>,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub name: String,
    pub conclusion: Option<String>,
    /// Its last step.
    pub step: String,
}

impl Forge {
    /// A run that ended with `conclusion`, as its second job did; its number.
    pub fn run(&mut self, repository: &str, path: &str, sha: &str, conclusion: &str, at: DateTime<Utc>) -> u64 {
        let id = self.next_id();
        let job = |name: &str, conclusion: &str, step: &str| Job {
            name: name.to_owned(),
            conclusion: Some(conclusion.to_owned()),
            step: step.to_owned(),
        };
        let runs = &mut self.repositories.entry(repository.to_owned()).or_default().runs;
        runs.push(Run {
            id,
            name: "deploy".to_owned(),
            path: path.to_owned(),
            sha: sha.to_owned(),
            attempt: 1,
            conclusion: Some(conclusion.to_owned()),
            created_at: at,
            updated_at: at,
            jobs: vec![job("build", "success", "compile"), job("rollout", conclusion, "apply")],
        });
        id
    }

    /// The newest attempt of a run ends.
    pub fn ended(&mut self, repository: &str, id: u64, conclusion: &str) {
        let found = self.repositories.get_mut(repository);
        let run = found.and_then(|repository| repository.runs.iter_mut().find(|run| run.id == id));
        if let Some(run) = run {
            run.conclusion = Some(conclusion.to_owned());
            run.updated_at = Utc::now();
            for job in run.jobs.iter_mut().filter(|job| job.conclusion.is_none()) {
                job.conclusion = Some(conclusion.to_owned());
            }
        }
    }
}

pub(super) fn router() -> Router<World> {
    let runs = "/github/repos/{owner}/{name}/actions/runs";
    Router::new()
        .route(runs, get(list))
        .route(&format!("{runs}/{{id}}"), get(one))
        .route(&format!("{runs}/{{id}}/attempts/{{attempt}}/jobs"), get(jobs))
        .route(&format!("{runs}/{{id}}/rerun-failed-jobs"), post(rerun))
}

fn shown(run: &Run) -> Value {
    json!({
        "id": run.id, "node_id": "WFR_x", "name": run.name, "path": run.path, "head_sha": run.sha, "head_branch": "main",
        "event": "deployment", "run_number": 1, "run_attempt": run.attempt, "conclusion": run.conclusion,
        "status": if run.conclusion.is_some() { "completed" } else { "in_progress" },
        "created_at": run.created_at, "updated_at": run.updated_at,
        "html_url": format!("https://github.example/runs/{}", run.id),
    })
}

#[derive(Deserialize)]
struct Asked {
    head_sha: Option<String>,
    status: Option<String>,
    per_page: Option<usize>,
}

async fn list(
    State(world): State<World>,
    Path((owner, name)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).map(|repository| {
            let wanted = repository.runs.iter().rev().filter(|run| {
                asked.head_sha.as_ref().is_none_or(|sha| *sha == run.sha)
                    && asked
                        .status
                        .as_ref()
                        .is_none_or(|status| run.conclusion.as_ref() == Some(status))
            });
            let shown: Vec<Value> = wanted.take(asked.per_page.unwrap_or(30)).map(shown).collect();
            json!({"total_count": shown.len(), "workflow_runs": shown})
        });
        (told, None)
    })
}

fn run(repository: &Repository, id: u64) -> Result<&Run, (StatusCode, &'static str)> {
    repository.runs.iter().find(|run| run.id == id).ok_or(NOT_FOUND)
}

async fn one(
    State(world): State<World>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        (
            of(forge, &owner, &name).and_then(|repository| Ok(shown(run(repository, id)?))),
            None,
        )
    })
}

async fn jobs(
    State(world): State<World>,
    Path((owner, name, id, attempt)): Path<(String, String, u64, u32)>,
    headers: HeaderMap,
) -> Response {
    respond(&world, &headers, |forge| {
        let told = of(forge, &owner, &name).and_then(|repository| {
            let run = run(repository, id)?;
            if run.attempt != attempt {
                return Err(NOT_FOUND);
            }
            let jobs: Vec<Value> = run.jobs.iter().enumerate().map(|(number, job)| {
                let step = json!({"name": job.step, "number": 2, "status": "completed", "conclusion": job.conclusion});
                json!({"id": id * 10 + number as u64, "run_id": id, "name": job.name, "status": "completed",
                       "conclusion": job.conclusion, "steps": [{"name": "Set up job", "number": 1, "conclusion": "success"}, step]})
            }).collect();
            Ok(json!({"total_count": jobs.len(), "jobs": jobs}))
        });
        (told, None)
    })
}

async fn rerun(
    State(world): State<World>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    respond_written(&world, &headers, |forge| -> Told {
        let repository = forge
            .repositories
            .get_mut(&format!("{owner}/{name}"))
            .ok_or(NOT_FOUND)?;
        let run = repository.runs.iter_mut().find(|run| run.id == id).ok_or(NOT_FOUND)?;
        match run.conclusion.as_deref() {
            None => Err((StatusCode::FORBIDDEN, "This workflow is already running")),
            Some("success") => Err((StatusCode::FORBIDDEN, "This workflow run has no failed jobs to rerun")),
            Some(_) => {
                run.attempt += 1;
                run.conclusion = None;
                run.updated_at = Utc::now();
                for job in run
                    .jobs
                    .iter_mut()
                    .filter(|job| job.conclusion.as_deref() != Some("success"))
                {
                    job.conclusion = None;
                }
                Ok(json!({}))
            }
        }
    })
}
