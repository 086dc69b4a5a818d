//! Acting on Jira.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::action::JIRA;
use model::approval::Approved;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::plans::{happened, look, status, written};
use super::{Projects, Site, TOOL, advice, document, marks, shown};
use crate::ToolError;
use crate::act::{Acting, Executed};
use crate::settings::JiraSettings;
use crate::wire::{Failure, read};

/// Writes tickets and comments, and changes statuses.
pub struct Writer {
    site: Site,
    projects: Projects,
}

impl Writer {
    /// With `write_token`, where there is one.
    pub fn new(settings: &JiraSettings) -> Result<Self, ToolError> {
        let token = settings.write_token.clone().or_else(|| settings.token.clone());
        Ok(Writer {
            site: Site::new(settings, token)?,
            projects: Projects::of(settings),
        })
    }

    /// A text as this Jira takes it.
    fn text(&self, plain: &str) -> Value {
        match self.site.cloud {
            true => document::of(plain),
            false => json!(plain),
        }
    }

    async fn issue(&self, action: &Action, attempt: Uuid) -> Result<(String, String), ToolError> {
        let Action::JiraIssue {
            project,
            kind,
            title,
            body,
            labels,
        } = action
        else {
            return Err(nothing(action));
        };
        let mark = marks::label(attempt);
        let labels: Vec<&String> = labels.iter().chain([&mark]).collect();
        let body = json!({"fields": {
            "project": {"key": project},
            "issuetype": {"name": kind},
            "summary": title,
            "description": self.text(body),
            "labels": labels,
        }});
        let answer = self.site.http.post(&self.site.path("/issue"), &body).await;
        let created: Created = answer.and_then(|body| read(&body)).map_err(written_deed)?;
        let key = shown(&created.key, 60);
        // Nobody who could not look says that there are copies.
        let found = marks::tickets(&self.site, project, attempt).await.unwrap_or_default();
        let copies: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|other| **other != key)
            .collect();
        let more = match copies.is_empty() {
            true => String::new(),
            false => format!("; the network wrote it more than once, close {}", copies.join(", ")),
        };
        let address = self.site.address(&key);
        Ok((format!("{key} was written: {address}{more}"), address))
    }

    async fn comment(&self, ticket: &str, body: &str, attempt: Uuid) -> Result<(String, String), ToolError> {
        let body = json!({"body": self.text(&marks::marked(body, attempt))});
        let path = self.site.path(&format!("/issue/{ticket}/comment"));
        let answer = self.site.http.post(&path, &body).await;
        let _: Commented = answer.and_then(|body| read(&body)).map_err(written_deed)?;
        let found = marks::comments(&self.site, ticket, attempt, Utc::now()).await;
        let more = match found.map_or(0, |found| found.len()) {
            0 | 1 => "",
            _ => "; the network wrote it more than once, delete the copies",
        };
        let address = self.site.address(ticket);
        Ok((
            format!("a comment below {ticket} was written: {address}{more}"),
            address,
        ))
    }

    async fn transition(&self, ticket: &str, to: &str, id: &str) -> Result<(String, String), ToolError> {
        let path = self.site.path(&format!("/issue/{ticket}/transitions"));
        let answer = self.site.http.post(&path, &json!({"transition": {"id": id}})).await;
        // Jira answers with nothing; a page may come from anybody between.
        let taken = answer.and_then(|body| match body.is_empty() {
            true => Ok(()),
            false => Err(Failure::Garbled("a body where there should be none".to_owned())),
        });
        if let Err(failure) = taken {
            // Sent twice on the way, the second is turned away because the first was taken: only looking tells.
            let turned_away = matches!(&failure, Failure::Status { status: 400 | 409, .. });
            let there = match turned_away {
                true => status(&self.site, ticket)
                    .await
                    .map(|status| status.name.eq_ignore_ascii_case(to))
                    .map_err(|fault| ToolError::MayHaveHappened {
                        tool: TOOL,
                        cause: format!("{failure}, and then nobody could look: {fault}"),
                    })?,
                false => false,
            };
            if !there {
                return Err(written_deed(failure));
            }
        }
        let address = self.site.address(ticket);
        Ok((format!("{ticket} is in the status {to}: {address}"), address))
    }
}

fn written_deed(failure: Failure) -> ToolError {
    failure.advised(advice).of_a_written_deed(TOOL)
}

fn nothing(action: &Action) -> ToolError {
    ToolError::refused(TOOL, format!("{action} is nothing that is done on Jira"))
}

#[derive(Deserialize)]
struct Created {
    key: String,
}

#[derive(Deserialize)]
struct Commented {
    #[serde(rename = "id")]
    _id: String,
}

#[async_trait]
impl Acting for Writer {
    fn system(&self) -> &str {
        JIRA
    }

    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        let (action, attempt) = (approved.action(), approved.attempt());
        if let Some(text) = written(action) {
            text.check(TOOL)?;
        }
        let seen = look(&self.site, &self.projects, action).await?;
        let turned_away = |cause: String| ToolError::DidNotHappen {
            tool: TOOL,
            cause,
            retry: false,
        };
        if seen.state.resource_version != approved.resource_version() {
            return Err(turned_away(format!(
                "{} changed since it was looked at",
                action.target_label()
            )));
        }
        if let Some(obstacle) = seen.obstacle {
            return Err(turned_away(format!("{}: {obstacle}", action.target_label())));
        }
        let (note, address) = match (action, seen.transition) {
            (Action::JiraIssue { .. }, _) => self.issue(action, attempt).await?,
            (Action::JiraComment { ticket, body }, _) => self.comment(ticket, body, attempt).await?,
            (Action::JiraTransition { ticket, to }, Some(way)) => self.transition(ticket, to, &way.id).await?,
            (other, _) => return Err(nothing(other)),
        };
        Ok(Executed {
            attempt,
            note,
            generation: 0,
            resource_version: address,
        })
    }

    async fn happened(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<bool, ToolError> {
        self.projects.writable(&action.place().scope)?;
        let found = happened(&self.site, action, attempt, since).await;
        Ok(found.map_err(|failure| failure.of_a_question(TOOL))?.is_some())
    }
}
