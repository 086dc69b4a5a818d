//! The same on a real API server (`make test-kubernetes`), with the roles of the guide and not one right more.

use std::collections::BTreeSet;

use model::{Action, WorkloadKind};
use serde_json::json;
use tools::{ToolError, ToolsSettings};
use world::Scenario;
use world::real::{ACTS, RealCluster};

use super::support::{Bench, api_server, restart, until, workload};
use super::*;

const NAMESPACE: &str = "production";

/// The workloads of the scenario on the real cluster; the world beside it has nothing to say.
async fn real() -> Option<(Bench, RealCluster, tempfile::TempDir)> {
    let cluster = RealCluster::opted_in()?;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    let (asked, file) = (cluster.clone(), token.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        asked.seed(&Scenario::default())?;
        asked.grant()?;
        asked.grant_acting(NAMESPACE)?;
        asked.token(ACTS, &file)
    });
    prepared.await.unwrap().unwrap_or_else(|fault| panic!("{fault:#}"));
    let settings: ToolsSettings = serde_json::from_value(json!({"kubernetes": {
        "url": cluster.url, "token_file": token, "ca_file": cluster.ca_file()}}))
    .unwrap();
    assert_eq!(settings.faults(), [""; 0]);
    let mut bench = bench(Scenario::fast()).await;
    bench.observe = tools::connect::observe(&settings).await.unwrap();
    bench.act = tools::connect::act(&settings).await.unwrap();
    Some((bench, cluster, folder))
}

/// What Aegis has asked was allowed, every time.
fn nothing_was_refused(cluster: &RealCluster, before: usize) {
    let asked = cluster.asked().unwrap();
    let refused: Vec<_> = asked[before..]
        .iter()
        .filter(|one| matches!(one.status, 401 | 403))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

macro_rules! on_the_real_one {
    ($($name:ident => $body:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let Some((bench, cluster, _folder)) = real().await else { return };
            let before = cluster.asked().unwrap().len();
            $body(bench).await;
            nothing_was_refused(&cluster, before);
        }
    )*};
}

on_the_real_one! {
    every_action_on_every_kind_and_back_again => every_action,
    a_rollback_brings_the_earlier_image => rollback,
    the_diff_says_what_would_change => diff,
    a_target_that_changed_since_is_left_alone => stale,
    of_two_at_once_one_happens => one_of_two,
    an_attempt_stays_known_after_the_next_one => attempts,
}

/// Found, looked at, restarted, and every pod is another.
#[tokio::test]
async fn a_restart_replaces_every_pod() {
    let Some((bench, cluster, _folder)) = real().await else {
        return;
    };
    let found = bench.cluster().find(Some(NAMESPACE), "api-server").await.unwrap();
    assert_eq!(found, [api_server()]);
    assert_eq!(bench.cluster().find(None, "api-server").await.unwrap(), [api_server()]);
    let before = bench.cluster().pods(&api_server()).await.unwrap();
    assert_eq!(before.len(), 3);
    for pod in &before {
        assert_eq!(
            (pod.restarts, pod.last_terminated.as_deref(), pod.ready),
            (4, Some("OOMKilled"), true),
            "{pod:?}"
        );
    }
    let revisions = bench.cluster().revisions(&api_server()).await.unwrap();
    let shown: Vec<_> = revisions
        .iter()
        .map(|one| (one.number, one.images[0].as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (2, "registry.example/api-server:v1.42"),
            (1, "registry.example/api-server:v1.41")
        ]
    );

    let executed = execute(&bench, &restart()).await;
    let after = settled(&bench, &restart()).await;
    assert_eq!(after.generation, executed.generation);
    until("the old pods to be gone", async || {
        let pods = bench.cluster().pods(&api_server()).await.unwrap();
        let new = pods
            .iter()
            .all(|pod| pod.restarts == 0 && before.iter().all(|old| old.uid != pod.uid));
        (new && pods.len() == 3).then_some(())
    })
    .await;
    let events = bench.cluster().events(&api_server()).await.unwrap();
    let reasons: BTreeSet<&str> = events.iter().map(|event| event.reason.as_str()).collect();
    for reason in ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "OOMKilling"] {
        assert!(reasons.contains(reason), "{reason} is missing: {reasons:?}");
    }
    assert!(
        events.iter().all(|event| event.last_at.is_some() && event.count > 0),
        "{events:?}"
    );
    // `kubectl` sees a restart like its own.
    let object = cluster
        .json(&["-n", NAMESPACE, "get", "deployment", "api-server"])
        .unwrap();
    let annotations = &object["spec"]["template"]["metadata"]["annotations"];
    assert!(
        annotations[RESTARTED_AT].is_string() && annotations[ATTEMPT] == json!(executed.attempt),
        "{object}"
    );
}

/// The dry run is one: the server takes the patch, and nothing is another afterwards.
#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let Some((bench, cluster, _folder)) = real().await else {
        return;
    };
    let look = || {
        cluster
            .json(&["-n", NAMESPACE, "get", "deployment", "checkout"])
            .unwrap()
    };
    let before = look();
    let target = workload(WorkloadKind::Deployment, "checkout");
    for action in [
        Action::Restart { target: target.clone() },
        Action::Rollback {
            target: target.clone(),
            to_revision: None,
        },
        Action::Scale {
            target: target.clone(),
            replicas: 5,
        },
    ] {
        let dry = bench.cluster().dry_run(&action).await.unwrap();
        assert!(!dry.diff.is_empty(), "{action}");
    }
    let after = look();
    assert_eq!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    // What the API turns away a dry run shows too.
    let scale = Action::Scale {
        target,
        replicas: u32::MAX,
    };
    let failure = bench.cluster().dry_run(&scale).await.unwrap_err();
    assert!(matches!(failure, ToolError::Refused { .. }), "{failure:?}");
}

/// Without the role for a namespace nothing can be done there, not even dry; to look is another role.
#[tokio::test]
async fn acting_needs_its_own_role() {
    let Some((bench, cluster, _folder)) = real().await else {
        return;
    };
    let approved = bench.approved(&restart()).await;
    let attempt = approved.attempt();
    cluster
        .kubectl(&["-n", NAMESPACE, "delete", "rolebinding", "aegis-act"], "")
        .unwrap();
    let failure = bench.act.execute(approved).await.unwrap_err();
    assert!(matches!(failure, ToolError::Refused { .. }), "{failure:?}");
    let said = failure.to_string();
    assert!(
        said.contains("cannot patch resource \"deployments\"") && said.contains(NAMESPACE),
        "{said}"
    );
    assert!(bench.cluster().dry_run(&restart()).await.is_err());
    assert!(
        !bench
            .act
            .happened(&restart(), attempt, support::long_ago())
            .await
            .unwrap()
    );
    assert_eq!(bench.cluster().pods(&api_server()).await.unwrap().len(), 3);
    cluster.grant_acting(NAMESPACE).unwrap();
    execute(&bench, &restart()).await;
}
