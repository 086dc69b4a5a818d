//! Actions: what a remediation would do to the world, typed. No text of an action decides what is called: the texts that an issue or a
//! comment carries are data for people, shown whole before anybody grants them.

mod place;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use place::{GITHUB, JIRA, Place, SYSTEMS, TERRAFORM};

/// A workload of a Kubernetes cluster that its controller can restart, roll back or scale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Name of the configured cluster; `default` where only one is.
    pub cluster: String,
    pub namespace: String,
    pub kind: WorkloadKind,
    pub name: String,
}

/// The controllers whose pods can be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

impl WorkloadKind {
    pub fn as_str(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::StatefulSet => "statefulset",
            WorkloadKind::DaemonSet => "daemonset",
        }
    }
}

/// `deployment/api-server`, as in `kubectl`.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// A typed plan.
///
/// A kind of action is added at the end of the enum, of [`ActionKind`] and of [`ActionKind::ALL`]; what names it in the log is its tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    /// Replace every pod, a few at a time, as `kubectl rollout restart`.
    Restart { target: Workload },
    /// Return to an earlier revision, as `kubectl rollout undo`; `None` is the one before the current.
    Rollback { target: Workload, to_revision: Option<i64> },
    /// Set the number of replicas.
    Scale { target: Workload, replicas: u32 },
    /// Write an issue into a repository of GitHub.
    GithubIssue {
        /// `owner/name`.
        repository: String,
        title: String,
        /// Markdown.
        body: String,
        #[serde(default)]
        labels: Vec<String>,
    },
    /// Write a comment below an issue or a pull request of GitHub.
    GithubComment {
        /// `owner/name`.
        repository: String,
        number: u64,
        /// Markdown.
        body: String,
    },
    /// Run the failed jobs of a workflow run of GitHub again.
    GithubRerun {
        /// `owner/name`.
        repository: String,
        run: u64,
        /// The attempt that failed: a run that was started again since is not started once more.
        attempt: u32,
    },
    /// Write a ticket into a project of Jira.
    JiraIssue {
        /// Key of the project.
        project: String,
        /// Name of the issue type: `Task`.
        kind: String,
        title: String,
        /// Plain text; a blank line ends a paragraph.
        body: String,
        #[serde(default)]
        labels: Vec<String>,
    },
    /// Write a comment below a ticket of Jira.
    JiraComment {
        /// `PROJECT-NUMBER`.
        ticket: String,
        /// Plain text; a blank line ends a paragraph.
        body: String,
    },
    /// Bring a ticket of Jira into another status.
    JiraTransition {
        /// `PROJECT-NUMBER`.
        ticket: String,
        /// Name of the status to reach.
        to: String,
    },
    /// Apply a saved plan of Terraform: this file, on this state, and no other.
    TerraformApply {
        /// Name of the configured folder.
        folder: String,
        /// Name of the saved plan.
        plan: String,
        /// Hex SHA-256 of the file.
        sha256: String,
        /// Names the state that it was looked at on; empty where there is none yet.
        lineage: String,
        /// Serial of that state.
        serial: u64,
    },
}

/// The kinds of action, as policies name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    Restart,
    Rollback,
    Scale,
    GithubIssue,
    GithubComment,
    GithubRerun,
    JiraIssue,
    JiraComment,
    JiraTransition,
    TerraformApply,
}

impl ActionKind {
    pub const ALL: &[ActionKind] = &[
        ActionKind::Restart,
        ActionKind::Rollback,
        ActionKind::Scale,
        ActionKind::GithubIssue,
        ActionKind::GithubComment,
        ActionKind::GithubRerun,
        ActionKind::JiraIssue,
        ActionKind::JiraComment,
        ActionKind::JiraTransition,
        ActionKind::TerraformApply,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ActionKind::Restart => "restart",
            ActionKind::Rollback => "rollback",
            ActionKind::Scale => "scale",
            ActionKind::GithubIssue => "github_issue",
            ActionKind::GithubComment => "github_comment",
            ActionKind::GithubRerun => "github_rerun",
            ActionKind::JiraIssue => "jira_issue",
            ActionKind::JiraComment => "jira_comment",
            ActionKind::JiraTransition => "jira_transition",
            ActionKind::TerraformApply => "terraform_apply",
        }
    }

    /// It replaces, starts or stops pods.
    pub fn on_workloads(self) -> bool {
        matches!(self, ActionKind::Restart | ActionKind::Rollback | ActionKind::Scale)
    }
}

