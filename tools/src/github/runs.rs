//! Runs of workflows and their jobs: <https://docs.github.com/en/rest/actions/workflow-runs>,
//! <https://docs.github.com/en/rest/actions/workflow-jobs>.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Api, check_commit, shown, within_a_page};
use crate::ToolError;
use crate::observe::{FailedJob, RunQuery, WorkflowRun};

/// Failed jobs of one run that are told. A matrix may have hundreds.
const JOBS: usize = 20;

pub(super) async fn list(api: &Api, query: &RunQuery) -> Result<Vec<WorkflowRun>, ToolError> {
    let count = within_a_page("runs", query.limit)?;
    let mut parameters = vec![("per_page", count.as_str())];
    if let Some(sha) = &query.commit {
        check_commit("commit", sha)?;
        parameters.push(("head_sha", sha));
    }
    if query.failed {
        parameters.push(("status", "failure"));
    }
    let path = format!("/repos/{}/actions/runs", query.repository);
    let found: Runs = api.ask(&path, &parameters).await?;
    let mut runs = Vec::new();
    for run in found.workflow_runs.into_iter().take(query.limit as usize) {
        let failed_jobs = match query.failed {
            true => failed_jobs(api, &query.repository, &run).await?,
            false => Vec::new(),
        };
        runs.push(run.told(failed_jobs));
    }
    Ok(runs)
}

/// Of the newest attempt of a run.
pub(super) async fn failed_jobs(api: &Api, repository: &str, run: &Run) -> Result<Vec<FailedJob>, ToolError> {
    let path = format!(
        "/repos/{repository}/actions/runs/{}/attempts/{}/jobs",
        run.id, run.run_attempt
    );
    let found: Jobs = api.ask(&path, &[("per_page", "100")]).await?;
    let failed = found.jobs.into_iter().filter(|job| bad(job.conclusion.as_deref()));
    Ok(failed.take(JOBS).map(Job::told).collect())
}

pub(super) async fn run(api: &Api, repository: &str, id: u64) -> Result<Run, ToolError> {
    api.ask(&format!("/repos/{repository}/actions/runs/{id}"), &[]).await
}

/// An end that leaves something to run again.
pub(super) fn bad(conclusion: Option<&str>) -> bool {
    matches!(
        conclusion,
        Some("failure" | "cancelled" | "timed_out" | "startup_failure")
    )
}

#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<Run>,
}

#[derive(Deserialize)]
pub(super) struct Run {
    pub id: u64,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub path: String,
    pub head_sha: String,
    pub head_branch: Option<String>,
    #[serde(default)]
    pub event: String,
    pub status: Option<String>,
    pub conclusion: Option<String>,
    #[serde(default = "first")]
    pub run_attempt: u32,
    pub created_at: DateTime<Utc>,
    #[serde(default)]
    pub updated_at: String,
}

fn first() -> u32 {
    1
}

impl Run {
    pub fn told(self, failed_jobs: Vec<FailedJob>) -> WorkflowRun {
        WorkflowRun {
            id: self.id,
            name: shown(&self.name.unwrap_or_default(), 100),
            path: shown(&self.path, 200),
            commit: self.head_sha,
            branch: self.head_branch.map(|branch| shown(&branch, 200)),
            event: shown(&self.event, 40),
            status: shown(&self.status.unwrap_or_default(), 40),
            conclusion: self.conclusion.map(|conclusion| shown(&conclusion, 40)),
            attempt: self.run_attempt,
            created_at: self.created_at,
            failed_jobs,
        }
    }

    /// It has come to an end, whichever.
    pub fn completed(&self) -> bool {
        self.status.as_deref() == Some("completed")
    }
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    id: u64,
    #[serde(default)]
    name: String,
    conclusion: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(default)]
    name: String,
    conclusion: Option<String>,
}

impl Job {
    fn told(self) -> FailedJob {
        let step = self.steps.into_iter().find(|step| bad(step.conclusion.as_deref()));
        FailedJob {
            id: self.id,
            name: shown(&self.name, 100),
            step: step.map(|step| shown(&step.name, 100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    #[test]
    fn published_examples() {
        let runs: Runs = example("runs");
        let told = runs.workflow_runs.into_iter().next().unwrap().told(Vec::new());
        assert_eq!((told.id, told.attempt, told.status.as_str()), (30433642, 1, "queued"));
        let run: Run = example("run");
        assert_eq!((run.id, run.run_attempt, run.completed()), (30433642, 1, false));
        let jobs: Jobs = example("jobs");
        let told = jobs.jobs.into_iter().next().unwrap().told();
        assert_eq!((told.name.as_str(), told.step), ("build", None));
    }
}
