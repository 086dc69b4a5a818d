//! What one watch has seen, and what is new about an object that it sees now. Decides; writes and asks nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::kubernetes::{Says, Trouble, TroubleKey, TroubleKind};
use serde_json::{Value, json};

use super::StillOpen;
use super::kind::Kind;
use super::object::{condition, filled, moved_at, uid};
use super::standing::{self, Bounds, Standing};

/// How long an end that was told is remembered, in microseconds: the tables may lag, and say for a while that it is still open.
/// Shorter: under a slow store an end is told again, with a later time.
const ENDS_KEPT: i64 = 3_600 * 1_000_000;

/// A rollout that is seen for the first time is news if it moved within this, in microseconds. Dedupe knows what it was told for a day
/// (`dedupe.event_memory`): what is older than that would be told again by each restart.
const NEWS: i64 = 12 * 3_600 * 1_000_000;

/// Events whose count is remembered. More are counted anew from then on.
const COUNTS: usize = 50_000;

/// On Deployments: the number of their template.
pub const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// Something to write down, and the object that shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub says: Says,
    pub object: Value,
}

/// An object with something wrong, or that may soon have.
#[derive(Debug)]
struct Kept {
    object: Value,
    troubles: Vec<Trouble>,
    look_again: Option<i64>,
}

/// What was last known of a Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    revision: Option<String>,
    /// Reason of its condition `Progressing`.
    progress: String,
    replicas: Option<i64>,
}

/// The memory of one kind in one scope.
pub struct Memory {
    kind: Kind,
    bounds: Bounds,
    kept: BTreeMap<String, Kept>,
    /// Ends that were told: uid and trouble, to when it was told.
    ended: BTreeMap<(String, Trouble), i64>,
    counts: HashMap<String, u64>,
    deployments: HashMap<String, Mark>,
}

impl Memory {
    pub fn new(kind: Kind, bounds: Bounds) -> Self {
        Memory {
            kind,
            bounds,
            kept: BTreeMap::new(),
            ended: BTreeMap::new(),
            counts: HashMap::new(),
            deployments: HashMap::new(),
        }
    }

    /// Takes over what the tables say is open, where nothing is known of it. Before the first list.
    pub fn recall(&mut self, open: &[StillOpen], scope: Option<&str>) {
        for one in open {
            let Some((uid, trouble)) = self.mine(one, scope) else {
                continue;
            };
            let kept = self.kept.entry(uid.clone()).or_insert_with(|| Kept {
                object: stand_in(self.kind, &uid, one),
                troubles: Vec::new(),
                look_again: None,
            });
            let same = |known: &&Trouble| (known.kind, &known.container) == (trouble.kind, &trouble.container);
            if kept.troubles.iter().find(same).is_none() {
                kept.troubles.push(trouble);
            }
        }
    }

    /// An object as it is now.
    pub fn present(&mut self, object: Value, now: i64) -> Vec<Statement> {
        let Some(uid) = uid(&object).map(str::to_owned) else {
            return Vec::new();
        };
        match self.kind {
            Kind::Event => self.event(uid, object),
            Kind::Deployment => {
                let mut statements = self.rollout(&uid, &object, now);
                statements.extend(self.standing(uid, object, now));
                statements
            }
            Kind::Pod | Kind::ReplicaSet => self.standing(uid, object, now),
        }
    }

    /// An object that is gone, as it was last.
    pub fn deleted(&mut self, object: Value, now: i64) -> Vec<Statement> {
        let Some(uid) = uid(&object).map(str::to_owned) else {
            return Vec::new();
        };
        self.deployments.remove(&uid);
        self.counts.remove(&uid);
        let Some(kept) = self.kept.remove(&uid) else {
            return Vec::new();
        };
        let left = standing::of(self.kind, &object, &[], now, &self.bounds).well_since;
        self.end_all(&uid, &kept.troubles, &object, left, now)
    }

