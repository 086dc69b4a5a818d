//! Kubernetes: recorded Events, what the watch writes down, and what somebody pushes.

use model::kubernetes::{HEADER, Says, Sighting, Trouble, TroubleKey, TroubleKind};
use model::{Severity, Signal, SignalKind, SignalState};
use operators::normalize::NormalizeSettings;
use serde_json::{Value, json};

use crate::support::{Outcome, RECEIVED_AT, at, run, run_as, run_with};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// An object that the watch wrote down, because of what it says.
fn seen(object: &Value, says: Says) -> Outcome {
    let sighting = Sighting {
        cluster: "eu".into(),
        environment: Some("prod".into()),
        says,
    };
    let sighting = serde_json::to_string(&sighting).unwrap();
    let headers = [("aegis-sender", "kubernetes"), (HEADER, sighting.as_str())];
    run_with(NormalizeSettings::default(), object.to_string(), &headers)
}

fn extra(signal: &Signal) -> Value {
    serde_json::from_str(signal.extra.as_deref().unwrap()).unwrap()
}

fn labels(signal: &Signal) -> Value {
    serde_json::from_str(&signal.labels).unwrap()
}

#[test]
fn a_recorded_list_and_the_recorded_watch_say_the_same() {
    let listed = run_as("kubernetes", fixture("events_list.json"));
    assert_eq!(listed.rejects, []);
    let mut from_list = listed.signals;
    let mut from_watch: Vec<Signal> = fixture("events_watch.ndjson")
        .lines()
        .map(|line| run_as("kubernetes", line.to_owned()).one())
        .collect();
    assert_eq!((from_list.len(), from_watch.len()), (19, 19));
    from_list.sort_by_key(|signal| signal.id);
    from_watch.sort_by_key(|signal| signal.id);
    for (a, b) in from_list.iter().zip(&from_watch) {
        assert_eq!((a.id, a.digest, &a.dedup_key), (b.id, b.digest, &b.dedup_key));
        assert_eq!(
            (a.kind, a.state, a.severity),
            (SignalKind::ClusterEvent, SignalState::Event, Severity::Info)
        );
        assert_eq!(a.service.as_deref(), Some("checkout"), "{}", a.title);
    }
    // Frozen: mapper kubernetes/event@1.
    let scaled = from_list
        .iter()
        .find(|signal| signal.description.as_deref() == Some("Scaled up replica set checkout-7958fb4fc5 to 3"))
        .unwrap();
    assert_eq!(scaled.title, "ScalingReplicaSet on deployment checkout");
    assert_eq!(scaled.dedup_rule, "kubernetes/event@1");
    assert!(
        scaled.dedup_key.starts_with("kube:default:event:"),
        "{}",
        scaled.dedup_key
    );
    assert_eq!(labels(scaled)["namespace"], "default");
    assert_eq!(labels(scaled)["component"], "deployment-controller");
}

fn event(change: impl FnOnce(&mut Value)) -> Value {
    let mut event = json!({
        "kind": "Event", "apiVersion": "v1", "type": "Warning", "reason": "FailedMount", "message": "no volume", "count": 3,
        "metadata": {"uid": "e-1", "name": "x", "namespace": "shop", "resourceVersion": "9", "creationTimestamp": "2026-11-23T08:00:00Z"},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "cart-7958fb4fc5-5nkjg", "uid": "p-1"},
        "source": {"component": "kubelet", "host": "n1"},
        "eventTime": null, "firstTimestamp": "2026-11-23T08:10:00Z", "lastTimestamp": "2026-11-23T08:20:00Z",
    });
    change(&mut event);
    event
}

