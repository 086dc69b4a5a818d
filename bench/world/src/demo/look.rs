//! The incident as the REST API shows it at one moment.

use std::fmt;
use std::net::SocketAddr;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::story::SERVICE;
use crate::client::get;

/// Empty (null) until there is an incident.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub incident: Value,
    pub members: Vec<Value>,
    /// Rows of `incident_events`, by revision.
    pub events: Vec<Value>,
    /// Steps of the agents, oldest first.
    pub steps: Vec<Value>,
    pub remediations: Vec<Value>,
    /// Why nothing was seen.
    pub fault: String,
}

impl Look {
    /// The newest incident of the service whose title begins with `alert`.
    pub(super) async fn at(gateway: SocketAddr, alert: &str) -> anyhow::Result<Self> {
        let found = get(gateway, &format!("/api/v1/incidents?service={SERVICE}&limit=20")).await?;
        let mut listed = list(&found["incidents"]).into_iter();
        let Some(incident) = listed.find(|row| text(&row["title"]).starts_with(alert)) else {
            return Ok(Look::default());
        };
        let id = text(&incident["id"]);
        let detail = get(gateway, &format!("/api/v1/incidents/{id}")).await?;
        let steps = get(gateway, &format!("/api/v1/runs?incident={id}&limit=100")).await?;
        let remediations = get(gateway, &format!("/api/v1/remediations?incident={id}&limit=100")).await?;
        let mut steps = list(&steps["steps"]);
        steps.sort_by_key(|step| time(&step["created_at"]));
        Ok(Look {
            incident: detail["incident"].clone(),
            members: list(&detail["members"]),
            events: list(&detail["events"]),
            steps,
            remediations: list(&remediations["remediations"]),
            fault: String::new(),
        })
    }

    pub fn id(&self) -> &str {
        text(&self.incident["id"])
    }

    /// What is known of `fact`, oldest first: the fact, and when Aegis saw what caused it.
    pub fn facts<'a>(&'a self, fact: &'a str) -> impl Iterator<Item = (&'a Value, Option<DateTime<Utc>>)> {
        let of = move |event: &&Value| event["fact"] == fact;
        let events = self.events.iter().filter(of);
        events.map(|event| (&event["payload"]["fact"], time(&event["observed_at"])))
    }

    /// Findings of a kind, as the incident keeps them.
    pub fn findings<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        let findings = self.facts("finding_added").map(|(fact, _)| &fact["finding"]);
        findings.filter(move |finding| finding["kind"] == kind)
    }

    /// The last step of an agent that has ended.
    pub fn step(&self, agent: &str) -> Option<&Value> {
        let of = |step: &&Value| step["agent"] == agent && step["status"] != "running";
        self.steps.iter().rfind(of)
    }

    /// The newest.
    pub fn remediation(&self) -> Option<&Value> {
        self.remediations.iter().max_by_key(|row| time(&row["created_at"]))
    }

    pub fn postmortem(&self) -> Option<&Value> {
        self.facts("postmortem_added")
            .last()
            .map(|(fact, _)| &fact["postmortem"])
    }
}

/// One line, for whoever waited in vain.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.incident["status"].as_str() else {
            return write!(f, "no incident {}", self.fault);
        };
        let step = |step: &Value| format!("{} {}", text(&step["agent"]), text(&step["status"]));
        let steps: Vec<String> = self.steps.iter().map(step).collect();
        let one = |row: &Value| {
            let words = ["action", "target", "status", "note"].map(|name| text(&row[name]));
            words.join(" ")
        };
        let remediations: Vec<String> = self.remediations.iter().map(one).collect();
        write!(
            f,
            "{status}; steps: {}; remediations: {}",
            steps.join(", "),
            remediations.join(", ")
        )
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
