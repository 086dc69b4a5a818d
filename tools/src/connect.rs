//! From settings to tools. Two functions, so that who builds the one does not hold the other.

use std::sync::Arc;

use crate::act::Act;
use crate::github::Github;
use crate::jira::Jira;
use crate::kubernetes::{Actor, Api, Observer};
use crate::loki::Loki;
use crate::observe::Observe;
use crate::prometheus::Prometheus;
use crate::slack::Slack;
use crate::{ToolError, ToolsSettings};

/// What can be looked at. Reads credentials; asks no server anything yet.
pub async fn observe(settings: &ToolsSettings) -> Result<Observe, ToolError> {
    let mut observe = Observe::default();
    let prometheus = &settings.prometheus;
    if prometheus.configured() {
        observe.metrics = Some(Arc::new(Prometheus::new(prometheus)?));
    }
    let loki = &settings.loki;
    if loki.configured() {
        observe.logs = Some(Arc::new(Loki::new(loki)?));
    }
    let kubernetes = &settings.kubernetes;
    if kubernetes.configured() {
        observe.cluster = Some(Arc::new(Observer::new(Api::connect(kubernetes).await?)));
    }
    let slack = &settings.slack;
    if slack.configured() {
        observe.chat = Some(Arc::new(Slack::new(slack)?));
    }
    let github = &settings.github;
    if github.configured() {
        observe.code = Some(Arc::new(Github::new(github)?));
    }
    let jira = &settings.jira;
    if jira.configured() {
        observe.tickets = Some(Arc::new(Jira::new(jira)?));
    }
    Ok(observe)
}

/// What can be changed, for the executor.
pub async fn act(settings: &ToolsSettings) -> Result<Act, ToolError> {
    let mut act = Act::default();
    let kubernetes = &settings.kubernetes;
    if kubernetes.configured() {
        act = act.with_cluster(Box::new(Actor::new(Api::connect(kubernetes).await?)));
    }
    Ok(act)
}
