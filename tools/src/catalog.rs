//! Every tool by name, with the schemas of its arguments and its answer: one list, for MCP and OpenAPI.
//!
//! An observing tool is called by its name ([`call`]). An acting tool is not: its arguments make an [`Action`] ([`action`]), which
//! is proposed, granted and approved before anything happens.

use chrono::{DateTime, TimeDelta, Utc};
use model::{Action, Workload};
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ToolError;
use crate::act::Executed;
use crate::github::hooks::Delivery;
use crate::observe::{
    ActiveAlert, Chat, ChatAnswer, ChatQuery, Cluster, ClusterEvent, Code, Comparison, Deployment, Deployments, DryRun,
    LogAnswer, LogQuery, Logs, Metrics, Observe, Pod, Revision, Series, Ticket, TicketAnswer, TicketQuery, Tickets,
};

/// What a tool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Changes nothing.
    Observe,
    /// Needs an approval.
    Act,
}

/// A tool as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    pub name: &'static str,
    pub description: &'static str,
    pub purpose: Purpose,
    /// JSON Schema.
    pub arguments: Schema,
    /// JSON Schema.
    pub reply: Schema,
}

/// A PromQL expression at one instant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstantArguments {
    /// PromQL.
    pub expression: String,
    pub at: DateTime<Utc>,
}

/// A PromQL expression over a span of time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeArguments {
    /// PromQL.
    pub expression: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Seconds between two points.
    pub step_s: u32,
}

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// The name of an application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindArguments {
    /// All namespaces where it is absent.
    pub namespace: Option<String>,
    pub name: String,
}

/// A workload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadArguments {
    pub workload: Workload,
}

/// Two commits of a repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareArguments {
    /// `owner/name`.
    pub repository: String,
    /// The earlier commit.
    pub base: String,
    /// The later commit.
    pub head: String,
}

/// A webhook of a repository.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookArguments {
    /// `owner/name`.
    pub repository: String,
    /// The webhook's number.
    pub hook: u64,
}

/// The key of a ticket.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketArguments {
    pub key: String,
}

/// An action that is only looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionArguments {
    pub action: Action,
}

/// Arguments of a restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartArguments {
    pub target: Workload,
}

/// Arguments of a rollback.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackArguments {
    pub target: Workload,
    /// The revision before the current where it is absent.
    pub to_revision: Option<i64>,
}

/// Arguments of a scaling.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleArguments {
    pub target: Workload,
    pub replicas: u32,
}

/// Every tool there is, configured or not.
pub fn catalog() -> Vec<Tool> {
    fn tool<A: JsonSchema, R: JsonSchema>(name: &'static str, purpose: Purpose, description: &'static str) -> Tool {
        Tool {
            name,
            description,
            purpose,
            arguments: schema_for!(A),
            reply: schema_for!(R),
        }
    }
    use Purpose::{Act, Observe};
    vec![
        tool::<InstantArguments, Vec<Series>>(
            "prometheus_query",
            Observe,
            "Evaluate a PromQL expression at one instant.",
        ),
        tool::<RangeArguments, Vec<Series>>(
            "prometheus_query_range",
            Observe,
            "Evaluate a PromQL expression over a span of time.",
        ),
        tool::<NoArguments, Vec<ActiveAlert>>(
            "prometheus_alerts",
            Observe,
            "The alerts that the metric store's rules hold active.",
        ),
        tool::<LogQuery, LogAnswer>("logs_search", Observe, "Log lines of a service, newest first."),
        tool::<ChatQuery, ChatAnswer>(
            "slack_history",
            Observe,
            "What people wrote in a channel, newest first.",
        ),
        tool::<Deployments, Vec<Deployment>>(
            "github_deployments",
            Observe,
            "Which commits of a repository were deployed where, newest first.",
        ),
        tool::<CompareArguments, Comparison>(
            "github_compare",
            Observe,
            "The commits and files between two commits of a repository.",
        ),
        tool::<HookArguments, Vec<Delivery>>(
            "github_deliveries",
            Observe,
            "The newest attempts of a repository's webhook to reach its receiver, and what was answered.",
        ),
        tool::<TicketQuery, TicketAnswer>("jira_search", Observe, "Tickets about something, last changed first."),
        tool::<TicketArguments, Ticket>("jira_ticket", Observe, "One ticket."),
        tool::<FindArguments, Vec<Workload>>(
            "kubernetes_find",
            Observe,
            "Workloads that are called so, or carry the name in a label.",
        ),
        tool::<WorkloadArguments, Vec<Pod>>(
            "kubernetes_pods",
            Observe,
            "The pods of a workload: phase, readiness, restarts.",
        ),
        tool::<WorkloadArguments, Vec<ClusterEvent>>(
            "kubernetes_events",
            Observe,
            "The cluster's events about a workload and its pods.",
        ),
        tool::<WorkloadArguments, Vec<Revision>>(
            "kubernetes_revisions",
            Observe,
            "The revisions of a workload, newest first.",
        ),
        tool::<ActionArguments, DryRun>(
            "kubernetes_dry_run",
            Observe,
            "What an action would change, by the API server's own dry run.",
        ),
        tool::<RestartArguments, Executed>(
            "kubernetes_restart",
            Act,
            "Replace every pod of a workload, a few at a time.",
        ),
        tool::<RollbackArguments, Executed>("kubernetes_rollback", Act, "Return a workload to an earlier revision."),
        tool::<ScaleArguments, Executed>("kubernetes_scale", Act, "Set the number of replicas of a workload."),
    ]
}

