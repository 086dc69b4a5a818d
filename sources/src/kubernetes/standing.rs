//! How an object stands: what is wrong with it, since when. Pure: the time and what was known before are arguments.
//!
//! ```text
//! container   waiting in CrashLoopBackOff, or it died and has not been running and ready for `stable` ─► CrashLoopBackOff, OOMKilled
//!             waiting for its image ─► ImagePullBackOff     for its configuration ─► CreateContainerError
//! pod         Ready is False for `not_ready`, and nothing else is wrong ─► NotReady     PodScheduled is False ─► Unschedulable
//! Deployment  Progressing is False ─► ProgressDeadlineExceeded     ReplicaFailure is True ─► ReplicaFailure (ReplicaSets too)
//! ```
//!
//! A trouble that goes on keeps the start that it had when it was first seen, also where the object has forgotten it: a crash loop
//! tells its latest crash only. Where nothing is known, the start is a time that the object tells, so that everybody who sees it says
//! the same.

use model::kubernetes::{Trouble, TroubleKind};
use serde_json::Value;

use super::kind::Kind;
use super::object::{condition, filled, time};

/// Words under which a container waits for its image. They take turns, so they are one trouble.
const IMAGE: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
];
/// The same for what it is made of.
const CREATION: &[&str] = &[
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// In microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a pod may be unready or without a node.
    pub not_ready: i64,
    /// How long a container that died must have been well.
    pub stable: i64,
}

/// What there is to say about an object now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub troubles: Vec<Trouble>,
    /// When the same object may mean something else without having changed.
    pub look_again: Option<i64>,
    /// Since when what is not wrong any more is well, as far as the object tells.
    pub well_since: Option<i64>,
}

/// Reads the object. `known`: its troubles as of now.
pub fn of(kind: Kind, object: &Value, known: &[Trouble], now: i64, bounds: &Bounds) -> Standing {
    match kind {
        // StatefulSets and DaemonSets have no conditions: their pods tell.
        Kind::Event | Kind::StatefulSet | Kind::DaemonSet => Standing::default(),
        Kind::Pod => pod(object, known, now, bounds),
        Kind::Deployment | Kind::ReplicaSet => workload(object),
    }
}

/// Collects troubles of one object.
struct Reading<'a> {
    known: &'a [Trouble],
    standing: Standing,
}

impl Reading<'_> {
    fn known(&self, kind: TroubleKind, container: Option<&str>) -> Option<i64> {
        let same = |one: &&Trouble| one.kind == kind && one.container.as_deref() == container;
        self.known.iter().find(same).map(|one| one.since)
    }

    fn wrong(&mut self, kind: TroubleKind, container: Option<&str>, since: i64) {
        let since = self.known(kind, container).unwrap_or(since);
        self.standing.troubles.push(Trouble {
            kind,
            container: container.map(str::to_owned),
            since,
        });
    }

    fn look_again(&mut self, at: i64) {
        self.standing.look_again = Some(self.standing.look_again.map_or(at, |known| known.min(at)));
    }

    fn well(&mut self, since: Option<i64>) {
        self.standing.well_since = self.standing.well_since.max(since);
    }
}

