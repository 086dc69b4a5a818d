//! One step: gather, decide, and (where a model is configured) wording. Never an error: what could not be learned is in the result.

use chrono::{DateTime, Utc};
use model::investigation::{Agent, StepOutput, StepRequest, StepResult, StepStatus};
use stream::BoxFuture;
use tokio::time::Instant;
use tools::observe::Observe;

use crate::gather::Gather;
use crate::reasoner::Reasoner;
use crate::settings::AgentSettings;
use crate::{compliance_checker, fixer, log_analyst, metric_correlator, postmortem, security_auditor, triage};

/// Share of the step's time in which tools are asked, so that what they answered can still be told.
const GATHERING: f64 = 0.9;
/// The same where a model words the answer afterwards.
const GATHERING_BEFORE_WORDING: f64 = 0.6;

/// Carries a step out. `now` is event time, as `deadline_at` is; it ends before the deadline and before `step_timeout`.
///
/// A step whose deadline has passed is `timeout`. One is `failed` (or `timeout`, if time was the only reason) where tools were asked, none
/// answered, and nothing at all could be said without them: asking again may bring more. Everything else is `success`.
pub fn run<'a>(
    request: &'a StepRequest,
    tools: &'a Observe,
    settings: &'a AgentSettings,
    now: DateTime<Utc>,
) -> BoxFuture<'a, StepResult> {
    Box::pin(carry_out(request, tools, settings, now))
}

async fn carry_out(request: &StepRequest, tools: &Observe, settings: &AgentSettings, now: DateTime<Utc>) -> StepResult {
    let started = Instant::now();
    let left = (request.deadline_at - now).to_std().unwrap_or_default();
    if left.is_zero() {
        let mut result = result(request, now);
        result.status = StepStatus::Timeout;
        result.error = format!("the deadline {} had passed before the step began", request.deadline_at);
        result.output.unknown.push(format!("anything: {}", result.error));
        return result;
    }
    let left = left.min(settings.step_timeout.get());
    let reasoner = Reasoner::new(&settings.model).filter(|_| words_help(request.agent));
    let share = if reasoner.is_some() {
        GATHERING_BEFORE_WORDING
    } else {
        GATHERING
    };
    let mut gather = Gather::new(tools, settings.call_timeout.get(), started + left.mul_f64(share));

    let mut output = step(request, &mut gather, settings, now).await;
    let mut result = result(request, now);
    if gather.all_failed() && empty(&output) {
        result.status = if gather.all_late() {
            StepStatus::Timeout
        } else {
            StepStatus::Failed
        };
        result.error = format!(
            "no tool answered, and nothing can be said without: {}",
            output.unknown.join("; ")
        );
    } else if let Some(reasoner) = reasoner {
        let until = started + left.mul_f64(GATHERING);
        result.tokens_used = reasoner.word(&request.evidence, &mut output, until).await;
    }
    result.output = output;
    result.tool_calls = gather.into_calls();
    result.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    result
}

async fn step(
    request: &StepRequest,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> StepOutput {
    let evidence = &request.evidence;
    match request.agent {
        Agent::Triage => {
            let facts = triage::gather(evidence, tools, settings, now).await;
            triage::decide(evidence, &facts, settings)
        }
        Agent::LogAnalyst => {
            let facts = log_analyst::gather(evidence, tools, settings, now).await;
            log_analyst::decide(&facts)
        }
        Agent::MetricCorrelator => {
            let facts = metric_correlator::gather(evidence, tools, settings, now).await;
            metric_correlator::decide(evidence, &facts, settings)
        }
        Agent::SecurityAuditor => {
            let facts = security_auditor::gather(evidence, tools, settings, now).await;
            security_auditor::decide(evidence, &facts)
        }
        Agent::ComplianceChecker => {
            let facts = compliance_checker::gather(evidence, tools).await;
            compliance_checker::decide(&facts, now)
        }
        Agent::Fixer => {
            let facts = fixer::gather(evidence, tools, settings, now).await;
            fixer::decide(request, &facts, settings)
        }
        Agent::PostmortemWriter => {
            let facts = postmortem::gather(evidence, tools, now).await;
            let mut output = postmortem::decide(evidence, &facts);
            postmortem::follow_up::propose(request, &facts, &mut output);
            output
        }
    }
}

/// A model may word findings and reports. It is not asked about severity or actions at all.
fn words_help(agent: Agent) -> bool {
    matches!(
        agent,
        Agent::LogAnalyst | Agent::MetricCorrelator | Agent::PostmortemWriter
    )
}

fn empty(output: &StepOutput) -> bool {
    output.triage.is_none() && output.findings.is_empty() && output.proposal.is_none() && output.postmortem.is_none()
}

fn result(request: &StepRequest, now: DateTime<Utc>) -> StepResult {
    StepResult {
        schema: StepResult::SCHEMA,
        id: request.id,
        run: request.run,
        incident_id: request.evidence.incident.id,
        agent: request.agent,
        status: StepStatus::Success,
        error: String::new(),
        output: StepOutput::default(),
        tool_calls: Vec::new(),
        tokens_used: 0,
        duration_ms: 0,
        at: now,
    }
}
