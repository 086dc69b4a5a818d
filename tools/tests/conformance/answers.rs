//! What the answers say.

use super::*;

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

#[tokio::test]
async fn which_labels_lines_carry() {
    let bench = filled().await;
    bench
        .world
        .state()
        .loki
        .lines
        .push(line(json!({"app": "token=hunter2"}), 1, "x"));
    let labels = async |name: Value| {
        let mut arguments = question("logs_labels").1;
        arguments["name"] = name;
        call(&bench.observe, "logs_labels", arguments).await
    };
    assert_eq!(labels(Value::Null).await.unwrap()["values"], json!(["app", "level"]));
    let values = labels(json!("app")).await.unwrap();
    assert_eq!(
        values,
        json!({"values": ["api-server", "token=[redacted]"], "cut": false})
    );
    assert_eq!(labels(json!("job")).await.unwrap()["values"], json!([]));
    for odd in ["", "a/b", "../query", "7"] {
        assert!(refused(&labels(json!(odd)).await.unwrap_err()), "{odd:?}");
    }
}

#[tokio::test]
async fn rules_by_name_and_kind() {
    let bench = filled().await;
    let rules = async |question: Value| call(&bench.observe, "prometheus_rules", question).await;
    let found = rules(json!({"name": "HighMemory"})).await.unwrap()["rules"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    let rule = &found[0];
    assert_eq!(
        [
            &rule["kind"],
            &rule["health"],
            &rule["state"],
            &rule["for_s"],
            &rule["active"],
            &rule["group"]
        ],
        [
            &json!("alerting"),
            &json!("err"),
            &json!("firing"),
            &json!(60.0),
            &json!(1),
            &json!("memory")
        ]
    );
    assert_eq!(
        rule["labels"],
        json!({"severity": "critical", "api_token": "[redacted]"})
    );
    assert!(
        rule["last_error"]
            .as_str()
            .unwrap()
            .starts_with("found duplicate series")
    );
    let recorded = rules(json!({"kind": "recording"})).await.unwrap()["rules"].clone();
    assert_eq!(
        (&recorded[0]["name"], &recorded[0]["evaluated_at"]),
        (&json!("job:memory:sum"), &Value::Null)
    );
    assert_eq!(rules(json!({})).await.unwrap()["rules"].as_array().unwrap().len(), 2);
    assert_eq!(rules(json!({"name": "Other"})).await.unwrap()["rules"], json!([]));
    assert!(refused(&rules(json!({"name": ""})).await.unwrap_err()));
    let asked = bench.world.state().requests.last().unwrap().uri.clone();
    assert!(asked.ends_with("rule_name%5B%5D=Other"), "{asked}");
    let rule = bench.world.state().prometheus.groups[0]["rules"][1].clone();
    let many = bench.world.state().prometheus.groups[0]["rules"]
        .as_array()
        .unwrap()
        .len();
    bench.world.state().prometheus.groups[0]["rules"] = vec![rule; 20 + many].into();
    let failure = rules(json!({})).await.unwrap_err();
    assert!(
        failure.to_string().contains("there are 22 rules, at most 20"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_is_scraped_and_why_not() {
    let bench = filled().await;
    let targets = async |question: Value| call(&bench.observe, "prometheus_targets", question).await.unwrap();
    let of_job = targets(json!({"job": "api"})).await;
    assert_eq!((&of_job["up"], &of_job["down"]), (&json!(1), &json!(1)));
    let instances: Vec<&Value> = of_job["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["instance"])
        .collect();
    assert_eq!(instances, ["a:9100", "b:9100"]);
    let broken = targets(json!({"broken": true})).await;
    assert_eq!(
        (broken["targets"].as_array().unwrap().len(), &broken["up"]),
        (1, &json!(2))
    );
    assert_eq!(
        broken["targets"][0]["last_error"],
        "context deadline exceeded, password=[redacted]"
    );
}
