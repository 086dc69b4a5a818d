//! GitHub: what the answers say, and what is sent.

use super::*;
use support::{TOKEN, WRITE_TOKEN, approved, long_ago};

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

/// The answer to the question of `name`, with some arguments changed.
async fn changed(bench: &Bench, name: &str, change: Value) -> Result<Value, ToolError> {
    let mut arguments = question(name).1;
    for (name, value) in change.as_object().unwrap() {
        arguments[name] = value.clone();
    }
    call(&bench.observe, name, arguments).await
}

fn fields(answer: &Value, field: &str) -> Vec<Value> {
    answer
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one[field].clone())
        .collect()
}

#[tokio::test]
async fn commits_of_a_branch_a_path_and_a_time() {
    let bench = filled().await;
    let shas = async |change: Value| fields(&changed(&bench, "github_commits", change).await.unwrap(), "sha");
    assert_eq!(shas(json!({})).await, [sha(4), sha(3), sha(2), sha(1)]);
    assert_eq!(shas(json!({"from": sha(2), "limit": 1})).await, [sha(2)]);
    assert_eq!(shas(json!({"path": "src/part3.rs"})).await, [sha(3)]);
    let since = Utc::now() - TimeDelta::minutes(90);
    assert_eq!(shas(json!({"since": since})).await, [sha(4), sha(3)]);
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": 101}),
        json!({"path": ""}),
        json!({"from": "a\nb"}),
    ] {
        assert!(
            refused(&changed(&bench, "github_commits", wrong.clone()).await.unwrap_err()),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_diff_is_cut_and_bears_no_secrets() {
    let bench = filled().await;
    let whole = ask(&bench, "github_diff").await.unwrap();
    assert_eq!(
        (fields(&whole["files"], "path"), &whole["cut"]),
        (vec![json!("src/part2.rs"), json!("src/part3.rs")], &json!(false))
    );
    let patch = whole["files"][0]["patch"].as_str().unwrap();
    assert!(
        patch.contains("-password=[redacted]") && patch.contains("+changed src/part2.rs"),
        "{patch}"
    );
    let mut settings = support::settings(&bench.running.url());
    settings.github.max_diff_chars = 80;
    let narrow = tools::connect::observe(&settings).await.unwrap();
    let cut = ask_of(&narrow, "github_diff").await.unwrap();
    assert_eq!(cut["cut"], true);
    let told: usize = cut["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["patch"].as_str().map_or(0, str::len))
        .sum();
    assert!(told <= 80 && cut["files"][1]["path"] == "src/part3.rs", "{cut}");
}

#[tokio::test]
async fn pull_requests_of_a_commit_and_open_ones() {
    let bench = filled().await;
    let found = ask(&bench, "github_pull_requests").await.unwrap();
    assert_eq!(
        (
            &found[0]["number"],
            &found[0]["title"],
            &found[0]["state"],
            &found[0]["author"]
        ),
        (
            &json!(11),
            &json!("Keep reports in memory password=[redacted]"),
            &json!("closed"),
            &json!("kim")
        )
    );
    let open = changed(&bench, "github_pull_requests", json!({"commit": null}))
        .await
        .unwrap();
    assert_eq!(fields(&open, "number"), [12]);
    assert!(refused(
        &changed(&bench, "github_pull_requests", json!({"commit": "main"}))
            .await
            .unwrap_err()
    ));
}

#[tokio::test]
async fn runs_with_the_jobs_that_failed() {
    let bench = filled().await;
    bench
        .world
        .state()
        .github
        .run(REPOSITORY, ".github/workflows/test.yml", &sha(3), "success", Utc::now());
    let failed = ask(&bench, "github_runs").await.unwrap();
    assert_eq!(
        (fields(&failed, "id"), &failed[0]["attempt"]),
        (vec![json!(RUN)], &json!(1))
    );
    assert_eq!(fields(&failed[0]["failed_jobs"], "name"), ["rollout"]);
    assert_eq!(failed[0]["failed_jobs"][0]["step"], "apply");
    let all = changed(&bench, "github_runs", json!({"failed": false, "commit": null}))
        .await
        .unwrap();
    assert_eq!((all.as_array().unwrap().len(), &all[1]["failed_jobs"]), (2, &json!([])));
}

#[tokio::test]
async fn what_would_be_written_is_shown_whole_and_written_so() {
    let bench = filled().await;
    let (_, action) = deed("github_create_issue");
    let dry = bench.observe.dry_run(&action).await.unwrap();
    assert_eq!(
        dry.diff,
        "a new issue in shop/api-server:\n+ title: Heap grows\n+ labels: incident\n+ It grows.\n+ \n+ - look\n"
    );
    let approved = approved(&action, &dry.target);
    let attempt = approved.attempt();
    let executed = bench.act.execute(approved).await.unwrap();
    let state = bench.world.state();
    let written = &state.github.repositories[REPOSITORY].issues[1];
    assert_eq!(
        (written.title.as_str(), &written.labels),
        ("Heap grows", &vec!["incident".to_owned()])
    );
    assert_eq!(
        written.body,
        format!("It grows.\n\n- look\n\n<!-- aegis attempt {attempt} -->")
    );
    assert_eq!(
        executed.resource_version,
        "https://github.example/shop/api-server/issues/2"
    );
    let sent = state.requests.iter().find(|seen| seen.method == "POST").unwrap();
    for (name, value) in [
        ("authorization", format!("Bearer {WRITE_TOKEN}")),
        ("accept", "application/vnd.github+json".to_owned()),
        ("x-github-api-version", "2022-11-28".to_owned()),
        ("content-type", "application/json".to_owned()),
    ] {
        assert_eq!(sent.header(name), Some(value.as_str()), "{name}");
    }
    // Who looks does so with the other token.
    let looked = state
        .requests
        .iter()
        .filter(|seen| seen.header("authorization") == Some(&format!("Bearer {TOKEN}")));
    assert!(looked.count() > 0 && sent.uri == "/github/repos/shop/api-server/issues");
}

#[tokio::test]
async fn a_token_that_may_only_read_is_refused() {
    let bench = filled().await;
    bench.world.state().github.readers.push(WRITE_TOKEN.into());
    for name in ["github_create_issue", "github_comment", "github_rerun_failed_jobs"] {
        let failure = bench
            .act
            .execute(bench.approved(&deed(name).1).await)
            .await
            .unwrap_err();
        assert!(refused(&failure), "{name}: {failure:?}");
        assert!(failure.to_string().contains("Resource not accessible"), "{failure}");
    }
}

#[tokio::test]
async fn a_run_that_is_started_again_ends_some_time() {
    let bench = filled().await;
    let (_, action) = deed("github_rerun_failed_jobs");
    let dry = bench.observe.dry_run(&action).await.unwrap();
    assert!(
        dry.diff
            .ends_with("attempt 2 is started, of these jobs:\n+ rollout (failed at: apply)\n"),
        "{}",
        dry.diff
    );
    assert_eq!((dry.target.generation, dry.inverse), (1, None));
    let approved = approved(&action, &dry.target);
    let attempt = approved.attempt();
    assert_eq!(bench.act.execute(approved).await.unwrap().generation, 2);
    let outcome = async || {
        let outcome = bench
            .observe
            .plans_of(&action)
            .unwrap()
            .outcome(&action, attempt, long_ago())
            .await
            .unwrap();
        (outcome.health, outcome.note)
    };
    use model::remediation::Health;
    assert_eq!(outcome().await, (Health::NotYet, "attempt 2 is in progress".to_owned()));
    bench.world.state().github.ended(REPOSITORY, RUN, "failure");
    assert_eq!(
        outcome().await,
        (Health::Worse, "attempt 2 ended with failure".to_owned())
    );
    bench.world.state().github.ended(REPOSITORY, RUN, "success");
    assert_eq!(outcome().await, (Health::Recovered, "attempt 2 succeeded".to_owned()));
}

/// More issues than a page were written since the attempt: the mark is found among them.
#[tokio::test]
async fn a_mark_is_found_among_many() {
    let bench = filled().await;
    let (_, action) = deed("github_create_issue");
    let approved = bench.approved(&action).await;
    let attempt = approved.attempt();
    bench.act.execute(approved).await.unwrap();
    for number in 0..250 {
        let title = format!("other {number}");
        bench
            .world
            .state()
            .github
            .write_issue(REPOSITORY, &title, "", Vec::new(), Utc::now());
    }
    assert!(bench.act.happened(&action, attempt, long_ago()).await.unwrap());
    assert!(
        !bench
            .act
            .happened(&action, uuid::Uuid::new_v4(), long_ago())
            .await
            .unwrap()
    );
    // What was there before is not looked through.
    let asked = bench.world.count(System::Github, "GET");
    assert!(
        !bench
            .act
            .happened(&action, attempt, Utc::now() + TimeDelta::hours(1))
            .await
            .unwrap()
    );
    assert_eq!(bench.world.count(System::Github, "GET"), asked + 1);
}