impl Action {
    pub fn kind(&self) -> ActionKind {
        match self {
            Action::Restart { .. } => ActionKind::Restart,
            Action::Rollback { .. } => ActionKind::Rollback,
            Action::Scale { .. } => ActionKind::Scale,
            Action::GithubIssue { .. } => ActionKind::GithubIssue,
            Action::GithubComment { .. } => ActionKind::GithubComment,
            Action::GithubRerun { .. } => ActionKind::GithubRerun,
            Action::JiraIssue { .. } => ActionKind::JiraIssue,
            Action::JiraComment { .. } => ActionKind::JiraComment,
            Action::JiraTransition { .. } => ActionKind::JiraTransition,
            Action::TerraformApply { .. } => ActionKind::TerraformApply,
        }
    }

    /// The workload that it is about; `None` where it is about something else than a cluster.
    pub fn workload(&self) -> Option<&Workload> {
        match self {
            Action::Restart { target } | Action::Rollback { target, .. } | Action::Scale { target, .. } => Some(target),
            _ => None,
        }
    }

    /// Hex SHA-256 of the plan: what a grant is bound to. Fields are length-prefixed, and lists carry their length, so no two plans
    /// share bytes.
    pub fn plan_hash(&self) -> String {
        let mut parts: Vec<String> = vec!["plan@1".to_owned(), self.kind().as_str().to_owned()];
        match self {
            Action::Restart { target } => parts.extend(of_workload(target, String::new())),
            Action::Rollback { target, to_revision } => {
                let revision = to_revision.map(|revision| revision.to_string());
                parts.extend(of_workload(target, revision.unwrap_or_default()));
            }
            Action::Scale { target, replicas } => parts.extend(of_workload(target, replicas.to_string())),
            Action::GithubIssue {
                repository,
                title,
                body,
                labels,
            } => {
                parts.extend([
                    repository.clone(),
                    title.clone(),
                    body.clone(),
                    labels.len().to_string(),
                ]);
                parts.extend(labels.iter().cloned());
            }
            Action::GithubComment {
                repository,
                number,
                body,
            } => parts.extend([repository.clone(), number.to_string(), body.clone()]),
            Action::GithubRerun {
                repository,
                run,
                attempt,
            } => parts.extend([repository.clone(), run.to_string(), attempt.to_string()]),
            Action::JiraIssue {
                project,
                kind,
                title,
                body,
                labels,
            } => {
                parts.extend([
                    project.clone(),
                    kind.clone(),
                    title.clone(),
                    body.clone(),
                    labels.len().to_string(),
                ]);
                parts.extend(labels.iter().cloned());
            }
            Action::JiraComment { ticket, body } => parts.extend([ticket.clone(), body.clone()]),
            Action::JiraTransition { ticket, to } => parts.extend([ticket.clone(), to.clone()]),
            Action::TerraformApply {
                folder,
                plan,
                sha256,
                lineage,
                serial,
            } => parts.extend([
                folder.clone(),
                plan.clone(),
                sha256.clone(),
                lineage.clone(),
                serial.to_string(),
            ]),
        }
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize())
    }
}

fn of_workload(target: &Workload, argument: String) -> [String; 5] {
    [
        target.cluster.clone(),
        target.namespace.clone(),
        target.kind.as_str().to_owned(),
        target.name.clone(),
        argument,
    ]
}

