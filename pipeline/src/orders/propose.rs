//! What a person proposes: tried dry, and written down as a proposal that the gate judges like an agent's.

use chrono::{DateTime, TimeDelta, Utc};
use gateway::{OrderError, Proposed, Suggestion};
use model::approval::pods_touched;
use model::proposal::Proposal;
use model::remediation::{RemediationEvent, RemediationFact};
use model::{Action, IncidentId, topics};
use sinks::sql::IncidentRow;
use tools::ToolError;
use tools::observe::DryRun;

use super::LogOrders;

/// How long it can be granted: somebody is there who proposes it, and may look for another who grants it.
const TTL: TimeDelta = TimeDelta::hours(4);

impl LogOrders {
    pub(super) async fn write_proposal(
        &self,
        row: &IncidentRow,
        what: Suggestion,
        by: &str,
    ) -> Result<Proposed, OrderError> {
        let run = self.observe.dry_run(&what.action).await.map_err(refused)?;
        let at = self.clock.now().to_datetime();
        let proposal = proposal(row, what, run, by, at);
        let fact = RemediationFact::Proposed {
            proposal: Box::new(proposal.clone()),
        };
        let event = RemediationEvent::new(proposal.id, proposal.incident_id, at, fact);
        self.append(topics::REMEDIATIONS, &proposal.key(), None, None, &event)
            .await?;
        Ok(Proposed {
            id: proposal.id,
            plan_hash: proposal.plan_hash,
            dry_run: proposal.dry_run,
            expires_at: proposal.expires_at,
        })
    }
}

fn proposal(row: &IncidentRow, what: Suggestion, run: DryRun, by: &str, at: DateTime<Utc>) -> Proposal {
    let Suggestion { action, reason, key } = what;
    let incident = IncidentId(row.id);
    let plan_hash = action.plan_hash();
    let mut blast_radius = run.blast_radius;
    blast_radius.pods = blast_radius.pods.max(pods_touched(&action, &run.target));
    let same_place = |inverse: &Action| inverse.place() == action.place();
    Proposal {
        id: Proposal::id_of(incident, key, &plan_hash),
        incident_id: incident,
        tenant: row.tenant.clone(),
        environment: row.environment.clone(),
        plan_hash,
        reason,
        citations: Vec::new(),
        dry_run: run.diff,
        inverse: run.inverse.filter(same_place),
        blast_radius,
        target: run.target,
        proposed_by: by.to_owned(),
        proposed_at: at,
        expires_at: at + TTL,
        action,
    }
}

/// What a dry run says no to cannot be proposed; what did not answer may be asked again.
fn refused(error: ToolError) -> OrderError {
    match error {
        ToolError::Absent { .. } | ToolError::Refused { .. } => OrderError::Invalid {
            field: "action",
            why: error.to_string(),
        },
        ToolError::DidNotHappen { .. } | ToolError::MayHaveHappened { .. } => {
            OrderError::Unavailable(error.to_string())
        }
    }
}
