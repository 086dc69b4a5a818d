//! The compliance checker at an incident: whether what runs is what was written down. Terraform's drift for infrastructure, and for the
//! workload its image against the commit that was deployed last.
//!
//! It works on incidents with a suspected change. What it finds is judged by the policies beside every other fact ([`crate::compliance`]);
//! also that there is no drift is a finding, because a control that was checked and held is what an auditor asks for.

use chrono::{DateTime, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::{Evidence, StepOutput};
use serde_json::json;
use tools::observe::{Deployment, Deployments};
use tools::terraform::Drift;

use crate::gather::{Asked, Gather};
use crate::security_auditor::{Running, Runs, running, short};
use crate::subject::Subject;
use crate::text;

/// Folders of Terraform that are planned. More: the step's time is over before the last.
const FOLDERS: usize = 3;
/// Deployments looked through, newest first, for one that came to run.
const LOOKED_AT: u32 = 5;
/// Addresses that a sentence names.
const NAMED: usize = 5;

/// What the tools said.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// By folder.
    pub drift: Vec<(String, Asked<Drift>)>,
    /// `None`: there is no code host that knows the service.
    pub workload: Option<Deployed>,
}

/// What was deployed last and what runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployed {
    pub repository: String,
    /// `None`: no deployment came to run.
    pub last: Asked<Option<Deployment>>,
    pub running: Asked<Running>,
}

pub async fn gather(evidence: &Evidence, tools: &mut Gather<'_>) -> Facts {
    let environment = &evidence.incident.environment;
    let subject = Subject::of(evidence);
    let mut workload = None;
    if let Some((service, repository)) = subject
        .service
        .and_then(|name| Some((name, tools.repository_of(name)?)))
    {
        let query = Deployments {
            repository: repository.clone(),
            environment: Some(environment.clone()).filter(|name| !name.is_empty()),
            limit: LOOKED_AT,
            states: true,
        };
        let ran = |one: &Deployment| matches!(one.state.as_deref(), Some("success"));
        let last = tools.deployments(&query).await.map(|all| all.into_iter().find(ran));
        workload = Some(Deployed {
            repository,
            last,
            running: running(service, subject.namespace, tools).await,
        });
    }
    // Last, because it takes what time is left.
    let mut drift = Vec::new();
    for folder in tools.folders(environment).into_iter().take(FOLDERS) {
        let asked = tools.drift(&folder.name).await;
        drift.push((folder.name, asked));
    }
    Facts { drift, workload }
}

/// `now`: when the tools were asked.
pub fn decide(facts: &Facts, now: DateTime<Utc>) -> StepOutput {
    let mut output = StepOutput::default();
    for (folder, asked) in &facts.drift {
        match asked {
            Ok(drift) => output.findings.push(of_terraform(drift, now)),
            Err(miss) => output
                .unknown
                .push(format!("whether {folder} is what its code says: {miss}")),
        }
    }
    if let Some(deployed) = &facts.workload {
        match of_workload(deployed, now) {
            Ok(finding) => output.findings.push(finding),
            Err(why) => output
                .unknown
                .push(format!("whether what runs is what was deployed: {why}")),
        }
    }
    if facts.drift.is_empty() && facts.workload.is_none() {
        let what = "drift: neither Terraform nor a code host that knows the service is configured";
        output.unknown.push(what.to_owned());
    }
    output
}

fn of_terraform(drift: &Drift, now: DateTime<Utc>) -> Finding {
    let plan = &drift.plan;
    let addresses = |changes: &[tools::terraform::plan::Change]| -> Vec<String> {
        changes
            .iter()
            .take(NAMED)
            .map(|one| text::line(&one.address, 120))
            .collect()
    };
    let (behind, ahead) = (addresses(&plan.drift), addresses(&plan.changes));
    let folder = text::line(&drift.folder, 80);
    let summary = match (drift.clean, behind.is_empty()) {
        (true, _) => format!("Terraform: {folder} is what its code says."),
        (false, false) => format!(
            "Terraform: in {folder} something was changed behind its back: {}; planned: {}.",
            behind.join(", "),
            plan.summary()
        ),
        (false, true) => format!(
            "Terraform: {folder} is not what its code says: {} ({}).",
            plan.summary(),
            ahead.join(", ")
        ),
    };
    let query = format!("terraform plan -detailed-exitcode in {folder}");
    let excerpt = text::block(&plan.lines(), 500);
    Finding {
        kind: FindingKind::Drift,
        summary,
        facts: text::map(json!({
            "system": "terraform", "target": folder, "clean": drift.clean,
            "add": plan.add, "change": plan.change, "destroy": plan.destroy, "drifted": behind, "planned": ahead,
        })),
        citations: vec![Citation::new("terraform", query, (now, now), &excerpt)],
    }
}

/// The text says why nothing can be said.
fn of_workload(deployed: &Deployed, now: DateTime<Utc>) -> Result<Finding, String> {
    let last = deployed.last.as_ref().map_err(ToString::to_string)?;
    let running = deployed.running.as_ref().map_err(ToString::to_string)?;
    let repository = &deployed.repository;
    let last = last
        .as_ref()
        .ok_or_else(|| format!("no deployment of {repository} is known to have come to run"))?;
    let runs = running.runs(&last.commit);
    if runs == Runs::Unknown {
        return Err(format!(
            "no image of {} names a commit: {}",
            running.workload,
            running.shown()
        ));
    }
    // A rollout takes its time, and the host is told before or after it.
    let clean = runs == Runs::Yes;
    let (commit, namespace) = (short(&last.commit), &running.workload.namespace);
    let told = match clean {
        true => format!(
            "{} in {namespace} runs {commit}, which was deployed last",
            running.workload
        ),
        false => format!(
            "{} in {namespace} runs {}, and {commit} was deployed last",
            running.workload,
            running.shown()
        ),
    };
    let query = format!("/repos/{repository}/deployments");
    let excerpt = format!(
        "{commit} to {} at {}",
        text::line(&last.environment, 80),
        last.created_at.to_rfc3339()
    );
    let mut citations = vec![Citation::new(
        "github",
        query,
        (last.created_at, now.max(last.created_at)),
        &excerpt,
    )];
    citations.extend(running.cite(now));
    let mut facts = json!({"system": "kubernetes", "target": running.workload.to_string(), "clean": clean, "commit": last.commit, "repository": repository});
    running.tie(Some(&last.commit), &mut facts);
    Ok(Finding {
        kind: FindingKind::Drift,
        summary: format!("{told}."),
        facts: text::map(facts),
        citations,
    })
}
