//! What must be true of the story in which everything went wrong: each point looked up where it is kept, none taken from a text made
//! for people. A story that leaves something out must miss the points about it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::Value;

use super::look::{Look, text, time};
use super::stages::{executions, resolved_on_slack};
use super::story::{MEMORY_ROSE, NAMESPACE, RELEASED, SERVICE, TICKET, TRAFFIC_ROSE};
use crate::World;
use crate::kubernetes::seed::SEEDED;

/// Longest from the alert to the end.
const IN_TIME: TimeDelta = TimeDelta::minutes(3);

/// A point, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    /// What must hold.
    pub what: &'static str,
    pub holds: bool,
}

pub fn checks(look: &Look, world: &World) -> Vec<Check> {
    let state = world.state();
    let remediation = look.remediation().cloned().unwrap_or_default();
    let done = executions(&state).len();
    let pods = state.kubernetes.list("pods", Some(NAMESPACE));
    let left = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app"] == SERVICE && pod["metadata"]["annotations"][SEEDED] == "true");
    let replaced = left.count() == 0;
    let resolved = look.incident["status"] == "resolved";
    let slack = resolved_on_slack(look, &state).is_some();
    drop(state);

    let mut checks = Vec::new();
    let mut check = |name, what, holds| checks.push(Check { name, what, holds });
    check(
        "name",
        "the incident is called by alert, service and value",
        named(look),
    );
    check("triage", "triage asks Prometheus, says critical and why", triage(look));
    check(
        "log lines",
        "the OutOfMemoryError lines are found, and counted by template",
        log_lines(look),
    );
    check("traffic", "traffic rose ten minutes before memory did", traffic(look));
    check("suspect", "the release of the service is a suspect", suspect(look));
    check(
        "commits",
        "the commits of the release are evidence of the root cause",
        commits(look),
    );
    check(
        "proposal",
        "restart deployment/api-server in production is proposed, with dry run, inverse and evidence",
        proposal(&remediation),
    );
    let by = text(&remediation["decided_by"]);
    check(
        "grant",
        "a rule or a human grants it",
        by.starts_with("rule:") || by.starts_with("human:"),
    );
    check("execution", "the cluster is changed once", done == 1);
    check(
        "verification",
        "every pod is replaced and ready, no alert fires, before and after are kept",
        replaced && verified(&remediation),
    );
    check(
        "postmortem",
        "root cause, impact, timeline, resolution and follow-ups, each with evidence",
        postmortem(look),
    );
    check(
        "tickets",
        "the open ticket about the service is a follow-up",
        tickets(look),
    );
    check(
        "slack",
        "the message on Slack says that it is resolved",
        resolved && slack,
    );
    check(
        "resolution",
        "the incident is resolved by agent",
        resolved && look.incident["resolved_by"] == "agent",
    );
    check(
        "time",
        "from the alert to the end within three minutes",
        resolved && in_time(look),
    );
    checks
}

fn cites(of: &Value, source: &str) -> bool {
    let citations = of["citations"].as_array();
    citations.into_iter().flatten().any(|citation| {
        citation["source"] == source && !text(&citation["query"]).is_empty() && !text(&citation["excerpt"]).is_empty()
    })
}

/// `High Memory Usage on api-server (95%)`.
fn named(look: &Look) -> bool {
    let title = text(&look.incident["title"]);
    let value = title.split_once(&format!(" on {SERVICE} (")).map(|(_, value)| value);
    value.is_some_and(|value| value.ends_with("%)") && value.starts_with(|c: char| c.is_ascii_digit()))
}

/// Cited by the finding, and by the root cause that came of it.
fn commits(look: &Look) -> bool {
    let found = look.findings("recent_change").any(|finding| {
        finding["facts"]["commits"] == 2
            && cites(finding, "github")
            && text(&finding["summary"]).contains("whole reports")
    });
    let Some(report) = look.postmortem() else { return false };
    let cited = report["root_cause"]["citations"].as_array().into_iter().flatten();
    let by_root_cause = cited.filter(|id| text(id).starts_with("github-")).count() == 1;
    found && by_root_cause && text(&report["root_cause"]["text"]).contains("Keep finished reports in memory")
}

fn tickets(look: &Look) -> bool {
    let Some(report) = look.postmortem() else { return false };
    let mut follow_ups = report["follow_ups"].as_array().into_iter().flatten();
    let about = |one: &Value| {
        let cited = one["citations"].as_array().into_iter().flatten();
        text(&one["text"]).contains(TICKET) && cited.filter(|id| text(id).starts_with("jira-")).count() == 1
    };
    follow_ups.any(about) && !report.to_string().contains("OPS-5")
}

