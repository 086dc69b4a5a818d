//! Statements that do not name the firing that they are about: PagerDuty's trigger, acknowledge and resolve know only the
//! alert's key. Which firing is meant, event time and what is known of the alert decide:
//!
//! ```text
//!               fires since S                    over, until E ≥ t             nothing known that long
//! triggered     it: repeat or new content        it, as while it fired         begins at t
//! cleared       S ≤ t: ends at t                 repeat: an end told twice     waits for the trigger
//! acknowledged  S ≤ t: it                        it                            waits for the trigger
//! ```
//!
//! What has no time of its own is as old as its receipt, so an end that overtook its trigger may look older than it. Of an alert that was
//! never heard of before it is taken for that, if the trigger comes within the wait: both are one firing, over at its start. Of an alert that
//! was on before it is not: a sender that says "over" whenever all is well would end every firing at its start. Acknowledgements do no
//! harm, and reach a trigger within the wait always.

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
        // Overtaken by its end: content is news, firing again is not.
        if let Some(episode) = self.episodes.iter_mut().find(|episode| episode.over_at() >= Some(at)) {
            return episode.hear(row.digest, TransitionKind::Updated);
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
            let slack = if before { 0 } else { wait };
            if start > at.saturating_add(slack) {
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
        let told = self.episodes.iter_mut().find(|episode| episode.over_at() >= Some(at));
        told.map_or(Said::Unknown, Episode::again)
    }

    /// `wait` as in [`AlertState::cleared`].
    pub fn acknowledged(&mut self, row: &SignalRow<'_>, wait: i64) -> Said {
        let at = row.event_at;
        if let Some(episode) = self.firing_now()
            && episode.starts_at <= at.saturating_add(wait)
        {
            return episode.hear(row.digest, TransitionKind::Acknowledged);
        }
        let meant = self.episodes.iter_mut().find(|episode| episode.over_at() >= Some(at));
        meant.map_or(Said::Unknown, |episode| {
            episode.hear(row.digest, TransitionKind::Acknowledged)
        })
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
