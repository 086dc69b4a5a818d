//! What every observing tool promises, on the stand-ins: one table of questions, every fault put to each of them.

mod support;

use chrono::{TimeDelta, Utc};
use model::WorkloadKind;
use serde_json::{Value, json};
use support::{Bench, TOKEN, api_server, bench, line, restart, workload};
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
        "logs_search" => (
            System::Loki,
            json!({"service": "api-server", "from": from, "to": to, "min_level": null, "contains": null, "limit": 10}),
        ),
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

const REPOSITORY: &str = "shop/api-server";
/// The first that the stand-in gives.
const HOOK: u64 = 1_001;

/// Of these nothing is an answer as good as any.
fn answers_a_list(name: &str) -> bool {
    ["github_deployments", "github_deliveries"].contains(&name)
}

fn names() -> impl Iterator<Item = &'static str> {
    let observing = catalog().into_iter().filter(|tool| tool.purpose == Purpose::Observe);
    observing.map(|tool| tool.name).chain([STATE])
}

async fn filled() -> Bench {
    let bench = bench(Scenario::fast()).await;
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
    state
        .github
        .deployed(REPOSITORY, &sha(1), "production", "success", now - TimeDelta::days(2));
    state.github.deployed(REPOSITORY, &sha(2), "staging", "success", now);
    state.github.deployed(REPOSITORY, &sha(3), "production", "success", now);
    let ticket = |key: &str, summary: &str, label: &str, done: bool, hours: i64| world::jira::Ticket {
        key: key.into(),
        summary: summary.into(),
        description: String::new(),
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
    let mut bench = filled().await;
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

#[tokio::test]
async fn success_without_secrets() {
    let bench = filled().await;
    for name in names() {
        let answer = ask(&bench, name)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let text = answer.to_string();
        assert!(!text.contains("hunter2"), "{name}: {text}");
        assert!(!answer.as_array().is_some_and(Vec::is_empty), "{name} found nothing");
    }
}

#[tokio::test]
async fn hanging() {
    check(|system| Fault::new(system, FaultKind::Hang), later).await;
}

#[tokio::test]
async fn answers_that_are_lost_or_break_off() {
    check(|system| Fault::new(system, FaultKind::Lost), later).await;
    check(|system| Fault::new(system, FaultKind::Cut), later).await;
}

#[tokio::test]
async fn server_errors_are_not_repeated() {
    for status in [500, 503, 504, 429] {
        check(
            move |system| Fault::new(system, FaultKind::Error).answer(status, "password=hunter2"),
            later,
        )
        .await;
    }
    let bench = filled().await;
    let fault = Fault::new(System::Kubernetes, FaultKind::Error)
        .answer(503, "")
        .times(1);
    bench.world.fail(fault);
    ask(&bench, "kubernetes_pods").await.unwrap_err();
    assert_eq!(bench.world.count(System::Kubernetes, "GET"), 1);
}

#[tokio::test]
async fn refusals_show_no_credentials() {
    // A server that repeats the token: a plain word where the tool knows it, a JWT (as service accounts have) where it does not.
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodW50ZXIyaHVudGVyMiJ9.c2lnbmF0dXJl";
    let body = |system| {
        let token = if system == System::Kubernetes { jwt } else { TOKEN };
        format!(r#"{{"message":"no rights for token {token}, password: hunter2","error":"not for {token}"}}"#)
    };
    for status in [400, 401, 403, 404, 422, 302] {
        let refusal = |system| Fault::new(system, FaultKind::Error).answer(status, &body(system));
        check(refusal, |failure| {
            refused(failure) && !failure.to_string().contains("eyJ")
        })
        .await;
    }
}

#[tokio::test]
async fn rubbish_and_too_much() {
    check(|system| Fault::new(system, FaultKind::Rubbish), later).await;
    check(|system| Fault::new(system, FaultKind::Huge), refused).await;
    for body in ["[]", "{}", "null", r#"{"items":7,"data":7,"status":"success"}"#] {
        check_of(
            names().filter(|name| body != "[]" || !answers_a_list(name)),
            move |system| Fault::new(system, FaultKind::Error).answer(200, body),
            later,
        )
        .await;
    }
}

#[tokio::test]
async fn nobody_there() {
    let Bench {
        running,
        observe,
        world,
        ..
    } = filled().await;
    let gone = running.url();
    drop(running);
    // A tool of its own: connections that are open already may live on.
    let settings = support::settings(&gone);
    let fresh = tools::connect::observe(&settings).await.unwrap();
    drop((observe, world));
    support::until("the port to be closed", async || {
        tokio::net::TcpStream::connect(gone.trim_start_matches("http://"))
            .await
            .err()
    })
    .await;
    for name in names() {
        let failure = ask_of(&fresh, name).await.unwrap_err();
        assert!(later(&failure), "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn late_and_twice_are_answers_all_the_same() {
    let bench = filled().await;
    for name in names() {
        let system = question(name).0;
        let late = Fault {
            delay_ms: 30,
            ..Fault::new(system, FaultKind::Late)
        };
        for fault in [late, Fault::new(system, FaultKind::Twice)] {
            bench.world.fail(fault);
            ask(&bench, name)
                .await
                .unwrap_or_else(|failure| panic!("{name}: {failure}"));
            bench.world.heal();
        }
    }
}

#[tokio::test]
async fn only_dry_runs_are_patched_and_they_change_nothing() {
    let bench = filled().await;
    let before = bench.cluster().state(&restart()).await.unwrap();
    for name in names() {
        ask(&bench, name).await.unwrap();
    }
    let requests = bench.world.state().requests.clone();
    for seen in requests.iter().filter(|seen| seen.method != "GET") {
        assert!(
            seen.method == "PATCH" && seen.uri.contains("dryRun=All"),
            "{} {}",
            seen.method,
            seen.uri
        );
    }
    let after = bench.cluster().state(&restart()).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn more_than_is_handed_on_is_refused_not_cut() {
    let bench = filled().await;
    for index in 0..20 {
        let labels = [
            ("__name__".to_owned(), "up".to_owned()),
            ("pod".to_owned(), index.to_string()),
        ];
        bench.world.state().prometheus.series.push(world::prometheus::Stored {
            labels: labels.into(),
            points: vec![(Utc::now().timestamp() as f64 - 1.0, 1.0)],
        });
    }
    let failure = ask(&bench, "prometheus_query").await.unwrap_err();
    assert!(failure.to_string().contains("21 series, at most 20"), "{failure}");
    let span = json!({"expression": "up", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "step_s": 1});
    let failure = call(&bench.observe, "prometheus_query_range", span).await.unwrap_err();
    assert!(failure.to_string().contains("take a larger step"), "{failure}");
}

#[tokio::test]
async fn a_wrong_expression_is_refused_with_the_servers_words() {
    let bench = filled().await;
    for expression in ["up{", "", "rate(up[5m])"] {
        let arguments = json!({"expression": expression, "at": Utc::now()});
        let failure = call(&bench.observe, "prometheus_query", arguments).await.unwrap_err();
        assert!(refused(&failure), "{failure:?}");
    }
}

#[tokio::test]
async fn samples_that_are_no_numbers_are_left_out() {
    let bench = filled().await;
    let answer = ask(&bench, "prometheus_query_range").await.unwrap();
    let points = answer[0]["points"].as_array().unwrap();
    assert!(
        !points.is_empty() && points.iter().all(|point| point["value"].is_number()),
        "{points:?}"
    );
    let alerts = ask(&bench, "prometheus_alerts").await.unwrap();
    assert_eq!(alerts[0]["state"], "firing");
    assert_eq!(alerts[0]["labels"]["alertname"], "HighMemory");
}

async fn logs(bench: &Bench, change: Value) -> Value {
    let mut arguments = question("logs_search").1;
    for (name, value) in change.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    call(&bench.observe, "logs_search", arguments).await.unwrap()
}

fn texts(answer: &Value) -> Vec<&str> {
    answer["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn logs_by_label_level_and_text() {
    let bench = filled().await;
    bench.world.state().loki.lines.extend([
        line(json!({"service": "checkout", "level": "INFO"}), 9, "started"),
        line(json!({"service": "checkout", "detected_level": "warn"}), 8, "slow"),
        line(json!({"service": "checkout", "level": "fatal"}), 7, r#"panic at "x\y""#),
        line(json!({"service": "checkout"}), 6, "no level"),
        line(json!({"service_name": "other"}), 5, "other"),
    ]);
    let all = logs(&bench, json!({"service": "checkout"})).await;
    assert_eq!(texts(&all), ["no level", r#"panic at "x\y""#, "slow", "started"]);
    assert_eq!(all["query"], r#"{service="checkout"}"#);
    assert_eq!(all["lines"][2]["level"], "warn");
    assert_eq!(all["cut"], false);

    let errors = logs(&bench, json!({"service": "checkout", "min_level": "error"})).await;
    assert_eq!(texts(&errors), ["no level", r#"panic at "x\y""#]);
    let one = logs(&bench, json!({"service": "checkout", "limit": 1})).await;
    assert_eq!((texts(&one), &one["cut"]), (vec!["no level"], &json!(true)));
    let found = logs(&bench, json!({"service": "checkout", "contains": r#"at "x\y"#})).await;
    assert_eq!(texts(&found), [r#"panic at "x\y""#]);

    // Whoever writes a text into a query stays within it.
    let injected = logs(&bench, json!({"service": r#"x"} or {service_name="other"#})).await;
    assert_eq!(texts(&injected), [""; 0]);
    assert_eq!(injected["query"].as_str().unwrap().lines().count(), 3);

    let state = bench.world.state();
    let seen = state.requests.iter().find(|seen| seen.system == System::Loki).unwrap();
    assert_eq!(seen.header("x-scope-orgid"), Some("shop"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[tokio::test]
async fn long_lines_are_cut_after_their_secrets_are_hidden() {
    let bench = filled().await;
    let text = format!("{} password=hunter2 {}", "x".repeat(185), "y".repeat(500));
    bench
        .world
        .state()
        .loki
        .lines
        .push(line(json!({"app": "long"}), 1, &text));
    let answer = logs(&bench, json!({"service": "long"})).await;
    let shown = texts(&answer)[0];
    assert!(
        shown.contains("password=[r") && shown.contains("more characters"),
        "{shown}"
    );
}

#[tokio::test]
async fn workloads_are_found_by_name_and_by_label() {
    let bench = filled().await;
    let cluster = bench.cluster();
    assert_eq!(cluster.find(None, "api-server").await.unwrap(), [api_server()]);
    assert_eq!(
        cluster.find(Some("production"), "postgres").await.unwrap(),
        [workload(WorkloadKind::StatefulSet, "postgres")]
    );
    assert_eq!(
        cluster.find(None, "node-agent").await.unwrap(),
        [workload(WorkloadKind::DaemonSet, "node-agent")]
    );
    assert_eq!(cluster.find(Some("staging"), "api-server").await.unwrap(), []);
    let failure = cluster.find(None, "../secrets").await.unwrap_err();
    assert!(refused(&failure), "{failure:?}");
}

#[tokio::test]
async fn what_the_cluster_says_of_a_workload() {
    let bench = filled().await;
    for (kind, name, pods, revisions) in [
        (WorkloadKind::Deployment, "api-server", 3, 2),
        (WorkloadKind::Deployment, "checkout", 2, 3),
        (WorkloadKind::StatefulSet, "postgres", 2, 2),
        (WorkloadKind::DaemonSet, "node-agent", 2, 2),
    ] {
        let target = workload(kind, name);
        let found = bench.cluster().pods(&target).await.unwrap();
        assert_eq!(found.len(), pods, "{name}");
        assert!(
            found.iter().all(|pod| pod.ready && pod.started_at.is_some()),
            "{found:?}"
        );
        let kept = bench.cluster().revisions(&target).await.unwrap();
        let numbers: Vec<i64> = kept.iter().map(|revision| revision.number).collect();
        assert_eq!(numbers, (1..=revisions).rev().collect::<Vec<i64>>(), "{name}");
        let state = bench.cluster().state(&model::Action::Restart { target }).await.unwrap();
        assert_eq!((state.replicas, state.ready), (pods as u32, pods as u32), "{name}");
        assert_eq!(
            state.detail["revision"].as_i64().unwrap_or(revisions),
            revisions,
            "{name}"
        );
    }
    let leaking = bench.cluster().pods(&api_server()).await.unwrap();
    assert_eq!(
        (leaking[0].restarts, leaking[0].last_terminated.as_deref()),
        (4, Some("OOMKilled"))
    );
    let events = bench.cluster().events(&api_server()).await.unwrap();
    assert_eq!(events[0].reason, "OOMKilling");
    assert!(
        events.iter().all(|event| event.object.contains("api-server")),
        "{events:?}"
    );
}

async fn chat(bench: &Bench, change: Value) -> Result<Value, ToolError> {
    let mut arguments = question("slack_history").1;
    for (name, value) in change.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    call(&bench.observe, "slack_history", arguments).await
}

#[tokio::test]
async fn what_people_wrote_around_an_incident() {
    let bench = filled().await;
    let mut below = bench.world.state().slack.messages[0].clone();
    below.content = json!({"user": "U2", "text": "yes", "thread_ts": below.ts});
    let mut elsewhere = bench.world.state().slack.messages[0].clone();
    elsewhere.channel = "C9".into();
    bench.world.state().slack.messages.extend([below, elsewhere]);
    let all = chat(&bench, json!({})).await.unwrap();
    let texts: Vec<&str> = all["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts[0], "rolled it back", "newest first");
    assert!(
        texts.len() == 2 && texts[1].starts_with("is api-server slow"),
        "{texts:?}"
    );
    assert_eq!(
        (&all["messages"][0]["author"], &all["cut"]),
        (&json!("U1"), &json!(false))
    );
    let one = chat(&bench, json!({"limit": 1})).await.unwrap();
    assert_eq!(
        (one["messages"].as_array().unwrap().len(), &one["cut"]),
        (1, &json!(true))
    );
    let newer = chat(&bench, json!({"from": Utc::now() - TimeDelta::seconds(90)}))
        .await
        .unwrap();
    assert_eq!(newer["messages"].as_array().unwrap().len(), 1);
    // Whoever asks, other channels are not read.
    let asked = bench.world.count(System::Slack, "GET");
    for channel in ["C9", "", "C1&channel=C9"] {
        let failure = chat(&bench, json!({"channel": channel})).await.unwrap_err();
        assert!(
            refused(&failure) && failure.to_string().contains("only these channels"),
            "{failure}"
        );
    }
    assert_eq!(bench.world.count(System::Slack, "GET"), asked);
    // Slack's own words.
    for (word, expected) in [
        ("missing_scope", false),
        ("channel_not_found", false),
        ("ratelimited", true),
    ] {
        let body = format!(r#"{{"ok":false,"error":"{word}"}}"#);
        bench
            .world
            .fail(Fault::new(System::Slack, FaultKind::Error).answer(200, &body));
        let failure = chat(&bench, json!({})).await.unwrap_err();
        assert_eq!(later(&failure), expected, "{failure}");
        assert!(failure.to_string().contains(word), "{failure}");
        bench.world.heal();
    }
}

/// Of each commit the hash, and who wrote it; of each deployment where and how it ended.
#[tokio::test]
async fn what_was_deployed_and_what_changed_with_it() {
    let bench = filled().await;
    let found = ask(&bench, "github_deployments").await.unwrap();
    let told = |at: usize| (found[at]["commit"].clone(), found[at]["state"].clone());
    assert_eq!(found.as_array().unwrap().len(), 2, "of one environment: {found}");
    assert_eq!(told(0), (json!(sha(3)), json!("success")));
    assert_eq!(told(1), (json!(sha(1)), json!("inactive")));
    let compared = ask(&bench, "github_compare").await.unwrap();
    let titles: Vec<&str> = compared["commits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|commit| commit["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        titles,
        [
            "Keep reports in memory password=[redacted]",
            "Cache users token: [redacted]"
        ]
    );
    assert_eq!(compared["files"], json!(["src/part2.rs", "src/part3.rs"]));
    assert_eq!((&compared["total"], &compared["cut"]), (&json!(2), &json!(false)));
    let mut wider = question("github_compare").1;
    wider["head"] = sha(4).into();
    let wider = call(&bench.observe, "github_compare", wider).await.unwrap();
    assert_eq!((&wider["total"], &wider["cut"]), (&json!(3), &json!(true)));
    let attempts = ask(&bench, "github_deliveries").await.unwrap();
    assert_eq!(
        (&attempts[0]["event"], &attempts[0]["status_code"]),
        (&json!("push"), &json!(502))
    );
    // Whoever asks, other repositories are not read, and a branch cannot lead elsewhere.
    let asked = bench.world.count(System::Github, "GET");
    for change in [
        json!({"repository": "shop/secrets"}),
        json!({"repository": "shop/api-server/../secrets"}),
        json!({"base": "main"}),
    ] {
        let mut arguments = question("github_compare").1;
        for (name, value) in change.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        let failure = call(&bench.observe, "github_compare", arguments).await.unwrap_err();
        assert!(refused(&failure), "{failure:?}");
    }
    assert_eq!(bench.world.count(System::Github, "GET"), asked);
}

#[tokio::test]
async fn a_limit_that_is_used_up_is_kept() {
    let bench = filled().await;
    let reset = Utc::now() + TimeDelta::minutes(10);
    bench.world.state().github.budget = Some((1, reset));
    ask(&bench, "github_compare")
        .await
        .expect("the last question that is answered");
    for _ in 0..3 {
        let failure = ask(&bench, "github_compare").await.unwrap_err();
        assert!(later(&failure) && limited(&failure), "{failure}");
    }
    assert_eq!(
        bench.world.count(System::Github, "GET"),
        1,
        "not asked before the time is over"
    );
}

#[tokio::test]
async fn open_tickets_of_a_service() {
    let bench = filled().await;
    let search = async |change: Value| {
        let mut arguments = question("jira_search").1;
        for (name, value) in change.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        call(&bench.observe, "jira_search", arguments).await
    };
    let keys = |found: &Value| -> Vec<String> {
        let tickets = found["tickets"].as_array().unwrap().iter();
        tickets
            .map(|ticket| ticket["key"].as_str().unwrap().to_owned())
            .collect()
    };
    // By label and by text, last changed first; not what is done, and not of other projects.
    let open = search(json!({})).await.unwrap();
    assert_eq!(
        (keys(&open), &open["cut"]),
        (vec!["OPS-2".into(), "OPS-1".into()], &json!(false))
    );
    let all = search(json!({"open": false})).await.unwrap();
    assert_eq!(
        (keys(&all), &all["cut"]),
        (vec!["OPS-2".into(), "OPS-3".into()], &json!(true))
    );
    assert_eq!(
        keys(&search(json!({"about": "x\" OR project = \"HR"})).await.unwrap()),
        Vec::<String>::new()
    );
    for about in ["", "  ", "a\nb"] {
        assert!(
            refused(&search(json!({"about": about})).await.unwrap_err()),
            "{about:?}"
        );
    }
    let one = ask(&bench, "jira_ticket").await.unwrap();
    assert_eq!((&one["status"], &one["done"]), (&json!("In Progress"), &json!(false)));
    let failure = call(&bench.observe, "jira_ticket", json!({"key": "HR-1"}))
        .await
        .unwrap_err();
    assert!(refused(&failure), "{failure:?}");
    let state = bench.world.state();
    let seen = state.requests.iter().find(|seen| seen.system == System::Jira).unwrap();
    // printf 'kim@example.org:t0ken-of-the-test' | base64
    assert_eq!(
        seen.header("authorization"),
        Some("Basic a2ltQGV4YW1wbGUub3JnOnQwa2VuLW9mLXRoZS10ZXN0")
    );
}