#[test]
fn severity_is_by_reason_and_unknown_types_are_no_warnings() {
    let check = |kind: &str, reason: &str, expected: Severity| {
        let body = event(|event| {
            event["type"] = kind.into();
            event["reason"] = reason.into();
        });
        assert_eq!(
            run_as("kubernetes", body.to_string()).one().severity,
            expected,
            "{kind} {reason}"
        );
    };
    check("Warning", "FailedMount", Severity::Warning);
    check("Warning", "SystemOOM", Severity::Critical);
    check("Warning", "Unhealthy", Severity::Info);
    check("Normal", "Pulled", Severity::Info);
    check("Brandnew", "SystemOOM", Severity::Info);
}

#[test]
fn times_fall_back() {
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let one = run_as("kubernetes", event(change).to_string()).one();
        assert_eq!(one.event_at, at(expected));
    };
    check(&|_| (), "2026-11-23T08:20:00Z");
    check(
        &|e| e["eventTime"] = "2026-11-23T08:05:00.123456Z".into(),
        "2026-11-23T08:05:00.123456Z",
    );
    check(
        &|e| e["series"] = json!({"count": 4, "lastObservedTime": "2026-11-23T08:30:00.5Z"}),
        "2026-11-23T08:30:00.5Z",
    );
    check(&|e| e["lastTimestamp"] = Value::Null, "2026-11-23T08:10:00Z");
    check(
        &|e| (e["lastTimestamp"], e["firstTimestamp"]) = (Value::Null, "0001-01-01T00:00:00Z".into()),
        "2026-11-23T08:00:00Z",
    );
    let timeless = event(|e| {
        (e["lastTimestamp"], e["firstTimestamp"]) = (Value::Null, Value::Null);
        e["metadata"]["creationTimestamp"] = Value::Null;
    });
    let one = run_as("kubernetes", timeless.to_string()).one();
    assert_eq!(
        (one.event_at, &extra(&one)["time_from"]),
        (RECEIVED_AT, &json!("received_at"))
    );
}

#[test]
fn both_forms_of_an_event_are_one_signal() {
    let core = event(|event| {
        event["more"] = json!({"b": 1, "a": [2]});
        event["action"] = "Mount".into();
    });
    let new = json!({
        "kind": "Event", "apiVersion": "events.k8s.io/v1", "type": "Warning", "reason": "FailedMount", "note": "no volume", "deprecatedCount": 3,
        "metadata": core["metadata"], "regarding": core["involvedObject"], "deprecatedSource": core["source"], "eventTime": null,
        "deprecatedFirstTimestamp": "2026-11-23T08:10:00Z", "deprecatedLastTimestamp": "2026-11-23T08:20:00Z", "action": "Mount",
    });
    let (core, new) = (run(core.to_string()).one(), run(new.to_string()).one());
    assert_eq!((core.id, core.digest, &core.title), (new.id, new.digest, &new.title));
    assert_eq!(core.title, "FailedMount on pod cart-7958fb4fc5-5nkjg");
    assert_eq!(labels(&core)["deployment"], "cart");
    assert_eq!(labels(&core)["node"], "n1");
    assert_eq!(
        extra(&core)["more"],
        json!({"a": [2], "b": 1}),
        "what nobody knows is kept"
    );
}

#[test]
fn counts_are_cumulative() {
    let times = |before: Option<u64>, count: u64| {
        let one = seen(&event(|event| event["count"] = count.into()), Says::Event { before }).one();
        (
            extra(&one)["count"].as_u64().unwrap(),
            extra(&one)["occurrences"].as_u64(),
            one.digest,
        )
    };
    assert_eq!((times(Some(3), 7).0, times(Some(3), 7).1), (7, Some(4)));
    assert_eq!(times(None, 7).1, None, "nobody knows how many were told");
    assert_eq!(times(None, 1).1, Some(1));
    assert_eq!(times(Some(9), 2).1, Some(2), "the Event was made anew");
    assert_eq!(
        times(None, 7).2,
        times(Some(3), 7).2,
        "what was told before is not what it says"
    );
    assert_ne!(times(Some(3), 7).2, times(Some(3), 8).2);
}

