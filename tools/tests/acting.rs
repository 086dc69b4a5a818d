//! What acting on a cluster comes to: what is changed, on the state that was approved and on no other. What every acting tool promises of
//! faults is in `conformance`.

#[path = "acting/real.rs"]
mod real_api_server;
mod support;

use model::{Action, WorkloadKind};
use serde_json::json;
use support::{Bench, api_server, approved, bench, long_ago, restart, until, workload};
use tools::ToolError;
use tools::act::Executed;
use tools::kubernetes::{ATTEMPT, RESTARTED_AT};
use world::Scenario;

fn did_not_happen(failure: &ToolError, expected: bool) -> bool {
    matches!(failure, ToolError::DidNotHappen { retry, .. } if *retry == expected)
}

/// As the executor does it: a target that moved meanwhile, as its status does for a while after a rollout, is looked at again.
async fn execute(bench: &Bench, action: &Action) -> Executed {
    for _ in 0..20 {
        let approved = bench.approved(action).await;
        let attempt = approved.attempt();
        assert!(!bench.act.happened(action, attempt, long_ago()).await.unwrap());
        match bench.act.execute(approved).await {
            Err(moved) if did_not_happen(&moved, false) => {
                assert!(!bench.act.happened(action, attempt, long_ago()).await.unwrap())
            }
            executed => {
                let executed = executed.unwrap_or_else(|failure| panic!("{action}: {failure}"));
                assert_eq!(executed.attempt, attempt);
                assert!(
                    bench.act.happened(action, attempt, long_ago()).await.unwrap(),
                    "{action}"
                );
                return executed;
            }
        }
    }
    panic!("{action}: the target never stands still");
}

/// Until the controller has seen the newest template, every pod is of it and ready, and the object stands still: a controller goes on
/// writing the status for a moment.
async fn settled(bench: &Bench, action: &Action) -> model::proposal::TargetState {
    let (mut last, mut same) = (None, 0);
    until("the pods to be replaced", async || {
        let state = bench.cluster().state(action).await.unwrap();
        let (all, seen) = (json!(state.replicas), json!(state.generation));
        let done = state.ready == state.replicas
            && state.detail["updated"] == all
            && state.detail["observed_generation"] == seen;
        same = if last.as_ref() == Some(&state) { same + 1 } else { 0 };
        last = Some(state.clone());
        (done && same >= 10).then_some(state)
    })
    .await
}

#[tokio::test]
async fn a_restart_replaces_every_pod_and_the_memory_falls() {
    let bench = bench(Scenario::fast()).await;
    let memory = || {
        let usage = bench.world.state().kubernetes.usage();
        usage
            .iter()
            .filter(|one| one.container == "api-server")
            .map(|one| one.memory_bytes)
            .max()
            .unwrap()
    };
    let before = bench.cluster().pods(&api_server()).await.unwrap();
    let full = memory();
    let executed = execute(&bench, &restart()).await;
    let after = settled(&bench, &restart()).await;
    assert_eq!(after.generation, executed.generation);
    let pods = bench.cluster().pods(&api_server()).await.unwrap();
    assert!(
        pods.iter().all(|pod| before.iter().all(|old| old.uid != pod.uid)),
        "{pods:?}"
    );
    assert!(pods.iter().all(|pod| pod.restarts == 0));
    assert!(memory() < full / 2);
    let state = bench.world.state();
    let pod = state.kubernetes.list("pods", None)[0];
    assert!(pod["metadata"]["annotations"][RESTARTED_AT].is_string());
    assert_eq!(pod["metadata"]["annotations"][ATTEMPT], json!(executed.attempt));
}

#[tokio::test]
async fn every_action_on_every_kind_and_back_again() {
    every_action(bench(Scenario::fast()).await).await;
}