/// `restart deployment/api-server in production`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Restart { target } => write!(f, "restart {target} in {}", target.namespace),
            Action::Rollback { target, to_revision } => {
                match to_revision {
                    Some(revision) => write!(f, "roll {target} back to revision {revision}")?,
                    None => write!(f, "roll {target} back to its previous revision")?,
                }
                write!(f, " in {}", target.namespace)
            }
            Action::Scale { target, replicas } => {
                write!(f, "scale {target} to {replicas} replicas in {}", target.namespace)
            }
            Action::GithubIssue { repository, title, .. } => write!(f, "write an issue into {repository}: {title}"),
            Action::GithubComment { repository, number, .. } => write!(f, "comment on {repository}#{number}"),
            Action::GithubRerun {
                repository,
                run,
                attempt,
            } => write!(
                f,
                "run the failed jobs of attempt {attempt} of workflow run {run} of {repository} again"
            ),
            Action::JiraIssue {
                project, kind, title, ..
            } => write!(f, "write a {kind} into {project}: {title}"),
            Action::JiraComment { ticket, .. } => write!(f, "comment on {ticket}"),
            Action::JiraTransition { ticket, to } => write!(f, "bring {ticket} into the status {to}"),
            Action::TerraformApply {
                folder, plan, sha256, ..
            } => {
                let short = sha256.get(..12).unwrap_or(sha256);
                write!(f, "apply the saved plan {plan} ({short}) to {folder}")
            }
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str) -> Workload {
        Workload {
            cluster: "default".into(),
            namespace: "production".into(),
            kind: WorkloadKind::Deployment,
            name: name.into(),
        }
    }

    #[test]
    fn every_field_of_a_plan_changes_its_hash() {
        let target = workload("api");
        let restart = Action::Restart { target: target.clone() };
        let others = [
            Action::Restart {
                target: workload("api2"),
            },
            Action::Rollback {
                target: target.clone(),
                to_revision: None,
            },
            Action::Rollback {
                target: target.clone(),
                to_revision: Some(3),
            },
            Action::Scale { target, replicas: 3 },
        ];
        assert_eq!(restart.plan_hash(), restart.clone().plan_hash());
        for other in others {
            assert_ne!(restart.plan_hash(), other.plan_hash(), "{other}");
        }
        let mut written = vec![
            rerun("a/b", 1, 1),
            rerun("a/c", 1, 1),
            rerun("a/b", 2, 1),
            rerun("a/b", 1, 2),
        ];
        for labels in [&["x", "y"][..], &["xy"], &["x", "y", ""], &[]] {
            written.push(issue("t", "b", labels));
        }
        written.extend([issue("tb", "", &[]), issue("", "tb", &[])]);
        let hashes: std::collections::BTreeSet<String> = written.iter().map(Action::plan_hash).collect();
        assert_eq!(hashes.len(), written.len());
    }

    fn rerun(repository: &str, run: u64, attempt: u32) -> Action {
        Action::GithubRerun {
            repository: repository.into(),
            run,
            attempt,
        }
    }

    fn issue(title: &str, body: &str, labels: &[&str]) -> Action {
        Action::GithubIssue {
            repository: "a/b".into(),
            title: title.into(),
            body: body.into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        }
    }

    #[test]
    fn the_tag_on_the_log_is_the_word_of_policies() {
        let action = rerun("a/b", 1, 1);
        assert_eq!(serde_json::to_value(&action).unwrap()["type"], action.kind().as_str());
        for kind in ActionKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn frozen_vector() {
        // Grants on the log carry this value: a change is a new plan version, never an edit.
        let action = Action::Restart {
            target: workload("api-server"),
        };
        assert_eq!(action.to_string(), "restart deployment/api-server in production");
        assert_eq!(
            action.plan_hash(),
            "617aa804e876919de65f35001ae4686890bc1324e3c6c2a9f007fe468d0236af"
        );
    }
}
