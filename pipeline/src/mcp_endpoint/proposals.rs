//! Proposals of people and of the models that they let in: tried dry here, then on the log as the crew's are. The gate holds them against
//! the policy; no rule grants them, and their proposer cannot (`model::approval`).

use std::time::Duration;

use async_trait::async_trait;
use gateway::OrderError;
use mcp::{ProposalRequest, Proposals, Proposed};
use model::remediation::RemediationStatus;
use model::{IncidentId, Proposal, ids};
use sinks::sql::{RemediationRow, ResponseFilter};
use tools::ToolError;
use tools::observe::{DryRun, Observe};
use uuid::Uuid;

use crate::orders::LogOrders;

/// Remediations of one incident that are looked at.
const LOOKED_AT: u32 = 500;
/// Longest dry run that is kept, in characters.
const DIFF: usize = 4_000;

pub struct LogProposals {
    pub orders: LogOrders,
    pub observe: Observe,
    /// How long a proposal waits for a person.
    pub good_for: Duration,
}

#[async_trait]
impl Proposals for LogProposals {
    async fn propose(&self, request: ProposalRequest, by: &str) -> Result<Proposed, OrderError> {
        let ProposalRequest {
            incident,
            action,
            reason,
        } = request;
        let row = self.orders.incident(incident).await?;
        if let Some(into) = row.merged_into {
            return Err(OrderError::Conflict(format!(
                "the incident lives on in {into}: propose it there"
            )));
        }
        if row.status == "resolved" {
            return Err(OrderError::Conflict("the incident is resolved".to_owned()));
        }
        let plan_hash = action.plan_hash();
        let run = self.attempt(incident, &plan_hash, by).await?;
        let cluster = self.observe.cluster.as_deref().ok_or_else(|| {
            OrderError::Conflict("it cannot be tried dry: no cluster is configured (tools.kubernetes)".to_owned())
        })?;
        let DryRun {
            diff,
            inverse,
            blast_radius,
            target,
        } = cluster.dry_run(&action).await.map_err(not_tried)?;
        let now = self.orders.clock.now().to_datetime();
        let good_for = chrono::TimeDelta::from_std(self.good_for).unwrap_or(chrono::TimeDelta::MAX);
        let proposal = Proposal {
            id: Proposal::id_of(incident, run, &plan_hash),
            incident_id: incident,
            tenant: row.tenant,
            environment: row.environment,
            plan_hash,
            reason: tools::redact::redact(&reason),
            citations: Vec::new(),
            dry_run: tools::redact::shorten(&diff, DIFF),
            inverse: inverse.filter(|inverse| inverse.target() == action.target()),
            blast_radius,
            target,
            proposed_by: by.to_owned(),
            proposed_at: now,
            expires_at: now.checked_add_signed(good_for).unwrap_or(now),
            action,
        };
        self.orders.propose(&proposal).await?;
        Ok(Proposed {
            id: proposal.id,
            plan_hash: proposal.plan_hash,
            action: proposal.action.to_string(),
            dry_run: proposal.dry_run,
            inverse: proposal.inverse.map(|inverse| inverse.to_string()),
            pods: proposal.blast_radius.pods,
            expires_at: proposal.expires_at,
        })
    }
}

impl LogProposals {
    /// Names this attempt at the plan: the same person's next one has the same name until the one before is over, so that a repeat is the
    /// same proposal. What waits, was carried out or turned down is not asked again.
    async fn attempt(&self, incident: IncidentId, plan_hash: &str, by: &str) -> Result<Uuid, OrderError> {
        let filter = ResponseFilter {
            incident: Some(incident.0),
            status: None,
        };
        let rows = self.orders.store.remediations(&filter, LOOKED_AT, 0).await;
        let rows = rows.map_err(|error| OrderError::Unavailable(error.to_string()))?;
        let same: Vec<&RemediationRow> = rows.iter().filter(|row| row.plan_hash == plan_hash).collect();
        let again = |row: &&&RemediationRow| {
            let words = [RemediationStatus::Expired, RemediationStatus::Failed].map(RemediationStatus::as_str);
            words.contains(&row.status.as_str())
        };
        if let Some(standing) = same.iter().find(|row| !again(row)) {
            return Err(OrderError::Conflict(format!(
                "the same plan is {} for this incident already: remediation {}",
                standing.status.replace('_', " "),
                standing.id
            )));
        }
        Ok(ids::derived(&format!("mcp/{by}/{}", same.len())))
    }
}

fn not_tried(error: ToolError) -> OrderError {
    let words = format!("it could not be tried dry, so it was not proposed: {error}");
    match error {
        ToolError::Absent { .. } | ToolError::Refused { .. } => OrderError::Conflict(words),
        ToolError::DidNotHappen { .. } | ToolError::MayHaveHappened { .. } => OrderError::Unavailable(words),
    }
}
