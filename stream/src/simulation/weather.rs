//! Faults, drawn from the seed at every operation.
//!
//! Each seed first draws a climate: which kinds of fault there are at all, and how rare. Runs with few kinds go deep
//! into what those kinds do together; a mixture of everything, every time, rarely gets anywhere.

use std::time::Duration;

use super::dice::Dice;

/// What a process asks the outside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Append,
    Commit,
    Fetch,
    /// Bounds, committed positions, partition counts, joining.
    Ask,
    Sync,
    SnapshotSave,
    SnapshotRead,
    SinkWrite,
    SinkPosition,
    /// A question of an operator.
    Call,
}

/// What it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The process dies, and nothing happened.
    CrashBefore,
    /// It happened, and the process dies before it hears.
    CrashAfter,
    /// Refused, nothing happened.
    Unavailable,
    /// A commit that is aborted.
    Aborted,
    /// The member loses its partitions while its commit is on the way.
    Fenced,
    /// It happened, but the answer is lost.
    AnswerLost,
    /// Nothing happened, and the answer is lost, too.
    RequestLost,
    /// A snapshot of which only a part reaches the disk; the process dies of the same cause.
    Torn,
    DiskFull,
    /// Refused for good, nothing happened.
    Refused,
    /// There is never an answer.
    Silent,
    /// The answer cannot be read.
    Rubbish,
}

/// The draw for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// It takes this long.
    pub delay: Duration,
    pub fault: Fault,
}

/// The climate of a seed and its dice.
#[derive(Clone, Debug)]
pub struct Weather {
    dice: Dice,
    /// From then on nothing goes wrong.
    calm_from: Duration,
    crashes: u32,
    refusals: u32,
    lost_answers: u32,
    fences: u32,
    delays: u32,
    disk: u32,
    /// Percent of operations that take some milliseconds, so that tasks interleave.
    jitter: u32,
}

impl Weather {
    /// Nothing ever goes wrong.
    pub fn calm() -> Self {
        Weather {
            dice: Dice::new(0),
            calm_from: Duration::ZERO,
            crashes: 0,
            refusals: 0,
            lost_answers: 0,
            fences: 0,
            delays: 0,
            disk: 0,
            jitter: 0,
        }
    }

    /// Nothing goes wrong, but operations take some time.
    pub fn still(dice: Dice) -> Self {
        Weather {
            dice,
            jitter: 20,
            ..Weather::calm()
        }
    }

    /// Until `calm_from`. Numbers are "one in": from one in 12 (little gets done) to one in 200.
    pub fn drawn(mut dice: Dice, calm_from: Duration) -> Self {
        let rarity = [12, 25, 50, 100, 200];
        let mut kind = |percent: u32| match dice.chance(percent) {
            true => *dice.pick(&rarity).unwrap_or(&100),
            false => 0,
        };
        Weather {
            crashes: kind(60) * 2,
            refusals: kind(60),
            lost_answers: kind(60),
            fences: kind(40),
            delays: kind(50),
            disk: kind(50),
            jitter: [0, 10, 40][dice.below(3)],
            calm_from,
            dice,
        }
    }

    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Longest time a crashed process stays away: mostly seconds, sometimes minutes.
    pub fn downtime(&mut self) -> Duration {
        match self.dice.one_in(12) {
            true => Duration::from_secs(60 + self.dice.below(240) as u64),
            false => Duration::from_millis(self.dice.below(8_000) as u64),
        }
    }

    pub fn draw(&mut self, now: Duration, op: Op) -> Draw {
        let jitter = match self.dice.chance(self.jitter) {
            true => Duration::from_micros(self.dice.below(15_000) as u64),
            false => Duration::ZERO,
        };
        if now >= self.calm_from {
            return Draw {
                delay: jitter,
                fault: Fault::None,
            };
        }
        let delay = match self.dice.one_in(self.delays) {
            true if self.dice.one_in(15) => Duration::from_secs(30 + self.dice.below(150) as u64),
            true => Duration::from_millis(20 + self.dice.below(3_000) as u64),
            false => jitter,
        };
        Draw {
            delay,
            fault: self.fault(op),
        }
    }

    fn fault(&mut self, op: Op) -> Fault {
        if self.dice.one_in(self.crashes) {
            return match self.dice.chance(50) {
                true => Fault::CrashBefore,
                false => Fault::CrashAfter,
            };
        }
        match op {
            Op::Append | Op::Ask | Op::Sync | Op::SinkPosition => self.refused(),
            Op::Fetch => match self.dice.chance(20) {
                true => self.refused(),
                false => Fault::None,
            },
            Op::Commit if self.dice.one_in(self.refusals) => Fault::Aborted,
            Op::Commit if self.dice.one_in(self.fences) => Fault::Fenced,
            Op::Commit if self.dice.one_in(self.lost_answers) => match self.dice.chance(50) {
                true => Fault::AnswerLost,
                false => Fault::RequestLost,
            },
            Op::Commit => Fault::None,
            Op::SinkWrite if self.dice.one_in(self.lost_answers) => Fault::AnswerLost,
            Op::SinkWrite => self.refused(),
            Op::SnapshotSave if self.dice.one_in(self.disk / 4) => match self.dice.chance(50) {
                true => Fault::Torn,
                false => Fault::DiskFull,
            },
            Op::SnapshotRead if self.dice.one_in(self.disk / 4) => Fault::Unavailable,
            Op::SnapshotSave | Op::SnapshotRead => Fault::None,
            Op::Call if self.dice.one_in(self.lost_answers / 2) => {
                let lost = [Fault::AnswerLost, Fault::RequestLost, Fault::Silent];
                lost[self.dice.below(3)]
            }
            Op::Call if self.dice.one_in(self.refusals / 2) => {
                let refused = [Fault::Unavailable, Fault::Refused, Fault::Rubbish];
                refused[self.dice.below(3)]
            }
            Op::Call => Fault::None,
        }
    }

    /// Whether an answer from outside comes a second time.
    pub fn answers_twice(&mut self, now: Duration) -> bool {
        now < self.calm_from && self.dice.one_in(self.lost_answers / 2)
    }

    fn refused(&mut self) -> Fault {
        match self.dice.one_in(self.refusals) {
            true => Fault::Unavailable,
            false => Fault::None,
        }
    }
}
