//! The observing tools of `tools::catalog`, for those systems that are configured. No acting tool passes here: they are left out by their
//! purpose, and `tools::catalog::call` refuses them once more.

use async_trait::async_trait;
use mcp::{ObserveError, Observing, ObservingTool};
use serde_json::Value;
use tools::catalog::{self, Purpose};
use tools::observe::Observe;

pub struct Beside {
    observe: Observe,
    tools: Vec<ObservingTool>,
}

impl Beside {
    pub fn new(observe: Observe) -> Self {
        let catalog = catalog::catalog().into_iter();
        let tools = catalog
            .filter(|tool| tool.purpose == Purpose::Observe && configured(&observe, tool.name))
            .map(|tool| ObservingTool {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                arguments: tool.arguments.to_value(),
                reply: tool.reply.to_value(),
            })
            .collect();
        Beside { observe, tools }
    }
}

#[async_trait]
impl Observing for Beside {
    fn tools(&self) -> &[ObservingTool] {
        &self.tools
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<Value, ObserveError> {
        if !self.tools.iter().any(|tool| tool.name == name) {
            return Err(ObserveError(format!("there is no tool {name:?}")));
        }
        let answer = catalog::call(&self.observe, name, arguments).await;
        answer.map_err(|error| ObserveError(error.to_string()))
    }
}

/// Whether the system that a tool asks is there. One of a family that is not known here is listed, and says itself what it lacks.
fn configured(observe: &Observe, name: &str) -> bool {
    let family = name.split('_').next().unwrap_or_default();
    match family {
        "prometheus" => observe.metrics.is_some(),
        "logs" => observe.logs.is_some(),
        "slack" => observe.chat.is_some(),
        "github" if name.starts_with("github_sec") => observe.security.is_some(),
        "github" => observe.code.is_some(),
        "jira" => observe.tickets.is_some(),
        "kubernetes" => observe.cluster.is_some(),
        "terraform" => observe.infrastructure.is_some(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every family of the catalog is known here, so that none is listed that nobody configured.
    #[test]
    fn nothing_is_listed_where_nothing_is_configured() {
        let beside = Beside::new(Observe::default());
        let names: BTreeSet<&str> = beside.tools().iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, BTreeSet::new());
    }
}
