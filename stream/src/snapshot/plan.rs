//! Which snapshot a task starts from: a pure decision on manifests.
//!
//! ```text
//!            snapshot                    committed
//! log ───────────┼────────── replay ────────┼──────────►
//!                 emitted before, under the logic and the settings that the newest snapshot names
//! ```
//!
//! Replay runs without emitting, so it must make the state that the emitting run had. Hence, in the order of newness:
//!
//! * same logic version and settings: restore and replay;
//! * others, and the snapshot is exactly at the committed offset: nothing is replayed, so other settings may take over, and
//!   another logic may migrate;
//! * others, and something lies between: refused. An older snapshot of our own does not help: what was emitted behind it
//!   came from the other logic.

use super::{Generation, Identity, SnapshotError};
use crate::log::Offset;

/// How a snapshot is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Restore it, replay what follows.
    AsIs,
    /// Restore it and go on under other settings; store a base at once.
    NewSettings,
    /// Let the operator read what another logic version saved; store a base at once.
    Migrate,
}

/// Snapshots to try, best first.
#[derive(Debug)]
pub struct Plan {
    pub tries: Vec<(Generation, How)>,
    /// What to say when none of them can be read. `None`: the state is made from the log alone.
    pub otherwise: Option<SnapshotError>,
}

impl Plan {
    /// `newest_first`: what [`super::generations`] gives. `stateless`: the operator has no cells; then nothing that it
    /// emits depends on a snapshot and any version of it may be used.
    pub fn make(newest_first: Vec<Generation>, wanted: &Identity, stateless: bool, committed: Offset) -> Self {
        let mut plan = Plan {
            tries: Vec::new(),
            otherwise: None,
        };
        // Nothing was consumed, so nothing was emitted, so any logic may begin.
        if committed == Offset(0) {
            return plan;
        }
        let mut candidates: Vec<(Generation, Match)> = newest_first
            .into_iter()
            .filter(|generation| generation.manifest.offset <= committed)
            .map(|generation| {
                let how = compare(&generation.manifest.identity, wanted, stateless);
                (generation, how)
            })
            .collect();
        // At one offset ours comes first: that is how one goes back to the previous program after an upgrade.
        candidates.sort_by_key(|(generation, how)| {
            let manifest = &generation.manifest;
            std::cmp::Reverse((manifest.offset, *how == Match::Same, manifest.sequence))
        });
        for (generation, how) in candidates {
            let exact = generation.manifest.offset == committed;
            let how = match how {
                Match::Foreign => {
                    let found = &generation.manifest.identity;
                    tracing::warn!(
                        stage = wanted.stage,
                        partition = wanted.partition,
                        name = generation.name,
                        topology = found.topology,
                        wanted = wanted.topology,
                        "snapshot of another topology, stage or partition passed over"
                    );
                    continue;
                }
                Match::Same => How::AsIs,
                Match::Settings if exact => How::NewSettings,
                Match::Logic if exact => How::Migrate,
                Match::Settings | Match::Logic => {
                    plan.otherwise = Some(refusal(&generation, wanted, committed));
                    return plan;
                }
            };
            if how != How::AsIs {
                // Should it be torn, no older one may stand in for it.
                plan.otherwise
                    .get_or_insert_with(|| refusal(&generation, wanted, committed));
            }
            plan.tries.push((generation, how));
        }
        plan
    }

