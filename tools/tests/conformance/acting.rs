//! Every fault put to every acting tool: it happens once, or one knows that it did not, or one can look.
//!
//! | fault on the call | the tool says | and then |
//! |---|---|---|
//! | none | what it did | it can be seen |
//! | 400, 401, 403, 404, 422 | refused, with what to do | it did not happen |
//! | 429, nobody there | it did not happen, later | it did not happen |
//! | hanging, lost, cut, late, 5xx, rubbish, giant | it may have happened | looking tells; carried on, it happened once |
//! | delivered twice | what it did | once, or both are named |

use super::*;
use model::approval::Approved;
use support::{WRITE_TOKEN, approved, long_ago, until};
use tokio::task::JoinSet;
use tools::act::Executed;

/// What is sent when something is changed.
fn method(system: System) -> &'static str {
    match system {
        System::Kubernetes => "PATCH",
        _ => "POST",
    }
}

/// How often a deed took effect, by the state of the stand-ins.
fn effects(bench: &Bench, name: &str) -> u64 {
    let state = bench.world.state();
    let repository = &state.github.repositories[REPOSITORY];
    let tickets = || state.jira.tickets.iter().filter(|ticket| ticket.project() == "OPS");
    let count = match name {
        "github_create_issue" => repository.issues.len() - 1,
        "github_comment" => repository.issues[0].comments.len(),
        "github_rerun_failed_jobs" => repository.runs[0].attempt as usize - 1,
        "jira_create_issue" => tickets().count() - 4,
        "jira_comment" => state.jira.comments.len(),
        "jira_transition" => tickets().filter(|ticket| ticket.key == "OPS-1" && ticket.done).count(),
        _ => {
            let deployments = state.kubernetes.list("deployments", None);
            let found = deployments.iter().find(|one| one["metadata"]["name"] == "api-server");
            found.unwrap()["metadata"]["generation"].as_u64().unwrap() as usize - GENERATION
        }
    };
    count as u64
}

/// Of the stand-in's `api-server` before anything was changed.
const GENERATION: usize = 2;

async fn ready(name: &str) -> (Bench, System, Action, Approved<Action>) {
    ready_within(30, name).await
}

async fn ready_within(timeout_s: u64, name: &str) -> (Bench, System, Action, Approved<Action>) {
    let bench = filled_within(timeout_s).await;
    assert_eq!(effects(&bench, name), 0, "{name}");
    let (system, action) = deed(name);
    let approved = bench.approved(&action).await;
    (bench, system, action, approved)
}

