//! What every tool promises, observing and acting, on the stand-ins: one table of questions, one of deeds, and every fault put to each of
//! them. A tool of the catalog that is in no table fails.

mod support;

#[path = "conformance/acting.rs"]
mod acting;
#[path = "conformance/answers.rs"]
mod answers;
#[path = "conformance/code.rs"]
mod code;
#[path = "conformance/observing.rs"]
mod observing;
#[path = "conformance/security.rs"]
mod security;
#[path = "conformance/tickets.rs"]
mod tickets;

use chrono::{TimeDelta, Utc};
use model::{Action, WorkloadKind};
use serde_json::{Value, json};
use support::{Bench, REPOSITORY, TOKEN, api_server, bench_within, line, restart, workload};
use tools::ToolError;
use tools::catalog::{Purpose, call, catalog};
use tools::observe::Observe;
use world::github::sha;
use world::{Fault, FaultKind, Scenario, System};

/// What only the executor asks, so it is in no catalog.
const STATE: &str = "kubernetes_state";

/// Arguments for every observing tool of the catalog. A tool that is not here fails the tests.
fn question(name: &str) -> (System, Value) {
    let (from, to) = (Utc::now() - TimeDelta::minutes(10), Utc::now() + TimeDelta::minutes(1));
    match name {
        "prometheus_query" => (System::Prometheus, json!({"expression": "up", "at": Utc::now()})),
        "prometheus_query_range" => (
            System::Prometheus,
            json!({"expression": "up", "from": from, "to": to, "step_s": 15}),
        ),
        "prometheus_alerts" => (System::Prometheus, json!({})),
        "prometheus_rules" => (System::Prometheus, json!({"name": "HighMemory", "kind": "alerting"})),
        "prometheus_targets" => (System::Prometheus, json!({"job": "api"})),
        "logs_search" => (
            System::Loki,
            json!({"service": "api-server", "from": from, "to": to, "min_level": null, "contains": null, "limit": 10}),
        ),
        "logs_labels" => (System::Loki, json!({"from": from, "to": to, "name": "app"})),
        "slack_history" => (
            System::Slack,
            json!({"channel": null, "from": from, "to": to, "limit": 10}),
        ),
        "github_deployments" => (
            System::Github,
            json!({"repository": REPOSITORY, "environment": "production", "limit": 5, "states": true}),
        ),
        "github_compare" => (
            System::Github,
            json!({"repository": REPOSITORY, "base": sha(1), "head": sha(3)}),
        ),
        "github_security_alerts" => (
            System::Github,
            json!({"repository": REPOSITORY, "kind": "secret_scanning", "open": true, "limit": 5}),
        ),
        "github_security_alert" => (
            System::Github,
            json!({"repository": REPOSITORY, "kind": "dependabot", "number": 3}),
        ),
        "github_secrets_in_change" => (
            System::Github,
            json!({"repository": REPOSITORY, "base": sha(1), "head": sha(3)}),
        ),
        "github_diff" => (
            System::Github,
            json!({"repository": REPOSITORY, "base": sha(1), "head": sha(3)}),
        ),
        "github_commits" => (
            System::Github,
            json!({"repository": REPOSITORY, "from": "main", "path": "src", "since": null, "until": null, "limit": 5}),
        ),
        "github_pull_requests" => (
            System::Github,
            json!({"repository": REPOSITORY, "commit": sha(2), "limit": 5}),
        ),
        "github_runs" => (
            System::Github,
            json!({"repository": REPOSITORY, "commit": sha(3), "failed": true, "limit": 5}),
        ),
        "github_dry_run" => (System::Github, json!({"action": deed("github_create_issue").1})),
        "jira_dry_run" => (System::Jira, json!({"action": deed("jira_comment").1})),
        "github_deliveries" => (System::Github, json!({"repository": REPOSITORY, "hook": HOOK})),
        "jira_search" => (System::Jira, json!({"about": "api-server", "open": true, "limit": 5})),
        "jira_ticket" => (System::Jira, json!({"key": "OPS-1"})),
        "kubernetes_find" => (System::Kubernetes, json!({"namespace": null, "name": "api-server"})),
        "kubernetes_pods" | "kubernetes_events" | "kubernetes_revisions" => {
            (System::Kubernetes, json!({"workload": api_server()}))
        }
        "kubernetes_dry_run" => (System::Kubernetes, json!({"action": restart()})),
        STATE => (System::Kubernetes, Value::Null),
        other => panic!("no question for {other}"),
    }
}