fn pod() -> Value {
    json!({
        "kind": "Pod", "metadata": {"uid": "p-1", "name": "cart-7958fb4fc5-5nkjg", "namespace": "shop", "resourceVersion": "77",
            "labels": {"app": "cart-api", "pod-template-hash": "7958fb4fc5"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "cart-7958fb4fc5", "controller": true}]},
        "spec": {"nodeName": "n1"},
        "status": {"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}}]},
    })
}

fn trouble(kind: TroubleKind) -> Trouble {
    Trouble {
        kind,
        container: Some("app".into()),
        since: at("2026-11-23T08:30:00Z"),
    }
}

#[test]
fn a_trouble_is_an_alert_that_fires_and_ends() {
    let began = seen(
        &pod(),
        Says::Began {
            trouble: trouble(TroubleKind::CrashLoopBackOff),
        },
    )
    .one();
    assert_eq!(
        (began.kind, began.state, began.severity),
        (SignalKind::Alert, SignalState::Firing, Severity::Critical)
    );
    assert_eq!(began.dedup_key, "kube:eu:pod:p-1:CrashLoopBackOff:app");
    assert_eq!(
        began.title,
        "CrashLoopBackOff of pod cart-7958fb4fc5-5nkjg (container app)"
    );
    assert_eq!(
        (began.event_at, began.service.as_deref(), &*began.environment),
        (at("2026-11-23T08:30:00Z"), Some("cart-api"), "prod")
    );
    assert_eq!(
        (began.cluster.as_deref(), began.namespace.as_deref()),
        (Some("eu"), Some("shop"))
    );
    assert_eq!(
        (&labels(&began)["deployment"], &extra(&began)["message"]),
        (&json!("cart"), &json!("back-off 40s"))
    );
    let ends_at = at("2026-11-23T08:40:00Z");
    let says = Says::Ended {
        trouble: trouble(TroubleKind::CrashLoopBackOff),
        ends_at,
    };
    let ended = seen(&pod(), says.clone()).one();
    assert_eq!(
        (ended.state, ended.ends_at, ended.event_at),
        (SignalState::Resolved, Some(ends_at), began.event_at)
    );
    assert_eq!((&ended.dedup_key, &ended.title), (&began.dedup_key, &began.title));
    // Of a pod that is gone little is left; it is the same alert of the same service.
    let left = json!({"kind": "Pod", "metadata": {"uid": "p-1", "namespace": "shop", "name": "cart-7958fb4fc5-5nkjg", "labels": labels(&began)}});
    let gone = seen(&left, says).one();
    assert_eq!(
        (&gone.dedup_key, &gone.service, &gone.title),
        (&began.dedup_key, &began.service, &began.title)
    );
    // The store finds it again by its key.
    let key = TroubleKey::read(&began.dedup_key).unwrap();
    assert_eq!(
        (key.cluster, key.kind, key.uid, key.container),
        ("eu", "pod", "p-1", Some("app"))
    );
    // Another error message is no other alert.
    let mut later = pod();
    later["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = "back-off 80s".into();
    later["metadata"]["resourceVersion"] = "78".into();
    let again = seen(
        &later,
        Says::Began {
            trouble: trouble(TroubleKind::CrashLoopBackOff),
        },
    )
    .one();
    assert_eq!((again.id, again.digest), (began.id, began.digest));
}

fn deployment(reason: &str) -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"uid": "d-1", "name": "cart", "namespace": "shop", "generation": 4, "labels": {"app": "cart"},
            "annotations": {"deployment.kubernetes.io/revision": "3", "kubernetes.io/change-cause": "release 3"},
            "managedFields": [
                {"manager": "helm", "time": "2026-11-23T08:12:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}},
                {"manager": "hpa", "time": "2026-11-23T08:14:00Z", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "controller", "time": "2026-11-23T08:19:00Z", "fieldsV1": {"f:status": {}}}]},
        "spec": {"replicas": 5, "template": {"spec": {"containers": [{"name": "app", "image": "registry.example/shop/cart:v3"}]}}},
        "status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason,
            "lastUpdateTime": "2026-11-23T08:15:00Z", "lastTransitionTime": "2026-11-23T08:16:00Z"}]},
    })
}