    /// A list was seen whole: what is not in it is gone.
    pub fn listed(&mut self, uids: &BTreeSet<String>, now: i64) -> Vec<Statement> {
        self.deployments.retain(|uid, _| uids.contains(uid));
        self.counts.retain(|uid, _| uids.contains(uid));
        let gone: Vec<String> = self.kept.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        let mut statements = Vec::new();
        for uid in gone {
            if let Some(kept) = self.kept.remove(&uid) {
                statements.extend(self.end_all(&uid, &kept.troubles, &kept.object, None, now));
            }
        }
        statements
    }

    /// What time alone has changed.
    pub fn tick(&mut self, now: i64) -> Vec<Statement> {
        let due = |kept: &Kept| kept.look_again.is_some_and(|at| at <= now);
        let uids: Vec<String> = self
            .kept
            .iter()
            .filter(|(_, kept)| due(kept))
            .map(|(uid, _)| uid.clone())
            .collect();
        let mut statements = Vec::new();
        for uid in uids {
            if let Some(object) = self.kept.get(&uid).map(|kept| kept.object.clone()) {
                statements.extend(self.standing(uid, object, now));
            }
        }
        self.ended.retain(|_, told_at| told_at.saturating_add(ENDS_KEPT) > now);
        statements
    }

    /// What the tables say is open and is not: told before a crash by a memory that is gone. Only while the watch is complete.
    pub fn reconcile(&mut self, open: &[StillOpen], scope: Option<&str>, now: i64) -> Vec<Statement> {
        let mut statements = Vec::new();
        for one in open {
            let Some((uid, trouble)) = self.mine(one, scope) else {
                continue;
            };
            let kept = self.kept.get(&uid);
            let goes_on = kept.is_some_and(|kept| kept.troubles.contains(&trouble));
            if goes_on || self.ended.contains_key(&(uid.clone(), trouble.clone())) {
                continue;
            }
            let object = kept.map_or_else(|| stand_in(self.kind, &uid, one), |kept| kept.object.clone());
            statements.extend(self.end_all(&uid, &[trouble], &object, None, now));
        }
        statements
    }

    /// Troubles that are open now.
    pub fn open(&self) -> usize {
        self.kept.values().map(|kept| kept.troubles.len()).sum()
    }

    fn standing(&mut self, uid: String, object: Value, now: i64) -> Vec<Statement> {
        let before = self.kept.remove(&uid);
        let known = before.as_ref().map(|kept| kept.troubles.as_slice()).unwrap_or_default();
        let Standing {
            troubles,
            look_again,
            well_since,
        } = standing::of(self.kind, &object, known, now, &self.bounds);
        let over: Vec<Trouble> = known.iter().filter(|one| !troubles.contains(one)).cloned().collect();
        let mut statements = self.end_all(&uid, &over, &object, well_since, now);
        for trouble in troubles.iter().filter(|one| !known.contains(one)) {
            self.ended.remove(&(uid.clone(), trouble.clone()));
            statements.push(Statement {
                says: Says::Began {
                    trouble: trouble.clone(),
                },
                object: object.clone(),
            });
        }
        if !troubles.is_empty() || look_again.is_some() {
            let kept = Kept {
                object,
                troubles,
                look_again,
            };
            self.kept.insert(uid, kept);
        }
        statements
    }

    fn end_all(
        &mut self,
        uid: &str,
        over: &[Trouble],
        object: &Value,
        well_since: Option<i64>,
        now: i64,
    ) -> Vec<Statement> {
        let mut statements = Vec::new();
        for trouble in over {
            self.ended.insert((uid.to_owned(), trouble.clone()), now);
            // A time before it began is of something else.
            let ends_at = well_since.filter(|at| *at >= trouble.since).unwrap_or(now);
            statements.push(Statement {
                says: Says::Ended {
                    trouble: trouble.clone(),
                    ends_at: ends_at.max(trouble.since),
                },
                object: object.clone(),
            });
        }
        statements
    }

    fn event(&mut self, uid: String, object: Value) -> Vec<Statement> {
        let count = occurrences(&object);
        let before = self.counts.get(&uid).copied();
        if before == Some(count) {
            return Vec::new();
        }
        if self.counts.len() >= COUNTS {
            self.counts.clear();
        }
        self.counts.insert(uid, count);
        // One occurrence is the first, whoever asks.
        let before = before.or((count == 1).then_some(0));
        vec![Statement {
            says: Says::Event { before },
            object,
        }]
    }

