//! Tickets by Jira's REST API: `search/jql` of Jira Cloud
//! (<https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/>), and `search` of a Data Center.
//!
//! Reads the projects that are configured and no others, whoever asks. What people wrote is untrusted text; a service's name goes into
//! JQL quoted, so it cannot become a condition of its own.
//!
//! Not here: comments, attachments, and writing.

use std::fmt::Write as _;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::ToolError;
use crate::observe::{Ticket, TicketAnswer, TicketQuery, Tickets};
use crate::redact::{redact, shorten};
use crate::settings::{JiraSettings, project_key};
use crate::wire::Http;

const TOOL: &str = "jira";
/// What is asked of each ticket: the rest can be megabytes.
const FIELDS: &str = "summary,status,labels,updated";
/// Longest text that is looked for.
const ABOUT_CHARS: usize = 200;
/// Labels of a ticket that are handed on.
const LABELS: usize = 20;

/// A Jira.
pub struct Jira {
    http: Http,
    /// Jira Cloud; otherwise a Data Center.
    cloud: bool,
    projects: Vec<String>,
    max_tickets: u32,
}

impl Jira {
    pub fn new(settings: &JiraSettings) -> Result<Self, ToolError> {
        let (token, limit) = (settings.token.clone(), settings.max_answer_bytes);
        let http = Http::new(TOOL, &settings.url, token, settings.timeout(), limit)?;
        let cloud = !settings.user.is_empty();
        Ok(Jira {
            http: if cloud {
                http.with_user(TOOL, &settings.user)?
            } else {
                http
            },
            cloud,
            projects: settings.projects.clone(),
            max_tickets: settings.max_tickets,
        })
    }

    fn jql(&self, query: &TicketQuery) -> String {
        let projects: Vec<String> = self.projects.iter().map(|key| quoted(key)).collect();
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
        let count = (limit + 1).to_string();
        let parameters = [("jql", jql.as_str()), ("fields", FIELDS), ("maxResults", &count)];
        let path = if self.cloud {
            "/rest/api/3/search/jql"
        } else {
            "/rest/api/2/search"
        };
        let answer: Answer = self
            .http
            .get(path, &parameters)
            .await
            .map_err(|failure| failure.of_a_question(TOOL))?;
        let cut = answer.issues.len() > limit as usize || answer.next_page_token.is_some();
        Ok(TicketAnswer {
            query: jql,
            tickets: answer.issues.into_iter().take(limit as usize).map(ticket).collect(),
            cut,
        })
    }

    async fn ticket(&self, key: &str) -> Result<Ticket, ToolError> {
        let known = key.split_once('-').filter(|(project, number)| {
            project_key(project)
                && self.projects.iter().any(|known| known == project)
                && (1..=10).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_digit())
        });
        if known.is_none() {
            let projects = self.projects.join(", ");
            let cause = format!("only tickets of these projects are read, as PROJECT-NUMBER: {projects}");
            return Err(ToolError::refused(TOOL, cause));
        }
        let version = if self.cloud { 3 } else { 2 };
        let path = format!("/rest/api/{version}/issue/{key}");
        let answer: Result<Issue, _> = self.http.get(&path, &[("fields", FIELDS)]).await;
        answer.map(ticket).map_err(|failure| failure.of_a_question(TOOL))
    }
}

/// A text of JQL: <https://support.atlassian.com/jira-software-cloud/docs/search-syntax-for-text-fields/>.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.trim().replace('\\', "\\\\").replace('"', "\\\""))
}

fn ticket(issue: Issue) -> Ticket {
    let shown = |text: &str, limit: usize| shorten(&redact(text), limit);
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
}

#[derive(Deserialize)]
struct Status {
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