#[test]
fn rollouts_are_changes_of_the_service() {
    let check = |says: Says, key: &str, title: &str, when: &str, severity: Severity| {
        let one = seen(&deployment("ReplicaSetUpdated"), says).one();
        assert_eq!(
            (one.kind, one.state, one.severity),
            (SignalKind::Change, SignalState::Event, severity)
        );
        assert_eq!((&*one.dedup_key, &*one.title, one.event_at), (key, title, at(when)));
        assert_eq!(one.service.as_deref(), Some("cart"));
        assert_eq!(labels(&one)["revision"], "3");
    };
    let rollout = "Rollout of cart to revision 3 (cart:v3)";
    let key = "kube:eu:deployment:d-1:rollout:3";
    check(
        Says::RolloutBegan,
        &format!("{key}:began"),
        rollout,
        "2026-11-23T08:12:00Z",
        Severity::Info,
    );
    check(
        Says::RolloutCompleted,
        &format!("{key}:completed"),
        &format!("{rollout}: completed"),
        "2026-11-23T08:15:00Z",
        Severity::Info,
    );
    check(
        Says::RolloutFailed,
        &format!("{key}:failed"),
        &format!("{rollout}: progress deadline exceeded"),
        "2026-11-23T08:16:00Z",
        Severity::Warning,
    );
    check(
        Says::Scaled { from: 2 },
        "kube:eu:deployment:d-1:scaled:4",
        "cart scaled from 2 to 5",
        "2026-11-23T08:14:00Z",
        Severity::Info,
    );
}

/// As the API server gives them: a StatefulSet is on the hash of a template, a DaemonSet counts its templates.
fn counted_set(kind: &str) -> Value {
    json!({
        "kind": kind, "apiVersion": "apps/v1",
        "metadata": {"uid": "s-1", "name": "db", "namespace": "shop", "generation": 6, "labels": {"app": "db"},
            "annotations": {"deprecated.daemonset.template.generation": "5"},
            "managedFields": [
                {"manager": "kubectl", "time": "2026-11-23T08:12:00Z", "fieldsV1": {"f:spec": {"f:template": {}}}},
                {"manager": "kube-controller-manager", "subresource": "status", "time": "2026-11-23T08:19:00Z",
                    "fieldsV1": {"f:status": {"f:observedGeneration": {}}}}]},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "app", "image": "registry.example/shop/db:16"}]}}},
        "status": {"observedGeneration": 6, "updateRevision": "db-5c9f8d7b6", "currentRevision": "db-5c9f8d7b6",
            "readyReplicas": 3, "updatedReplicas": 3,
            "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3},
    })
}