    fn rollout(&mut self, uid: &str, object: &Value, now: i64) -> Vec<Statement> {
        let known = self.deployments.get(uid);
        let revision = object.pointer(REVISION).and_then(filled).map(str::to_owned);
        // The controller sets the revision first, and the outcome of the one before it may stand there a moment longer.
        let progress = match observed(object) {
            true => condition(object, "Progressing").and_then(|one| filled(&one["reason"])),
            false => known
                .filter(|known| known.revision == revision)
                .map(|known| known.progress.as_str()),
        };
        let mark = Mark {
            progress: progress.unwrap_or_default().to_owned(),
            replicas: object["spec"]["replicas"].as_i64(),
            revision,
        };
        let before = self.deployments.insert(uid.to_owned(), mark.clone());
        let old = || moved_at(object).is_none_or(|at| at.saturating_add(NEWS) < now);
        if before.as_ref() == Some(&mark) || (before.is_none() && old()) {
            return Vec::new();
        }
        let mut says = Vec::new();
        let new_revision = before.as_ref().is_none_or(|before| before.revision != mark.revision);
        if mark.revision.is_some() && new_revision {
            says.push(Says::RolloutBegan);
        }
        let outcome = |mark: &Mark| (mark.revision.clone(), mark.progress.clone());
        if mark.revision.is_some() && before.as_ref().map(outcome) != Some(outcome(&mark)) {
            match mark.progress.as_str() {
                "NewReplicaSetAvailable" => says.push(Says::RolloutCompleted),
                "ProgressDeadlineExceeded" => says.push(Says::RolloutFailed),
                _ => {}
            }
        }
        if let (Some(from), Some(to)) = (before.and_then(|before| before.replicas), mark.replicas)
            && from != to
        {
            says.push(Says::Scaled { from });
        }
        says.into_iter()
            .map(|says| Statement {
                says,
                object: object.clone(),
            })
            .collect()
    }

    /// The uid and the trouble, if it is one of this memory's kind and scope.
    fn mine(&self, one: &StillOpen, scope: Option<&str>) -> Option<(String, Trouble)> {
        let key = TroubleKey::read(&one.key)?;
        let in_scope = scope.is_none_or(|scope| one.namespace.as_deref() == Some(scope));
        if !in_scope || key.kind != self.kind.name().to_ascii_lowercase() {
            return None;
        }
        let trouble = Trouble {
            kind: TroubleKind::parse(key.trouble)?,
            container: key.container.map(str::to_owned),
            since: one.since,
        };
        Some((key.uid.to_owned(), trouble))
    }
}

/// How often an Event has happened so far.
pub fn occurrences(event: &Value) -> u64 {
    let counts = [&event["series"]["count"], &event["count"], &event["deprecatedCount"]];
    counts.into_iter().find_map(Value::as_u64).unwrap_or(1).max(1)
}

/// Whether the controller has seen the newest specification.
fn observed(object: &Value) -> bool {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    number(&object["status"]["observedGeneration"]) >= number(&object["metadata"]["generation"])
}

/// As much of an object that nobody has seen as its signal tells.
fn stand_in(kind: Kind, uid: &str, one: &StillOpen) -> Value {
    let labels: Value = serde_json::from_str(&one.labels).unwrap_or_default();
    let name = labels[kind.name().to_ascii_lowercase()].clone();
    json!({
        "kind": kind.name(),
        "metadata": {"uid": uid, "name": name, "namespace": one.namespace, "labels": labels},
    })
}

#[cfg(test)]
mod tests {
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
        let mut late = super::Memory::new(Kind::Deployment, memory.bounds);
        let mut see = |object| told(&late.present(object, 100 * S + NEWS));
        assert_eq!(see(deployment("2", done, 4, (3, 3))), [""; 0]);
        assert_eq!(see(deployment("3", "ReplicaSetUpdated", 4, (4, 4))), ["RolloutBegan"]);
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
}