async fn every_action(bench: Bench) {
    for (kind, name, scales) in [
        (WorkloadKind::Deployment, "checkout", true),
        (WorkloadKind::StatefulSet, "postgres", true),
        (WorkloadKind::DaemonSet, "node-agent", false),
    ] {
        let target = workload(kind, name);
        let scale = Action::Scale {
            target: target.clone(),
            replicas: 4,
        };
        let restart = Action::Restart { target: target.clone() };
        let rollback = Action::Rollback {
            target: target.clone(),
            to_revision: None,
        };
        execute(&bench, &restart).await;
        settled(&bench, &restart).await;
        assert_eq!(bench.cluster().dry_run(&restart).await.unwrap().inverse, None);
        for action in [rollback, scale] {
            if !scales && matches!(action, Action::Scale { .. }) {
                let failure = bench.cluster().dry_run(&action).await.unwrap_err();
                assert!(failure.to_string().contains("cannot be scaled"), "{failure}");
                continue;
            }
            let before = settled(&bench, &action).await;
            let dry = bench.cluster().dry_run(&action).await.unwrap();
            assert_eq!(dry.target, before);
            assert_eq!(dry.blast_radius.pods, 2, "{action}");
            execute(&bench, &action).await;
            let after = settled(&bench, &action).await;
            assert_eq!(after.generation, before.generation + 1);
            assert_ne!(after.spec_hash, before.spec_hash, "{action}");
            let inverse = dry.inverse.unwrap();
            execute(&bench, &inverse).await;
            let back = settled(&bench, &action).await;
            assert_eq!(
                (back.detail["images"].clone(), back.replicas),
                (before.detail["images"].clone(), before.replicas)
            );
        }
    }
}

#[tokio::test]
async fn a_rollback_brings_the_earlier_image() {
    rollback(bench(Scenario::fast()).await).await;
}

async fn rollback(bench: Bench) {
    let target = workload(WorkloadKind::Deployment, "checkout");
    let to = |to_revision| Action::Rollback {
        target: target.clone(),
        to_revision,
    };
    let image = |version: &str| json!([format!("registry.example/checkout:{version}")]);
    execute(&bench, &to(None)).await;
    assert_eq!(settled(&bench, &to(None)).await.detail["images"], image("v8"));
    execute(&bench, &to(Some(1))).await;
    assert_eq!(settled(&bench, &to(None)).await.detail["images"], image("v7"));
    let failure = bench.cluster().dry_run(&to(Some(77))).await.unwrap_err();
    assert!(
        failure.to_string().contains("has not kept revision 77; kept: 5, 4, 3"),
        "{failure}"
    );
}

#[tokio::test]
async fn the_diff_says_what_would_change() {
    diff(bench(Scenario::fast()).await).await;
}

async fn diff(bench: Bench) {
    let scale = Action::Scale {
        target: api_server(),
        replicas: 5,
    };
    let dry = bench.cluster().dry_run(&scale).await.unwrap();
    assert_eq!(dry.diff, "- spec.replicas: 3\n+ spec.replicas: 5\n");
    assert_eq!(
        dry.inverse,
        Some(Action::Scale {
            target: api_server(),
            replicas: 3
        })
    );
    let rollback = Action::Rollback {
        target: api_server(),
        to_revision: None,
    };
    let dry = bench.cluster().dry_run(&rollback).await.unwrap();
    assert_eq!(
        dry.diff,
        "- spec.template.spec.containers[api-server].image: registry.example/api-server:v1.42\n\
         + spec.template.spec.containers[api-server].image: registry.example/api-server:v1.41\n"
    );
}

#[tokio::test]
async fn a_target_that_changed_since_is_left_alone() {
    stale(bench(Scenario::fast()).await).await;
}

async fn stale(bench: Bench) {
    let stale = bench.approved(&restart()).await;
    execute(
        &bench,
        &Action::Scale {
            target: api_server(),
            replicas: 4,
        },
    )
    .await;
    let attempt = stale.attempt();
    let failure = bench.act.execute(stale).await.unwrap_err();
    assert!(did_not_happen(&failure, false), "{failure:?}");
    assert!(!bench.act.happened(&restart(), attempt, long_ago()).await.unwrap());
}

#[tokio::test]
async fn of_two_at_once_one_happens() {
    one_of_two(bench(Scenario::fast()).await).await;
}

async fn one_of_two(bench: Bench) {
    let state = bench.cluster().state(&restart()).await.unwrap();
    let (one, other) = (approved(&restart(), &state), approved(&restart(), &state));
    let attempts = [one.attempt(), other.attempt()];
    let (one, other) = tokio::join!(bench.act.execute(one), bench.act.execute(other));
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let failure = one.err().or(other.err()).unwrap();
    assert!(did_not_happen(&failure, false), "{failure:?}");
    let mut happened = 0;
    for attempt in attempts {
        happened += u32::from(bench.act.happened(&restart(), attempt, long_ago()).await.unwrap());
    }
    assert_eq!(happened, 1);
}

