//! Proposals of people and of the models that they let in: tried dry here, then on the log as the crew's are. The gate holds them against
//! the policy; no rule grants them, and their proposer cannot (`model::approval`).

use async_trait::async_trait;
use gateway::{OrderError, Suggestion};
use mcp::{ProposalRequest, Proposals, Proposed};
use model::remediation::RemediationStatus;
use model::{IncidentId, ids};
use sinks::sql::{RemediationRow, ResponseFilter};
use uuid::Uuid;

use crate::orders::LogOrders;

/// Remediations of one incident that are looked at.
const LOOKED_AT: u32 = 500;

pub struct LogProposals {
    pub orders: LogOrders,
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
        let key = self.attempt(incident, &action.plan_hash(), by).await?;
        let what = Suggestion { action, reason, key };
        let proposal = self.orders.write_proposal(&row, what, by).await?;
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
