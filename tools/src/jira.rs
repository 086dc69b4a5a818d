//! Jira's REST API: of Jira Cloud (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/>), and of a Data Center
//! (<https://developer.atlassian.com/server/jira/platform/rest/v10000/>).
//!
//! [`Jira`] looks: it searches, and reads one ticket with the statuses that it can be brought into. [`Planner`] says what an action would
//! write or change, [`Writer`] does it.
//!
//! Reads the projects that are configured and no others, whoever asks, and writes into those of `write` alone. What people wrote is
//! untrusted text; a service's name goes into JQL quoted, so it cannot become a condition of its own.
//!
//! Jira takes no key that would make a request happen once. A ticket therefore bears a label, a comment a last line, with the attempt that
//! wrote it (`marks`); it is looked for before anything is written.
//!
//! Not here: attachments, fields of a project's own, transitions that ask for a field.

mod act;
mod document;
mod marks;
mod plans;

use std::fmt::Write as _;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stream::secret::Secret;

use crate::ToolError;
use crate::observe::{FollowUps, Ticket, TicketAnswer, TicketQuery, Tickets};
use crate::redact::{redact, shorten};
use crate::settings::{JiraSettings, project_key};
use crate::wire::{Failure, Http, Patient};
pub use act::Writer;
pub use plans::Planner;

const TOOL: &str = "jira";
/// What is asked of each ticket: the rest can be megabytes.
const FIELDS: &str = "summary,status,labels,updated";
/// Longest text that is looked for.
const ABOUT_CHARS: usize = 200;
/// Labels of a ticket that are handed on.
const LABELS: usize = 20;
/// Characters of a ticket's text that are handed on.
const TEXT_CHARS: usize = 4_000;

/// A Jira and who asks it.
struct Site {
    http: Patient,
    /// Jira Cloud; otherwise a Data Center.
    cloud: bool,
    /// Where people look at tickets.
    browse: String,
}

impl Site {
    fn new(settings: &JiraSettings, token: Option<Secret>) -> Result<Self, ToolError> {
        let http = Http::new(
            TOOL,
            &settings.url,
            token,
            settings.timeout(),
            settings.max_answer_bytes,
        )?;
        let cloud = !settings.user.is_empty();
        let http = match cloud {
            true => http.with_user(TOOL, &settings.user)?,
            false => http,
        };
        Ok(Site {
            http: Patient::new(http),
            cloud,
            browse: format!("{}/browse", settings.url.trim_end_matches('/')),
        })
    }

    /// `rest` of the API that this Jira has.
    fn path(&self, rest: &str) -> String {
        let version = if self.cloud { 3 } else { 2 };
        format!("/rest/api/{version}{rest}")
    }

    async fn get<T: DeserializeOwned>(&self, rest: &str, query: &[(&str, &str)]) -> Result<T, Failure> {
        let answer = self.http.get(&self.path(rest), query).await;
        answer.map(|(read, _)| read).map_err(|failure| failure.advised(advice))
    }

    async fn search<T: DeserializeOwned>(&self, jql: &str, fields: &str, most: u32) -> Result<T, Failure> {
        let most = most.to_string();
        let rest = if self.cloud { "/search/jql" } else { "/search" };
        let parameters = [("jql", jql), ("fields", fields), ("maxResults", &most)];
        self.get(rest, &parameters).await
    }

    /// Where people look at a ticket.
    fn address(&self, key: &str) -> String {
        format!("{}/{key}", self.browse)
    }
}

/// What to do about a refusal.
fn advice(status: u16) -> Option<String> {
    let advice = match status {
        400 => "Jira does not take it as it is written: a field may be missing, or may not be set",
        401 => "Jira does not know the user and token: make a new API token and set tools.jira.user and token",
        403 => "the user may not do this: docs/guides/jira.md lists the permissions",
        404 => "it is not there, or the user may not see it",
        _ => return None,
    };
    Some(advice.to_owned())
}

/// Looks at a Jira.
pub struct Jira {
    site: Site,
    projects: Projects,
    max_tickets: u32,
    follow_ups: Option<FollowUps>,
}

