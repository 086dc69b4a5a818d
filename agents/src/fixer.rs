//! Fixer: proposes at most one action, or says why none.
//!
//! What it may name in an action comes from few places alone: the workload that the cluster itself lists for the service of the
//! alert's structured labels, the repository of the settings that is called like that service, and numbers that the cluster and the code
//! host report (revisions, replicas, runs). No text of a log line, a title, an annotation or a
//! change reaches an action or its reason.
//!
//! Log lines are written by whoever can reach the service, so they move nothing alone: each rule asks for a witness in the metrics
//! or in the cluster ([`plan`] has the rules in their order).

use chrono::{DateTime, Utc};
use model::evidence::Citation;
use model::investigation::{Evidence, StepOutput, StepRequest};
use model::proposal::TargetState;
use model::remediation::RemediationStatus;
use model::{Action, Proposal, Workload};
use tools::observe::{DryRun, Pod, Revision};

mod plan;
mod rerun;

use crate::gather::{Asked, Gather};
use crate::measure::span;
use crate::pods::{self, Health, RECENT};
use crate::proposed::{Planned, proposal};
use crate::settings::AgentSettings;
use crate::subject::Subject;
use crate::text;
pub use plan::plan;
pub use rerun::Runs;

/// The target as the cluster shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub workload: Workload,
    pub state: TargetState,
    pub pods: Asked<Vec<Pod>>,
    pub revisions: Asked<Vec<Revision>>,
}

/// What was asked and answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub seen: Asked<Seen>,
    /// Runs of workflows that failed lately; `None` where nothing may be run again, or the cluster has a remedy.
    pub runs: Option<Asked<Runs>>,
    /// Of the action that was chosen, if one was.
    pub dry_run: Option<Asked<DryRun>>,
    pub now: DateTime<Utc>,
}

pub async fn gather(
    evidence: &Evidence,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Facts {
    let seen = look(evidence, tools).await;
    let mut facts = Facts {
        seen,
        runs: None,
        dry_run: None,
        now,
    };
    if planned(evidence, &facts, settings).is_err() {
        facts.runs = rerun::gather(evidence, tools).await;
    }
    if let Ok(planned) = planned(evidence, &facts, settings) {
        facts.dry_run = Some(tools.dry_run(&planned.action).await);
    }
    facts
}

async fn look(evidence: &Evidence, tools: &mut Gather<'_>) -> Asked<Seen> {
    let subject = Subject::of(evidence);
    let workload = pods::find(tools, &subject).await?;
    let restart = Action::Restart {
        target: workload.clone(),
    };
    let state = tools.state(&restart).await?;
    let pods = tools.pods(&workload).await;
    let revisions = tools.revisions(&workload).await;
    Ok(Seen {
        workload,
        state,
        pods,
        revisions,
    })
}

pub fn decide(request: &StepRequest, facts: &Facts, settings: &AgentSettings) -> StepOutput {
    let mut output = StepOutput::default();
    match propose(request, facts, settings) {
        Ok(proposal) => output.proposal = Some(proposal),
        Err(why) => output
            .unknown
            .push(format!("what would help: no action is proposed, because {why}")),
    }
    if let Ok(seen) = &facts.seen {
        for (what, miss) in [
            ("how the pods are", seen.pods.as_ref().err()),
            ("which revisions there are", seen.revisions.as_ref().err()),
        ] {
            output.unknown.extend(miss.map(|miss| format!("{what}: {miss}")));
        }
    }
    output
}

fn propose(request: &StepRequest, facts: &Facts, settings: &AgentSettings) -> Result<Proposal, String> {
    let evidence = &request.evidence;
    let planned = planned(evidence, facts, settings)?;
    refuse_repeat(evidence, &planned.action)?;
    let run = match &facts.dry_run {
        Some(Ok(run)) => run,
        Some(Err(miss)) => return Err(format!("it could not be tried dry: {miss}")),
        None => return Err("it was not tried dry".to_owned()),
    };
    let seen = facts.seen.as_ref().ok().filter(|_| planned.action.workload().is_some());
    if seen.is_some_and(|seen| run.target.uid != seen.state.uid) {
        return Err("its target was replaced while it was looked at".to_owned());
    }
    let ttl = span(settings.proposal_ttl.get());
    Ok(proposal(request, planned, run, ("agent:fixer", facts.now, ttl)))
}

/// At the cluster first; where nothing is to be done there, a deployment that failed may be run again.
fn planned(evidence: &Evidence, facts: &Facts, settings: &AgentSettings) -> Result<Planned, String> {
    let at_cluster = match &facts.seen {
        Ok(seen) => plan(evidence, seen, settings, facts.now),
        Err(miss) => Err(format!("its target is not known: {miss}")),
    };
    let (why, runs) = match (at_cluster, &facts.runs) {
        (Ok(planned), _) => return Ok(planned),
        (Err(why), None) => return Err(why),
        (Err(why), Some(runs)) => (why, runs),
    };
    let runs = runs
        .as_ref()
        .map_err(|miss| format!("{why}; which deployments failed is not known: {miss}"))?;
    rerun::plan(evidence, runs, settings, facts.now).map_err(|also| format!("{why}; {also}"))
}

/// An action that was carried out, or that a human turned down, is not proposed again for the same incident.
fn refuse_repeat(evidence: &Evidence, action: &Action) -> Result<(), String> {
    match &evidence.remediation {
        Some(standing) if standing.action == *action && answered(standing.status) => Err(format!(
            "the same action is already {} for this incident",
            standing.status.as_str().replace('_', " ")
        )),
        _ => Ok(()),
    }
}

/// Expired and failed ones may be asked again: nobody said no, and nothing happened.
fn answered(status: RemediationStatus) -> bool {
    !matches!(status, RemediationStatus::Expired | RemediationStatus::Failed)
}

impl Seen {
    fn health(&self, began_at: DateTime<Utc>) -> Option<Health> {
        self.pods.as_ref().ok().map(|pods| Health::of(pods, began_at - RECENT))
    }

    /// The revision that runs, and the one before it.
    fn last_two(&self) -> Option<(&Revision, &Revision)> {
        let mut revisions: Vec<&Revision> = self.revisions.as_ref().ok()?.iter().collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
        revisions.dedup_by_key(|revision| revision.number);
        Some((*revisions.first()?, *revisions.get(1)?))
    }

    fn cite_revisions(&self, current: &Revision, previous: &Revision, at: DateTime<Utc>) -> Citation {
        let shown = |revision: &Revision| {
            let created = revision.created_at.map_or("unknown".to_owned(), |at| at.to_rfc3339());
            let images = text::line(&revision.images.join(", "), 150);
            format!("revision {} of {created}: {images}", revision.number)
        };
        let query = format!("revisions of {} in {}", self.workload, self.workload.namespace);
        let excerpt = format!("{}; before it {}", shown(current), shown(previous));
        Citation::new("kubernetes", query, (at, at), &excerpt)
    }
}
