//! What an action on Jira would do. It writes nothing.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::action::JIRA;
use model::proposal::{BlastRadius, TargetState};
use model::remediation::Health;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Issue, Projects, Site, Status, TOOL, marks, shown};
use crate::ToolError;
use crate::hash::hash;
use crate::observe::{DryRun, Outcome, Plans};
use crate::settings::JiraSettings;
use crate::wire::Failure;
use crate::written::Written;

/// Names that are told in a refusal.
const NAMES: usize = 20;

/// Knows the actions on a Jira.
pub struct Planner {
    site: Site,
    projects: Projects,
}

impl Planner {
    pub fn new(settings: &JiraSettings) -> Result<Self, ToolError> {
        Ok(Planner {
            site: Site::new(settings, settings.token.clone())?,
            projects: Projects::of(settings),
        })
    }
}

/// What an action is about, as it stands.
pub(super) struct Seen {
    pub state: TargetState,
    /// Why it cannot be done as things stand.
    pub obstacle: Option<String>,
    /// The transition that leads where the action wants to.
    pub transition: Option<Transition>,
    /// Name of the status that a ticket has.
    pub status: String,
}

/// Looks at the target of an action.
pub(super) async fn look(site: &Site, projects: &Projects, action: &Action) -> Result<Seen, ToolError> {
    let asked = |failure: Failure| failure.of_a_question(TOOL);
    match action {
        Action::JiraIssue { project, kind, .. } => {
            projects.writable(project)?;
            let found: Project = site.get(&format!("/project/{project}"), &[]).await.map_err(asked)?;
            let known = found.issue_types.iter().find(|one| one.name.eq_ignore_ascii_case(kind));
            let obstacle = match known {
                Some(one) if !one.subtask => None,
                Some(_) => Some(format!(
                    "`{kind}` is a part of another ticket: choose another issue type"
                )),
                None => {
                    let names = found.issue_types.iter().filter(|one| !one.subtask).map(|one| &one.name);
                    Some(format!(
                        "the project has no issue type `{kind}`; it has {}",
                        listed(names)
                    ))
                }
            };
            let rests_on = json!([found.key, known.map(|one| &one.name), found.archived]);
            let detail = json!({ "project": shown(&found.name, 200) });
            Ok(Seen {
                state: state(found.id, &rests_on, String::new(), detail),
                obstacle: obstacle.or(found.archived.then(|| "the project is archived".to_owned())),
                transition: None,
                status: String::new(),
            })
        }
        Action::JiraComment { ticket, .. } => {
            projects.writable_ticket(ticket)?;
            let (id, issue) = read(site, ticket).await.map_err(asked)?;
            let detail =
                json!({ "title": shown(&issue.fields.summary, 200), "status": shown(&issue.fields.status.name, 60) });
            Ok(Seen {
                state: state(id, &json!([issue.key, issue.fields.summary]), String::new(), detail),
                obstacle: None,
                transition: None,
                status: issue.fields.status.name,
            })
        }
        Action::JiraTransition { ticket, to } => {
            projects.writable_ticket(ticket)?;
            let (id, issue) = read(site, ticket).await.map_err(asked)?;
            let next = transitions(site, ticket).await.map_err(asked)?;
            let status = issue.fields.status;
            let names = listed(next.iter().map(|one| &one.to.name));
            let transition = next.into_iter().find(|one| one.to.name.eq_ignore_ascii_case(to));
            let obstacle = if status.name.eq_ignore_ascii_case(to) {
                Some(format!("it is in the status {} already", status.name))
            } else if transition.is_none() {
                Some(format!(
                    "no transition leads to `{to}` from {}; possible: {names}",
                    status.name
                ))
            } else {
                None
            };
            let detail = json!({ "title": shown(&issue.fields.summary, 200), "status": shown(&status.name, 60) });
            Ok(Seen {
                state: state(id, &json!([issue.key, status.id, status.name]), status.id, detail),
                obstacle,
                transition,
                status: status.name,
            })
        }
        other => Err(ToolError::refused(
            TOOL,
            format!("{other} is nothing that is done on Jira"),
        )),
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.take(NAMES).map(|name| shown(name, 60)).collect();
    match names.is_empty() {
        true => "nothing that this user may choose".to_owned(),
        false => names.join(", "),
    }
}

fn state(id: String, rests_on: &Value, resource_version: String, detail: Value) -> TargetState {
    TargetState {
        uid: id,
        generation: 0,
        spec_hash: hash(rests_on),
        resource_version,
        replicas: 0,
        ready: 0,
        detail,
    }
}

async fn read(site: &Site, key: &str) -> Result<(String, Issue), Failure> {
    let found: Numbered = site
        .get(&format!("/issue/{key}"), &[("fields", "summary,status,labels,updated")])
        .await?;
    Ok((found.id, found.issue))
}

/// The status that a ticket has.
pub(super) async fn status(site: &Site, key: &str) -> Result<Status, Failure> {
    Ok(read(site, key).await?.1.fields.status)
}

/// What a ticket can be brought into, as its workflow and the user's permissions allow.
pub(super) async fn transitions(site: &Site, key: &str) -> Result<Vec<Transition>, Failure> {
    let found: Transitions = site.get(&format!("/issue/{key}/transitions"), &[]).await?;
    Ok(found.transitions)
}

/// The texts that an action writes, where it writes some.
pub(super) fn written(action: &Action) -> Option<Written<'_>> {
    match action {
        Action::JiraIssue {
            title, body, labels, ..
        } => Some(Written {
            title: Some(title),
            body,
            labels,
        }),
        Action::JiraComment { body, .. } => Some(Written {
            body,
            ..Written::default()
        }),
        _ => None,
    }
}