/// Which projects may be read, and which written to.
struct Projects {
    read: Vec<String>,
    write: Vec<String>,
}

impl Projects {
    fn of(settings: &JiraSettings) -> Self {
        Projects {
            read: settings.projects.clone(),
            write: settings.write.clone(),
        }
    }

    fn readable(&self, key: &str) -> Result<(), ToolError> {
        if ticket_key(key).is_some_and(|project| self.read.iter().any(|known| known == project)) {
            return Ok(());
        }
        let projects = self.read.join(", ");
        let cause = format!("only tickets of these projects are read, as PROJECT-NUMBER: {projects}");
        Err(ToolError::refused(TOOL, cause))
    }

    fn writable(&self, project: &str) -> Result<(), ToolError> {
        if self.write.iter().any(|known| known == project) {
            return Ok(());
        }
        let projects = self.write.join(", ");
        let cause = format!("only these projects are written to (tools.jira.write): {projects}");
        Err(ToolError::refused(TOOL, cause))
    }

    fn writable_ticket(&self, key: &str) -> Result<(), ToolError> {
        let project = ticket_key(key);
        let no = || ToolError::refused(TOOL, format!("{key:?} is no ticket: they look like PROJECT-NUMBER"));
        self.writable(project.ok_or_else(no)?)
    }
}

/// The project of a key that is one and nothing else, so that it can stand in a path.
fn ticket_key(key: &str) -> Option<&str> {
    let (project, number) = key.split_once('-')?;
    let whole =
        project_key(project) && (1..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    whole.then_some(project)
}

impl Jira {
    pub fn new(settings: &JiraSettings) -> Result<Self, ToolError> {
        let project = Some(settings.follow_ups.clone()).filter(|project| !project.is_empty());
        Ok(Jira {
            site: Site::new(settings, settings.token.clone())?,
            projects: Projects::of(settings),
            max_tickets: settings.max_tickets,
            follow_ups: project.map(|project| FollowUps {
                project,
                kind: settings.issue_type.clone(),
            }),
        })
    }

    fn jql(&self, query: &TicketQuery) -> String {
        let projects: Vec<String> = self.projects.read.iter().map(|key| quoted(key)).collect();
        let mut jql = format!("project in ({})", projects.join(", "));
        if query.open {
            jql.push_str(" AND statusCategory != Done");
        }
        // A phrase within a text: quoted once for the phrase, and once more for JQL.
        let (label, phrase) = (quoted(&query.about), quoted(&quoted(&query.about)));
        let _ = write!(jql, " AND (labels = {label} OR text ~ {phrase}) ORDER BY updated DESC");
        jql
    }
}

#[async_trait]
impl Tickets for Jira {
    async fn search(&self, query: &TicketQuery) -> Result<TicketAnswer, ToolError> {
        let about = query.about.trim();
        let fits = !about.is_empty() && about.chars().count() <= ABOUT_CHARS && !about.chars().any(char::is_control);
        if !fits || query.limit == 0 {
            let cause = format!("a search is about 1 to {ABOUT_CHARS} characters, and asks for at least one ticket");
            return Err(ToolError::refused(TOOL, cause));
        }
        let limit = query.limit.min(self.max_tickets);
        let jql = self.jql(query);
        // One more than asked for, so that it is seen whether there are more.
        let answer: Result<Answer, _> = self.site.search(&jql, FIELDS, limit + 1).await;
        let answer = answer.map_err(|failure| failure.of_a_question(TOOL))?;
        let cut = answer.issues.len() > limit as usize || answer.next_page_token.is_some();
        Ok(TicketAnswer {
            query: jql,
            tickets: answer.issues.into_iter().take(limit as usize).map(ticket).collect(),
            cut,
        })
    }

    async fn ticket(&self, key: &str) -> Result<Ticket, ToolError> {
        self.projects.readable(key)?;
        let asked = |failure: Failure| failure.of_a_question(TOOL);
        let fields = format!("{FIELDS},description");
        let issue: Issue = self
            .site
            .get(&format!("/issue/{key}"), &[("fields", &fields)])
            .await
            .map_err(asked)?;
        let next = plans::transitions(&self.site, key).await.map_err(asked)?;
        let mut ticket = ticket(issue);
        ticket.next = next.iter().map(|one| shown(&one.to.name, 60)).collect();
        Ok(ticket)
    }

    fn follow_ups(&self) -> Option<FollowUps> {
        self.follow_ups.clone()
    }
}

/// A text of JQL: <https://support.atlassian.com/jira-software-cloud/docs/search-syntax-for-text-fields/>.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.trim().replace('\\', "\\\\").replace('"', "\\\""))
}

