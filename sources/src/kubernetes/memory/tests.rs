use super::super::wire::{WatchReader, Word};
use super::rollouts::NEWS;
use super::*;

const S: i64 = 1_000_000;

fn second(s: i64) -> String {
    chrono::DateTime::from_timestamp(s, 0).unwrap().to_rfc3339()
}

fn memory(kind: Kind) -> Memory {
    let bounds = Bounds {
        not_ready: 60 * S,
        stable: 60 * S,
    };
    Memory::new(kind, bounds)
}

fn pod(uid: &str, ready: bool, since: i64) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"kind": "Pod", "metadata": {"uid": uid, "creationTimestamp": second(1)},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": second(since)}]}})
}

/// What is said, in short.
fn told(statements: &[Statement]) -> Vec<String> {
    let short = |one: &Statement| match &one.says {
        Says::Began { trouble } => format!("began {} {}", trouble.kind.as_str(), trouble.since / S),
        Says::Ended { trouble, ends_at } => {
            format!("ended {} {} {}", trouble.kind.as_str(), trouble.since / S, ends_at / S)
        }
        Says::Event { before } => format!("event {before:?}"),
        Says::Scaled { from } => format!("scaled from {from}"),
        other => format!("{other:?}"),
    };
    statements.iter().map(short).collect()
}

#[test]
fn a_trouble_begins_and_ends_once() {
    let mut memory = memory(Kind::Pod);
    assert_eq!(told(&memory.present(pod("a", false, 10), 20 * S)), [""; 0]);
    assert_eq!(told(&memory.tick(69 * S)), [""; 0]);
    assert_eq!(told(&memory.tick(70 * S)), ["began NotReady 10"]);
    assert_eq!(told(&memory.tick(71 * S)), [""; 0]);
    assert_eq!(told(&memory.present(pod("a", false, 10), 80 * S)), [""; 0]);
    assert_eq!(memory.open(), 1);
    assert_eq!(
        told(&memory.present(pod("a", true, 90), 95 * S)),
        ["ended NotReady 10 90"]
    );
    assert_eq!(
        (memory.open(), memory.kept.len()),
        (0, 0),
        "nothing is kept of a healthy pod"
    );
    assert_eq!(
        told(&memory.present(pod("a", false, 100), 200 * S)),
        ["began NotReady 100"]
    );
    assert_eq!(
        told(&memory.deleted(pod("a", false, 100), 210 * S)),
        ["ended NotReady 100 210"]
    );
    assert_eq!(told(&memory.deleted(pod("a", false, 100), 210 * S)), [""; 0]);
}

#[test]
fn what_went_away_unseen_is_ended() {
    let mut memory = memory(Kind::Pod);
    let began = memory.present(pod("a", false, 10), 100 * S);
    assert_eq!(told(&began), ["began NotReady 10"]);
    let still = BTreeSet::from(["a".to_owned()]);
    assert_eq!(told(&memory.listed(&still, 110 * S)), [""; 0]);
    assert_eq!(
        told(&memory.listed(&BTreeSet::new(), 120 * S)),
        ["ended NotReady 10 120"]
    );
}

fn open(key: &str, since: i64) -> StillOpen {
    StillOpen {
        key: key.to_owned(),
        since: since * S,
        namespace: Some("shop".to_owned()),
        labels: r#"{"pod":"cart-1","app":"cart"}"#.to_owned(),
    }
}

