//! What an action on GitHub would do. It writes nothing.

use std::fmt::Write as _;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::action::GITHUB;
use model::proposal::{BlastRadius, TargetState};
use model::remediation::Health;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::runs::{self, Run, bad};
use super::{Api, Repositories, TOOL, advice, marks, reader, shown};
use crate::ToolError;
use crate::hash::hash;
use crate::observe::{DryRun, FailedJob, Outcome, Plans};
use crate::settings::GithubSettings;
use crate::written::Written;

/// Knows the actions on a GitHub.
pub struct Planner {
    api: Api,
    repositories: Repositories,
}

impl Planner {
    pub fn new(settings: &GithubSettings) -> Result<Self, ToolError> {
        Ok(Planner {
            api: reader(settings)?,
            repositories: Repositories::of(settings),
        })
    }
}

/// What an action is about, as it stands.
pub(super) struct Seen {
    pub state: TargetState,
    /// Why it cannot be done as things stand.
    pub obstacle: Option<String>,
    pub run: Option<Run>,
}

/// Looks at the target of an action.
pub(super) async fn look(api: &Api, repositories: &Repositories, action: &Action) -> Result<Seen, ToolError> {
    match action {
        Action::GithubIssue { repository, .. } => {
            repositories.writable(repository)?;
            let found: Repository = api.ask(&format!("/repos/{repository}"), &[]).await?;
            let obstacle = match (found.archived, found.has_issues) {
                (true, _) => Some("the repository is archived: nothing is written into it"),
                (_, false) => Some("issues are switched off in this repository"),
                _ => None,
            };
            let rests_on = json!([found.archived, found.has_issues]);
            let detail = json!({ "repository": shown(&found.full_name, 200) });
            Ok(Seen {
                state: state(found.id, 0, &rests_on, String::new(), detail),
                obstacle: obstacle.map(str::to_owned),
                run: None,
            })
        }
        Action::GithubComment { repository, number, .. } => {
            repositories.writable(repository)?;
            let found: Issue = api.ask(&format!("/repos/{repository}/issues/{number}"), &[]).await?;
            let obstacle = found
                .locked
                .then(|| "its conversation is locked: unlock it first".to_owned());
            let rests_on = json!([found.state, found.locked, found.title]);
            let detail = json!({ "title": shown(&found.title, 200), "state": shown(&found.state, 20) });
            Ok(Seen {
                // A comment of somebody else changes `updated_at` and nothing that matters.
                state: state(found.id, 0, &rests_on, String::new(), detail),
                obstacle,
                run: None,
            })
        }
        Action::GithubRerun {
            repository,
            run,
            attempt,
        } => {
            repositories.writable(repository)?;
            let found = runs::run(api, repository, *run).await?;
            let rests_on = json!([found.head_sha, found.run_attempt, found.status, found.conclusion]);
            let detail = json!({
                "workflow": shown(found.name.as_deref().unwrap_or_default(), 100), "commit": found.head_sha,
                "status": found.status, "conclusion": found.conclusion, "attempt": found.run_attempt,
            });
            let version = found.updated_at.clone();
            Ok(Seen {
                state: state(found.id, found.run_attempt.into(), &rests_on, version, detail),
                obstacle: found.obstacle(*attempt),
                run: Some(found),
            })
        }
        other => Err(ToolError::refused(
            TOOL,
            format!("{other} is nothing that is done on GitHub"),
        )),
    }
}

fn state(id: u64, generation: i64, rests_on: &Value, resource_version: String, detail: Value) -> TargetState {
    TargetState {
        uid: id.to_string(),
        generation,
        spec_hash: hash(rests_on),
        resource_version,
        replicas: 0,
        ready: 0,
        detail,
    }
}

impl Run {
    fn obstacle(&self, attempt: u32) -> Option<String> {
        if self.run_attempt != attempt {
            return Some(format!(
                "its newest attempt is {}, not {attempt}: look at that one",
                self.run_attempt
            ));
        }
        if !self.completed() {
            let status = shown(self.status.as_deref().unwrap_or("unknown"), 40);
            return Some(format!("it is {status}: wait for its end"));
        }
        let ended = self.conclusion.as_deref();
        (!bad(ended)).then(|| format!("it ended with {}: no job failed", shown(ended.unwrap_or("nothing"), 40)))
    }
}

/// The texts that an action writes, where it writes some.
pub(super) fn written(action: &Action) -> Option<Written<'_>> {
    match action {
        Action::GithubIssue {
            title, body, labels, ..
        } => Some(Written {
            title: Some(title),
            body,
            labels,
        }),
        Action::GithubComment { body, .. } => Some(Written {
            body,
            ..Written::default()
        }),
        _ => None,
    }
}