fn pod(object: &Value, known: &[Trouble], now: i64, bounds: &Bounds) -> Standing {
    let mut reading = Reading {
        known,
        standing: Standing::default(),
    };
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let leaving = metadata["deletionTimestamp"].is_string();
    if leaving || matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
        // What is leaving is wanted so; why a pod has ended, its Events and its owner tell.
        let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        let left = time(&metadata["deletionTimestamp"]).map(|at| at - grace.clamp(0, 86_400) * 1_000_000);
        reading.well(left);
        return reading.standing;
    }
    let created = time(&metadata["creationTimestamp"]).unwrap_or(now);
    let ready = condition(object, "Ready");
    let changed = ready.and_then(|ready| time(&ready["lastTransitionTime"]));
    let unready_since = changed.unwrap_or(created);
    let is_ready = ready.is_some_and(|ready| ready["status"] == "True");
    if is_ready {
        reading.well(changed);
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            read_container(&mut reading, container, (is_ready, unready_since), now, bounds);
        }
    }
    let scheduled = condition(object, "PodScheduled");
    let placed = scheduled.and_then(|scheduled| time(&scheduled["lastTransitionTime"]));
    let (kind, since) = match scheduled {
        Some(scheduled) if scheduled["status"] == "False" => (TroubleKind::Unschedulable, placed.unwrap_or(created)),
        // That it is not ready a kubelet says; one that says nothing has had the pod since it was placed.
        _ => (TroubleKind::NotReady, changed.or(placed).unwrap_or(created)),
    };
    let told = ready.is_some() || scheduled.is_some();
    // Why it is not ready says more, but what was said already is not taken back for that.
    let explained = !reading.standing.troubles.is_empty();
    let said = reading.known(kind, None).is_some();
    if !is_ready && told && (said || !explained) {
        match since.saturating_add(bounds.not_ready) {
            due if due <= now || said => reading.wrong(kind, None, since),
            due => reading.look_again(due),
        }
    }
    reading.standing
}

fn read_container(
    reading: &mut Reading<'_>,
    container: &Value,
    (pod_ready, unready_since): (bool, i64),
    now: i64,
    bounds: &Bounds,
) {
    let Some(name) = filled(&container["name"]) else { return };
    let (state, last) = (&container["state"], &container["lastState"]["terminated"]);
    let waiting = filled(&state["waiting"]["reason"]).unwrap_or_default();
    if IMAGE.contains(&waiting) {
        reading.wrong(TroubleKind::ImagePullBackOff, Some(name), unready_since);
    }
    if CREATION.contains(&waiting) {
        reading.wrong(TroubleKind::CreateContainerError, Some(name), unready_since);
    }
    // The latest death: of now, or the one before.
    let died = [&state["terminated"], last].into_iter().find(|one| one.is_object());
    let died_at = died.and_then(|died| time(&died["finishedAt"]));
    let out_of_memory = died.is_some_and(|died| died["reason"] == "OOMKilled");
    let looping = waiting == "CrashLoopBackOff";
    let known_loop = reading.known(TroubleKind::CrashLoopBackOff, Some(name)).is_some();
    if !(looping || known_loop || out_of_memory) {
        return;
    }
    let started = time(&state["running"]["startedAt"]);
    let well_from = started.filter(|_| pod_ready || container["ready"] == true);
    let recovered_at = well_from.map(|at| at.saturating_add(bounds.stable));
    match recovered_at {
        Some(at) if at <= now => return reading.well(started),
        Some(at) => reading.look_again(at),
        // An init container is not ready and need not be: it has done its work.
        None if state["terminated"]["exitCode"] == 0 => return reading.well(died_at),
        None => {}
    }
    let since = died_at.unwrap_or(unready_since);
    if looping || known_loop {
        reading.wrong(TroubleKind::CrashLoopBackOff, Some(name), since);
    }
    if out_of_memory {
        reading.wrong(TroubleKind::OomKilled, Some(name), since);
    }
}