/// After a crash the tables remember.
#[test]
fn a_memory_that_was_lost() {
    let told_before = [
        open("kube:c:pod:a:NotReady", 10),
        open("kube:c:pod:b:NotReady", 11),
        open("kube:c:pod:c:NotReady", 12),
        open("kube:c:deployment:d:ReplicaFailure", 13),
    ];
    let mut memory = memory(Kind::Pod);
    memory.recall(&told_before, None);
    // One is well by now, one still is not, one is gone.
    assert_eq!(
        told(&memory.present(pod("a", true, 50), 100 * S)),
        ["ended NotReady 10 50"]
    );
    assert_eq!(told(&memory.present(pod("b", false, 11), 100 * S)), [""; 0]);
    let seen = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    let gone = memory.listed(&seen, 100 * S);
    assert_eq!(told(&gone), ["ended NotReady 12 100"]);
    assert_eq!(gone[0].object["metadata"]["name"], "cart-1");
    assert_eq!(gone[0].object["metadata"]["labels"]["app"], "cart");
    // The tables lag: what was told stands there as open for a while.
    assert_eq!(told(&memory.reconcile(&told_before, None, 101 * S)), [""; 0]);
    // Nobody knows of this one any more.
    let stale = [open("kube:c:pod:z:OOMKilled:app", 9)];
    assert_eq!(told(&memory.reconcile(&stale, Some("other"), 101 * S)), [""; 0]);
    assert_eq!(
        told(&memory.reconcile(&stale, Some("shop"), 102 * S)),
        ["ended OOMKilled 9 102"]
    );
    assert_eq!(told(&memory.reconcile(&stale, None, 103 * S)), [""; 0]);
}

#[test]
fn events_are_told_by_their_count() {
    let mut memory = memory(Kind::Event);
    let event = |uid: &str, count: Option<u64>| json!({"metadata": {"uid": uid}, "deprecatedCount": count});
    assert_eq!(told(&memory.present(event("a", None), 0)), ["event Some(0)"]);
    assert_eq!(told(&memory.present(event("a", Some(1)), 0)), [""; 0], "seen before");
    assert_eq!(told(&memory.present(event("a", Some(5)), 0)), ["event Some(1)"]);
    assert_eq!(
        told(&memory.present(event("b", Some(7)), 0)),
        ["event None"],
        "how many of them were told is unknown"
    );
    assert_eq!(
        told(&memory.present(json!({"series": {"count": 3}, "metadata": {"uid": "s"}}), 0)),
        ["event None"]
    );
    memory.listed(&BTreeSet::from(["b".to_owned()]), 0);
    assert_eq!(memory.counts.len(), 1);
}

#[test]
fn rollouts() {
    let deployment = |revision: &str, reason: &str, replicas: i64, (generation, seen): (i64, i64)| {
        json!({
            "metadata": {"uid": "d", "generation": generation, "annotations": {"deployment.kubernetes.io/revision": revision}},
            "spec": {"replicas": replicas},
            "status": {"observedGeneration": seen, "conditions": [
                {"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": second(90)}]},
        })
    };
    let mut memory = memory(Kind::Deployment);
    let mut see = |object| told(&memory.present(object, 100 * S));
    let done = "NewReplicaSetAvailable";
    assert_eq!(
        see(deployment("1", done, 2, (1, 1))),
        ["RolloutBegan", "RolloutCompleted"]
    );
    assert_eq!(see(deployment("1", done, 2, (1, 1))), [""; 0]);
    assert_eq!(
        see(deployment("1", done, 2, (2, 1))),
        [""; 0],
        "the controller has not looked yet"
    );
    assert_eq!(see(deployment("2", "ReplicaSetUpdated", 2, (2, 2))), ["RolloutBegan"]);
    assert_eq!(see(deployment("2", "ReplicaSetUpdated", 4, (3, 3))), ["scaled from 2"]);
    assert_eq!(
        see(deployment("2", "ProgressDeadlineExceeded", 4, (3, 3))),
        ["RolloutFailed"]
    );
    assert_eq!(see(deployment("2", done, 4, (3, 3))), ["RolloutCompleted"]);
    let mut bare = deployment("2", done, 4, (3, 3));
    bare["metadata"]["annotations"] = Value::Null;
    assert_eq!(see(bare), [""; 0]);
    // What is seen for the first time and has not moved for long is no news; what moves then is.
    let mut late = Memory::new(Kind::Deployment, memory.bounds);
    let mut see = |object| told(&late.present(object, 100 * S + NEWS));
    assert_eq!(see(deployment("2", done, 4, (3, 3))), [""; 0]);
    assert_eq!(see(deployment("3", "ReplicaSetUpdated", 4, (4, 4))), ["RolloutBegan"]);
}

