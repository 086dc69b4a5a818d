//! What the crew found out about an incident, and one of its steps in full.

use gateway::{Page, ResponseFilter, StepView};
use model::evidence::Postmortem;
use model::investigation::StepOutput;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::uuid;
use crate::answer::Failure;
use crate::desk::Desk;
use crate::views::{FindingView, StepLine};

/// Steps that are looked at: more than any run has, a few runs over.
const STEPS: u32 = 100;

/// One incident.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingsArguments {
    /// The incident's id, a UUID.
    pub incident_id: String,
}

/// What is known of an incident, with its evidence.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FindingsAnswer {
    pub findings: Vec<FindingView>,
    /// What could not be learned, by whom.
    pub unknown: Vec<UnknownView>,
    /// Newest first.
    pub steps: Vec<StepLine>,
    /// There is a postmortem: the resource `aegis://incidents/ID/postmortem`.
    pub postmortem: bool,
}

/// Something that an agent could not learn.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UnknownView {
    pub by: String,
    pub what: String,
}

/// One step.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepArguments {
    /// The step's id, as `get_findings` shows it.
    pub step_id: String,
}

/// A step in full.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepAnswer {
    pub step: StepLine,
    pub incident_id: String,
    /// The evidence that it was given.
    pub input: Value,
    /// What it brought.
    pub output: Value,
    /// Its questions to the systems beside Aegis.
    pub tool_calls: Value,
}

pub async fn findings(desk: &Desk, arguments: &FindingsArguments) -> Result<FindingsAnswer, Failure> {
    let incident = super::incidents::find(desk, &arguments.incident_id).await?;
    let steps = steps(desk, incident.incident.id.0).await?;
    let (mut findings, mut unknown): (Vec<FindingView>, Vec<UnknownView>) = (Vec::new(), Vec::new());
    // Of an agent that was asked again, the newest answer counts.
    let mut heard = std::collections::BTreeSet::new();
    for step in steps.iter().filter(|step| step.status == "success") {
        if !heard.insert(step.agent.clone()) {
            continue;
        }
        let output = output(step);
        findings.extend(
            output
                .findings
                .iter()
                .map(|finding| FindingView::new(&step.agent, finding)),
        );
        unknown.extend(output.unknown.into_iter().map(|what| UnknownView {
            by: step.agent.clone(),
            what,
        }));
    }
    Ok(FindingsAnswer {
        findings,
        unknown,
        postmortem: steps.iter().any(|step| output(step).postmortem.is_some()),
        steps: steps.iter().map(StepLine::from).collect(),
    })
}

pub async fn step(desk: &Desk, arguments: &StepArguments) -> Result<StepAnswer, Failure> {
    let id = uuid("step_id", &arguments.step_id)?;
    let found = desk.responses.step(id).await?;
    let step = found
        .ok_or_else(|| Failure::Wrong(format!("there is no step {id}: get_findings shows an incident's steps")))?;
    Ok(StepAnswer {
        step: StepLine::from(&step),
        incident_id: step.incident_id.to_string(),
        input: step.input,
        output: step.output,
        tool_calls: step.tool_calls,
    })
}

/// The newest postmortem of an incident.
pub async fn postmortem(desk: &Desk, incident: Uuid) -> Result<Option<Postmortem>, Failure> {
    let steps = steps(desk, incident).await?;
    Ok(steps.iter().find_map(|step| output(step).postmortem))
}

async fn steps(desk: &Desk, incident: Uuid) -> Result<Vec<StepView>, Failure> {
    let filter = ResponseFilter {
        incident: Some(incident),
        status: None,
    };
    let page = Page {
        limit: STEPS,
        offset: 0,
    };
    Ok(desk.responses.steps(&filter, page).await?)
}

/// Empty for a step that is under way, or that a later program wrote.
fn output(step: &StepView) -> StepOutput {
    serde_json::from_value(step.output.clone()).unwrap_or_default()
}