fn triage(look: &Look) -> bool {
    let Some(step) = look.step("triage") else { return false };
    let verdict = &step["output"]["triage"];
    let measured = look.findings("impact").any(|finding| {
        finding["facts"]["symptom"] == "memory"
            && finding["facts"]["value"].as_f64().is_some_and(|value| value > 0.9)
            && cites(finding, "prometheus")
    });
    verdict["severity"] == "critical" && !text(&verdict["why"]).is_empty() && measured
}

fn log_lines(look: &Look) -> bool {
    look.findings("out_of_memory").any(|finding| {
        let facts = &finding["facts"];
        let templates = facts["templates"].as_array();
        let counts = templates.into_iter().flatten().map(|template| {
            let named = text(&template["template"]).contains("OutOfMemoryError");
            template["count"].as_u64().filter(|_| named).unwrap_or_default()
        });
        let counts: Vec<u64> = counts.collect();
        counts.len() > 1
            && counts.iter().all(|count| *count > 0)
            && facts["count"].as_u64() == Some(counts.iter().sum())
            && cites(finding, "logs")
    })
}

/// Points lie a minute apart, so each onset is known to a minute.
fn traffic(look: &Look) -> bool {
    let memory = look.findings("metric_change").any(|finding| {
        finding["facts"]["symptom"] == "memory" && finding["facts"]["saturated"] == true && cites(finding, "prometheus")
    });
    let expected = i64::from(TRAFFIC_ROSE - MEMORY_ROSE);
    let before = look.findings("traffic_before_symptom").any(|finding| {
        let lag = finding["facts"]["lag_minutes"].as_i64();
        lag.is_some_and(|lag| (expected - 1..=expected + 1).contains(&lag))
            && finding["facts"]["before"] == "symptom"
            && cites(finding, "prometheus")
    });
    memory && before
}

fn suspect(look: &Look) -> bool {
    let named = look.facts("suspect_found").any(|(fact, _)| {
        let suspect = &fact["suspect"];
        let minutes = suspect["before_ms"].as_i64().unwrap_or_default() / 60_000;
        suspect["service"] == SERVICE && (i64::from(RELEASED) - 1..=i64::from(RELEASED) + 1).contains(&minutes)
    });
    named && look.findings("recent_change").any(|finding| cites(finding, "change"))
}

/// Nothing takes a restart back, which the proposal has to say.
fn proposal(row: &Value) -> bool {
    let proposal = &row["proposal"];
    row["action"] == "restart"
        && row["target"] == format!("deployment/{SERVICE}")
        && row["namespace"] == NAMESPACE
        && text(&proposal["dry_run"]).contains("restartedAt")
        && proposal["inverse"].is_null()
        && text(&row["reason"]).contains("Nothing takes it back")
        && ["prometheus", "logs", "kubernetes"]
            .iter()
            .all(|source| cites(proposal, source))
}

fn verified(row: &Value) -> bool {
    let (before, after) = (&row["before"], &row["after"]);
    row["status"] == "verified"
        && before["generation"].as_i64() < after["generation"].as_i64()
        && before["uid"] == after["uid"]
        && before["uid"].is_string()
        && after["ready"] == after["replicas"]
}

fn postmortem(look: &Look) -> bool {
    let Some(report) = look.postmortem() else { return false };
    let known: BTreeSet<&str> = report["citations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|citation| text(&citation["id"]))
        .collect();
    let carried = |statement: &Value| {
        let ids: Vec<&str> = statement["citations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let open = text(&statement["text"]).starts_with("Not known");
        (open || !ids.is_empty()) && ids.iter().all(|id| known.contains(id))
    };
    let said = |statement: &Value| carried(statement) && !text(&statement["text"]).starts_with("Not known");
    let all = |name: &str, least: usize| {
        let statements = report[name].as_array();
        statements.is_some_and(|list| list.len() >= least && list.iter().all(carried))
    };
    ["root_cause", "impact", "resolution"]
        .iter()
        .all(|name| said(&report[*name]))
        && all("timeline", 3)
        && all("follow_ups", 1)
}

fn in_time(look: &Look) -> bool {
    let began = look
        .members
        .iter()
        .filter_map(|member| time(&member["starts_at"]))
        .min();
    let ended = look.facts("closed").filter_map(|(_, at)| at).max();
    began.zip(ended).is_some_and(|(began, ended)| ended - began <= IN_TIME)
}
