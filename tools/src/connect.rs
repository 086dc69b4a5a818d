//! From settings to tools. Two functions, so that who builds the one does not hold the other.

use std::sync::Arc;

use crate::act::Act;
use crate::github::{self, Github};
use crate::jira::{self, Jira};
use crate::kubernetes::{Actor, Api, Observer};
use crate::loki::Loki;
use crate::observe::Observe;
use crate::prometheus::Prometheus;
use crate::slack::Slack;
use crate::terraform::Terraform;
use crate::terraform::apply::Applier;
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
        let host = Arc::new(Github::new(github)?);
        observe.code = Some(host.clone());
        observe.security = Some(host);
    }
    if !github.write.is_empty() {
        observe.plans.push(Arc::new(github::Planner::new(github)?));
    }
    let jira = &settings.jira;
    if jira.configured() {
        observe.tickets = Some(Arc::new(Jira::new(jira)?));
    }
    if !jira.write.is_empty() {
        observe.plans.push(Arc::new(jira::Planner::new(jira)?));
    }
    let terraform = &settings.terraform;
    if terraform.configured() {
        let terraform = Arc::new(Terraform::new(terraform)?);
        observe.infrastructure = Some(terraform.clone());
        observe.plans.push(terraform);
    }
    Ok(observe)
}

/// What can be changed, for the executor.
pub async fn act(settings: &ToolsSettings) -> Result<Act, ToolError> {
    let mut act = Act::default();
    let kubernetes = &settings.kubernetes;
    if kubernetes.configured() {
        act = act.with(Box::new(Actor::new(Api::connect(kubernetes).await?)));
    }
    if !settings.github.write.is_empty() {
        act = act.with(Box::new(github::Writer::new(&settings.github)?));
    }
    if !settings.jira.write.is_empty() {
        act = act.with(Box::new(jira::Writer::new(&settings.jira)?));
    }
    let terraform = &settings.terraform;
    if terraform.folders.iter().any(|folder| folder.apply) {
        act = act.with(Box::new(Applier::new(Terraform::new(terraform)?)));
    }
    Ok(act)
}