#[test]
fn rollouts_of_what_has_no_conditions() {
    let check = |kind: &str, says: Says, key: &str, title: &str, when: &str| {
        let one = seen(&counted_set(kind), says).one();
        assert_eq!(
            (one.kind, &*one.dedup_key, &*one.title, one.event_at),
            (SignalKind::Change, key, title, at(when))
        );
        assert_eq!(
            (one.service.as_deref(), &*one.dedup_rule),
            (Some("db"), "kubernetes/rollout@1")
        );
        assert_eq!(labels(&one)[kind.to_lowercase()], "db");
    };
    // 1795421520 is when the template was written: a rollback brings the same hash again.
    let key = "kube:eu:statefulset:s-1:rollout:5c9f8d7b6:1795421520";
    let title = "Rollout of db to revision 5c9f8d7b6 (db:16)";
    check(
        "StatefulSet",
        Says::RolloutBegan,
        &format!("{key}:began"),
        title,
        "2026-11-23T08:12:00Z",
    );
    let (completed, ends_at) = (format!("{title}: completed"), "2026-11-23T08:19:00Z");
    check(
        "StatefulSet",
        Says::RolloutCompleted,
        &format!("{key}:completed"),
        &completed,
        ends_at,
    );
    let key = "kube:eu:daemonset:s-1:rollout:5";
    let title = "Rollout of db to revision 5 (db:16)";
    check(
        "DaemonSet",
        Says::RolloutBegan,
        &format!("{key}:began"),
        title,
        "2026-11-23T08:12:00Z",
    );
    let completed = format!("{title}: completed");
    check(
        "DaemonSet",
        Says::RolloutCompleted,
        &format!("{key}:completed"),
        &completed,
        ends_at,
    );
    // Who pushes them says how they stand.
    for kind in ["StatefulSet", "DaemonSet"] {
        let pushed = run_as("kubernetes", counted_set(kind).to_string()).one();
        assert!(pushed.title.ends_with(": completed"), "{}", pushed.title);
        let mut open = counted_set(kind);
        open["metadata"]["generation"] = json!(7);
        let pushed = run_as("kubernetes", open.to_string()).one();
        assert!(pushed.dedup_key.ends_with(":began"), "{}", pushed.dedup_key);
    }
}

#[test]
fn who_pushes_is_heard_as_far_as_it_can_be() {
    let body = json!([event(|_| ()), deployment("NewReplicaSetAvailable"), pod(), {"x": 1}, 5]);
    let outcome = run_as("kubernetes", body.to_string());
    let titles: Vec<&str> = outcome.signals.iter().map(|signal| signal.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "FailedMount on pod cart-7958fb4fc5-5nkjg",
            "Rollout of cart to revision 3 (cart:v3): completed"
        ]
    );
    assert_eq!(
        outcome.faults(),
        [
            ("bad_value", Some("/2/kind")),
            ("missing_field", Some("/3/kind")),
            ("wrong_type", Some("/4"))
        ]
    );
    let pending = run_as("kubernetes", fixture("pods_pending.json"));
    assert_eq!((pending.signals.len(), pending.rejects.len()), (0, 7));
    assert!(
        pending.rejects[0].detail.contains("[sources.kubernetes]"),
        "{:?}",
        pending.rejects[0]
    );
    // The cluster is who pushes' to name, and cannot make another key of it.
    let headers = [("aegis-sender", "kubernetes"), ("http-x-aegis-cluster", "eu:pod")];
    let one = run_with(NormalizeSettings::default(), event(|_| ()).to_string(), &headers).one();
    assert_eq!(one.dedup_key, "kube:eu_pod:event:e-1");
}

#[test]
fn faults_name_the_field() {
    let check = |change: &dyn Fn(&mut Value), reason: &str, field: &str| {
        let outcome = run_as("kubernetes", event(change).to_string());
        assert_eq!(outcome.faults(), [(reason, Some(field))]);
    };
    check(
        &|e| e["metadata"]["uid"] = Value::Null,
        "missing_field",
        "/metadata/uid",
    );
    check(&|e| e["lastTimestamp"] = "soon".into(), "bad_time", "/lastTimestamp");
    check(&|e| e["eventTime"] = 5.into(), "bad_time", "/eventTime");
    let headers = [("aegis-sender", "kubernetes"), (HEADER, "{\"cluster\":1}")];
    assert_eq!(
        run_with(NormalizeSettings::default(), "{}", &headers).faults(),
        [("bad_value", None)]
    );
    for body in ["", "5", "[", "{\"items\":5}"] {
        assert_eq!(run_as("kubernetes", body).rejects.len(), 1, "{body}");
    }
    assert_eq!(
        run_as("kubernetes", "{\"kind\":\"EventList\",\"items\":[]}")
            .accounting
            .items_in,
        0
    );
}