fn workload(object: &Value) -> Standing {
    let mut standing = Standing::default();
    let mut read = |kind: TroubleKind, name: &str, bad: &dyn Fn(&Value) -> bool| {
        let Some(condition) = condition(object, name) else {
            return;
        };
        let changed = time(&condition["lastTransitionTime"]).or_else(|| time(&condition["lastUpdateTime"]));
        match (bad(condition), changed) {
            (true, Some(since)) => standing.troubles.push(Trouble {
                kind,
                container: None,
                since,
            }),
            (_, changed) => standing.well_since = standing.well_since.max(changed),
        }
    };
    read(TroubleKind::ProgressDeadlineExceeded, "Progressing", &|condition| {
        condition["status"] == "False" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    read(TroubleKind::ReplicaFailure, "ReplicaFailure", &|condition| {
        condition["status"] == "True"
    });
    standing
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        not_ready: 60_000_000,
        stable: 60_000_000,
    };
    const S: i64 = 1_000_000;

    fn second(s: i64) -> String {
        chrono::DateTime::from_timestamp(s, 0).unwrap().to_rfc3339()
    }

    /// A pod, created at second 100, with this container; ready or not since second 110.
    fn pod_with(ready: bool, container: Value) -> Value {
        json!({
            "metadata": {"uid": "u", "creationTimestamp": second(100)},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": second(110)}],
                "containerStatuses": [container],
            },
        })
    }

    fn dead(at: i64, reason: &str) -> Value {
        json!({"terminated": {"reason": reason, "exitCode": 137, "finishedAt": second(at)}})
    }

    #[track_caller]
    fn check(
        object: &Value,
        known: &[(TroubleKind, i64)],
        now: i64,
        expected: &[(TroubleKind, i64)],
        look_again: Option<i64>,
    ) {
        let container =
            |kind| (kind != TroubleKind::NotReady && kind != TroubleKind::Unschedulable).then(|| "app".to_owned());
        let trouble = |(kind, since): &(TroubleKind, i64)| Trouble {
            kind: *kind,
            container: container(*kind),
            since: since * S,
        };
        let known: Vec<Trouble> = known.iter().map(trouble).collect();
        let found = of(Kind::Pod, object, &known, now * S, &BOUNDS);
        let expected: Vec<Trouble> = expected.iter().map(trouble).collect();
        assert_eq!(
            (found.troubles, found.look_again),
            (expected, look_again.map(|s| s * S))
        );
    }

    #[test]
    fn a_crash_loop_is_one_trouble_until_it_is_stable() {
        use TroubleKind::CrashLoopBackOff as Loop;
        let backing_off = |died| {
            let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
            pod_with(
                false,
                json!({"name": "app", "ready": false, "state": state, "lastState": dead(died, "Error")}),
            )
        };
        check(&backing_off(120), &[], 125, &[(Loop, 120)], None);
        // Its later crashes are the same trouble, as long as somebody remembers.
        check(&backing_off(180), &[(Loop, 120)], 185, &[(Loop, 120)], None);
        check(&backing_off(180), &[], 185, &[(Loop, 180)], None);
        let again = |ready: bool| {
            let state = json!({"running": {"startedAt": second(200)}});
            pod_with(
                ready,
                json!({"name": "app", "ready": ready, "state": state, "lastState": dead(190, "Error")}),
            )
        };
        check(&again(false), &[(Loop, 120)], 205, &[(Loop, 120)], None);
        check(&again(true), &[(Loop, 120)], 205, &[(Loop, 120)], Some(260));
        check(&again(true), &[(Loop, 120)], 260, &[], None);
        // A death that nobody loops over is none.
        check(&again(true), &[], 205, &[], None);
    }

    #[test]
    fn out_of_memory() {
        use TroubleKind::OomKilled as Oom;
        let running = |died, reason| {
            let state = json!({"running": {"startedAt": second(died + 1)}});
            pod_with(
                true,
                json!({"name": "app", "ready": true, "state": state, "lastState": dead(died, reason)}),
            )
        };
        check(&running(200, "OOMKilled"), &[], 210, &[(Oom, 200)], Some(261));
        check(&running(200, "OOMKilled"), &[(Oom, 150)], 210, &[(Oom, 150)], Some(261));
        check(&running(200, "OOMKilled"), &[(Oom, 150)], 261, &[], None);
        check(&running(200, "Completed"), &[], 210, &[], None);
    }

    #[test]
    fn images_and_configuration() {
        let waiting = |reason: &str| pod_with(false, json!({"name": "app", "state": {"waiting": {"reason": reason}}}));
        for reason in ["ErrImagePull", "ImagePullBackOff"] {
            check(
                &waiting(reason),
                &[],
                300,
                &[(TroubleKind::ImagePullBackOff, 110)],
                None,
            );
        }
        let creation = [(TroubleKind::CreateContainerError, 110)];
        check(&waiting("CreateContainerConfigError"), &[], 111, &creation, None);
    }

    #[test]
    fn unready_pods_are_given_time() {
        use TroubleKind::{NotReady, Unschedulable};
        let starting = pod_with(
            false,
            json!({"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}),
        );
        check(&starting, &[], 120, &[], Some(170));
        check(&starting, &[], 170, &[(NotReady, 110)], None);
        check(&starting, &[(NotReady, 90)], 120, &[(NotReady, 90)], None);
        let ready = pod_with(true, json!({"name": "app", "ready": true}));
        check(&ready, &[(NotReady, 90)], 120, &[], None);
        assert_eq!(of(Kind::Pod, &ready, &[], 120 * S, &BOUNDS).well_since, Some(110 * S));
        let mut homeless = starting.clone();
        let conditions = homeless["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"type": "PodScheduled", "status": "False", "lastTransitionTime": second(101)}));
        check(&homeless, &[], 161, &[(Unschedulable, 101)], None);
        // As the scheduler writes it: without a node no kubelet has said anything.
        let of_scheduler = |status: &str, at| {
            let scheduled = json!({"type": "PodScheduled", "status": status, "lastTransitionTime": second(at)});
            json!({"metadata": {"uid": "u", "creationTimestamp": second(100)}, "status": {"phase": "Pending", "conditions": [scheduled]}})
        };
        check(&of_scheduler("False", 101), &[], 120, &[], Some(161));
        check(&of_scheduler("False", 101), &[], 161, &[(Unschedulable, 101)], None);
        // Placed on a node whose kubelet is silent.
        check(&of_scheduler("True", 150), &[(Unschedulable, 101)], 170, &[], Some(210));
        check(&of_scheduler("True", 150), &[], 210, &[(NotReady, 150)], None);
        // What leaves, and what is done, needs not be ready.
        let mut leaving = starting.clone();
        leaving["metadata"]["deletionTimestamp"] = json!(second(230));
        leaving["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        check(&leaving, &[(NotReady, 110)], 300, &[], None);
        assert_eq!(of(Kind::Pod, &leaving, &[], 300 * S, &BOUNDS).well_since, Some(200 * S));
        let mut done = starting;
        done["status"]["phase"] = json!("Succeeded");
        check(&done, &[], 300, &[], None);
    }

    #[test]
    fn what_is_no_pod_is_well() {
        for odd in [
            json!({}),
            json!([]),
            json!(null),
            json!({"status": {"conditions": {}, "containerStatuses": [5, null, {}]}}),
        ] {
            check(&odd, &[], 300, &[], None);
        }
    }

    #[test]
    fn deployments() {
        let deployment = |kind: &str, status: &str, reason: &str| {
            json!({"status": {"conditions": [
                {"type": "Available", "status": "False"},
                {"type": kind, "status": status, "reason": reason, "lastTransitionTime": second(7), "lastUpdateTime": second(9)}]}})
        };
        let check = |object: &Value, expected: &[TroubleKind], well: Option<i64>| {
            let found = of(Kind::Deployment, object, &[], 100 * S, &BOUNDS);
            let kinds: Vec<TroubleKind> = found.troubles.iter().map(|one| one.kind).collect();
            assert_eq!((kinds.as_slice(), found.well_since), (expected, well.map(|s| s * S)));
            assert!(found.troubles.iter().all(|one| one.since == 7 * S));
        };
        let stuck = deployment("Progressing", "False", "ProgressDeadlineExceeded");
        check(&stuck, &[TroubleKind::ProgressDeadlineExceeded], None);
        check(
            &deployment("Progressing", "True", "NewReplicaSetAvailable"),
            &[],
            Some(7),
        );
        check(
            &deployment("ReplicaFailure", "True", "FailedCreate"),
            &[TroubleKind::ReplicaFailure],
            None,
        );
        check(&deployment("Paused", "True", ""), &[], None);
    }
}