#[test]
fn rollouts_of_stateful_sets() {
    let set = |revision: &str, (updated, ready): (i64, i64), replicas: i64| {
        json!({
            "metadata": {"uid": "s", "name": "db", "generation": 1, "managedFields": [
                {"time": second(90), "fieldsV1": {"f:spec": {"f:template": {}}}}]},
            "spec": {"replicas": replicas},
            "status": {"observedGeneration": 1, "updateRevision": revision, "currentRevision": "db-0",
                "updatedReplicas": updated, "readyReplicas": ready},
        })
    };
    let mut memory = memory(Kind::StatefulSet);
    let mut see = |object| told(&memory.present(object, 100 * S));
    assert_eq!(see(set("db-1", (0, 2), 2)), ["RolloutBegan"]);
    assert_eq!(see(set("db-1", (1, 1), 2)), [""; 0]);
    assert_eq!(see(set("db-1", (2, 2), 2)), ["RolloutCompleted"]);
    assert_eq!(see(set("db-1", (2, 1), 2)), [""; 0], "a pod that is away is no rollout");
    assert_eq!(see(set("db-1", (2, 2), 2)), [""; 0]);
    assert_eq!(see(set("db-1", (2, 2), 3)), ["scaled from 2"]);
    // Back to a template that was there before.
    assert_eq!(see(set("db-2", (0, 3), 3)), ["RolloutBegan"]);
    assert_eq!(see(set("db-1", (0, 3), 3)), ["RolloutBegan"]);
    assert_eq!(see(set("db-1", (3, 3), 3)), ["RolloutCompleted"]);
}

#[test]
fn rollouts_of_daemon_sets() {
    let set = |number: &str, (generation, seen): (i64, i64), available: i64| {
        json!({
            "metadata": {"uid": "s", "generation": generation, "annotations": {"deprecated.daemonset.template.generation": number},
                "managedFields": [{"time": second(90), "fieldsV1": {"f:spec": {"f:template": {}}}}]},
            "status": {"observedGeneration": seen, "desiredNumberScheduled": 3, "updatedNumberScheduled": available,
                "numberAvailable": available},
        })
    };
    let mut memory = memory(Kind::DaemonSet);
    let mut see = |object| told(&memory.present(object, 100 * S));
    assert_eq!(see(set("1", (1, 1), 3)), ["RolloutBegan", "RolloutCompleted"]);
    assert_eq!(
        see(set("2", (2, 1), 3)),
        ["RolloutBegan"],
        "what is complete is the one before"
    );
    assert_eq!(see(set("2", (2, 2), 1)), [""; 0]);
    assert_eq!(see(set("2", (2, 2), 3)), ["RolloutCompleted"]);
}

/// Made, rolled out, rolled back, the StatefulSet scaled, and deleted: recorded from a real API server and its controllers.
#[test]
fn recorded_rollouts() {
    let told_of = |kind: Kind, recording: &[u8]| {
        let now = chrono::DateTime::parse_from_rfc3339("2026-11-30T10:33:00Z")
            .unwrap()
            .timestamp_micros();
        let (mut memory, mut reader) = (memory(kind), WatchReader::new(1 << 20));
        reader.push(recording);
        let mut found = Vec::new();
        while let Some(word) = reader.next_word().unwrap() {
            found.extend(told(&match word {
                Word::Present(object) => memory.present(object, now),
                Word::Deleted(object) => memory.deleted(object, now),
                Word::Bookmark(_) => Vec::new(),
            }));
        }
        found
    };
    let thrice = ["RolloutBegan", "RolloutCompleted"].repeat(3);
    let daemon_set = include_bytes!("../../../tests/fixtures/kubernetes/daemonsets-watch.ndjson");
    assert_eq!(told_of(Kind::DaemonSet, daemon_set), thrice);
    let stateful_set = include_bytes!("../../../tests/fixtures/kubernetes/statefulsets-watch.ndjson");
    let expected = [&thrice[..], &["scaled from 2"]].concat();
    assert_eq!(told_of(Kind::StatefulSet, stateful_set), expected);
}

#[test]
fn what_has_no_uid_is_nothing() {
    for kind in Kind::ALL {
        let mut memory = memory(kind);
        for odd in [
            json!(null),
            json!([]),
            json!({"metadata": {"uid": ""}}),
            json!({"metadata": 5}),
        ] {
            assert_eq!(memory.present(odd.clone(), 0), []);
            assert_eq!(memory.deleted(odd, 0), []);
        }
    }
}
