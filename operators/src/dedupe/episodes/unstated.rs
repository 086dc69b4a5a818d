//! Statements that do not name the firing that they are about: PagerDuty's trigger, acknowledge and resolve know only the
//! alert's key. Which firing is meant, event time and what is known of the alert decide:
//!
//! ```text
//!               fires since S                    over, until E                 nothing known
//! triggered     it: repeat or new content        t ≤ E: repeat, overtaken      begins at t
//!                                                t > E: begins at t
//! cleared       S ≤ t: ends at t                 repeat: an end told twice     waits for the trigger
//!               S > t: see below
//! acknowledged  S ≤ t + wait: it                 t ≤ E: it                     waits for the trigger
//! ```
//!
//! An end older than the start of what fires is about the firing before, if one is known. If none is, it overtook the trigger (which
//! had no time of its own but ours): both are one firing, over at its start.

use model::{SignalRow, TransitionKind};

use super::{AlertState, Episode, Phase, end_of};

/// What becomes of such a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A firing begins with it.
    Begins(TransitionKind),
    /// It is news about the firing that began then, which is over at `ends_at` if it says so.
    About {
        starts_at: i64,
        kind: TransitionKind,
        repeats: u64,
        ends_at: Option<i64>,
    },
    /// Nothing new about the firing that began then.
    Repeat { starts_at: i64 },
    /// Nothing is known that it could be about.
    Unknown,
    /// What it is about was forgotten for want of room.
    Forgotten,
}

impl AlertState {
    pub fn triggered(&mut self, row: &SignalRow<'_>) -> Said {
        if let Some(episode) = self.firing_now() {
            return episode.hear(row.digest, TransitionKind::Updated);
        }
        let at = row.event_at;
        if let Some(episode) = self.episodes.iter_mut().find(|episode| episode.over_at() >= Some(at)) {
            return episode.again();
        }
        if self.forgotten(at) {
            return Said::Forgotten;
        }
        let kind = match self.episodes.is_empty() {
            true => TransitionKind::New,
            false => TransitionKind::Reopened,
        };
        match self.find(at) {
            Ok(known) => self.episodes[known].again(),
            Err(place) => {
                self.insert(place, at, Phase::Firing, vec![row.digest]);
                Said::Begins(kind)
            }
        }
    }

    /// `wait`: how long an end may have overtaken its trigger, in microseconds.
    pub fn cleared(&mut self, row: &SignalRow<'_>, wait: i64) -> Said {
        let at = end_of(row);
        let before = self.episodes.iter().any(|episode| episode.over_at().is_some());
        if let Some(episode) = self.firing_now() {
            let start = episode.starts_at;
            if start > at && (before || start > at.saturating_add(wait)) {
                return episode.again();
            }
            let ends_at = at.max(start);
            episode.phase = Phase::Resolved {
                ends_at,
                stated_at: row.effective_at.max(start),
            };
            return Said::About {
                starts_at: start,
                kind: TransitionKind::Resolved,
                repeats: episode.repeats,
                ends_at: Some(ends_at),
            };
        }
        self.episodes.last_mut().map_or(Said::Unknown, Episode::again)
    }

    /// `wait` as in [`AlertState::cleared`].
    pub fn acknowledged(&mut self, row: &SignalRow<'_>, wait: i64) -> Said {
        let at = row.event_at;
        if let Some(episode) = self.firing_now()
            && episode.starts_at <= at.saturating_add(wait)
        {
            return episode.hear(row.digest, TransitionKind::Acknowledged);
        }
        if let Some(episode) = self.episodes.iter_mut().find(|episode| episode.over_at() >= Some(at)) {
            return episode.hear(row.digest, TransitionKind::Acknowledged);
        }
        self.episodes.last_mut().map_or(Said::Unknown, Episode::again)
    }

    /// The newest firing without an end.
    fn firing_now(&mut self) -> Option<&mut Episode> {
        let fires = |episode: &&mut Episode| episode.phase == Phase::Firing;
        self.episodes.iter_mut().rev().find(fires)
    }
}

impl Episode {
    /// When it was over; `None` while it fires, and of an event.
    fn over_at(&self) -> Option<i64> {
        match &self.phase {
            Phase::Resolved { ends_at, .. } => Some(*ends_at),
            Phase::Parked(end) | Phase::Orphan(end) => Some(end_of(&end.row())),
            Phase::Firing | Phase::Event { .. } => None,
        }
    }

    fn hear(&mut self, digest: u64, kind: TransitionKind) -> Said {
        if !self.learn(digest) {
            return self.again();
        }
        Said::About {
            starts_at: self.starts_at,
            kind,
            repeats: self.repeats,
            ends_at: None,
        }
    }

    fn again(&mut self) -> Said {
        self.repeats += 1;
        Said::Repeat {
            starts_at: self.starts_at,
        }
    }
}