/// Uses the observing tool `name`. Arguments that do not fit its schema, and names of acting tools, are refused.
pub async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    let answer = match name {
        "prometheus_query" => {
            let read: InstantArguments = arguments_of("prometheus_query", arguments)?;
            json(metrics(observe)?.instant(&read.expression, read.at).await?)
        }
        "prometheus_query_range" => {
            let read: RangeArguments = arguments_of("prometheus_query_range", arguments)?;
            let step = TimeDelta::seconds(read.step_s.into());
            json(
                metrics(observe)?
                    .range(&read.expression, read.from, read.to, step)
                    .await?,
            )
        }
        "prometheus_alerts" => {
            let NoArguments {} = arguments_of("prometheus_alerts", arguments)?;
            json(metrics(observe)?.alerts().await?)
        }
        "logs_search" => {
            let read: LogQuery = arguments_of("logs_search", arguments)?;
            json(logs(observe)?.search(&read).await?)
        }
        "slack_history" => {
            let read: ChatQuery = arguments_of("slack_history", arguments)?;
            json(chat(observe)?.history(&read).await?)
        }
        "github_deployments" => {
            let read: Deployments = arguments_of("github_deployments", arguments)?;
            json(code(observe)?.deployments(&read).await?)
        }
        "github_compare" => {
            let read: CompareArguments = arguments_of("github_compare", arguments)?;
            json(code(observe)?.compare(&read.repository, &read.base, &read.head).await?)
        }
        "github_deliveries" => {
            let read: HookArguments = arguments_of("github_deliveries", arguments)?;
            json(code(observe)?.deliveries(&read.repository, read.hook).await?)
        }
        "jira_search" => {
            let read: TicketQuery = arguments_of("jira_search", arguments)?;
            json(tickets(observe)?.search(&read).await?)
        }
        "jira_ticket" => {
            let TicketArguments { key } = arguments_of("jira_ticket", arguments)?;
            json(tickets(observe)?.ticket(&key).await?)
        }
        "kubernetes_find" => {
            let read: FindArguments = arguments_of("kubernetes_find", arguments)?;
            json(cluster(observe)?.find(read.namespace.as_deref(), &read.name).await?)
        }
        "kubernetes_pods" => {
            let read: WorkloadArguments = arguments_of("kubernetes_pods", arguments)?;
            json(cluster(observe)?.pods(&read.workload).await?)
        }
        "kubernetes_events" => {
            let read: WorkloadArguments = arguments_of("kubernetes_events", arguments)?;
            json(cluster(observe)?.events(&read.workload).await?)
        }
        "kubernetes_revisions" => {
            let read: WorkloadArguments = arguments_of("kubernetes_revisions", arguments)?;
            json(cluster(observe)?.revisions(&read.workload).await?)
        }
        "kubernetes_dry_run" => {
            let read: ActionArguments = arguments_of("kubernetes_dry_run", arguments)?;
            json(cluster(observe)?.dry_run(&read.action).await?)
        }
        other => return Err(unknown(other, Purpose::Observe)),
    };
    Ok(answer)
}

/// The action that a call of the acting tool `name` asks for. It is only a plan.
pub fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match name {
        "kubernetes_restart" => {
            let RestartArguments { target } = arguments_of("kubernetes_restart", arguments)?;
            Ok(Action::Restart { target })
        }
        "kubernetes_rollback" => {
            let RollbackArguments { target, to_revision } = arguments_of("kubernetes_rollback", arguments)?;
            Ok(Action::Rollback { target, to_revision })
        }
        "kubernetes_scale" => {
            let ScaleArguments { target, replicas } = arguments_of("kubernetes_scale", arguments)?;
            Ok(Action::Scale { target, replicas })
        }
        other => Err(unknown(other, Purpose::Act)),
    }
}

