//! Actions: what a remediation would do to the world, typed. There is no free text in an action that reaches a tool.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Action {
    /// Replace every pod, a few at a time, as `kubectl rollout restart`.
    Restart { target: Workload },
    /// Return to an earlier revision, as `kubectl rollout undo`; `None` is the one before the current.
    Rollback { target: Workload, to_revision: Option<i64> },
    /// Set the number of replicas.
    Scale { target: Workload, replicas: u32 },
}

/// The kinds of action, as policies name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    Restart,
    Rollback,
    Scale,
}

impl ActionKind {
    pub const ALL: &[ActionKind] = &[ActionKind::Restart, ActionKind::Rollback, ActionKind::Scale];

    pub fn as_str(self) -> &'static str {
        match self {
            ActionKind::Restart => "restart",
            ActionKind::Rollback => "rollback",
            ActionKind::Scale => "scale",
        }
    }
}

impl Action {
    pub fn kind(&self) -> ActionKind {
        match self {
            Action::Restart { .. } => ActionKind::Restart,
            Action::Rollback { .. } => ActionKind::Rollback,
            Action::Scale { .. } => ActionKind::Scale,
        }
    }

    pub fn target(&self) -> &Workload {
        match self {
            Action::Restart { target } | Action::Rollback { target, .. } | Action::Scale { target, .. } => target,
        }
    }

    /// Hex SHA-256 of the plan: what a grant is bound to. Fields are length-prefixed, so no two plans share bytes.
    pub fn plan_hash(&self) -> String {
        let target = self.target();
        let argument = match self {
            Action::Restart { .. } => String::new(),
            Action::Rollback { to_revision, .. } => to_revision.map(|r| r.to_string()).unwrap_or_default(),
            Action::Scale { replicas, .. } => replicas.to_string(),
        };
        let parts = [
            "plan@1",
            self.kind().as_str(),
            &target.cluster,
            &target.namespace,
            target.kind.as_str(),
            &target.name,
            &argument,
        ];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// `restart deployment/api-server in production`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target();
        match self {
            Action::Restart { .. } => write!(f, "restart {target}")?,
            Action::Rollback {
                to_revision: Some(revision),
                ..
            } => write!(f, "roll {target} back to revision {revision}")?,
            Action::Rollback { .. } => write!(f, "roll {target} back to its previous revision")?,
            Action::Scale { replicas, .. } => write!(f, "scale {target} to {replicas} replicas")?,
        }
        write!(f, " in {}", target.namespace)
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
