//! Work that is written down.

use model::Action;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ActionArguments, Purpose, Tool, acting, arguments_of, dry_run, json, observing, unknown};
use crate::ToolError;
use crate::observe::{DryRun, Observe, Ticket, TicketAnswer, TicketQuery, Tickets};

/// The key of a ticket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketArguments {
    pub key: String,
}

/// Arguments of a new ticket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketIssueArguments {
    /// Key of the project.
    pub project: String,
    /// Name of the issue type: `Task`.
    pub kind: String,
    pub title: String,
    /// Plain text; a blank line ends a paragraph.
    pub body: String,
    #[serde(default)]
    pub labels: Vec<String>,
}

/// Arguments of a comment.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketCommentArguments {
    /// Key of the ticket.
    pub ticket: String,
    /// Plain text; a blank line ends a paragraph.
    pub body: String,
}

/// Arguments of a change of status.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionArguments {
    /// Key of the ticket.
    pub ticket: String,
    /// Name of the status to reach.
    pub to: String,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<TicketQuery, TicketAnswer>("jira_search", "Tickets about something, last changed first."),
        observing::<TicketArguments, Ticket>(
            "jira_ticket",
            "One ticket: what it says, and the statuses that it can be brought into.",
        ),
        observing::<ActionArguments, DryRun>(
            "jira_dry_run",
            "What an action on Jira would write or change, in full; nothing is written.",
        ),
        acting::<TicketIssueArguments>("jira_create_issue", "Write a ticket into a project."),
        acting::<TicketCommentArguments>("jira_comment", "Write a comment below a ticket."),
        acting::<TransitionArguments>("jira_transition", "Bring a ticket into another status."),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "jira_search" => {
            let read: TicketQuery = arguments_of("jira_search", arguments)?;
            json(tickets(observe)?.search(&read).await?)
        }
        "jira_ticket" => {
            let TicketArguments { key } = arguments_of("jira_ticket", arguments)?;
            json(tickets(observe)?.ticket(&key).await?)
        }
        "jira_dry_run" => dry_run(observe, "jira_dry_run", arguments).await?,
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

pub(super) fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match name {
        "jira_create_issue" => {
            let read: TicketIssueArguments = arguments_of("jira_create_issue", arguments)?;
            Ok(Action::JiraIssue {
                project: read.project,
                kind: read.kind,
                title: read.title,
                body: read.body,
                labels: read.labels,
            })
        }
        "jira_comment" => {
            let TicketCommentArguments { ticket, body } = arguments_of("jira_comment", arguments)?;
            Ok(Action::JiraComment { ticket, body })
        }
        "jira_transition" => {
            let TransitionArguments { ticket, to } = arguments_of("jira_transition", arguments)?;
            Ok(Action::JiraTransition { ticket, to })
        }
        other => Err(unknown(other, Purpose::Act)),
    }
}

fn tickets(observe: &Observe) -> Result<&dyn Tickets, ToolError> {
    observe.tickets.as_deref().ok_or(ToolError::Absent {
        tool: "jira",
        setting: "tools.jira.url, token and projects",
    })
}