fn arguments_of<T: DeserializeOwned>(tool: &'static str, arguments: Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments).map_err(|fault| ToolError::refused(tool, format!("its arguments: {fault}")))
}

fn json(answer: impl Serialize) -> Value {
    // Structs of texts and finite numbers always encode.
    serde_json::to_value(answer).unwrap_or_default()
}

fn unknown(name: &str, purpose: Purpose) -> ToolError {
    let tools = catalog();
    let cause = match tools.iter().find(|tool| tool.name == name) {
        Some(_) if purpose == Purpose::Observe => format!("{name} acts: propose it instead"),
        Some(_) => format!("{name} changes nothing: call it instead"),
        None => {
            let known: Vec<&str> = tools
                .iter()
                .filter(|tool| tool.purpose == purpose)
                .map(|tool| tool.name)
                .collect();
            format!("there is no tool {name:?}; there are {}", known.join(", "))
        }
    };
    ToolError::refused("tools", cause)
}

fn metrics(observe: &Observe) -> Result<&dyn Metrics, ToolError> {
    observe.metrics.as_deref().ok_or(ToolError::Absent {
        tool: "prometheus",
        setting: "tools.prometheus.url",
    })
}

fn logs(observe: &Observe) -> Result<&dyn Logs, ToolError> {
    observe.logs.as_deref().ok_or(ToolError::Absent {
        tool: "logs",
        setting: "tools.loki.url",
    })
}

fn chat(observe: &Observe) -> Result<&dyn Chat, ToolError> {
    observe.chat.as_deref().ok_or(ToolError::Absent {
        tool: "slack",
        setting: "tools.slack.token and channels",
    })
}

fn code(observe: &Observe) -> Result<&dyn Code, ToolError> {
    observe.code.as_deref().ok_or(ToolError::Absent {
        tool: "github",
        setting: "tools.github.token and repositories",
    })
}

fn tickets(observe: &Observe) -> Result<&dyn Tickets, ToolError> {
    observe.tickets.as_deref().ok_or(ToolError::Absent {
        tool: "jira",
        setting: "tools.jira.url, token and projects",
    })
}

fn cluster(observe: &Observe) -> Result<&dyn Cluster, ToolError> {
    observe.cluster.as_deref().ok_or(ToolError::Absent {
        tool: "kubernetes",
        setting: "one of tools.kubernetes.kubeconfig, in_cluster and url",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_tool_has_a_name_of_its_own_and_arguments_that_are_an_object() {
        let tools = catalog();
        let names: BTreeSet<&str> = tools.iter().map(|tool| tool.name).collect();
        assert_eq!(names.len(), tools.len());
        for tool in &tools {
            let arguments = tool.arguments.as_value();
            assert_eq!(arguments["type"], "object", "{}", tool.name);
            assert!(!tool.description.is_empty());
        }
    }

    #[tokio::test]
    async fn every_observing_tool_can_be_called_and_no_acting_one() {
        let observe = Observe::default();
        for tool in catalog() {
            let answer = call(&observe, tool.name, json!({"no such": "argument"}))
                .await
                .unwrap_err();
            let made = action(tool.name, json!({"no such": "argument"})).unwrap_err();
            let (known, other) = match tool.purpose {
                Purpose::Observe => (answer, made),
                Purpose::Act => (made, answer),
            };
            assert!(known.to_string().contains("its arguments"), "{known}");
            assert!(other.to_string().contains("instead"), "{other}");
        }
        let none = call(&observe, "kubernetes_delete", json!({}))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            none.contains("there is no tool") && none.contains("logs_search"),
            "{none}"
        );
    }

    #[tokio::test]
    async fn what_is_not_configured_says_which_setting_is_missing() {
        let absent = call(&Observe::default(), "prometheus_alerts", json!({}))
            .await
            .unwrap_err();
        assert_eq!(
            absent.to_string(),
            "prometheus is not configured: set tools.prometheus.url"
        );
    }

    #[test]
    fn arguments_make_a_plan() {
        let target = json!({"cluster": "default", "namespace": "shop", "kind": "deployment", "name": "api"});
        let made = action("kubernetes_scale", json!({"target": target, "replicas": 5})).unwrap();
        assert_eq!(made.to_string(), "scale deployment/api to 5 replicas in shop");
        let made = action("kubernetes_rollback", json!({"target": target})).unwrap();
        assert_eq!(
            made.to_string(),
            "roll deployment/api back to its previous revision in shop"
        );
        action("kubernetes_restart", json!({"target": target, "force": true})).unwrap_err();
    }
}
