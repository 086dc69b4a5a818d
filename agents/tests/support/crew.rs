//! Runs the agents in their order, as the crew would.

use agents::AgentSettings;
use chrono::TimeDelta;
use model::evidence::{Finding, FindingKind, Postmortem};
use model::investigation::{Agent, Evidence, StepRequest, StepResult, Unknown};
use model::proposal::Proposal;
use tools::observe::Observe;
use uuid::Uuid;

use super::{World, now};

/// Everything that one investigation brought.
#[derive(Debug)]
pub struct Told {
    pub evidence: Evidence,
    pub steps: Vec<StepResult>,
}

pub fn request(agent: Agent, evidence: &Evidence) -> StepRequest {
    let run = Uuid::from_u128(7);
    StepRequest {
        schema: StepRequest::SCHEMA,
        id: StepRequest::id_of(run, agent, 1),
        run,
        agent,
        attempt: 1,
        evidence: evidence.clone(),
        requested_at: now(),
        deadline_at: now() + TimeDelta::seconds(120),
    }
}

pub async fn investigate(world: &World, settings: &AgentSettings) -> Told {
    let (tools, _) = world.tools();
    investigate_with(world.evidence(), &tools, settings).await
}

pub async fn investigate_with(mut evidence: Evidence, tools: &Observe, settings: &AgentSettings) -> Told {
    let mut steps = Vec::new();
    for agent in Agent::ALL {
        let step = agents::run(&request(*agent, &evidence), tools, settings, now()).await;
        evidence.triage = step.output.triage.clone().or(evidence.triage);
        evidence.findings.extend(step.output.findings.clone());
        let unknown = step.output.unknown.iter().map(|what| Unknown {
            agent: *agent,
            what: what.clone(),
        });
        evidence.unknown.extend(unknown);
        steps.push(step);
    }
    Told { evidence, steps }
}

impl Told {
    pub fn step(&self, agent: Agent) -> &StepResult {
        self.steps.iter().find(|step| step.agent == agent).unwrap()
    }

    pub fn proposal(&self) -> Option<&Proposal> {
        self.step(Agent::Fixer).output.proposal.as_ref()
    }

    /// `restart deployment/api-server in production`, or the reason for none.
    pub fn action(&self) -> String {
        match self.proposal() {
            Some(proposal) => proposal.action.to_string(),
            None => self.step(Agent::Fixer).output.unknown[0].clone(),
        }
    }

    pub fn report(&self) -> &Postmortem {
        self.step(Agent::PostmortemWriter).output.postmortem.as_ref().unwrap()
    }

    pub fn finding(&self, kind: FindingKind) -> Option<&Finding> {
        self.evidence.findings.iter().find(|finding| finding.kind == kind)
    }

    pub fn unknown(&self, agent: Agent) -> String {
        self.step(agent).output.unknown.join("\n")
    }
}
