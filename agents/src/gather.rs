//! The edge of an agent: asks the tools, keeps the time, and writes every use down.
//!
//! A question ends at its own timeout or when the step's time for asking is over, whichever comes first; a tool that hangs is left
//! alone. After it was unreachable once, a tool is not asked again in the same step: the time is better spent on the others.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use model::action::{GITHUB, JIRA};
use model::investigation::ToolCall;
use model::proposal::TargetState;
use model::{Action, Workload};
use serde_json::{Value, json};
use tokio::time::Instant;
use tools::ToolError;
use tools::github::security::{Change, ChangeSecrets, OneAlert, SecurityAlert};
use tools::observe::{
    Comparison, Deployment, Deployments, DryRun, FollowUps, LogAnswer, LogQuery, MetricRule, Observe, Pod, Revision,
    RuleAnswer, RuleKind, RuleQuery, RunQuery, Series, TargetAnswer, TargetQuery, TicketAnswer, TicketQuery,
    WorkflowRun,
};
use tools::terraform::{Drift, Folder};

use crate::text;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The tool is not configured, or the question could not be put.
    #[error("{0}")]
    Absent(String),
    /// The tool answered no; another question may work.
    #[error("{0}")]
    Refused(String),
    /// The tool failed.
    #[error("{0}")]
    Failed(String),
    /// It did not answer in time.
    #[error("{0}")]
    TimedOut(String),
}

pub type Asked<T> = Result<T, Miss>;

const METRICS: &str = "the metric store";
const LOGS: &str = "the log store";
const CLUSTER: &str = "the cluster";
const CODE: &str = "the code host";
const TICKETS: &str = "the ticket system";
const SECURITY: &str = "the code host's scanners";
const TERRAFORM: &str = "Terraform";

/// The tools of one step and what became of them.
pub struct Gather<'a> {
    tools: &'a Observe,
    call_timeout: Duration,
    began: Instant,
    until: Instant,
    calls: Vec<ToolCall>,
    unreachable: BTreeSet<&'static str>,
    answered: u32,
    late: u32,
}

impl<'a> Gather<'a> {
    /// Nothing is asked after `until`.
    pub fn new(tools: &'a Observe, call_timeout: Duration, until: Instant) -> Self {
        Gather {
            tools,
            call_timeout,
            began: Instant::now(),
            until,
            calls: Vec::new(),
            unreachable: BTreeSet::new(),
            answered: 0,
            late: 0,
        }
    }

    /// Tools were asked, and none answered.
    pub fn all_failed(&self) -> bool {
        !self.calls.is_empty() && self.answered == 0
    }

    /// Every failure was one of time.
    pub fn all_late(&self) -> bool {
        self.late > 0 && self.late as usize == self.calls.len()
    }

    pub fn into_calls(self) -> Vec<ToolCall> {
        self.calls
    }

    pub async fn instant(&mut self, expression: &str, at: DateTime<Utc>) -> Asked<Vec<Series>> {
        let tool = self.tools.metrics.clone().ok_or_else(|| absent(METRICS))?;
        let arguments = json!({ "expression": expression, "at": at });
        let call = tool.instant(expression, at);
        self.ask(METRICS, "prometheus_query", arguments, call, |answer| series(answer))
            .await
    }

    pub async fn range(
        &mut self,
        expression: &str,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        step: TimeDelta,
    ) -> Asked<Vec<Series>> {
        let tool = self.tools.metrics.clone().ok_or_else(|| absent(METRICS))?;
        let arguments = json!({ "expression": expression, "from": from, "to": to, "step_s": step.num_seconds() });
        let call = tool.range(expression, from, to, step);
        self.ask(METRICS, "prometheus_query_range", arguments, call, |answer| {
            series(answer)
        })
        .await
    }

    pub async fn logs(&mut self, query: &LogQuery) -> Asked<LogAnswer> {
        let tool = self.tools.logs.clone().ok_or_else(|| absent(LOGS))?;
        let name = format!("{}_query", tool.name());
        let arguments = serde_json::to_value(query).unwrap_or_default();
        let told = |answer: &LogAnswer| {
            let more = if answer.cut { ", and there are more" } else { "" };
            format!("{} lines{more}", answer.lines.len())
        };
        self.ask(LOGS, &name, arguments, tool.search(query), told).await
    }

    pub async fn find(&mut self, namespace: Option<&str>, name: &str) -> Asked<Vec<Workload>> {
        let tool = self.tools.cluster.clone().ok_or_else(|| absent(CLUSTER))?;
        let arguments = json!({ "namespace": namespace, "name": name });
        let told = |found: &Vec<Workload>| format!("{} workloads", found.len());
        self.ask(
            CLUSTER,
            "kubernetes_find_workloads",
            arguments,
            tool.find(namespace, name),
            told,
        )
        .await
    }

    pub async fn pods(&mut self, workload: &Workload) -> Asked<Vec<Pod>> {
        let tool = self.tools.cluster.clone().ok_or_else(|| absent(CLUSTER))?;
        let told = |pods: &Vec<Pod>| format!("{} pods", pods.len());
        self.ask(
            CLUSTER,
            "kubernetes_get_pods",
            place(workload),
            tool.pods(workload),
            told,
        )
        .await
    }