#[async_trait]
impl Plans for Planner {
    fn system(&self) -> &'static str {
        GITHUB
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        Ok(look(&self.api, &self.repositories, action).await?.state)
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        let text = written(action);
        if let Some(text) = &text {
            text.check(TOOL)?;
        }
        let seen = look(&self.api, &self.repositories, action).await?;
        if let Some(obstacle) = seen.obstacle {
            return Err(ToolError::refused(
                TOOL,
                format!("{}: {obstacle}", action.target_label()),
            ));
        }
        let diff = match (action, text, &seen.run) {
            (Action::GithubRerun { repository, .. }, _, Some(run)) => {
                rerun(run, &runs::failed_jobs(&self.api, repository, run).await?)
            }
            (Action::GithubIssue { repository, .. }, Some(text), _) => {
                text.preview(&format!("a new issue in {repository}:"))
            }
            (_, Some(text), _) => {
                let title = seen.state.detail["title"].as_str().unwrap_or_default();
                text.preview(&format!("a comment below {} ({title}):", action.target_label()))
            }
            _ => String::new(),
        };
        Ok(DryRun {
            diff,
            // What was written is answered, not unwritten; a run is cancelled by whoever watches it.
            inverse: None,
            blast_radius: BlastRadius::default(),
            target: seen.state,
        })
    }

    async fn outcome(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<Outcome, ToolError> {
        if let Action::GithubRerun {
            repository,
            run,
            attempt,
        } = action
        {
            let seen = runs::run(&self.api, repository, *run).await?;
            let (health, note) = ended(&seen, *attempt);
            let state = look(&self.api, &self.repositories, action).await?.state;
            return Ok(Outcome {
                health,
                note,
                state: Some(state),
            });
        }
        let found = marks::find(&self.api, action, attempt, since).await;
        let found = found.map_err(|failure| failure.advised(advice).of_a_question(TOOL))?;
        Ok(Outcome {
            health: if found.is_empty() {
                Health::NotYet
            } else {
                Health::Recovered
            },
            note: match found.first() {
                Some(one) => format!("it stands: {}", shown(&one.html_url, 300)),
                None => "it is not to be seen".to_owned(),
            },
            state: Some(look(&self.api, &self.repositories, action).await?.state),
        })
    }
}

fn rerun(run: &Run, jobs: &[FailedJob]) -> String {
    let name = shown(run.name.as_deref().unwrap_or("a workflow"), 100);
    let commit = run.head_sha.get(..7).unwrap_or(&run.head_sha);
    let mut shown = format!(
        "{name} at {commit}: attempt {} is started, of these jobs:\n",
        run.run_attempt + 1
    );
    for job in jobs {
        let step = job.step.as_ref().map(|step| format!(" (failed at: {step})"));
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "+ {}{}", job.name, step.unwrap_or_default());
    }
    if jobs.is_empty() {
        shown.push_str("+ every job that did not succeed\n");
    }
    shown
}

/// How the attempt behind `attempt` ended.
fn ended(run: &Run, attempt: u32) -> (Health, String) {
    if run.run_attempt <= attempt {
        return (Health::NotYet, format!("attempt {attempt} is still the newest"));
    }
    let told = |word: &str| format!("attempt {} {word}", run.run_attempt);
    if !run.completed() {
        let status = shown(run.status.as_deref().unwrap_or("unknown"), 40);
        return (Health::NotYet, told(&format!("is {}", status.replace('_', " "))));
    }
    match run.conclusion.as_deref() {
        Some("success") => (Health::Recovered, told("succeeded")),
        other => (
            Health::Worse,
            told(&format!("ended with {}", shown(other.unwrap_or("nothing"), 40))),
        ),
    }
}

#[derive(Deserialize)]
struct Repository {
    id: u64,
    full_name: String,
    #[serde(default)]
    archived: bool,
    #[serde(default = "yes")]
    has_issues: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Issue {
    id: u64,
    #[serde(default)]
    title: String,
    state: String,
    #[serde(default)]
    locked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    fn run(attempt: u32, status: &str, conclusion: Option<&str>) -> Run {
        Run {
            run_attempt: attempt,
            status: Some(status.to_owned()),
            conclusion: conclusion.map(str::to_owned),
            ..example("run")
        }
    }

    #[test]
    fn published_examples() {
        let repository: Repository = example("repository");
        assert_eq!(
            (
                repository.full_name.as_str(),
                repository.archived,
                repository.has_issues
            ),
            ("octocat/Hello-World", false, true)
        );
        let issue: Issue = example("issue_created");
        assert_eq!((issue.state.as_str(), issue.title.as_str()), ("open", "Found a bug"));
    }

    #[test]
    fn only_the_newest_attempt_that_failed_is_run_again() {
        let check = |run: Run, expected: Option<&str>| {
            let obstacle = run.obstacle(1);
            match expected {
                None => assert_eq!(obstacle, None),
                Some(word) => assert!(
                    obstacle.as_ref().is_some_and(|text| text.contains(word)),
                    "{obstacle:?}"
                ),
            }
        };
        check(run(1, "completed", Some("failure")), None);
        check(run(1, "completed", Some("timed_out")), None);
        check(run(1, "completed", Some("success")), Some("no job failed"));
        check(run(1, "in_progress", None), Some("wait for its end"));
        check(run(2, "completed", Some("failure")), Some("newest attempt is 2"));
    }

    #[test]
    fn how_a_run_ended() {
        let check = |run: Run, expected: Health| assert_eq!(ended(&run, 1).0, expected);
        check(run(1, "completed", Some("failure")), Health::NotYet);
        check(run(2, "queued", None), Health::NotYet);
        check(run(2, "completed", Some("success")), Health::Recovered);
        check(run(2, "completed", Some("failure")), Health::Worse);
    }
}
