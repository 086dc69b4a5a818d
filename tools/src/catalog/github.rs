//! Where code lies.

use model::Action;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ActionArguments, Purpose, Tool, acting, arguments_of, dry_run, json, observing, unknown};
use crate::ToolError;
use crate::github::hooks::Delivery;
use crate::observe::{
    Code, Commit, CommitQuery, Comparison, Deployment, Deployments, Diff, DryRun, Observe, PullQuery, PullRequest,
    RunQuery, WorkflowRun,
};

/// Two commits of a repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareArguments {
    /// `owner/name`.
    pub repository: String,
    /// The earlier commit.
    pub base: String,
    /// The later commit.
    pub head: String,
}

/// A webhook of a repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookArguments {
    /// `owner/name`.
    pub repository: String,
    /// The webhook's number.
    pub hook: u64,
}

/// Arguments of an issue.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueArguments {
    /// `owner/name`.
    pub repository: String,
    pub title: String,
    /// Markdown.
    pub body: String,
    #[serde(default)]
    pub labels: Vec<String>,
}

/// Arguments of a comment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentArguments {
    /// `owner/name`.
    pub repository: String,
    /// Of the issue or pull request.
    pub number: u64,
    /// Markdown.
    pub body: String,
}

/// Arguments of running failed jobs again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RerunArguments {
    /// `owner/name`.
    pub repository: String,
    pub run: u64,
    /// The attempt that failed.
    pub attempt: u32,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<Deployments, Vec<Deployment>>(
            "github_deployments",
            "Which commits of a repository were deployed where, newest first.",
        ),
        observing::<CommitQuery, Vec<Commit>>("github_commits", "Commits of a repository, newest first."),
        observing::<CompareArguments, Comparison>(
            "github_compare",
            "The commits and files between two commits of a repository.",
        ),
        observing::<CompareArguments, Diff>(
            "github_diff",
            "What was changed between two commits of a repository, line by line, up to a limit.",
        ),
        observing::<PullQuery, Vec<PullRequest>>(
            "github_pull_requests",
            "The open pull requests of a repository, or those that brought a commit.",
        ),
        observing::<RunQuery, Vec<WorkflowRun>>(
            "github_runs",
            "The runs of a repository's workflows, newest first; with the jobs that failed, where failed ones are asked for.",
        ),
        observing::<HookArguments, Vec<Delivery>>(
            "github_deliveries",
            "The newest attempts of a repository's webhook to reach its receiver, and what was answered.",
        ),
        observing::<ActionArguments, DryRun>(
            "github_dry_run",
            "What an action on GitHub would write or start, in full; nothing is written.",
        ),
        acting::<IssueArguments>("github_create_issue", "Write an issue into a repository."),
        acting::<CommentArguments>("github_comment", "Write a comment below an issue or a pull request."),
        acting::<RerunArguments>(
            "github_rerun_failed_jobs",
            "Run the failed jobs of a workflow run again.",
        ),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "github_deployments" => {
            let read: Deployments = arguments_of("github_deployments", arguments)?;
            json(code(observe)?.deployments(&read).await?)
        }
        "github_commits" => {
            let read: CommitQuery = arguments_of("github_commits", arguments)?;
            json(code(observe)?.commits(&read).await?)
        }
        "github_compare" => {
            let read: CompareArguments = arguments_of("github_compare", arguments)?;
            json(code(observe)?.compare(&read.repository, &read.base, &read.head).await?)
        }
        "github_diff" => {
            let read: CompareArguments = arguments_of("github_diff", arguments)?;
            json(code(observe)?.diff(&read.repository, &read.base, &read.head).await?)
        }
        "github_pull_requests" => {
            let read: PullQuery = arguments_of("github_pull_requests", arguments)?;
            json(code(observe)?.pull_requests(&read).await?)
        }
        "github_runs" => {
            let read: RunQuery = arguments_of("github_runs", arguments)?;
            json(code(observe)?.runs(&read).await?)
        }
        "github_deliveries" => {
            let read: HookArguments = arguments_of("github_deliveries", arguments)?;
            json(code(observe)?.deliveries(&read.repository, read.hook).await?)
        }
        "github_dry_run" => dry_run(observe, "github_dry_run", arguments).await?,
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

pub(super) fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match name {
        "github_create_issue" => {
            let read: IssueArguments = arguments_of("github_create_issue", arguments)?;
            Ok(Action::GithubIssue {
                repository: read.repository,
                title: read.title,
                body: read.body,
                labels: read.labels,
            })
        }
        "github_comment" => {
            let read: CommentArguments = arguments_of("github_comment", arguments)?;
            Ok(Action::GithubComment {
                repository: read.repository,
                number: read.number,
                body: read.body,
            })
        }
        "github_rerun_failed_jobs" => {
            let read: RerunArguments = arguments_of("github_rerun_failed_jobs", arguments)?;
            Ok(Action::GithubRerun {
                repository: read.repository,
                run: read.run,
                attempt: read.attempt,
            })
        }
        other => Err(unknown(other, Purpose::Act)),
    }
}

fn code(observe: &Observe) -> Result<&dyn Code, ToolError> {
    observe.code.as_deref().ok_or(ToolError::Absent {
        tool: "github",
        setting: "tools.github.token and repositories",
    })
}
