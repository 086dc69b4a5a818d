//! Jira: what the answers say, and what is sent.

use super::*;
use support::{WRITE_TOKEN, approved, long_ago};

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

#[tokio::test]
async fn one_ticket_with_what_it_says_and_where_it_can_go() {
    let bench = filled().await;
    let one = ask(&bench, "jira_ticket").await.unwrap();
    assert_eq!(one["text"], "It began\nwith password=[redacted]");
    assert_eq!(one["next"], json!(["To Do", "Closed"]));
}

/// What Cloud and Data Center are sent differs: documents and Basic, plain text and Bearer.
#[tokio::test]
async fn cloud_and_data_center_are_written_to_alike() {
    for user in ["kim@example.org", ""] {
        let bench = filled().await;
        let mut settings = support::settings(&bench.running.url());
        settings.jira.user = user.to_owned();
        let (observe, act) = (
            tools::connect::observe(&settings).await.unwrap(),
            tools::connect::act(&settings).await.unwrap(),
        );
        for name in ["jira_create_issue", "jira_comment", "jira_transition"] {
            let (_, action) = deed(name);
            let dry = observe
                .dry_run(&action)
                .await
                .unwrap_or_else(|failure| panic!("{user} {name}: {failure}"));
            let approved = approved(&action, &dry.target);
            let attempt = approved.attempt();
            act.execute(approved)
                .await
                .unwrap_or_else(|failure| panic!("{user} {name}: {failure}"));
            assert!(
                act.happened(&action, attempt, long_ago()).await.unwrap(),
                "{user} {name}"
            );
        }
        let state = bench.world.state();
        let written = state.jira.tickets.iter().find(|ticket| ticket.key == "OPS-5").unwrap();
        assert_eq!(
            (written.summary.as_str(), written.description.as_str()),
            ("Heap grows", "It grows.\n\nLook.")
        );
        assert!(
            written.labels[0] == "incident" && written.labels[1].starts_with("aegis-"),
            "{:?}",
            written.labels
        );
        let comment = &state.jira.comments[0];
        assert!(
            comment.body.starts_with("It happened again.\n\nAegis attempt "),
            "{}",
            comment.body
        );
        let sent = state.requests.iter().find(|seen| seen.method == "POST").unwrap();
        let version = if user.is_empty() { 2 } else { 3 };
        assert_eq!(sent.uri, format!("/jira/rest/api/{version}/issue"));
        let login = sent.header("authorization").unwrap();
        match user {
            "" => assert_eq!(login, format!("Bearer {WRITE_TOKEN}")),
            _ => assert!(login.starts_with("Basic "), "{login}"),
        }
    }
}

#[tokio::test]
async fn a_change_of_status_can_be_taken_back() {
    let bench = filled().await;
    let (_, action) = deed("jira_transition");
    let dry = bench.observe.dry_run(&action).await.unwrap();
    assert_eq!(
        dry.diff,
        "OPS-1 (Heap grows after release, password=[redacted])\n- status: In Progress\n+ status: Closed\n"
    );
    bench.act.execute(approved(&action, &dry.target)).await.unwrap();
    let inverse = dry.inverse.unwrap();
    let state = bench.observe.state(&inverse).await.unwrap();
    bench.act.execute(approved(&inverse, &state)).await.unwrap();
    assert_eq!(bench.world.state().jira.tickets[0].status, "In Progress");
}

/// Jira's search shows a new ticket seconds later: it is found by the number behind those that are shown.
#[tokio::test]
async fn a_ticket_that_the_search_does_not_show_yet_is_not_written_again() {
    let bench = filled().await;
    bench.world.state().jira.lagging = true;
    let (_, action) = deed("jira_create_issue");
    let other = bench.approved(&action).await;
    bench.act.execute(other).await.unwrap();
    let approved = bench.approved(&action).await;
    let attempt = approved.attempt();
    bench
        .world
        .fail(Fault::new(System::Jira, FaultKind::Lost).method("POST"));
    let failure = bench.act.execute(approved).await.unwrap_err();
    assert!(matches!(failure, ToolError::MayHaveHappened { .. }), "{failure:?}");
    bench.world.heal();
    assert!(bench.act.happened(&action, attempt, long_ago()).await.unwrap());
    assert!(
        !bench
            .act
            .happened(&action, uuid::Uuid::new_v4(), long_ago())
            .await
            .unwrap()
    );
    bench.world.state().jira.index();
    assert!(bench.act.happened(&action, attempt, long_ago()).await.unwrap());
}

#[tokio::test]
async fn who_is_told_to_wait_waits() {
    let bench = filled().await;
    bench.world.state().jira.busy_s = Some(600);
    let failure = ask(&bench, "jira_ticket").await.unwrap_err();
    assert!(
        later(&failure) && failure.to_string().contains("for 600 s more"),
        "{failure}"
    );
    bench.world.state().jira.busy_s = None;
    let asked = bench.world.count(System::Jira, "GET");
    assert!(limited(&ask(&bench, "jira_search").await.unwrap_err()));
    assert_eq!(
        bench.world.count(System::Jira, "GET"),
        asked,
        "not asked before the time is over"
    );
}
