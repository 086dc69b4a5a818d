//! What a person, or a model that they let in, proposes: tried dry, and written down as a proposal that the gate judges like an agent's.

use chrono::{DateTime, TimeDelta, Utc};
use gateway::{OrderError, Suggestion};
use model::approval::pods_touched;
use model::remediation::{RemediationEvent, RemediationFact};
use model::{Action, IncidentId, Proposal, topics};
use sinks::sql::IncidentRow;
use tools::ToolError;
use tools::observe::DryRun;

use super::LogOrders;

/// How long it can be granted: somebody is there who proposes it, and may look for another who grants it.
const TTL: TimeDelta = TimeDelta::hours(4);
/// Longest dry run that is kept, in characters.
const DIFF: usize = 4_000;

impl LogOrders {
    /// Puts it before the gate. What has the same key, plan and incident is the same proposal, and counts once.
    pub(crate) async fn write_proposal(
        &self,
        row: &IncidentRow,
        what: Suggestion,
        by: &str,
    ) -> Result<Proposal, OrderError> {
        if let Some(into) = row.merged_into {
            let why = format!("the incident lives on in {into}: propose it there");
            return Err(OrderError::Conflict(why));
        }
        if row.status == "resolved" {
            return Err(OrderError::Conflict("the incident is resolved".to_owned()));
        }
        let run = self.observe.dry_run(&what.action).await.map_err(refused)?;
        let at = self.clock.now().to_datetime();
        let proposal = proposal(row, what, run, by, at);
        let fact = RemediationFact::Proposed {
            proposal: Box::new(proposal.clone()),
        };
        let event = RemediationEvent::new(proposal.id, proposal.incident_id, at, fact);
        self.append(topics::REMEDIATIONS, &proposal.key(), None, None, &event)
            .await?;
        Ok(proposal)
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
        reason: tools::redact::redact(&reason),
        citations: Vec::new(),
        dry_run: tools::redact::shorten(&run.diff, DIFF),
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