/// Runs `check` for every deed, side by side: some wait for a second.
async fn each<F: Future<Output = ()> + Send + 'static>(check: impl Fn(&'static str) -> F) {
    let mut running = JoinSet::new();
    for name in deeds() {
        running.spawn(check(name));
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// As the executor does it: looked for, held against what is there, called; three times at most.
async fn carry_on(bench: &Bench, action: &Action, first: &Approved<Action>) -> Result<Option<Executed>, ToolError> {
    let mut last = None;
    for _ in 0..3 {
        if bench.act.happened(action, first.attempt(), long_ago()).await? {
            return Ok(None);
        }
        let state = bench.observe.state(action).await?;
        match bench
            .act
            .execute(support::approved_as(first.attempt(), action, &state))
            .await
        {
            Ok(done) => return Ok(Some(done)),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap())
}

#[tokio::test]
async fn success_can_be_seen() {
    each(|name| async move {
        let (bench, system, action, approved) = ready(name).await;
        let attempt = approved.attempt();
        assert!(
            !bench.act.happened(&action, attempt, long_ago()).await.unwrap(),
            "{name}"
        );
        let executed = bench
            .act
            .execute(approved)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert!(executed.attempt == attempt && !executed.note.is_empty(), "{executed:?}");
        assert_eq!(effects(&bench, name), 1, "{name}");
        assert_eq!(bench.world.count(system, method(system)), 1, "{name}");
        assert!(
            bench.act.happened(&action, attempt, long_ago()).await.unwrap(),
            "{name}"
        );
        if system != System::Kubernetes {
            let plans = bench.observe.plans_of(&action).unwrap();
            let outcome = plans.outcome(&action, attempt, long_ago()).await.unwrap();
            assert!(outcome.state.is_some() && !outcome.note.is_empty(), "{outcome:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_carried_out_is_not_done_again() {
    each(|name| async move {
        let (bench, _, action, approved) = ready(name).await;
        let first = approved.attempt();
        bench.act.execute(approved).await.unwrap();
        let again = support::approved_as(first, &action, &bench.observe.state(&action).await.unwrap());
        assert_eq!(carry_on(&bench, &action, &again).await.unwrap(), None, "{name}");
        assert_eq!(effects(&bench, name), 1, "{name}");
    })
    .await;
}

/// Puts `fault` on the call alone.
async fn check(
    fault: impl Fn(System) -> Fault + Copy + Send + 'static,
    expected: fn(&ToolError) -> bool,
    happens: bool,
) {
    each(move |name| async move {
        let timeout_s = patience(&fault(System::Github));
        let (mut bench, system, action, approved) = ready_within(timeout_s, name).await;
        let first = support::approved_as(
            approved.attempt(),
            &action,
            &bench.observe.state(&action).await.unwrap(),
        );
        let fault = fault(system).method(method(system));
        bench.world.fail(fault.clone());
        let failure = bench.act.execute(approved).await.expect_err(name);
        assert!(expected(&failure), "{name}, {fault:?}: {failure:?}");
        let told = failure.to_string();
        assert!(!told.contains("hunter2") && !told.contains(WRITE_TOKEN), "{told}");
        assert_eq!(
            bench.world.count(system, method(system)),
            1,
            "nothing is repeated: {name}, {fault:?}"
        );
        bench.world.heal();
        if limited(&failure) {
            bench.fresh_tools().await;
        }
        let happened = bench.act.happened(&action, first.attempt(), long_ago()).await.unwrap();
        assert_eq!(happened, happens, "{name}, {fault:?}");
        assert_eq!(effects(&bench, name), u64::from(happens), "{name}, {fault:?}");
        // Carried on with a system that is well again, it has happened once.
        carry_on(&bench, &action, &first)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(effects(&bench, name), 1, "{name}, {fault:?}");
    })
    .await;
}

fn may_have_happened(failure: &ToolError) -> bool {
    matches!(failure, ToolError::MayHaveHappened { .. })
}

/// Certainly not, and trying again does not help.
fn turned_away(failure: &ToolError) -> bool {
    refused(failure) || matches!(failure, ToolError::DidNotHappen { retry: false, .. })
}

#[tokio::test]
async fn no_answer_is_settled_by_looking() {
    check(|system| Fault::new(system, FaultKind::Hang), may_have_happened, false).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_make_it_happen_twice() {
    check(|system| Fault::new(system, FaultKind::Lost), may_have_happened, true).await;
    check(|system| Fault::new(system, FaultKind::Cut), may_have_happened, true).await;
}

#[tokio::test]
async fn an_answer_that_is_too_late_does_not_make_it_happen_twice() {
    let late = |system| Fault {
        delay_ms: 60_000,
        ..Fault::new(system, FaultKind::Late)
    };
    check(late, may_have_happened, true).await;
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_settled_by_looking() {
    check(
        |system| Fault::new(system, FaultKind::Rubbish),
        may_have_happened,
        false,
    )
    .await;
    check(|system| Fault::new(system, FaultKind::Huge), may_have_happened, false).await;
    check(
        |system| Fault::new(system, FaultKind::Error).answer(200, "[7"),
        may_have_happened,
        false,
    )
    .await;
    check(
        |system| Fault::new(system, FaultKind::Error).answer(500, ""),
        may_have_happened,
        false,
    )
    .await;
    check(
        |system| Fault::new(system, FaultKind::Error).answer(503, ""),
        may_have_happened,
        false,
    )
    .await;
}

#[tokio::test]
async fn a_refusal_is_one_and_says_what_to_do() {
    let body = r#"{"message":"not for you, password: hunter2","errorMessages":["token=hunter2"],"errors":{"summary":"too long"}}"#;
    for status in [400, 401, 403, 404, 422] {
        check(
            move |system| Fault::new(system, FaultKind::Error).answer(status, body),
            turned_away,
            false,
        )
        .await;
    }
    for (name, status, words) in [
        ("github_create_issue", 401, "make a new one and set tools.github.token"),
        (
            "github_create_issue",
            403,
            "docs/guides/github.md lists the permissions",
        ),
        ("github_comment", 404, "a fine-grained token must name the repository"),
        ("github_create_issue", 410, "issues are switched off"),
        ("github_rerun_failed_jobs", 403, "the token may not do this"),
        ("jira_create_issue", 400, "summary: too long"),
        ("jira_comment", 401, "make a new API token"),
        ("jira_transition", 403, "docs/guides/jira.md lists the permissions"),
    ] {
        let (bench, system, _, approved) = ready(name).await;
        bench
            .world
            .fail(Fault::new(system, FaultKind::Error).answer(status, body).method("POST"));
        let failure = bench.act.execute(approved).await.unwrap_err();
        assert!(
            refused(&failure) && failure.to_string().contains(words),
            "{name}: {failure}"
        );
    }
}

#[tokio::test]
async fn too_much_is_later() {
    check(
        |system| Fault::new(system, FaultKind::Error).answer(429, ""),
        later,
        false,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_did_nothing() {
    let Bench { running, observe, .. } = filled().await;
    let mut states = Vec::new();
    for name in deeds() {
        let action = deed(name).1;
        states.push((name, observe.state(&action).await.unwrap(), action));
    }
    let gone = running.url();
    drop((running, observe));
    until("the port to be closed", async || {
        tokio::net::TcpStream::connect(gone.trim_start_matches("http://"))
            .await
            .err()
    })
    .await;
    let act = tools::connect::act(&support::settings(&gone)).await.unwrap();
    for (name, state, action) in states {
        let failure = act.execute(approved(&action, &state)).await.unwrap_err();
        assert!(later(&failure), "{name}: {failure:?}");
        let unknown = act.happened(&action, uuid::Uuid::nil(), long_ago()).await.unwrap_err();
        assert!(later(&unknown), "{name}: {unknown:?}");
    }
}

#[tokio::test]
async fn delivered_twice_it_happens_once_or_both_are_named() {
    each(|name| async move {
        let (bench, system, _, approved) = ready(name).await;
        bench
            .world
            .fail(Fault::new(system, FaultKind::Twice).method(method(system)));
        let executed = bench
            .act
            .execute(approved)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        // These systems take no key that would make a request happen once.
        let texts = [
            "github_create_issue",
            "github_comment",
            "jira_create_issue",
            "jira_comment",
        ];
        let twice = texts.contains(&name);
        assert_eq!(effects(&bench, name), if twice { 2 } else { 1 }, "{name}");
        assert_eq!(executed.note.contains("more than once"), twice, "{}", executed.note);
    })
    .await;
}

#[tokio::test]
async fn a_target_that_changed_since_it_was_approved_is_left_alone() {
    for name in ["github_rerun_failed_jobs", "jira_transition"] {
        let (bench, system, _, approved) = ready(name).await;
        {
            let mut state = bench.world.state();
            state.github.ended(REPOSITORY, RUN, "cancelled");
            state.jira.tickets[0].status = "To Do".into();
        }
        let failure = bench.act.execute(approved).await.unwrap_err();
        assert!(
            matches!(failure, ToolError::DidNotHappen { retry: false, .. }),
            "{name}: {failure:?}"
        );
        assert!(failure.to_string().contains("changed since"), "{failure}");
        assert_eq!(bench.world.count(system, "POST"), 0, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_says_what_could() {
    let bench = filled().await;
    bench
        .world
        .state()
        .github
        .repositories
        .insert("shop/web".into(), world::github::Repository::default());
    let check = async |name: &str, change: Value, words: &str| {
        let mut action = serde_json::to_value(deed(name).1).unwrap();
        for (field, value) in change.as_object().unwrap() {
            action[field] = value.clone();
        }
        let action: Action = serde_json::from_value(action).unwrap();
        let failure = bench.observe.dry_run(&action).await.expect_err(words);
        assert!(refused(&failure) && failure.to_string().contains(words), "{failure}");
    };
    check(
        "github_create_issue",
        json!({"repository": "shop/web"}),
        "only these repositories are written to",
    )
    .await;
    check("github_create_issue", json!({"title": ""}), "title has 0 characters").await;
    check(
        "github_create_issue",
        json!({"body": "password=hunter2"}),
        "looks like a secret",
    )
    .await;
    check("github_comment", json!({"number": 77}), "it is not there").await;
    check("github_rerun_failed_jobs", json!({"attempt": 2}), "newest attempt is 1").await;
    check(
        "jira_create_issue",
        json!({"project": "HR"}),
        "only these projects are written to",
    )
    .await;
    check("jira_create_issue", json!({"kind": "Epic"}), "it has Task, Bug").await;
    check(
        "jira_create_issue",
        json!({"kind": "Sub-task"}),
        "a part of another ticket",
    )
    .await;
    check("jira_comment", json!({"ticket": "OPS-1/../HR-1"}), "PROJECT-NUMBER").await;
    check("jira_transition", json!({"to": "Deployed"}), "possible: To Do, Closed").await;
    check(
        "jira_transition",
        json!({"to": "in progress"}),
        "is in the status In Progress already",
    )
    .await;
    bench
        .world
        .state()
        .github
        .repositories
        .get_mut(REPOSITORY)
        .unwrap()
        .issues[0]
        .locked = true;
    check("github_comment", json!({}), "unlock it first").await;
    bench
        .world
        .state()
        .github
        .repositories
        .get_mut(REPOSITORY)
        .unwrap()
        .issues_off = true;
    check("github_create_issue", json!({}), "issues are switched off").await;
    bench.world.state().github.ended(REPOSITORY, RUN, "success");
    check("github_rerun_failed_jobs", json!({}), "no job failed").await;
    assert_eq!(
        bench.world.count(System::Github, "POST") + bench.world.count(System::Jira, "POST"),
        0
    );
}