/// What every acting tool of the catalog is asked to do. A tool that is not here fails the tests.
fn deed(name: &str) -> (System, Action) {
    let arguments = match name {
        "kubernetes_restart" => json!({"target": api_server()}),
        "kubernetes_rollback" => json!({"target": api_server()}),
        "kubernetes_scale" => json!({"target": api_server(), "replicas": 5}),
        "github_create_issue" => {
            json!({"repository": REPOSITORY, "title": "Heap grows", "body": "It grows.\n\n- look", "labels": ["incident"]})
        }
        "github_comment" => json!({"repository": REPOSITORY, "number": 1, "body": "It happened again."}),
        "github_rerun_failed_jobs" => json!({"repository": REPOSITORY, "run": RUN, "attempt": 1}),
        "jira_create_issue" => {
            json!({"project": "OPS", "kind": "Task", "title": "Heap grows", "body": "It grows.\n\nLook.", "labels": ["incident"]})
        }
        "jira_comment" => json!({"ticket": "OPS-1", "body": "It happened again."}),
        "jira_transition" => json!({"ticket": "OPS-1", "to": "Closed"}),
        other => panic!("no deed for {other}"),
    };
    let system = match name.split_once('_').unwrap().0 {
        "kubernetes" => System::Kubernetes,
        "github" => System::Github,
        _ => System::Jira,
    };
    (system, tools::catalog::action(name, arguments).unwrap())
}

fn deeds() -> impl Iterator<Item = &'static str> {
    let acting = catalog().into_iter().filter(|tool| tool.purpose == Purpose::Act);
    let acting = acting.filter(|tool| !tool.name.starts_with("terraform_"));
    acting.map(|tool| tool.name)
}

/// The first that the stand-in gives.
const HOOK: u64 = 1_001;
/// The run that failed.
const RUN: u64 = 1_002;

/// Of these nothing is an answer as good as any.
fn answers_a_list(name: &str) -> bool {
    [
        "github_security_alerts",
        "github_deployments",
        "github_deliveries",
        "github_commits",
        "github_pull_requests",
    ]
    .contains(&name)
}

fn names() -> impl Iterator<Item = &'static str> {
    let observing = catalog().into_iter().filter(|tool| tool.purpose == Purpose::Observe);
    // A program, and no server: tests/terraform.rs puts the same faults to it.
    let observing = observing.filter(|tool| !tool.name.starts_with("terraform_"));
    observing.map(|tool| tool.name).chain([STATE])
}

async fn filled() -> Bench {
    filled_within(30).await
}

/// How long a request may take where one is never answered: a loaded machine needs some time for the others.
fn patience(fault: &Fault) -> u64 {
    match fault.kind {
        FaultKind::Hang | FaultKind::Lost | FaultKind::Late => 2,
        _ => 30,
    }
}

async fn filled_within(timeout_s: u64) -> Bench {
    let bench = bench_within(Scenario::fast(), timeout_s).await;
    fill(&mut bench.world.state());
    // Nobody listens there, which is a delivery all the same.
    bench.world.tell(REPOSITORY, "push", "{}").await;
    bench
}

