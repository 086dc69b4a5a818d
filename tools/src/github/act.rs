//! Acting on GitHub.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use model::Action;
use model::action::GITHUB;
use model::approval::Approved;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::plans::{Seen, look, written};
use super::{Api, Repositories, TOOL, advice, marks, runs, shown};
use crate::ToolError;
use crate::act::{Acting, Executed};
use crate::settings::GithubSettings;
use crate::wire::{Failure, read};

/// How far back an issue is looked for that was just written.
const JUST_NOW: TimeDelta = TimeDelta::minutes(10);

/// Writes issues and comments, and runs failed jobs again.
pub struct Writer {
    api: Api,
    repositories: Repositories,
}

impl Writer {
    /// With `write_token`, where there is one.
    pub fn new(settings: &GithubSettings) -> Result<Self, ToolError> {
        let token = settings.write_token.clone().or_else(|| settings.token.clone());
        Ok(Writer {
            api: Api::new(&settings.url, token, settings.timeout(), settings.max_answer_bytes)?,
            repositories: Repositories::of(settings),
        })
    }

    async fn write(&self, path: &str, body: Value) -> Result<Standing, ToolError> {
        let answer = self.api.post(path, &body).await;
        // An answer that is no issue may come from anybody between: only looking tells.
        let standing = answer.and_then(|body| read(&body));
        standing.map_err(|failure| failure.advised(advice).of_a_written_deed(TOOL))
    }

    /// Whether the network wrote it more than once. Nobody who could not look says no.
    async fn copies(&self, action: &Action, attempt: Uuid) -> Option<String> {
        let found = marks::find(&self.api, action, attempt, Utc::now() - JUST_NOW)
            .await
            .ok()?;
        let copies: Vec<String> = found.iter().skip(1).map(marks::Found::name).collect();
        (!copies.is_empty()).then(|| format!("; the network wrote it more than once, close {}", copies.join(", ")))
    }

    async fn run_again(&self, repository: &str, run: u64, attempt: u32, id: Uuid) -> Result<Executed, ToolError> {
        let path = format!("/repos/{repository}/actions/runs/{run}/rerun-failed-jobs");
        let answer = self.api.post(&path, &json!({})).await;
        // GitHub answers with an empty object; a page may come from anybody between.
        let taken = answer.and_then(|body| read::<Map<String, Value>>(&body));
        if let Err(failure) = taken {
            // Sent twice on the way, the second is turned away because the first was taken: only looking tells.
            let turned_away = matches!(
                &failure,
                Failure::Status {
                    status: 403 | 409 | 422,
                    ..
                }
            );
            let began = match turned_away {
                true => runs::run(&self.api, repository, run)
                    .await
                    .map(|now| now.run_attempt > attempt)
                    .map_err(|fault| ToolError::MayHaveHappened {
                        tool: TOOL,
                        cause: format!("{failure}, and then nobody could look: {fault}"),
                    })?,
                false => false,
            };
            if !began {
                return Err(failure.advised(advice).of_a_written_deed(TOOL));
            }
        }
        Ok(Executed {
            attempt: id,
            note: format!("attempt {} of run {run} of {repository} was started", attempt + 1),
            generation: i64::from(attempt) + 1,
            resource_version: String::new(),
        })
    }
}

/// What was written, as the answer shows it.
#[derive(Deserialize)]
struct Standing {
    #[serde(default)]
    number: u64,
    html_url: String,
}

#[async_trait]
impl Acting for Writer {
    fn system(&self) -> &str {
        GITHUB
    }

    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        let (action, attempt) = (approved.action(), approved.attempt());
        if let Some(text) = written(action) {
            text.check(TOOL)?;
        }
        let Seen { state, obstacle, .. } = look(&self.api, &self.repositories, action).await?;
        let turned_away = |cause: String| ToolError::DidNotHappen {
            tool: TOOL,
            cause,
            retry: false,
        };
        if state.resource_version != approved.resource_version() {
            return Err(turned_away(format!(
                "{} changed since it was looked at",
                action.target_label()
            )));
        }
        if let Some(obstacle) = obstacle {
            return Err(turned_away(format!("{}: {obstacle}", action.target_label())));
        }
        let (standing, note) = match action {
            Action::GithubIssue {
                repository,
                title,
                body,
                labels,
            } => {
                let body = json!({"title": title, "body": marks::marked(body, attempt), "labels": labels});
                let standing = self.write(&format!("/repos/{repository}/issues"), body).await?;
                let note = format!("issue {repository}#{} was written", standing.number);
                (standing, note)
            }
            Action::GithubComment {
                repository,
                number,
                body,
            } => {
                let body = json!({"body": marks::marked(body, attempt)});
                let path = format!("/repos/{repository}/issues/{number}/comments");
                let standing = self.write(&path, body).await?;
                (standing, format!("a comment below {repository}#{number} was written"))
            }
            Action::GithubRerun {
                repository,
                run,
                attempt: failed,
            } => return self.run_again(repository, *run, *failed, attempt).await,
            other => {
                return Err(ToolError::refused(
                    TOOL,
                    format!("{other} is nothing that is done on GitHub"),
                ));
            }
        };
        let copies = self.copies(action, attempt).await.unwrap_or_default();
        Ok(Executed {
            attempt,
            note: format!("{note}: {}{copies}", shown(&standing.html_url, 300)),
            generation: 0,
            resource_version: shown(&standing.html_url, 300),
        })
    }

    async fn happened(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<bool, ToolError> {
        self.repositories.writable(&action.place().scope)?;
        // Who began it does not matter: a run that was started again is not started once more.
        if let Action::GithubRerun {
            repository,
            run,
            attempt,
        } = action
        {
            return Ok(runs::run(&self.api, repository, *run).await?.run_attempt > *attempt);
        }
        let found = marks::find(&self.api, action, attempt, since).await;
        let found = found.map_err(|failure| failure.advised(advice).of_a_question(TOOL))?;
        Ok(!found.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::example;

    #[test]
    fn published_examples() {
        let issue: Standing = example("issue_created");
        assert_eq!(issue.number, 1347);
        let comment: Standing = example("comment_created");
        assert!(comment.html_url.ends_with("#issuecomment-1"));
    }
}