/// Text of others. Hidden before it is cut: a token cut in half is no longer recognised.
fn shown(text: &str, limit: usize) -> String {
    shorten(&redact(text), limit)
}

fn ticket(issue: Issue) -> Ticket {
    let status = issue.fields.status;
    Ticket {
        key: shown(&issue.key, 60),
        title: shown(&issue.fields.summary, 300),
        status: shown(&status.name, 60),
        done: status.category.is_some_and(|category| category.key == "done"),
        labels: issue
            .fields
            .labels
            .iter()
            .take(LABELS)
            .map(|label| shown(label, 100))
            .collect(),
        updated_at: issue.fields.updated.as_deref().and_then(time),
        text: issue
            .fields
            .description
            .map(|description| shown(&document::text(&description), TEXT_CHARS)),
        next: Vec::new(),
    }
}

/// `2026-11-24T10:00:00.000+0000`: RFC 3339 but for the colon of the offset.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").or_else(|_| DateTime::parse_from_rfc3339(text));
    read.ok().map(|at| at.to_utc())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    issues: Vec<Issue>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
    fields: Fields,
}

#[derive(Deserialize)]
struct Fields {
    summary: String,
    status: Status,
    #[serde(default)]
    labels: Vec<String>,
    updated: Option<String>,
    description: Option<Value>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    id: String,
    name: String,
    #[serde(rename = "statusCategory")]
    category: Option<Category>,
}

#[derive(Deserialize)]
struct Category {
    key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jira() -> Jira {
        let settings: JiraSettings =
            serde_json::from_str(r#"{"url": "http://127.0.0.1", "token": "t", "projects": ["OPS", "SHOP"]}"#).unwrap();
        Jira::new(&settings).unwrap()
    }

    #[test]
    fn a_name_stays_a_name() {
        let check = |about: &str, open: bool, expected: &str| {
            let query = TicketQuery {
                about: about.into(),
                open,
                limit: 5,
            };
            assert_eq!(jira().jql(&query), expected);
        };
        check(
            "api-server",
            true,
            r#"project in ("OPS", "SHOP") AND statusCategory != Done AND (labels = "api-server" OR text ~ "\"api-server\"") ORDER BY updated DESC"#,
        );
        check(
            r#"x" OR project = "HR"#,
            false,
            r#"project in ("OPS", "SHOP") AND (labels = "x\" OR project = \"HR" OR text ~ "\"x\\\" OR project = \\\"HR\"") ORDER BY updated DESC"#,
        );
        check(
            r"\",
            false,
            r#"project in ("OPS", "SHOP") AND (labels = "\\" OR text ~ "\"\\\\\"") ORDER BY updated DESC"#,
        );
    }

    #[tokio::test]
    async fn only_tickets_of_the_projects() {
        for key in ["HR-1", "OPS", "OPS-", "OPS-1/../HR-1", "ops-1", "OPS-1x", ""] {
            let refused = jira().ticket(key).await.unwrap_err().to_string();
            assert!(refused.contains("OPS, SHOP"), "{key}: {refused}");
        }
    }

    #[test]
    fn times() {
        let expected = "2026-11-24T09:00:00+00:00";
        for text in ["2026-11-24T10:00:00.000+0100", "2026-11-24T10:00:00+01:00"] {
            assert_eq!(time(text).unwrap().to_rfc3339(), expected);
        }
        assert_eq!(time("yesterday"), None);
    }
}
