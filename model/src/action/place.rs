//! Where an action takes place, in the words of policies, topic keys and tables.

use std::fmt::Write as _;

use super::Action;

/// The system of actions on GitHub.
pub const GITHUB: &str = "github";
/// The system of actions on Jira.
pub const JIRA: &str = "jira";
/// The system of actions on Terraform.
pub const TERRAFORM: &str = "terraform";
/// Names that no cluster may have: they name other systems.
pub const SYSTEMS: &[&str] = &[GITHUB, JIRA, TERRAFORM];

/// Where an action takes place. Everything in one system and scope stands in one order, so that budgets hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the cluster, or one of [`SYSTEMS`].
    pub system: String,
    /// The namespace; `owner/name` of the repository; the key of the project.
    pub scope: String,
    /// What of it: the workload's name; the issue, pull request or run; the ticket's key. Empty where something new is written.
    pub name: String,
}

impl Place {
    /// `cluster/namespace`, `github/owner/name`, `jira/OPS`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.system, self.scope)
    }
}

impl Action {
    pub fn place(&self) -> Place {
        let place = |system: &str, scope: &str, name: String| Place {
            system: system.to_owned(),
            scope: scope.to_owned(),
            name,
        };
        match self {
            Action::Restart { target } | Action::Rollback { target, .. } | Action::Scale { target, .. } => {
                place(&target.cluster, &target.namespace, target.name.clone())
            }
            Action::GithubIssue { repository, .. } => place(GITHUB, repository, String::new()),
            Action::GithubComment { repository, number, .. } => place(GITHUB, repository, number.to_string()),
            Action::GithubRerun { repository, run, .. } => place(GITHUB, repository, run.to_string()),
            Action::JiraIssue { project, .. } => place(JIRA, project, String::new()),
            Action::JiraComment { ticket, .. } | Action::JiraTransition { ticket, .. } => {
                place(JIRA, project_of(ticket), ticket.clone())
            }
            Action::TerraformApply { folder, plan, .. } => place(TERRAFORM, folder, plan.clone()),
        }
    }

    /// What it is about, for people: `deployment/api-server`, `shop/api-server#12`, `OPS-7`.
    pub fn target_label(&self) -> String {
        if let Some(workload) = self.workload() {
            return workload.to_string();
        }
        let place = self.place();
        let mut label = place.scope;
        match self {
            Action::GithubComment { number, .. } => {
                // Writing to a string cannot fail.
                let _ = write!(label, "#{number}");
            }
            Action::GithubRerun { run, .. } => {
                let _ = write!(label, " run {run}");
            }
            Action::JiraComment { ticket, .. } | Action::JiraTransition { ticket, .. } => label.clone_from(ticket),
            Action::TerraformApply { folder, plan, .. } => label = format!("{folder}/{plan}"),
            _ => {}
        }
        label
    }
}

/// `OPS` of `OPS-7`.
fn project_of(ticket: &str) -> &str {
    ticket.split_once('-').map_or(ticket, |(project, _)| project)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |action: Action, key: &str, name: &str, label: &str| {
            let place = action.place();
            assert_eq!((place.key().as_str(), place.name.as_str()), (key, name));
            assert_eq!(action.target_label(), label);
        };
        check(
            Action::GithubRerun {
                repository: "shop/api".into(),
                run: 7,
                attempt: 1,
            },
            "github/shop/api",
            "7",
            "shop/api run 7",
        );
        check(
            Action::GithubComment {
                repository: "shop/api".into(),
                number: 12,
                body: String::new(),
            },
            "github/shop/api",
            "12",
            "shop/api#12",
        );
        check(
            Action::JiraTransition {
                ticket: "OPS-7".into(),
                to: "Done".into(),
            },
            "jira/OPS",
            "OPS-7",
            "OPS-7",
        );
        check(
            Action::JiraIssue {
                project: "OPS".into(),
                kind: "Task".into(),
                title: String::new(),
                body: String::new(),
                labels: Vec::new(),
            },
            "jira/OPS",
            "",
            "OPS",
        );
    }
}