fn fill(state: &mut world::State) {
    let now = Utc::now().timestamp() as f64;
    state.prometheus.series.push(world::prometheus::Stored {
        labels: [("__name__", "up"), ("job", "api"), ("api_token", "hunter2")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
        points: vec![(now - 300.0, 1.0), (now - 60.0, f64::NAN), (now - 1.0, 0.0)],
    });
    state.prometheus.alerts.push(json!({
        "labels": {"alertname": "HighMemory", "password": "hunter2"},
        "annotations": {},
        "state": "firing",
        "activeAt": "2026-11-25T06:00:00.5Z",
        "value": "1e+00",
    }));
    state.prometheus.groups.push(json!({"name": "memory", "file": "/etc/rules.yml", "interval": 15, "rules": [
        {"type": "recording", "name": "job:memory:sum", "query": "sum(memory) by (job)", "health": "ok",
         "evaluationTime": 0.001, "lastEvaluation": "0001-01-01T00:00:00Z"},
        {"type": "alerting", "name": "HighMemory", "query": "memory{password=\"hunter2\"} > 1e9", "duration": 60, "keepFiringFor": 0,
         "labels": {"severity": "critical", "api_token": "hunter2"}, "annotations": {}, "health": "err", "state": "firing",
         "lastError": "found duplicate series, password=hunter2", "lastEvaluation": "2026-11-25T06:00:00.5Z",
         "alerts": [{"labels": {}, "annotations": {}, "state": "firing", "activeAt": "2026-11-25T06:00:00.5Z", "value": "1e+00"}]},
    ]}));
    let target = |job: &str, instance: &str, health: &str, error: &str| {
        json!({"discoveredLabels": {}, "labels": {"job": job, "instance": instance, "api_token": "hunter2"}, "scrapePool": job,
               "scrapeUrl": "http://127.0.0.1/metrics", "lastError": error, "lastScrape": "2026-11-25T06:00:00.5Z",
               "lastScrapeDuration": 0.01, "health": health, "scrapeInterval": "5s", "scrapeTimeout": "5s"})
    };
    state.prometheus.targets.extend([
        target("api", "b:9100", "down", "context deadline exceeded, password=hunter2"),
        target("api", "a:9100", "up", ""),
        target("db", "c:9100", "up", ""),
    ]);
    state.loki.lines.extend([
        line(
            json!({"app": "api-server", "level": "error"}),
            3,
            "java.lang.OutOfMemoryError password=hunter2",
        ),
        line(json!({"app": "api-server"}), 2, "Authorization: Bearer hunter2hunter2"),
    ]);
    let said = |ago: i64, text: &str| world::slack::Message {
        channel: "C1".into(),
        ts: format!("{}.000100", Utc::now().timestamp() - ago),
        content: json!({"user": "U1", "text": text}),
        updates: 0,
        changed_at: Utc::now(),
    };
    state.slack.messages.extend([
        said(120, "is api-server slow for you too? password=hunter2"),
        said(60, "rolled it back"),
    ]);
    code_and_tickets(state);
}

fn code_and_tickets(state: &mut world::State) {
    let now = Utc::now();
    security::scanners(state);
    let messages = [
        "First",
        "Keep reports in memory password=hunter2\n\nThey are asked for often.",
        "Cache users token: hunter2hunter2",
        "Not deployed",
    ];
    let hook = state
        .github
        .hook(REPOSITORY, "http://127.0.0.1:9/webhooks/github", "s", &[]);
    assert_eq!(hook, HOOK);
    state.github.repository(REPOSITORY, now, &messages);
    let run = state
        .github
        .run(REPOSITORY, ".github/workflows/deploy.yml", &sha(3), "failure", now);
    assert_eq!(run, RUN);
    state.github.write_issue(
        REPOSITORY,
        "Heap grows",
        "Since the release.",
        Vec::new(),
        now - TimeDelta::days(1),
    );
    let repository = state.github.repositories.get_mut(REPOSITORY).unwrap();
    let pull = |number: u64, title: &str, state: &str, commit: usize| world::github::Pull {
        number,
        title: title.into(),
        state: state.into(),
        commits: vec![sha(commit)],
        merged_at: Some(now).filter(|_| state == "closed"),
    };
    repository.pulls.extend([
        pull(11, "Keep reports in memory password=hunter2", "closed", 2),
        pull(12, "Stream reports", "open", 4),
    ]);
    state
        .github
        .deployed(REPOSITORY, &sha(1), "production", "success", now - TimeDelta::days(2));
    state.github.deployed(REPOSITORY, &sha(2), "staging", "success", now);
    state.github.deployed(REPOSITORY, &sha(3), "production", "success", now);
    let ticket = |key: &str, summary: &str, label: &str, done: bool, hours: i64| world::jira::Ticket {
        key: key.into(),
        summary: summary.into(),
        description: "It began\n\nwith password=hunter2".into(),
        labels: vec![label.into()],
        status: if done { "Closed" } else { "In Progress" }.into(),
        done,
        updated: now - TimeDelta::hours(hours),
    };
    state.jira.tickets.extend([
        ticket(
            "OPS-1",
            "Heap grows after release, password=hunter2",
            "api-server",
            false,
            3,
        ),
        ticket("OPS-2", "api-server: raise the memory limit", "memory", false, 1),
        ticket("OPS-3", "api-server fell over", "api-server", true, 2),
        ticket("HR-1", "api-server is a bad name", "api-server", false, 1),
        ticket("OPS-4", "checkout is slow", "checkout", false, 1),
    ]);
}

async fn ask(bench: &Bench, name: &str) -> Result<Value, ToolError> {
    ask_of(&bench.observe, name).await
}

async fn ask_of(observe: &Observe, name: &str) -> Result<Value, ToolError> {
    if name == STATE {
        let state = observe.cluster.as_deref().unwrap().state(&restart()).await?;
        return Ok(serde_json::to_value(state).unwrap());
    }
    call(observe, name, question(name).1).await
}

/// Every tool under `fault`; each must end as `expected` says, and nothing of the credentials may show.
async fn check(fault: impl Fn(System) -> Fault, expected: impl Fn(&ToolError) -> bool) {
    check_of(names(), fault, expected).await;
}

async fn check_of(
    names: impl Iterator<Item = &'static str>,
    fault: impl Fn(System) -> Fault,
    expected: impl Fn(&ToolError) -> bool,
) {
    let mut bench = filled_within(patience(&fault(System::Github))).await;
    for name in names {
        bench.world.fail(fault(question(name).0));
        let failure = ask(&bench, name).await.expect_err(name);
        assert!(expected(&failure), "{name}: {failure:?}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
        assert!(!failure.to_string().contains(TOKEN), "{failure}");
        bench.world.heal();
        if matches!(failure, ToolError::DidNotHappen { .. }) && limited(&failure) {
            // It keeps the wait that it was told, also with a server that is well again.
            assert!(limited(&ask(&bench, name).await.unwrap_err()), "{name}");
            bench.fresh_tools().await;
        }
        ask(&bench, name)
            .await
            .unwrap_or_else(|failure| panic!("{name}, healed: {failure}"));
    }
}

fn limited(failure: &ToolError) -> bool {
    failure.to_string().contains("limit of requests is used up")
}

fn later(failure: &ToolError) -> bool {
    matches!(failure, ToolError::DidNotHappen { retry: true, .. })
}

fn refused(failure: &ToolError) -> bool {
    matches!(failure, ToolError::Refused { .. })
}
