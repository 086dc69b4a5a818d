//! What must hold whatever happens: the kernel's promises as data, one sentence each, with ids that never change.
//!
//! The simulation ([`crate::simulation`]) asserts every one of them and names the id when it finds one broken;
//! `docs/invariants.md` is generated from [`ALL`]. An id is never given to another sentence: a promise that is taken back
//! leaves a gap.

use std::fmt;

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Stable; what a failure names.
    pub id: &'static str,
    /// One sentence.
    pub says: &'static str,
    /// Where it is looked at outside the simulation, too; empty if nowhere.
    pub in_production: &'static str,
}

pub const BALANCE: Invariant = Invariant {
    id: "I01-balance",
    says: "In every commit, items read plus held items released equal the sum of all dispositions.",
    in_production: "a task whose counts do not balance stops before it commits",
};

pub const TILING: Invariant = Invariant {
    id: "I02-tiling",
    says: "The accounting ranges of one stage and partition neither overlap nor leave out a data record.",
    in_production: "",
};

pub const ONE_DISPOSITION: Invariant = Invariant {
    id: "I03-one-disposition",
    says: "Over a partition's whole life, each input item is counted exactly once, and no more held items are released than were held.",
    in_production: "",
};

pub const EXACTLY_ONCE: Invariant = Invariant {
    id: "I04-exactly-once",
    says: "What a stage wrote equals what one straight run over the same input writes, row by row, nothing missing and nothing twice.",
    in_production: "",
};

pub const SAME_RESULT: Invariant = Invariant {
    id: "I05-same-result",
    says: "The final outputs of a run with faults equal those of the run without, as far as the plan promises an order-free result.",
    in_production: "",
};

pub const POSITIONS: Invariant = Invariant {
    id: "I06-positions",
    says: "A group's committed position never goes back, unless a power cut takes back the commit that moved it.",
    in_production: "",
};

pub const FENCING: Invariant = Invariant {
    id: "I07-fencing",
    says: "A member that lost a partition commits nothing more for it.",
    in_production: "the log refuses such a commit as fenced",
};

pub const WATERMARK: Invariant = Invariant {
    id: "I08-watermark",
    says: "No row stands behind the watermark that a reader of its partition has heard: a watermark as heard never falls, and none passes a row that is still owed, unless that row's input was late.",
    in_production: "rows that arrive behind the watermark are counted as late or amended",
};

pub const STATE: Invariant = Invariant {
    id: "I09-state",
    says: "The state at an offset is a function of the log up to it: every snapshot taken there, and a straight run, hold the same bytes.",
    in_production: "",
};

pub const SINK_ONCE: Invariant = Invariant {
    id: "I10-sink-once",
    says: "A sink's store holds each record of its topics exactly once, and none that the log does not have.",
    in_production: "a store moves its position only from where it stands",
};

pub const BURIED: Invariant = Invariant {
    id: "I11-buried",
    says: "A sink's position passes a refused record only when a durable dead letter names it.",
    in_production: "",
};

pub const DURABLE: Invariant = Invariant {
    id: "I12-durable",
    says: "What an append answered for is in the log after any crash.",
    in_production: "",
};

pub const ENDS: Invariant = Invariant {
    id: "I13-ends",
    says: "Once faults are over, every stage and sink reads its input to the end without help.",
    in_production: "readiness fails when a partition's lag or commit age passes its bound",
};

pub const NO_STOP: Invariant = Invariant {
    id: "I14-no-stop",
    says: "An outside system that is away, slow or answers twice stops no driver.",
    in_production: "",
};

pub const DETERMINISM: Invariant = Invariant {
    id: "I15-determinism",
    says: "The same seed gives the same operations and the same bytes.",
    in_production: "",
};

pub const EVENT_TIME_GOES_ON: Invariant = Invariant {
    id: "I16-event-time-goes-on",
    says: "Once faults are over, event time goes on at every stage without help, and without another alert.",
    in_production: "`aegis_stage_watermark_lag_seconds`",
};

pub const ASKED_ONCE: Invariant = Invariant {
    id: "I17-asked-once",
    says: "Nothing whose answer stands in the log is asked of the outside, and what an earlier attempt may have reached is not asked as new.",
    in_production: "",
};

/// All of them, in order of id.
pub const ALL: &[Invariant] = &[
    BALANCE,
    TILING,
    ONE_DISPOSITION,
    EXACTLY_ONCE,
    SAME_RESULT,
    POSITIONS,
    FENCING,
    WATERMARK,
    STATE,
    SINK_ONCE,
    BURIED,
    DURABLE,
    ENDS,
    NO_STOP,
    DETERMINISM,
    EVENT_TIME_GOES_ON,
    ASKED_ONCE,
];

/// A promise that was found broken, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    pub id: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.detail)
    }
}

impl Invariant {
    /// Broken, as `detail` shows.
    pub fn broken(&self, detail: impl Into<String>) -> Violation {
        Violation {
            id: self.id,
            detail: detail.into(),
        }
    }

    /// Holds, or is broken as `detail` shows.
    pub fn check(&self, holds: bool, detail: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }
}

/// `docs/invariants.md`.
pub fn page() -> String {
    let mut page = String::from(
        "# Invariants\n\n<!-- Generated from stream/src/invariants.rs; a test compares. -->\n\n\
         What must hold whatever happens. Every one is asserted in the simulation (`make simulate`), which names the id of the one\n\
         that it finds broken; some are also looked at in production.\n\n\
         | id | promise | in production |\n|---|---|---|\n",
    );
    for invariant in ALL {
        let production = if invariant.in_production.is_empty() {
            "–"
        } else {
            invariant.in_production
        };
        page.push_str(&format!("| `{}` | {} | {production} |\n", invariant.id, invariant.says));
    }
    page
}
