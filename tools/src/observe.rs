//! What agents may look at. Every method reads; none changes anything, a dry run included.
//!
//! Each tool keeps a deadline, a cap on what it takes in and a cap on what it hands on, and redacts secrets before anybody sees the
//! answer. What it returns is untrusted text all the same. A kind of system has its file.

mod chat;
mod cluster;
mod code;
mod logs;
mod metrics;
mod plans;
mod tickets;

use std::sync::Arc;

use model::Action;
use model::proposal::TargetState;

use crate::ToolError;
pub use chat::{Chat, ChatAnswer, ChatMessage, ChatQuery};
pub use cluster::{Cluster, ClusterEvent, Pod, Revision};
pub use code::{
    Code, Commit, CommitQuery, Comparison, Deployment, Deployments, Diff, FailedJob, FileDiff, PullQuery, PullRequest,
    RunQuery, WorkflowRun,
};
pub use logs::{LabelAnswer, LabelQuery, LogAnswer, LogLine, LogQuery, Logs};
pub use metrics::{
    ActiveAlert, MetricRule, Metrics, Point, RuleAnswer, RuleKind, RuleQuery, Series, Target, TargetAnswer, TargetQuery,
};
pub use plans::{DryRun, Outcome, Plans};
pub use tickets::{FollowUps, Ticket, TicketAnswer, TicketQuery, Tickets};

pub use crate::github::security::Security;
pub use crate::terraform::Infrastructure;

/// The observing tools of a process; what is not configured is `None`.
#[derive(Clone, Default)]
pub struct Observe {
    pub metrics: Option<Arc<dyn Metrics>>,
    pub logs: Option<Arc<dyn Logs>>,
    pub cluster: Option<Arc<dyn Cluster>>,
    pub chat: Option<Arc<dyn Chat>>,
    pub code: Option<Arc<dyn Code>>,
    pub tickets: Option<Arc<dyn Tickets>>,
    pub security: Option<Arc<dyn Security>>,
    pub infrastructure: Option<Arc<dyn Infrastructure>>,
    /// Who tells what an action outside the cluster would do; one for a system that may be changed.
    pub plans: Vec<Arc<dyn Plans>>,
}

impl Observe {
    /// How the target of an action stands now.
    pub async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        match action.workload() {
            Some(_) => self.cluster()?.state(action).await,
            None => self.plans_of(action)?.state(action).await,
        }
    }

    /// What an action would do.
    pub async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        match action.workload() {
            Some(_) => self.cluster()?.dry_run(action).await,
            None => self.plans_of(action)?.dry_run(action).await,
        }
    }

    /// Who knows the system of an action outside the cluster.
    pub fn plans_of(&self, action: &Action) -> Result<&dyn Plans, ToolError> {
        let system = action.place().system;
        let found = self.plans.iter().find(|plans| plans.system() == system);
        found.map(|plans| &**plans).ok_or_else(|| crate::act::absent(action))
    }

    fn cluster(&self) -> Result<&dyn Cluster, ToolError> {
        self.cluster.as_deref().ok_or(ToolError::Absent {
            tool: "kubernetes",
            setting: "one of tools.kubernetes.kubeconfig, in_cluster and url",
        })
    }
}
