//! What one watch has seen, and what is new about an object that it sees now. Decides; writes and asks nothing.

mod rollouts;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::kubernetes::{Says, Trouble, TroubleKey, TroubleKind};
use serde_json::{Value, json};

use super::StillOpen;
use super::kind::Kind;
use super::object::uid;
use super::standing::{self, Bounds, Standing};
use rollouts::Rollouts;

/// How long an end that was told is remembered, in microseconds: the tables may lag, and say for a while that it is still open.
/// Shorter: under a slow store an end is told again, with a later time.
const ENDS_KEPT: i64 = 3_600 * 1_000_000;

/// Events whose count is remembered. More are counted anew from then on.
const COUNTS: usize = 50_000;

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

/// The memory of one kind in one scope.
pub struct Memory {
    kind: Kind,
    bounds: Bounds,
    kept: BTreeMap<String, Kept>,
    /// Ends that were told: uid and trouble, to when it was told.
    ended: BTreeMap<(String, Trouble), i64>,
    counts: HashMap<String, u64>,
    rollouts: Rollouts,
}

impl Memory {
    pub fn new(kind: Kind, bounds: Bounds) -> Self {
        Memory {
            kind,
            bounds,
            kept: BTreeMap::new(),
            ended: BTreeMap::new(),
            counts: HashMap::new(),
            rollouts: Rollouts::default(),
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
        if self.kind == Kind::Event {
            return self.event(uid, object);
        }
        let mut statements = Vec::new();
        if let Some(workload) = self.kind.workload() {
            let says = self.rollouts.see(workload, &uid, &object, now).into_iter();
            statements.extend(says.map(|says| Statement {
                says,
                object: object.clone(),
            }));
        }
        statements.extend(self.standing(uid, object, now));
        statements
    }

    /// An object that is gone, as it was last.
    pub fn deleted(&mut self, object: Value, now: i64) -> Vec<Statement> {
        let Some(uid) = uid(&object).map(str::to_owned) else {
            return Vec::new();
        };
        self.rollouts.forget(&uid);
        self.counts.remove(&uid);
        let Some(kept) = self.kept.remove(&uid) else {
            return Vec::new();
        };
        let left = standing::of(self.kind, &object, &[], now, &self.bounds).well_since;
        self.end_all(&uid, &kept.troubles, &object, left, now)
    }

    /// A list was seen whole: what is not in it is gone.
    pub fn listed(&mut self, uids: &BTreeSet<String>, now: i64) -> Vec<Statement> {
        self.rollouts.retain(uids);
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
mod tests;