    pub async fn revisions(&mut self, workload: &Workload) -> Asked<Vec<Revision>> {
        let tool = self.tools.cluster.clone().ok_or_else(|| absent(CLUSTER))?;
        let told = |revisions: &Vec<Revision>| format!("{} revisions", revisions.len());
        let call = tool.revisions(workload);
        self.ask(CLUSTER, "kubernetes_get_revisions", place(workload), call, told)
            .await
    }

    pub async fn state(&mut self, action: &Action) -> Asked<TargetState> {
        let tool = self.tools.cluster.clone().ok_or_else(|| absent(CLUSTER))?;
        let told = |state: &TargetState| format!("{} of {} pods ready", state.ready, state.replicas);
        let target = action.workload().map(place).unwrap_or_default();
        self.ask(CLUSTER, "kubernetes_get_workload", target, tool.state(action), told)
            .await
    }

    pub async fn dry_run(&mut self, action: &Action) -> Asked<DryRun> {
        let (system, name) = match action.place().system.as_str() {
            GITHUB => (CODE, "github_dry_run"),
            JIRA => (TICKETS, "jira_dry_run"),
            _ if self.tools.cluster.is_none() => return Err(absent(CLUSTER)),
            _ => (CLUSTER, "kubernetes_dry_run"),
        };
        let tools = self.tools;
        let arguments = serde_json::to_value(action).unwrap_or_default();
        let told = |run: &DryRun| format!("would touch {} pods", run.blast_radius.pods);
        self.ask(system, name, arguments, tools.dry_run(action), told).await
    }

    /// The repository of a service, where a code host is configured that has one.
    pub fn repository_of(&self, service: &str) -> Option<String> {
        let code = self.tools.code.as_ref()?;
        code.repository_of(service).map(str::to_owned)
    }

    pub async fn deployments(&mut self, query: &Deployments) -> Asked<Vec<Deployment>> {
        let tool = self.tools.code.clone().ok_or_else(|| absent(CODE))?;
        let arguments = serde_json::to_value(query).unwrap_or_default();
        let told = |found: &Vec<Deployment>| format!("{} deployments", found.len());
        self.ask(CODE, "github_deployments", arguments, tool.deployments(query), told)
            .await
    }

    pub async fn compare(&mut self, repository: &str, base: &str, head: &str) -> Asked<Comparison> {
        let tool = self.tools.code.clone().ok_or_else(|| absent(CODE))?;
        let arguments = json!({ "repository": repository, "base": base, "head": head });
        let told = |found: &Comparison| format!("{} commits", found.total);
        let call = tool.compare(repository, base, head);
        self.ask(CODE, "github_compare", arguments, call, told).await
    }

    /// Whether actions in this repository may be proposed.
    pub fn writable(&self, repository: &str) -> bool {
        self.tools.code.as_ref().is_some_and(|code| code.writable(repository))
    }

    pub async fn runs(&mut self, query: &RunQuery) -> Asked<Vec<WorkflowRun>> {
        let tool = self.tools.code.clone().ok_or_else(|| absent(CODE))?;
        let arguments = serde_json::to_value(query).unwrap_or_default();
        let told = |found: &Vec<WorkflowRun>| format!("{} runs", found.len());
        self.ask(CODE, "github_runs", arguments, tool.runs(query), told).await
    }

    /// The rules of the metric store that make the alert of this name.
    pub async fn alert_rules(&mut self, name: &str) -> Asked<Vec<MetricRule>> {
        let tool = self.tools.metrics.clone().ok_or_else(|| absent(METRICS))?;
        let query = RuleQuery {
            name: Some(name.to_owned()),
            kind: Some(RuleKind::Alerting),
        };
        let arguments = serde_json::to_value(&query).unwrap_or_default();
        let told = |found: &RuleAnswer| format!("{} rules", found.rules.len());
        let answer = self
            .ask(METRICS, "prometheus_rules", arguments, tool.rules(&query), told)
            .await;
        answer.map(|answer| answer.rules)
    }

    /// What the metric store scrapes under the job of this name and does not reach.
    pub async fn broken_targets(&mut self, job: &str) -> Asked<TargetAnswer> {
        let tool = self.tools.metrics.clone().ok_or_else(|| absent(METRICS))?;
        let query = TargetQuery {
            job: Some(job.to_owned()),
            broken: true,
        };
        let arguments = serde_json::to_value(&query).unwrap_or_default();
        let told = |answer: &TargetAnswer| format!("{} targets answer, {} do not", answer.up, answer.down);
        self.ask(METRICS, "prometheus_targets", arguments, tool.targets(&query), told)
            .await
    }

    /// Where what is to be done after an incident is proposed to be written, if anywhere.
    pub fn follow_ups(&self) -> Option<FollowUps> {
        self.tools.tickets.as_ref()?.follow_ups()
    }

    /// Whether there is somebody to ask for tickets.
    pub fn has_tickets(&self) -> bool {
        self.tools.tickets.is_some()
    }

