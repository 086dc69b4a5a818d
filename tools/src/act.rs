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
use model::Action;
use model::approval::Approved;
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
    /// `metadata.generation` after it.
    pub generation: i64,
    pub resource_version: String,
}

/// A cluster that can be changed.
#[async_trait]
pub trait ClusterActor: Send + Sync {
    /// The name that [`model::Workload::cluster`] gives it.
    fn cluster(&self) -> &str;

    /// Carries it out, on the state that was approved and on no other.
    ///
    /// [`ToolError::DidNotHappen`]: certainly nothing changed. [`ToolError::MayHaveHappened`]: ask [`ClusterActor::happened`], and
    /// do not repeat it before that. [`ToolError::Refused`]: the credentials do not allow it, or there is nothing of that kind to do.
    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError>;

    /// Whether `attempt` of `action` was carried out, by looking at its target. An error: nobody could look.
    async fn happened(&self, action: &Action, attempt: Uuid) -> Result<bool, ToolError>;
}

/// The acting tools of a process.
#[derive(Default)]
pub struct Act {
    clusters: Vec<Box<dyn ClusterActor>>,
}

impl Act {
    pub fn with_cluster(mut self, cluster: Box<dyn ClusterActor>) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// [`ClusterActor::execute`] of the cluster that the action names.
    pub async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        self.of(approved.action())?.execute(approved).await
    }

    /// [`ClusterActor::happened`] of the cluster that the action names.
    pub async fn happened(&self, action: &Action, attempt: Uuid) -> Result<bool, ToolError> {
        self.of(action)?.happened(action, attempt).await
    }

    fn of(&self, action: &Action) -> Result<&dyn ClusterActor, ToolError> {
        let name = &action.target().cluster;
        let found = self.clusters.iter().find(|one| one.cluster() == name);
        found.map(|one| &**one).ok_or(ToolError::Absent {
            tool: "kubernetes",
            setting: "tools.kubernetes, with the name of the cluster that the action is about",
        })
    }
}
