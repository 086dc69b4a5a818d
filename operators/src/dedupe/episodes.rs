//! What dedupe remembers of one alert, and the decision about its next signal. Pure: no clock, no output.
//!
//! An *episode* is one firing, named by (dedup key, start). Episodes are judged by event time alone: whatever the order
//! in which statements about an episode arrive, its end is the latest end stated, and it fires only until then. What a
//! decision depends on the order for is only the word (`New` or `Reopened`) and how many statements counted as repeats.

mod unstated;

use model::{Signal, SignalRow, SignalState, TransitionKind};
use serde::{Deserialize, Serialize};

pub use unstated::Said;

/// Contents remembered per episode, so that A, B, A is one update and not two. With fewer, a sender that alternates
/// among more texts is heard each time; with more, each episode costs eight bytes for each.
const DIGESTS: usize = 16;

/// All that is remembered of one dedup key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertState {
    /// In order of start.
    episodes: Vec<Episode>,
    /// An episode that began here or earlier may have been forgotten for want of room.
    floor: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Episode {
    starts_at: i64,
    phase: Phase,
    /// Contents seen while firing (or of the event), oldest first.
    digests: Vec<u64>,
    repeats: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Phase {
    Firing,
    Resolved {
        ends_at: i64,
        stated_at: i64,
    },
    /// Resolved before it fired, as far as we have heard: the resolve waits.
    Parked(Box<Signal>),
    /// Waited in vain: the resolve went out alone.
    Orphan(Box<Signal>),
    /// Happened; has no end to wait for.
    Event {
        stated_at: i64,
    },
}

/// What becomes of a signal.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Forward {
        kind: TransitionKind,
        repeats: u64,
    },
    /// The firing that an early resolve was waiting for: forward it, and `end` behind it.
    ForwardWithEnd {
        kind: TransitionKind,
        end: Box<Signal>,
        was_parked: bool,
    },
    /// Nothing new.
    Repeat,
    /// Keep it until the firing comes or the wait is over.
    Park,
    /// Its episode was forgotten for want of room, so nobody can tell whether it is new.
    Forgotten,
}

/// How long ended episodes and events stay known, in microseconds of event time.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resolved: i64,
    pub event: i64,
}

/// An episode dropped for want of room.
#[derive(Debug, PartialEq)]
pub struct Evicted {
    pub starts_at: i64,
    /// Its early resolve, if one was waiting.
    pub parked: Option<Box<Signal>>,
}

impl AlertState {
    /// Decides and remembers. `overdue`: an early resolve of this age waits no longer.
    pub fn judge(&mut self, row: &SignalRow<'_>, overdue: bool) -> Verdict {
        match row.state {
            SignalState::Firing => self.firing(row),
            SignalState::Resolved => self.resolved(row, overdue),
            SignalState::Event => self.event(row),
            // These name no firing: see `unstated.rs`.
            SignalState::Triggered | SignalState::Cleared | SignalState::Acknowledged => Verdict::Repeat,
        }
    }

    /// Whether the firing that began then has no end yet.
    pub fn fires(&self, starts_at: i64) -> bool {
        matches!(self.find(starts_at), Ok(at) if self.episodes[at].phase == Phase::Firing)
    }

    /// The term of a firing is over: it ended then. Returns its repeats; `None` where it does not fire (any more).
    pub fn expire(&mut self, starts_at: i64, until: i64) -> Option<u64> {
        let at = self.find(starts_at).ok()?;
        let episode = &mut self.episodes[at];
        if episode.phase != Phase::Firing {
            return None;
        }
        episode.phase = Phase::Resolved {
            ends_at: until,
            stated_at: until,
        };
        Some(episode.repeats)
    }

    /// What expired was said again: it fires, as it did all along.
    pub fn revive(&mut self, starts_at: i64) -> bool {
        let Ok(at) = self.find(starts_at) else { return false };
        let over = matches!(self.episodes[at].phase, Phase::Resolved { .. });
        if over {
            self.episodes[at].phase = Phase::Firing;
        }
        over
    }

