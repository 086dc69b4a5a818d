//! What was last known of each workload that is rolled out, and what is new about it.

use std::collections::{BTreeSet, HashMap};

use model::kubernetes::Says;
use model::kubernetes::rollout::{Outcome, Workload};
use serde_json::Value;

use super::super::object::moved_at;

/// A rollout that is seen for the first time is news if it moved within this, in microseconds. Dedupe knows what it was told for a day
/// (`dedupe.event_memory`): what is older than that would be told again by each restart.
pub const NEWS: i64 = 12 * 3_600 * 1_000_000;

/// What was last known of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    revision: Option<String>,
    outcome: Outcome,
    replicas: Option<i64>,
}

/// Workloads by their uid.
#[derive(Debug, Default)]
pub struct Rollouts(HashMap<String, Mark>);

impl Rollouts {
    pub fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }

    pub fn retain(&mut self, uids: &BTreeSet<String>) {
        self.0.retain(|uid, _| uids.contains(uid));
    }

    /// Takes the object as it is now.
    pub fn see(&mut self, workload: Workload, uid: &str, object: &Value, now: i64) -> Vec<Says> {
        let revision = workload.revision(object);
        let known = self.0.get(uid).filter(|known| known.revision == revision);
        let mark = Mark {
            outcome: outcome(workload, object, known),
            replicas: object["spec"]["replicas"].as_i64(),
            revision,
        };
        let before = self.0.insert(uid.to_owned(), mark.clone());
        let old = || moved_at(object).is_none_or(|at| at.saturating_add(NEWS) < now);
        if before.as_ref() == Some(&mark) || (before.is_none() && old()) {
            return Vec::new();
        }
        let mut says = Vec::new();
        let new_revision = before.as_ref().is_none_or(|before| before.revision != mark.revision);
        if mark.revision.is_some() && new_revision {
            says.push(Says::RolloutBegan);
        }
        let told = before.as_ref().is_some_and(|before| before.outcome == mark.outcome);
        if mark.revision.is_some() && (new_revision || !told) {
            match mark.outcome {
                Outcome::Completed => says.push(Says::RolloutCompleted),
                Outcome::Failed => says.push(Says::RolloutFailed),
                Outcome::Open => {}
            }
        }
        if let (Some(from), Some(to)) = (before.and_then(|before| before.replicas), mark.replicas)
            && from != to
        {
            says.push(Says::Scaled { from });
        }
        says
    }
}

/// `known`: what was known of the same revision.
fn outcome(workload: Workload, object: &Value, known: Option<&Mark>) -> Outcome {
    let before = known.map_or(Outcome::Open, |known| known.outcome);
    // The controller sets a Deployment's revision first, and the outcome of the one before it may stand there a moment longer.
    let Some(found) = workload.outcome(object) else {
        return before;
    };
    match (workload, before) {
        // Counts of pods go down again with a node that leaves or a pod that dies: that is no rollout.
        (Workload::StatefulSet | Workload::DaemonSet, Outcome::Completed) => Outcome::Completed,
        _ => found,
    }
}