#[async_trait]
impl Plans for Planner {
    fn system(&self) -> &'static str {
        JIRA
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        Ok(look(&self.site, &self.projects, action).await?.state)
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        let text = written(action);
        if let Some(text) = &text {
            text.check(TOOL)?;
        }
        let seen = look(&self.site, &self.projects, action).await?;
        if let Some(obstacle) = seen.obstacle {
            return Err(ToolError::refused(
                TOOL,
                format!("{}: {obstacle}", action.target_label()),
            ));
        }
        let title = seen.state.detail["title"].as_str().unwrap_or_default();
        let (diff, inverse) = match (action, text) {
            (Action::JiraIssue { project, kind, .. }, Some(text)) => {
                (text.preview(&format!("a new {kind} in {project}:")), None)
            }
            (Action::JiraComment { ticket, .. }, Some(text)) => {
                (text.preview(&format!("a comment below {ticket} ({title}):")), None)
            }
            (Action::JiraTransition { ticket, to }, _) => {
                let status = shown(&seen.status, 60);
                let back = Action::JiraTransition {
                    ticket: ticket.clone(),
                    to: seen.status.clone(),
                };
                (
                    format!("{ticket} ({title})\n- status: {status}\n+ status: {to}\n"),
                    Some(back),
                )
            }
            _ => (String::new(), None),
        };
        Ok(DryRun {
            diff,
            inverse,
            blast_radius: BlastRadius::default(),
            target: seen.state,
        })
    }

    async fn outcome(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<Outcome, ToolError> {
        let done = happened(&self.site, action, attempt, since).await;
        let done = done.map_err(|failure| failure.of_a_question(TOOL))?;
        let state = look(&self.site, &self.projects, action).await?.state;
        Ok(Outcome {
            health: if done.is_some() {
                Health::Recovered
            } else {
                Health::NotYet
            },
            note: match done {
                Some(place) => format!("it stands: {place}"),
                None => "it is not to be seen".to_owned(),
            },
            state: Some(state),
        })
    }
}

/// Where what `attempt` did after `since` can be seen; `None` where it is not.
pub(super) async fn happened(
    site: &Site,
    action: &Action,
    attempt: Uuid,
    since: DateTime<Utc>,
) -> Result<Option<String>, Failure> {
    Ok(match action {
        Action::JiraIssue { project, .. } => {
            let keys = marks::tickets(site, project, attempt).await?;
            keys.first().map(|key| site.address(key))
        }
        Action::JiraComment { ticket, .. } => {
            let found = marks::comments(site, ticket, attempt, since).await?;
            (!found.is_empty()).then(|| site.address(ticket))
        }
        // Who brought it there does not matter: it is where it was wanted.
        Action::JiraTransition { ticket, to } => {
            let there = status(site, ticket).await?.name.eq_ignore_ascii_case(to);
            there.then(|| site.address(ticket))
        }
        _ => None,
    })
}

#[derive(Deserialize)]
struct Numbered {
    id: String,
    #[serde(flatten)]
    issue: Issue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    id: String,
    key: String,
    #[serde(default)]
    name: String,
    issue_types: Vec<IssueType>,
    #[serde(default)]
    archived: bool,
}

#[derive(Deserialize)]
struct IssueType {
    name: String,
    #[serde(default)]
    subtask: bool,
}

#[derive(Deserialize)]
struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
pub(super) struct Transition {
    pub id: String,
    pub to: Status,
}