    pub async fn tickets(&mut self, query: &TicketQuery) -> Asked<TicketAnswer> {
        let tool = self.tools.tickets.clone().ok_or_else(|| absent(TICKETS))?;
        let arguments = serde_json::to_value(query).unwrap_or_default();
        let told = |found: &TicketAnswer| format!("{} tickets", found.tickets.len());
        self.ask(TICKETS, "jira_search", arguments, tool.search(query), told)
            .await
    }

    pub async fn security_alert(&mut self, one: &OneAlert) -> Asked<SecurityAlert> {
        let tool = self.tools.security.clone().ok_or_else(|| absent(SECURITY))?;
        if !tool.knows(&one.repository) {
            return Err(Miss::Absent(format!(
                "{SECURITY} may not be asked about {}",
                one.repository
            )));
        }
        let arguments = serde_json::to_value(one).unwrap_or_default();
        let told = |alert: &SecurityAlert| format!("alert {} is {}", alert.number, text::line(&alert.state, 40));
        let call = tool.alert(one);
        self.ask(SECURITY, "github_security_alert", arguments, call, told).await
    }

    pub async fn secrets_in_change(&mut self, change: &Change) -> Asked<ChangeSecrets> {
        let tool = self.tools.security.clone().ok_or_else(|| absent(SECURITY))?;
        let arguments = serde_json::to_value(change).unwrap_or_default();
        let told = |found: &ChangeSecrets| format!("{} files, {} sightings", found.files, found.sightings.len());
        let call = tool.secrets_in_change(change);
        self.ask(SECURITY, "github_secrets_in_change", arguments, call, told)
            .await
    }

    /// The folders of Terraform that describe an environment.
    pub fn folders(&self, environment: &str) -> Vec<Folder> {
        let tool = self.tools.infrastructure.as_ref();
        let all = tool.map(|tool| tool.folders()).unwrap_or_default();
        let of = |folder: &Folder| folder.environment.is_empty() || folder.environment == environment;
        all.into_iter().filter(of).collect()
    }

    /// Takes what is left of the step's time: the providers are asked.
    pub async fn drift(&mut self, folder: &str) -> Asked<Drift> {
        let tool = self.tools.infrastructure.clone().ok_or_else(|| absent(TERRAFORM))?;
        let told = |drift: &Drift| match drift.clean {
            true => "clean".to_owned(),
            false => drift.plan.summary(),
        };
        let left = self.until.saturating_duration_since(Instant::now());
        let usual = std::mem::replace(&mut self.call_timeout, left);
        let call = tool.drift(folder);
        let answer = self
            .ask(TERRAFORM, "terraform_drift", json!({ "folder": folder }), call, told)
            .await;
        self.call_timeout = usual;
        answer
    }

    async fn ask<T>(
        &mut self,
        system: &'static str,
        tool: &str,
        arguments: Value,
        call: impl Future<Output = Result<T, ToolError>>,
        told: impl Fn(&T) -> String,
    ) -> Asked<T> {
        if self.unreachable.contains(system) {
            return Err(Miss::Failed(format!(
                "{system} was not asked again: it did not answer before"
            )));
        }
        let started = Instant::now().max(self.began);
        let limit = self.call_timeout.min(self.until.saturating_duration_since(started));
        if limit.is_zero() {
            return Err(Miss::TimedOut(format!(
                "{system} was not asked: the time of the step was over"
            )));
        }
        let answer = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(miss(&error)),
            Err(_) => Err(Miss::TimedOut(format!(
                "{system} did not answer within {} ms",
                limit.as_millis()
            ))),
        };
        match &answer {
            Ok(_) => self.answered += 1,
            Err(Miss::TimedOut(_)) => self.late += 1,
            Err(_) => {}
        }
        if let Err(Miss::Failed(_) | Miss::TimedOut(_)) = &answer {
            self.unreachable.insert(system);
        }
        self.calls.push(ToolCall {
            tool: tool.to_owned(),
            arguments,
            outcome: match &answer {
                Ok(answer) => Ok(told(answer)),
                Err(miss) => Err(miss.to_string()),
            },
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            after_ms: u64::try_from((started - self.began).as_millis()).ok(),
        });
        answer
    }
}

fn absent(system: &str) -> Miss {
    Miss::Absent(format!("{system} is not configured"))
}

fn miss(error: &ToolError) -> Miss {
    // A cause may quote what the system said, which may be anything.
    let said = text::line(&error.to_string(), 300);
    match error {
        ToolError::Absent { .. } => Miss::Absent(said),
        ToolError::Refused { .. } => Miss::Refused(said),
        ToolError::DidNotHappen { .. } | ToolError::MayHaveHappened { .. } => Miss::Failed(said),
    }
}

fn series(series: &[Series]) -> String {
    let points: usize = series.iter().map(|one| one.points.len()).sum();
    format!("{} series, {points} points", series.len())
}

fn place(workload: &Workload) -> Value {
    json!({ "cluster": workload.cluster, "namespace": workload.namespace, "workload": workload.to_string() })
}
