//! From a plan and its dry run to a proposal: one place that makes them, so that what they promise is the same whoever proposes.

use chrono::{DateTime, TimeDelta, Utc};
use model::approval::pods_touched;
use model::evidence::Citation;
use model::investigation::StepRequest;
use model::{Action, Proposal};
use tools::observe::DryRun;

use crate::text;

/// Longest dry run that a proposal carries, in characters. What an agent writes for people is shorter, so it is shown whole.
const DIFF_LIMIT: usize = 4_000;

/// An action and its grounds. The reason is made of words and numbers of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub action: Action,
    pub reason: String,
    pub citations: Vec<Citation>,
}

/// `planned`, tried dry as `run`, proposed by `by` at `now`; nobody can grant it after `ttl`.
pub fn proposal(
    request: &StepRequest,
    planned: Planned,
    run: &DryRun,
    (by, now, ttl): (&str, DateTime<Utc>, TimeDelta),
) -> Proposal {
    let incident = &request.evidence.incident;
    let mut blast_radius = run.blast_radius;
    // The narrower count of two could let a plan through a budget that it does not fit.
    blast_radius.pods = blast_radius.pods.max(pods_touched(&planned.action, &run.target));
    let at_cluster = planned.action.workload().is_some();
    blast_radius.workloads = blast_radius.workloads.max(u32::from(at_cluster));
    let same_place = |inverse: &Action| inverse.place() == planned.action.place();
    let inverse = run.inverse.clone().filter(same_place);
    let undo = match &inverse {
        Some(inverse) => format!("To take it back: {inverse}."),
        None => "Nothing takes it back.".to_owned(),
    };
    let plan_hash = planned.action.plan_hash();
    Proposal {
        id: Proposal::id_of(incident.id, request.run, &plan_hash),
        incident_id: incident.id,
        tenant: incident.tenant.clone(),
        environment: incident.environment.clone(),
        plan_hash,
        reason: format!("{} {undo}", planned.reason),
        citations: planned.citations,
        dry_run: text::block(&run.diff, DIFF_LIMIT),
        inverse,
        blast_radius,
        target: run.target.clone(),
        proposed_by: by.to_owned(),
        proposed_at: now,
        expires_at: now + ttl,
        action: planned.action,
    }
}