#[tokio::test]
async fn a_server_that_is_gone_did_nothing() {
    let Bench {
        running, observe, act, ..
    } = bench(Scenario::fast()).await;
    let state = observe.cluster.as_deref().unwrap().state(&restart()).await.unwrap();
    let address = running.address();
    drop(running);
    until("the port to be closed", async || {
        tokio::net::TcpStream::connect(address).await.err()
    })
    .await;
    drop(act);
    let fresh = tools::connect::act(&support::settings(&format!("http://{address}")))
        .await
        .unwrap();
    let failure = fresh.execute(approved(&restart(), &state)).await.unwrap_err();
    assert!(did_not_happen(&failure, true), "{failure:?}");
    let unknown = fresh
        .happened(&restart(), uuid::Uuid::nil(), long_ago())
        .await
        .unwrap_err();
    assert!(did_not_happen(&unknown, true), "{unknown:?}");
}

#[tokio::test]
async fn an_attempt_stays_known_after_the_next_one() {
    attempts(bench(Scenario::fast()).await).await;
}

async fn attempts(bench: Bench) {
    let first = execute(&bench, &restart()).await;
    settled(&bench, &restart()).await;
    execute(
        &bench,
        &Action::Scale {
            target: api_server(),
            replicas: 2,
        },
    )
    .await;
    assert!(bench.act.happened(&restart(), first.attempt, long_ago()).await.unwrap());
    // The plan that takes another back is told from it, though it bears the same attempt.
    let inverse = Action::Scale {
        target: api_server(),
        replicas: 3,
    };
    assert!(!bench.act.happened(&inverse, first.attempt, long_ago()).await.unwrap());
}

#[tokio::test]
async fn other_clusters_and_what_cannot_be_done() {
    let bench = bench(Scenario::fast()).await;
    let mut elsewhere = api_server();
    elsewhere.cluster = "staging".to_owned();
    let elsewhere = Action::Restart { target: elsewhere };
    let state = bench.cluster().state(&restart()).await.unwrap();
    let failure = bench.act.execute(approved(&elsewhere, &state)).await.unwrap_err();
    assert!(matches!(failure, ToolError::Absent { .. }), "{failure:?}");
    let failure = bench.cluster().state(&elsewhere).await.unwrap_err();
    assert!(failure.to_string().contains("this is cluster `default`"), "{failure}");
    let same = Action::Scale {
        target: api_server(),
        replicas: 3,
    };
    let failure = bench.cluster().dry_run(&same).await.unwrap_err();
    assert!(failure.to_string().contains("3 replicas already"), "{failure}");
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let scenario = Scenario {
        token: Some("hunter2".to_owned()),
        ..Scenario::fast()
    };
    let guarded = bench(scenario).await;
    let failure = guarded.cluster().state(&restart()).await.unwrap_err();
    assert_eq!(failure.to_string(), "kubernetes refused it: status 401: Unauthorized");

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2").unwrap();
    let mut settings = support::settings(&guarded.running.url());
    settings.kubernetes.token_file = Some(token);
    let observe = tools::connect::observe(&settings).await.unwrap();
    observe.cluster.unwrap().state(&restart()).await.unwrap();
}

#[tokio::test]
async fn a_kubeconfig_is_read() {
    let scenario = Scenario {
        token: Some("hunter2".to_owned()),
        ..Scenario::fast()
    };
    let guarded = bench(scenario).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": guarded.running.url()}}],
        "users": [{"name": "u", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let settings = serde_json::from_value(json!({"kubernetes": {"kubeconfig": file}})).unwrap();
    let observe = tools::connect::observe(&settings).await.unwrap();
    observe.cluster.unwrap().state(&restart()).await.unwrap();

    let settings = serde_json::from_value(json!({"kubernetes": {"kubeconfig": "/none"}})).unwrap();
    let failure = tools::connect::observe(&settings).await.err().unwrap();
    assert!(failure.to_string().contains("kubeconfig /none"), "{failure}");
}