    /// The wait for the firing of a parked resolve is over. `None` if nothing is parked there (any more).
    pub fn give_up_waiting(&mut self, starts_at: i64) -> Option<Box<Signal>> {
        let at = self.find(starts_at).ok()?;
        let Phase::Parked(signal) = &self.episodes[at].phase else {
            return None;
        };
        let signal = signal.clone();
        self.episodes[at].phase = Phase::Orphan(signal.clone());
        Some(signal)
    }

    /// When the next episode may be forgotten; `None` while all of them fire or wait.
    pub fn forget_at(&self, memory: Memory) -> Option<i64> {
        self.episodes
            .iter()
            .filter_map(|episode| episode.forget_at(memory))
            .min()
    }

    /// Forgets what ended long enough before `watermark`.
    pub fn forget(&mut self, watermark: i64, memory: Memory) {
        self.episodes
            .retain(|episode| episode.forget_at(memory).is_none_or(|at| at > watermark));
    }

    /// Nothing is known any more.
    pub fn is_empty(&self) -> bool {
        self.episodes.is_empty()
    }

    /// Keeps at most `most` episodes: the oldest ended one goes first, else the oldest.
    pub fn evict(&mut self, most: usize) -> Option<Evicted> {
        if self.episodes.len() <= most.max(1) {
            return None;
        }
        let ended = |episode: &Episode| !matches!(episode.phase, Phase::Firing | Phase::Parked(_));
        let at = self.episodes.iter().position(ended).unwrap_or(0);
        let Episode { starts_at, phase, .. } = self.episodes.remove(at);
        self.floor = self.floor.max(Some(starts_at));
        Some(Evicted {
            starts_at,
            parked: if let Phase::Parked(signal) = phase {
                Some(signal)
            } else {
                None
            },
        })
    }

    fn find(&self, starts_at: i64) -> Result<usize, usize> {
        // Nearly every alert has one episode, and nearly every signal is about the newest.
        match self.episodes.last() {
            Some(newest) if newest.starts_at == starts_at => Ok(self.episodes.len() - 1),
            _ => self
                .episodes
                .binary_search_by_key(&starts_at, |episode| episode.starts_at),
        }
    }

    fn insert(&mut self, at: usize, starts_at: i64, phase: Phase, digests: Vec<u64>) {
        self.episodes.insert(
            at,
            Episode {
                starts_at,
                phase,
                digests,
                repeats: 0,
            },
        );
    }

    fn forgotten(&self, starts_at: i64) -> bool {
        self.floor.is_some_and(|floor| starts_at <= floor)
    }

    fn firing(&mut self, row: &SignalRow<'_>) -> Verdict {
        let others = self.episodes.iter().any(|episode| episode.starts_at != row.event_at);
        let kind = if others {
            TransitionKind::Reopened
        } else {
            TransitionKind::New
        };
        let at = match self.find(row.event_at) {
            Ok(at) => at,
            Err(_) if self.forgotten(row.event_at) => return Verdict::Forgotten,
            Err(at) => {
                self.insert(at, row.event_at, Phase::Firing, vec![row.digest]);
                return Verdict::Forward { kind, repeats: 0 };
            }
        };
        let episode = &mut self.episodes[at];
        let new_content = episode.learn(row.digest);
        match &episode.phase {
            Phase::Parked(end) | Phase::Orphan(end) => {
                let was_parked = matches!(episode.phase, Phase::Parked(_));
                let end = end.clone();
                episode.phase = Phase::Resolved {
                    ends_at: end_of(&end.row()),
                    stated_at: end.effective_at,
                };
                Verdict::ForwardWithEnd { kind, end, was_parked }
            }
            // Also when it has ended already: content is news, firing again is not.
            _ if new_content => Verdict::Forward {
                kind: TransitionKind::Updated,
                repeats: episode.repeats,
            },
            _ => episode.repeat(),
        }
    }

