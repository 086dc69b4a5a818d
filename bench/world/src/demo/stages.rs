//! What has been reached, and when: from the rows of Aegis and from what the stand-ins saw.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::look::{Look, text, time};
use super::story::SERVICE;
use crate::slack::Message;
use crate::{State, System, World};

/// A stage of the incident that has been reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    pub name: &'static str,
    pub at: DateTime<Utc>,
    /// What came of it, for people; its lines.
    pub told: Vec<String>,
}

/// By time.
pub fn stages(look: &Look, world: &World) -> Vec<Stage> {
    let mut stages = Vec::new();
    let mut reach = |name: &'static str, at: Option<DateTime<Utc>>, told: Vec<String>| {
        stages.extend(at.map(|at| Stage { name, at, told }));
    };
    let fired = look.members.iter().filter(|member| member["source"] == "alertmanager");
    let fired = fired.min_by_key(|member| time(&member["starts_at"]));
    if let Some(alert) = fired {
        let told = format!("{} ({})", text(&alert["title"]), text(&alert["severity"]));
        reach("alert fires", time(&alert["starts_at"]), vec![told]);
    }
    if let Some((_, at)) = look.facts("opened").next() {
        let of = &look.incident;
        let told = format!("{} of {}", text(&of["severity"]), text(&of["service"]));
        reach("incident opened", at, vec![told]);
    }
    for (fact, at) in look.facts("suspect_found") {
        let suspect = &fact["suspect"];
        let minutes = suspect["before_ms"].as_i64().unwrap_or_default() / 60_000;
        reach(
            "suspect",
            at,
            vec![format!("{}, {minutes} min before the alert", text(&suspect["title"]))],
        );
    }
    for (agent, name) in [
        ("triage", "triage"),
        ("log_analyst", "log analyst"),
        ("metric_correlator", "metric correlator"),
        ("fixer", "fixer"),
        ("postmortem_writer", "postmortem"),
    ] {
        if let Some(step) = look.step(agent) {
            reach(name, time(&step["finished_at"]), output_of(step));
        }
    }
    let state = world.state();
    if let Some(done) = executions(&state).first() {
        let by = look
            .remediation()
            .map(|row| text(&row["decided_by"]))
            .unwrap_or_default();
        reach("executed", Some(*done), vec![format!("granted by {by}")]);
    }
    if let Some(row) = look.remediation().filter(|row| row["status"] == "verified") {
        let told = format!("before: {}; after: {}", pods(&row["before"]), pods(&row["after"]));
        let note = text(&row["note"]).to_owned();
        reach("verified", time(&row["updated_at"]), vec![note, told]);
    }
    if let Some((fact, at)) = look.facts("closed").last() {
        let told = format!(
            "by {}: {}",
            text(&look.incident["resolved_by"]),
            text(&fact["resolution"])
        );
        reach("resolved", at, vec![told]);
        if let Some(message) = resolved_on_slack(look, &state) {
            let told = format!("{}, changed {} times", text(&message.content["text"]), message.updates);
            reach("Slack", Some(message.changed_at), vec![told]);
        }
    }
    stages.sort_by_key(|stage| stage.at);
    stages
}

/// Whether the last ones are reached. Tables of different topics are written by turns, so the very last may be seen first.
pub fn over(stages: &[Stage]) -> bool {
    let reached = |name: &&str| stages.iter().any(|stage| stage.name == *name);
    ["verified", "postmortem", "resolved", "Slack"].iter().all(reached)
}

/// The incident's message, if it says that the incident is resolved.
pub fn resolved_on_slack<'a>(look: &Look, state: &'a State) -> Option<&'a Message> {
    state.slack.messages.iter().find(|message| {
        message.updates > 0
            && text(&message.content["text"]).starts_with("[RESOLVED]")
            && message.content.to_string().contains(look.id())
    })
}

/// When workloads of the service were really changed.
pub fn executions(state: &State) -> Vec<DateTime<Utc>> {
    let changed = state.requests.iter().filter(|seen| {
        seen.system == System::Kubernetes
            && seen.method == "PATCH"
            && seen.uri.contains(&format!("/{SERVICE}"))
            && !seen.uri.contains("dryRun")
    });
    changed.map(|seen| seen.at).collect()
}

fn output_of(step: &Value) -> Vec<String> {
    let output = &step["output"];
    let mut told = Vec::new();
    if step["status"] != "success" {
        told.push(format!("{}: {}", text(&step["status"]), text(&step["error"])));
    }
    if let Some(why) = output["triage"]["why"].as_str() {
        told.push(format!("{}: {why}", text(&output["triage"]["severity"])));
    }
    if step["agent"] != "triage" {
        let findings = output["findings"].as_array().into_iter().flatten();
        told.extend(findings.map(|finding| text(&finding["summary"]).to_owned()));
    }
    if let Some(reason) = output["proposal"]["reason"].as_str() {
        told.push(format!("proposes {}", action(&output["proposal"]["action"])));
        told.push(reason.to_owned());
    }
    if let Some(cause) = output["postmortem"]["root_cause"]["text"].as_str() {
        told.push(cause.to_owned());
    }
    if step["agent"] == "fixer" && told.is_empty() {
        let unknown = output["unknown"].as_array().into_iter().flatten();
        told.extend(unknown.map(|what| text(what).to_owned()));
    }
    told
}

/// `restart deployment/api-server in production`.
pub fn action(action: &Value) -> String {
    let target = &action["target"];
    let kind = text(&target["kind"]).to_lowercase();
    format!(
        "{} {kind}/{} in {}",
        text(&action["type"]),
        text(&target["name"]),
        text(&target["namespace"])
    )
}

fn pods(state: &Value) -> String {
    format!(
        "{} of {} pods ready, generation {}",
        state["ready"], state["replicas"], state["generation"]
    )
}
