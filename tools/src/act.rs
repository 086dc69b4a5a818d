//! What changes the world. Held by the executor alone; agents are given [`crate::observe::Observe`].
//!
//! Everything here takes a `model::approval::Approved` by value: it can be used once, and only `model::approval::approve` makes one,
//! from a proposal, a live grant and the state that was just read. Nothing else can:
//!
//! ```compile_fail,E0451
//! use model::approval::Approved;
//!
//! fn forged(action: model::Action) -> Approved<model::Action> {
//!     Approved { action, attempt: uuid::Uuid::nil(), resource_version: String::new() }
//! }
//! ```
//!
//! nor can one be used twice:
//!
//! ```compile_fail,E0382
//! async fn twice(act: tools::act::Act, approved: model::approval::Approved<model::Action>) {
//!     let _ = act.execute(approved).await;
//!     let _ = act.execute(approved).await;
//! }
//! ```
//!
//! and an agent's tools have nothing that acts:
//!
//! ```compile_fail,E0599
//! async fn act(observe: tools::observe::Observe, approved: model::approval::Approved<model::Action>) {
//!     let _ = observe.cluster.unwrap().execute(approved).await;
//! }
//! ```

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::approval::Approved;
use model::{Action, ActionKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ToolError;

/// What was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Executed {
    #[schemars(with = "String")]
    pub attempt: Uuid,
    /// What it did, for people.
    pub note: String,
    /// `metadata.generation` after it; outside a cluster what the system counts, or 0.
    pub generation: i64,
    /// Outside a cluster where what was written stands: an address.
    pub resource_version: String,
}

/// A system that can be changed.
#[async_trait]
pub trait Acting: Send + Sync {
    /// The [`model::action::Place::system`] of its actions: the name of a cluster, `github`, `jira`.
    fn system(&self) -> &str;

    /// Carries it out, on the state that was approved and on no other.
    ///
    /// [`ToolError::DidNotHappen`]: certainly nothing changed. [`ToolError::MayHaveHappened`]: ask [`Acting::happened`], and
    /// do not repeat it before that. [`ToolError::Refused`]: the credentials do not allow it, or there is nothing of that kind to do.
    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError>;

    /// Whether `attempt` of `action` was carried out, by looking at its target. It was not before `since`. An error: nobody could look.
    async fn happened(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<bool, ToolError>;
}

/// The acting tools of a process.
#[derive(Default)]
pub struct Act {
    systems: Vec<Box<dyn Acting>>,
}

impl Act {
    pub fn with(mut self, system: Box<dyn Acting>) -> Self {
        self.systems.push(system);
        self
    }

    /// [`Acting::execute`] of the system that the action names.
    pub async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        self.of(approved.action())?.execute(approved).await
    }

    /// [`Acting::happened`] of the system that the action names.
    pub async fn happened(&self, action: &Action, attempt: Uuid, since: DateTime<Utc>) -> Result<bool, ToolError> {
        self.of(action)?.happened(action, attempt, since).await
    }

    fn of(&self, action: &Action) -> Result<&dyn Acting, ToolError> {
        let name = action.place().system;
        let found = self.systems.iter().find(|one| one.system() == name);
        found.map(|one| &**one).ok_or_else(|| absent(action))
    }
}

/// Nothing here can do it, or tell what it would do.
pub(crate) fn absent(action: &Action) -> ToolError {
    let (tool, setting) = match action.kind() {
        ActionKind::Restart | ActionKind::Rollback | ActionKind::Scale => (
            "kubernetes",
            "tools.kubernetes, with the name of the cluster that the action is about",
        ),
        ActionKind::GithubIssue | ActionKind::GithubComment | ActionKind::GithubRerun => (
            "github",
            "tools.github.write, with the repository that the action is about",
        ),
        ActionKind::JiraIssue | ActionKind::JiraComment | ActionKind::JiraTransition => {
            ("jira", "tools.jira.write, with the project that the action is about")
        }
        ActionKind::TerraformApply => (
            "terraform",
            "tools.terraform.folders, with the folder that the action is about and apply = true",
        ),
    };
    ToolError::Absent { tool, setting }
}
