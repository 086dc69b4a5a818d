//! Approval: pure policy evaluation, and the only maker of [`Approved`].
//!
//! ```text
//! proposal ─ Policy::decide ─► forbid | ask ─ human ─┐
//!                            └► allow ───────────────┴► Grant ─ approve(what is there now) ─► Approved<Action>
//! ```
//!
//! A tool that changes the world takes an [`Approved`] by value. Nothing outside this module can make one, and it can be used once.

mod policy;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::action::Action;
use crate::proposal::{Proposal, TargetState};
pub use policy::{Budget, Decision, Effect, Policy, PolicyFault, Rule, Usage};

/// Who said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Approver {
    /// A rule of `policy.toml`, with the hash of the policy that it stood in.
    Rule {
        name: String,
        policy: String,
    },
    Human {
        name: String,
    },
}

impl Approver {
    /// `rule:NAME` or `human:NAME`.
    pub fn label(&self) -> String {
        match self {
            Approver::Rule { name, .. } => format!("rule:{name}"),
            Approver::Human { name } => format!("human:{name}"),
        }
    }
}

/// A yes, bound to one plan and one state of its target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub proposal: Uuid,
    pub plan_hash: String,
    pub uid: String,
    pub generation: i64,
    pub spec_hash: String,
    pub by: Approver,
    pub at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// Most pods that the call may touch.
    pub pods: u32,
}

impl Grant {
    /// A grant of `proposal` as it was shown to whoever grants it.
    pub fn of(proposal: &Proposal, by: Approver, at: DateTime<Utc>, expires_at: DateTime<Utc>) -> Self {
        Grant {
            proposal: proposal.id,
            plan_hash: proposal.plan_hash.clone(),
            uid: proposal.target.uid.clone(),
            generation: proposal.target.generation,
            spec_hash: proposal.target.spec_hash.clone(),
            by,
            at,
            expires_at: expires_at.min(proposal.expires_at),
            pods: proposal.blast_radius.pods,
        }
    }
}

/// Why a grant does not hold (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    #[error("the stop switch is on")]
    Stopped,
    #[error("the grant is for proposal {granted}, not for {proposed}")]
    OtherProposal { granted: Uuid, proposed: Uuid },
    #[error("the plan is not the one that was granted")]
    OtherPlan,
    #[error("the grant expired at {at}")]
    Expired { at: DateTime<Utc> },
    #[error("the grant is dated {at}, which is still to come")]
    NotYet { at: DateTime<Utc> },
    #[error("{who} proposed it and cannot grant it")]
    OwnProposal { who: String },
    #[error("rule {rule} allows what agents propose, and {who} is none")]
    RuleForAgents { rule: String, who: String },
    #[error("the target changed since it was granted: {what}")]
    TargetChanged { what: &'static str },
    #[error("it would touch {pods} pods, {granted} were granted")]
    TooWide { pods: u32, granted: u32 },
}

/// An action that may be carried out, once, on the state that was just read.
#[derive(Debug)]
pub struct Approved<A> {
    action: A,
    attempt: Uuid,
    resource_version: String,
}

impl<A> Approved<A> {
    pub fn action(&self) -> &A {
        &self.action
    }

    /// Names the attempt: it is written onto the target, so that "did it happen?" can be answered by looking.
    pub fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// The precondition of the call.
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// Holds the grant against the proposal and against what is there now (`observed`, read just before the call).
pub fn approve(
    proposal: &Proposal,
    grant: &Grant,
    observed: &TargetState,
    stopped: bool,
    now: DateTime<Utc>,
) -> Result<Approved<Action>, NotApproved> {
    if stopped {
        return Err(NotApproved::Stopped);
    }
    if grant.proposal != proposal.id {
        return Err(NotApproved::OtherProposal {
            granted: grant.proposal,
            proposed: proposal.id,
        });
    }
    // The hash is made anew: the one that travels with the proposal is only its name.
    if grant.plan_hash != proposal.action.plan_hash() {
        return Err(NotApproved::OtherPlan);
    }
    if grant.by.label() == proposal.proposed_by {
        return Err(NotApproved::OwnProposal {
            who: proposal.proposed_by.clone(),
        });
    }
    if let Approver::Rule { name, .. } = &grant.by
        && !proposal.by_agent()
    {
        return Err(NotApproved::RuleForAgents {
            rule: name.clone(),
            who: proposal.proposed_by.clone(),
        });
    }
    if now < grant.at {
        return Err(NotApproved::NotYet { at: grant.at });
    }
    let end = grant.expires_at.min(proposal.expires_at);
    if now >= end {
        return Err(NotApproved::Expired { at: end });
    }
    for (same, what) in [
        (grant.uid == observed.uid, "it is another object of the same name"),
        (grant.generation == observed.generation, "its spec was edited"),
        (
            grant.spec_hash == observed.spec_hash,
            "the fields that the plan touches differ",
        ),
    ] {
        if !same {
            return Err(NotApproved::TargetChanged { what });
        }
    }
    let pods = pods_touched(&proposal.action, observed);
    if pods > grant.pods {
        return Err(NotApproved::TooWide {
            pods,
            granted: grant.pods,
        });
    }
    Ok(Approved {
        action: proposal.action.clone(),
        attempt: proposal.id,
        resource_version: observed.resource_version.clone(),
    })
}

/// Approves the inverse of a plan that made things worse, under the grant of that plan: on the same object, whatever its spec is by now, and
/// touching no more pods than were granted. A grant that has run out still lets its plan be taken back.
pub fn approve_rollback(
    proposal: &Proposal,
    grant: &Grant,
    observed: &TargetState,
    stopped: bool,
) -> Result<Approved<Action>, NotApproved> {
    if stopped {
        return Err(NotApproved::Stopped);
    }
    if grant.proposal != proposal.id {
        return Err(NotApproved::OtherProposal {
            granted: grant.proposal,
            proposed: proposal.id,
        });
    }
    let inverse = proposal.inverse.as_ref().ok_or(NotApproved::OtherPlan)?;
    if grant.plan_hash != proposal.action.plan_hash() || inverse.place() != proposal.action.place() {
        return Err(NotApproved::OtherPlan);
    }
    if grant.uid != observed.uid {
        return Err(NotApproved::TargetChanged {
            what: "it is another object of the same name",
        });
    }
    let pods = pods_touched(inverse, observed);
    if pods > grant.pods {
        return Err(NotApproved::TooWide {
            pods,
            granted: grant.pods,
        });
    }
    Ok(Approved {
        action: inverse.clone(),
        attempt: proposal.id,
        resource_version: observed.resource_version.clone(),
    })
}

/// Pods that `action` replaces, starts or stops on a target in this state: none outside a cluster.
pub fn pods_touched(action: &Action, state: &TargetState) -> u32 {
    match action {
        Action::Restart { .. } | Action::Rollback { .. } => state.replicas,
        Action::Scale { replicas, .. } => replicas.abs_diff(state.replicas),
        Action::GithubIssue { .. }
        | Action::GithubComment { .. }
        | Action::GithubRerun { .. }
        | Action::JiraIssue { .. }
        | Action::JiraComment { .. }
        | Action::JiraTransition { .. }
        | Action::TerraformApply { .. } => 0,
    }
}

#[cfg(test)]
mod tests;