    fn resolved(&mut self, row: &SignalRow<'_>, overdue: bool) -> Verdict {
        let ends_at = end_of(row);
        let forward = |repeats| Verdict::Forward {
            kind: TransitionKind::Resolved,
            repeats,
        };
        let at = match self.find(row.event_at) {
            Ok(at) => at,
            // An end must not be lost; told twice it does no harm.
            Err(_) if self.forgotten(row.event_at) => return forward(0),
            Err(at) => {
                let signal = Box::new(row.to_signal());
                let phase = if overdue {
                    Phase::Orphan(signal)
                } else {
                    Phase::Parked(signal)
                };
                self.insert(at, row.event_at, phase, Vec::new());
                return if overdue { forward(0) } else { Verdict::Park };
            }
        };
        let episode = &mut self.episodes[at];
        match &mut episode.phase {
            Phase::Parked(kept) => {
                // Of several, the latest end counts; equal ones are told apart by id, so that order does not matter.
                if (ends_at, row.id) > (end_of(&kept.row()), kept.id) {
                    **kept = row.to_signal();
                }
            }
            Phase::Orphan(kept) if ends_at > end_of(&kept.row()) => {
                **kept = row.to_signal();
                return forward(episode.repeats);
            }
            Phase::Resolved { ends_at: known, .. } if ends_at <= *known => {}
            phase @ (Phase::Firing | Phase::Resolved { .. }) => {
                *phase = Phase::Resolved {
                    ends_at,
                    stated_at: row.effective_at,
                };
                return forward(episode.repeats);
            }
            Phase::Orphan(_) | Phase::Event { .. } => {}
        }
        episode.repeat()
    }

    fn event(&mut self, row: &SignalRow<'_>) -> Verdict {
        // A redelivery without a time of its own gets another start, but says the same.
        let known = |e: &Episode| matches!(e.phase, Phase::Event { .. }) && e.digests.contains(&row.digest);
        if let Some(episode) = self.episodes.iter_mut().find(|episode| known(episode)) {
            return episode.repeat();
        }
        match self.find(row.event_at) {
            Ok(at) => {
                let episode = &mut self.episodes[at];
                if episode.learn(row.digest) {
                    Verdict::Forward {
                        kind: TransitionKind::Updated,
                        repeats: episode.repeats,
                    }
                } else {
                    episode.repeat()
                }
            }
            Err(_) if self.forgotten(row.event_at) => Verdict::Forgotten,
            Err(at) => {
                self.insert(
                    at,
                    row.event_at,
                    Phase::Event {
                        stated_at: row.effective_at,
                    },
                    vec![row.digest],
                );
                Verdict::Forward {
                    kind: TransitionKind::New,
                    repeats: 0,
                }
            }
        }
    }
}

impl Episode {
    /// Whether this content is new for the episode.
    fn learn(&mut self, digest: u64) -> bool {
        if self.digests.contains(&digest) {
            return false;
        }
        if self.digests.len() == DIGESTS {
            self.digests.remove(0);
        }
        self.digests.push(digest);
        true
    }

    fn repeat(&mut self) -> Verdict {
        self.repeats += 1;
        Verdict::Repeat
    }

    fn forget_at(&self, memory: Memory) -> Option<i64> {
        match &self.phase {
            Phase::Firing | Phase::Parked(_) => None,
            Phase::Resolved { stated_at, .. } => Some(stated_at.saturating_add(memory.resolved)),
            Phase::Orphan(signal) => Some(signal.effective_at.saturating_add(memory.resolved)),
            Phase::Event { stated_at } => Some(stated_at.saturating_add(memory.event)),
        }
    }
}

/// When a resolved signal says that its episode ended.
pub fn end_of(row: &SignalRow<'_>) -> i64 {
    row.ends_at.unwrap_or(row.effective_at)
}
