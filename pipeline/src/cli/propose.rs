//! `aegis propose`: the command line of an action that somebody proposes.

use clap::{Args, Subcommand};
use model::{Action, Workload, WorkloadKind};
use uuid::Uuid;

/// Propose an action for an incident
///
/// The action is tried dry first, and what would change is shown. It is then judged by the policy like what an agent proposes; where a human is
/// asked, it is another human than you. Needs a running aegis on the embedded log; with Kafka it is written to the log.
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis propose ID --because \"pods are stuck\" restart deployment/api-server --namespace production
  aegis propose ID --because \"the runner died\" github-rerun shop/api-server --run 7 --attempt 1
  aegis propose ID --because \"somebody must look\" jira-issue OPS --title \"Heap grows\" --body \"See the postmortem\"
  aegis propose ID --because \"it is fixed\" jira-transition OPS-7 --to Done

Exits with 4 when there is no such incident, with 1 when the action cannot be done as things stand."
)]
pub struct ProposeArgs {
    /// The incident
    #[arg(value_name = "INCIDENT")]
    pub incident: Uuid,
    /// Why, for whoever is to grant it
    #[arg(long, value_name = "REASON")]
    pub because: String,
    /// What was said with this before is the same proposal: for scripts that try again
    #[arg(long, value_name = "UUID")]
    pub key: Option<Uuid>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub action: ProposedAction,
}

/// A workload of a cluster.
#[derive(Clone, Debug, Args)]
pub struct WorkloadArgs {
    /// `deployment/NAME`, `statefulset/NAME` or `daemonset/NAME`
    #[arg(value_name = "WORKLOAD", value_parser = workload)]
    pub workload: (WorkloadKind, String),
    #[arg(short, long)]
    pub namespace: String,
    /// Name of the cluster in the configuration
    #[arg(long, default_value = "default")]
    pub cluster: String,
}

/// The actions.
#[derive(Clone, Debug, Subcommand)]
pub enum ProposedAction {
    /// Replace every pod of a workload, a few at a time
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"pods are stuck\" restart deployment/api-server --namespace production"
    )]
    Restart {
        #[command(flatten)]
        target: WorkloadArgs,
    },
    /// Return a workload to an earlier revision
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"since the release\" rollback deployment/api-server --namespace production"
    )]
    Rollback {
        #[command(flatten)]
        target: WorkloadArgs,
        /// The revision [default: the one before the current]
        #[arg(long, value_name = "NUMBER")]
        to_revision: Option<i64>,
    },
    /// Set the number of replicas of a workload
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"more traffic\" scale deployment/api-server --namespace production --replicas 5"
    )]
    Scale {
        #[command(flatten)]
        target: WorkloadArgs,
        #[arg(long, value_name = "NUMBER")]
        replicas: u32,
    },
    /// Write an issue into a repository of GitHub
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"for the team\" github-issue shop/api-server --title \"Heap grows\" --body \"Since the release.\""
    )]
    GithubIssue {
        /// `owner/name`
        repository: String,
        #[arg(long)]
        title: String,
        /// Markdown
        #[arg(long)]
        body: String,
        /// May be given several times
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    /// Write a comment below an issue or a pull request of GitHub
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"for the author\" github-comment shop/api-server --number 12 --body \"It was rolled back.\""
    )]
    GithubComment {
        /// `owner/name`
        repository: String,
        #[arg(long)]
        number: u64,
        /// Markdown
        #[arg(long)]
        body: String,
    },
    /// Run the failed jobs of a workflow run of GitHub again
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"the runner died\" github-rerun shop/api-server --run 7 --attempt 1"
    )]
    GithubRerun {
        /// `owner/name`
        repository: String,
        #[arg(long, value_name = "NUMBER")]
        run: u64,
        /// The attempt that failed
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        attempt: u32,
    },
    /// Write a ticket into a project of Jira
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"somebody must look\" jira-issue OPS --title \"Heap grows\" --body \"See the postmortem.\""
    )]
    JiraIssue {
        /// Key of the project
        project: String,
        /// Issue type
        #[arg(long, default_value = "Task")]
        kind: String,
        #[arg(long)]
        title: String,
        /// Plain text
        #[arg(long)]
        body: String,
        /// May be given several times
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    /// Write a comment below a ticket of Jira
    #[command(
        after_help = "Examples:\n  aegis propose ID --because \"for the owner\" jira-comment OPS-7 --body \"It happened again.\""
    )]
    JiraComment {
        /// Key of the ticket
        ticket: String,
        /// Plain text
        #[arg(long)]
        body: String,
    },
    /// Bring a ticket of Jira into another status
    #[command(after_help = "Examples:\n  aegis propose ID --because \"it is fixed\" jira-transition OPS-7 --to Done")]
    JiraTransition {
        /// Key of the ticket
        ticket: String,
        /// Name of the status to reach
        #[arg(long, value_name = "STATUS")]
        to: String,
    },
}

impl ProposedAction {
    /// The plan that it comes to.
    pub fn plan(self) -> Action {
        match self {
            ProposedAction::Restart { target } => Action::Restart { target: target.into() },
            ProposedAction::Rollback { target, to_revision } => Action::Rollback {
                target: target.into(),
                to_revision,
            },
            ProposedAction::Scale { target, replicas } => Action::Scale {
                target: target.into(),
                replicas,
            },
            ProposedAction::GithubIssue {
                repository,
                title,
                body,
                labels,
            } => Action::GithubIssue {
                repository,
                title,
                body,
                labels,
            },
            ProposedAction::GithubComment {
                repository,
                number,
                body,
            } => Action::GithubComment {
                repository,
                number,
                body,
            },
            ProposedAction::GithubRerun {
                repository,
                run,
                attempt,
            } => Action::GithubRerun {
                repository,
                run,
                attempt,
            },
            ProposedAction::JiraIssue {
                project,
                kind,
                title,
                body,
                labels,
            } => Action::JiraIssue {
                project,
                kind,
                title,
                body,
                labels,
            },
            ProposedAction::JiraComment { ticket, body } => Action::JiraComment { ticket, body },
            ProposedAction::JiraTransition { ticket, to } => Action::JiraTransition { ticket, to },
        }
    }
}

impl From<WorkloadArgs> for Workload {
    fn from(arguments: WorkloadArgs) -> Self {
        let (kind, name) = arguments.workload;
        Workload {
            cluster: arguments.cluster,
            namespace: arguments.namespace,
            kind,
            name,
        }
    }
}

fn workload(text: &str) -> Result<(WorkloadKind, String), String> {
    let kinds = [
        WorkloadKind::Deployment,
        WorkloadKind::StatefulSet,
        WorkloadKind::DaemonSet,
    ];
    let known = text.split_once('/').and_then(|(kind, name)| {
        let kind = kinds.into_iter().find(|known| known.as_str() == kind)?;
        (!name.is_empty()).then(|| (kind, name.to_owned()))
    });
    known.ok_or_else(|| "write deployment/NAME, statefulset/NAME or daemonset/NAME".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads() {
        assert_eq!(
            workload("statefulset/postgres"),
            Ok((WorkloadKind::StatefulSet, "postgres".to_owned()))
        );
        for odd in ["api", "pod/api", "deployment/", ""] {
            assert!(workload(odd).is_err(), "{odd}");
        }
    }
}
