//! A deployment that failed half way: its failed jobs may be run again.
//!
//! Asked for: the repository is called like the service and may be written to (`tools.github.write`); the newest run of a workflow
//! that deploys failed within the window of changes before the trouble; something was seen to begin after it; it was not run again
//! already as often as is worth trying.

use chrono::{DateTime, TimeDelta, Utc};
use model::Action;
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::Evidence;
use tools::observe::{RunQuery, WorkflowRun};

use crate::findings::{began_after, collect, of_kind, time};
use crate::gather::{Asked, Gather};
use crate::measure::span;
use crate::proposed::Planned;
use crate::settings::AgentSettings;
use crate::subject::Subject;
use crate::text;

/// Runs looked through, newest first.
const LOOKED_AT: u32 = 20;
/// Attempts from which on another one is not proposed: what failed three times fails a fourth time.
const ATTEMPTS: u32 = 3;
/// How far the clocks of the code host and of a sender of alerts may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Words in the file name of a workflow that deploys.
const DEPLOYS: [&str; 3] = ["deploy", "release", "rollout"];

/// Runs of a repository that failed, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    pub repository: String,
    pub failed: Vec<WorkflowRun>,
}

/// `None` where nothing may be run again.
pub(super) async fn gather(evidence: &Evidence, tools: &mut Gather<'_>) -> Option<Asked<Runs>> {
    let repository = tools.repository_of(Subject::of(evidence).service?)?;
    if !tools.writable(&repository) {
        return None;
    }
    let query = RunQuery {
        repository: repository.clone(),
        commit: None,
        failed: true,
        limit: LOOKED_AT,
    };
    let failed = tools.runs(&query).await;
    Some(failed.map(|failed| Runs { repository, failed }))
}

/// What to run again, or why nothing.
pub fn plan(evidence: &Evidence, runs: &Runs, settings: &AgentSettings, now: DateTime<Utc>) -> Result<Planned, String> {
    let subject = Subject::of(evidence);
    let onset = of_kind(&evidence.findings, FindingKind::MetricChange)
        .find_map(|finding| time(finding, "onset"))
        .unwrap_or(subject.began_at);
    let from = onset - span(settings.change_window.get());
    let near = |run: &&WorkflowRun| from <= run.created_at && run.created_at <= onset + SKEW;
    let run = runs.failed.iter().filter(|run| deploys(run)).find(near);
    let run = run.ok_or("no deployment failed shortly before")?;
    if run.status != "completed" || run.attempt >= ATTEMPTS {
        return Err(format!(
            "the deployment that failed was tried {} times already",
            run.attempt
        ));
    }
    let after: Vec<&Finding> = evidence
        .findings
        .iter()
        .filter(|finding| began_after(finding, run.created_at - SKEW))
        .collect();
    if after.is_empty() {
        return Err("nothing is known to have begun after the deployment that failed".to_owned());
    }
    let mut citations = vec![cite(runs, run, now)];
    collect(&mut citations, after.iter().flat_map(|finding| &finding.citations));
    let minutes = (onset - run.created_at).num_minutes().max(0);
    Ok(Planned {
        action: Action::GithubRerun {
            repository: runs.repository.clone(),
            run: run.id,
            attempt: run.attempt,
        },
        reason: format!(
            "A deployment of the service failed {minutes} min before the trouble, so it may stand half way. Its failed jobs are run again: attempt {}.",
            run.attempt + 1
        ),
        citations,
    })
}

/// By the name of its file, which stands in the repository; the name that a run shows may be anything.
fn deploys(run: &WorkflowRun) -> bool {
    let file = run.path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    run.event == "deployment" || DEPLOYS.iter().any(|word| file.contains(word))
}

fn cite(runs: &Runs, run: &WorkflowRun, now: DateTime<Utc>) -> Citation {
    let jobs: Vec<String> = run.failed_jobs.iter().map(|job| text::line(&job.name, 60)).collect();
    let excerpt = format!(
        "run {} of {} at {}: attempt {} of {} ended with {}; failed jobs: {}",
        run.id,
        text::line(&run.path, 100),
        text::line(run.commit.get(..7).unwrap_or(&run.commit), 10),
        run.attempt,
        run.created_at.to_rfc3339(),
        text::line(run.conclusion.as_deref().unwrap_or("nothing"), 40),
        if jobs.is_empty() {
            "not told".to_owned()
        } else {
            jobs.join(", ")
        },
    );
    let query = format!("failed workflow runs of {}", runs.repository);
    Citation::new("github", query, (now, now), &text::line(&excerpt, 600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deploys() {
        let run = |path: &str, event: &str| WorkflowRun {
            id: 7,
            name: "deploy everything".into(),
            path: path.into(),
            commit: "0".repeat(40),
            branch: None,
            event: event.into(),
            status: "completed".into(),
            conclusion: Some("failure".into()),
            attempt: 1,
            created_at: DateTime::UNIX_EPOCH,
            failed_jobs: Vec::new(),
        };
        assert!(deploys(&run(".github/workflows/Deploy.yml", "push")));
        assert!(deploys(&run(".github/workflows/x.yml", "deployment")));
        assert!(!deploys(&run(".github/workflows/test.yml", "push")));
        assert!(!deploys(&run("deploy/test.yml", "push")));
    }
}