    /// The error if there is nothing to try and starting from the log alone is not allowed either.
    pub fn allowed(self) -> Result<Self, SnapshotError> {
        match self {
            Plan {
                tries,
                otherwise: Some(refusal),
            } if tries.is_empty() => Err(refusal),
            plan => Ok(plan),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Same,
    Settings,
    Logic,
    Foreign,
}

fn compare(found: &Identity, wanted: &Identity, stateless: bool) -> Match {
    let place = |i: &Identity| (i.topology.clone(), i.stage.clone(), i.partition);
    if place(found) != place(wanted) {
        Match::Foreign
    } else if stateless {
        Match::Same
    } else if found.logic_version != wanted.logic_version {
        Match::Logic
    } else if found.settings.is_some() && found.settings != wanted.settings {
        Match::Settings
    } else {
        Match::Same
    }
}

fn refusal(generation: &Generation, wanted: &Identity, committed: Offset) -> SnapshotError {
    let (found, at) = (&generation.manifest.identity, generation.manifest.offset);
    let (stage, partition) = (wanted.stage.clone(), wanted.partition);
    if found.logic_version != wanted.logic_version {
        return SnapshotError::LogicVersion {
            stage,
            partition,
            found: found.logic_version,
            wanted: wanted.logic_version,
            at,
            committed,
        };
    }
    SnapshotError::Settings {
        stage,
        partition,
        difference: difference(found.settings.as_deref(), wanted.settings.as_deref()),
        at,
        committed,
    }
}

/// `gap was "15m", is "10m"`, one for each setting that differs.
pub fn difference(found: Option<&str>, wanted: Option<&str>) -> String {
    let read = |text: Option<&str>| -> serde_json::Map<String, serde_json::Value> {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let (found, wanted) = (read(found), read(wanted));
    let names: std::collections::BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| value.map_or_else(|| "not there".to_owned(), ToString::to_string);
    let differing: Vec<String> = names
        .into_iter()
        .filter(|name| found.get(*name) != wanted.get(*name))
        .map(|name| format!("{name} was {}, is {}", shown(found.get(name)), shown(wanted.get(name))))
        .collect();
    differing.join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapshot::{Manifest, Object};

    fn identity(logic_version: u32, settings: &str) -> Identity {
        Identity {
            topology: "t".into(),
            stage: "s".into(),
            partition: 0,
            logic_version,
            settings: Some(format!(r#"{{"gap":"{settings}"}}"#)),
        }
    }

    fn at(offset: u64, sequence: u64, identity: Identity) -> Generation {
        Generation {
            manifest: Arc::new(Manifest {
                identity,
                offset: Offset(offset),
                sequence,
                objects: vec![Object {
                    sequence,
                    number: 0,
                    from: None,
                    to: Offset(offset),
                    bytes: 0,
                    crc: 0,
                }],
            }),
            name: format!("{sequence}"),
            format: 2,
            complete: true,
        }
    }

    /// What logic 2 with gap 1m makes of snapshots (newest first) when 100 is committed.
    fn check(found: &[(u64, u64, u32, &str)], tries: &[(u64, How)], otherwise: &str) {
        let generations = found
            .iter()
            .map(|(offset, sequence, logic, settings)| at(*offset, *sequence, identity(*logic, settings)))
            .collect();
        let plan = Plan::make(generations, &identity(2, "1m"), false, Offset(100));
        let planned: Vec<(u64, How)> = plan.tries.iter().map(|(g, how)| (g.manifest.sequence, *how)).collect();
        assert_eq!(planned, tries, "{found:?}");
        let said = plan.otherwise.map(|e| e.to_string()).unwrap_or_default();
        assert!(
            said.contains(otherwise) && said.is_empty() == otherwise.is_empty(),
            "{found:?}: {said}"
        );
    }

    #[test]
    fn plans() {
        check(&[], &[], "");
        check(
            &[(90, 2, 2, "1m"), (80, 1, 2, "1m")],
            &[(2, How::AsIs), (1, How::AsIs)],
            "",
        );
        // Beyond what is committed: of a run whose log was lost.
        check(&[(101, 2, 2, "1m"), (80, 1, 2, "1m")], &[(1, How::AsIs)], "");
        check(
            &[(100, 2, 1, "1m")],
            &[(2, How::Migrate)],
            "logic version 1, this program has 2",
        );
        check(&[(99, 2, 1, "1m")], &[], "start the previous program once more");
        // Ours is older than what the other logic emitted.
        check(&[(99, 2, 1, "1m"), (90, 1, 2, "1m")], &[], "logic version 1");
        check(
            &[(100, 2, 2, "5m")],
            &[(2, How::NewSettings)],
            r#"gap was "5m", is "1m""#,
        );
        check(&[(99, 2, 2, "5m")], &[], "with the previous settings");
        // Back to the program that was there before: its own snapshot at the same offset.
        check(
            &[(100, 3, 3, "1m"), (100, 2, 2, "1m")],
            &[(2, How::AsIs), (3, How::Migrate)],
            "logic version 3",
        );
    }

    #[test]
    fn nothing_is_refused_where_nothing_depends_on_it() {
        let other = || vec![at(90, 1, identity(1, "5m"))];
        let stateless = Plan::make(other(), &identity(2, "1m"), true, Offset(100));
        assert_eq!(stateless.tries[0].1, How::AsIs);
        let unused = Plan::make(vec![at(0, 1, identity(1, "5m"))], &identity(2, "1m"), false, Offset(0));
        assert!(unused.tries.is_empty() && unused.otherwise.is_none());
        let mut foreign = at(100, 1, identity(2, "1m"));
        Arc::make_mut(&mut foreign.manifest).identity.topology = "other".into();
        let plan = Plan::make(vec![foreign], &identity(2, "1m"), false, Offset(100));
        assert!(plan.tries.is_empty() && plan.otherwise.is_none());
    }
}
