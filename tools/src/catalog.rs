//! Every tool by name, with the schemas of its arguments and its answer: one list, for MCP and OpenAPI. A system has its file.
//!
//! An observing tool is called by its name ([`call`]). An acting tool is not: its arguments make an [`Action`] ([`action`]), which
//! is proposed, granted and approved before anything happens.

mod github;
mod jira;
mod kubernetes;
mod logs;
mod prometheus;
mod security;
mod slack;
mod terraform;

use model::Action;
use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stream::BoxFuture;

use crate::ToolError;
use crate::observe::Observe;

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

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// An action that is only looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionArguments {
    pub action: Action,
}

/// Every tool there is, configured or not.
pub fn catalog() -> Vec<Tool> {
    [
        prometheus::tools(),
        logs::tools(),
        slack::tools(),
        github::tools(),
        security::tools(),
        jira::tools(),
        kubernetes::tools(),
        terraform::tools(),
    ]
    .concat()
}

/// Uses the observing tool `name`. Arguments that do not fit its schema, and names of acting tools, are refused.
pub fn call<'a>(observe: &'a Observe, name: &'a str, arguments: Value) -> BoxFuture<'a, Result<Value, ToolError>> {
    Box::pin(answer(observe, name, arguments))
}

async fn answer(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    match system(name) {
        "prometheus" => prometheus::call(observe, name, arguments).await,
        "logs" => logs::call(observe, name, arguments).await,
        "slack" => slack::call(observe, name, arguments).await,
        "github" if security::names(name) => security::call(observe, name, arguments).await,
        "github" => github::call(observe, name, arguments).await,
        "jira" => jira::call(observe, name, arguments).await,
        "kubernetes" => kubernetes::call(observe, name, arguments).await,
        "terraform" => terraform::call(observe, name, arguments).await,
        _ => Err(unknown(name, Purpose::Observe)),
    }
}

/// The action that a call of the acting tool `name` asks for. It is only a plan.
pub fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match system(name) {
        "github" => github::action(name, arguments),
        "jira" => jira::action(name, arguments),
        "kubernetes" => kubernetes::action(name, arguments),
        "terraform" => terraform::action(name, arguments),
        _ => Err(unknown(name, Purpose::Act)),
    }
}

/// What stands before the first `_`.
fn system(name: &str) -> &str {
    name.split_once('_').map_or("", |(system, _)| system)
}

fn tool<A: JsonSchema, R: JsonSchema>(name: &'static str, purpose: Purpose, description: &'static str) -> Tool {
    Tool {
        name,
        description,
        purpose,
        arguments: schema_for!(A),
        reply: schema_for!(R),
    }
}

fn observing<A: JsonSchema, R: JsonSchema>(name: &'static str, description: &'static str) -> Tool {
    tool::<A, R>(name, Purpose::Observe, description)
}

fn acting<A: JsonSchema>(name: &'static str, description: &'static str) -> Tool {
    tool::<A, crate::act::Executed>(name, Purpose::Act, description)
}

fn arguments_of<T: DeserializeOwned>(tool: &'static str, arguments: Value) -> Result<T, ToolError> {
    serde_json::from_value(arguments).map_err(|fault| ToolError::refused(tool, format!("its arguments: {fault}")))
}

fn json(answer: impl Serialize) -> Value {
    // Structs of texts and finite numbers always encode.
    serde_json::to_value(answer).unwrap_or_default()
}

/// What an action would change, as its own system says; only of actions on `tool`'s system.
async fn dry_run(observe: &Observe, tool: &'static str, arguments: Value) -> Result<Value, ToolError> {
    let ActionArguments { action } = arguments_of(tool, arguments)?;
    let of = match action.workload() {
        Some(_) => "kubernetes".to_owned(),
        None => action.place().system,
    };
    if system(tool) != of {
        return Err(ToolError::refused(
            tool,
            format!("its arguments: {action} is tried by {of}_dry_run"),
        ));
    }
    Ok(json(observe.dry_run(&action).await?))
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
