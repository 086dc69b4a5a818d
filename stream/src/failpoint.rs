//! Places at which a test ends the process, to see what survives.
//!
//! Nothing is armed unless the binary was told to (`AEGIS_TEST_FAILPOINT=PLACE:COUNT`, read by `pipeline` alone); then
//! the process aborts when it comes to PLACE for the COUNTth time (`PLACE@WHO:COUNT`: when WHO does, a stage, a sink, an agent): no destructor runs, nothing is flushed, as with
//! kill -9. Unarmed, passing a place costs one atomic load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every place, with what has and has not happened there.
pub const PLACES: &[(&str, &str)] = &[
    (
        "ingress.before",
        "a request is accepted and nothing of it is in the log",
    ),
    (
        "ingress.after",
        "its bytes are durable and the sender has no answer yet",
    ),
    (
        "stage.assigned",
        "a partition is taken over, its state restored, nothing read yet",
    ),
    ("stage.fetched", "records are processed and nothing of it is committed"),
    ("commit.before", "outputs are ready and the transaction has not begun"),
    (
        "commit.after",
        "the transaction is committed and the task has not been told",
    ),
    (
        "stage.revoked",
        "a partition is about to go and what was pending is not committed",
    ),
    ("snapshot.before", "a snapshot is due"),
    ("snapshot.after", "a snapshot is saved and nobody has been told"),
    (
        "sink.assigned",
        "a sink knows where its store stands and has read nothing",
    ),
    ("sink.before", "rows are ready and the store has not seen them"),
    (
        "sink.after",
        "the store has rows and position, the log's group does not know",
    ),
];

/// Places on the way from an incident to its end, which other records do not come to.
pub const WORK_PLACES: &[(&str, &str)] = &[
    ("step.before", "an agent's step is asked for and nothing of it is done"),
    ("step.after", "a step is done and nobody has heard of it"),
    (
        "work.said",
        "an answer is on the log and the worker's position has not moved",
    ),
    ("deed.before", "the attempt is on the log and the call is not made"),
    ("deed.after", "the call was made and nobody has heard of it"),
    ("notify.before", "a message is due and nobody was told"),
    (
        "notify.posted",
        "a message stands on Slack and nobody here knows which it is",
    ),
    (
        "notify.replied",
        "a line stands below it and nobody here knows that it does",
    ),
    (
        "notify.after",
        "a message was taken and remembered, the position has not moved",
    ),
];

/// Places that only one-shot commands come to.
pub const COMMAND_PLACES: &[(&str, &str)] = &[
    (
        "repartition.begun",
        "a repartition is written down and no new topic exists",
    ),
    ("repartition.copying", "records are in a new topic, more are to follow"),
    (
        "repartition.copied",
        "every record is in its new topic, no state is there yet",
    ),
    (
        "repartition.carried",
        "records, state and positions are there, the sinks still stand in the old topics",
    ),
    (
        "repartition.sinks",
        "the sinks stand in the new topics, which nobody uses yet",
    ),
    (
        "repartition.switched",
        "the new topics are in use, the old ones are not retired",
    ),
];

/// Places that only `aegis sinks rebuild` comes to.
pub const REBUILD_PLACES: &[(&str, &str)] = &[
    ("rebuild.filling", "rows are in the shadow tables, more are to follow"),
    (
        "rebuild.filled",
        "every row is in the shadow tables, the live ones are as they were",
    ),
    (
        "rebuild.swapping",
        "the live tables hold the new rows in a transaction that is not committed",
    ),
];

/// Places that only the sink of traces comes to.
pub const TRACE_PLACES: &[(&str, &str)] = &[(
    "traces.sent",
    "the collector has taken spans and the position behind them has not moved",
)];

struct Armed {
    place: &'static str,
    /// Empty: whoever comes there.
    who: String,
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Arms one place from `PLACE:COUNT`. Once per process.
pub fn arm(text: &str) -> Result<(), String> {
    let wanted = || format!("a failpoint is PLACE:COUNT or PLACE@WHO:COUNT, not {text:?}");
    let (name, count) = text.split_once(':').ok_or_else(wanted)?;
    let (name, who) = name.split_once('@').unwrap_or((name, ""));
    let left: u64 = count.parse().ok().filter(|count| *count > 0).ok_or_else(wanted)?;
    let (place, _) = PLACES
        .iter()
        .chain(WORK_PLACES)
        .chain(COMMAND_PLACES)
        .chain(REBUILD_PLACES)
        .chain(TRACE_PLACES)
        .find(|(place, _)| *place == name)
        .ok_or_else(|| format!("there is no failpoint {name:?}"))?;
    let armed = Armed {
        place,
        who: who.to_owned(),
        left: AtomicU64::new(left),
    };
    ARMED.set(armed).map_err(|_| "a failpoint is armed already".to_owned())
}

/// The process has come to `place`.
pub fn hit(place: &'static str) {
    hit_by(place, "");
}

/// `who` has come to `place`.
pub fn hit_by(place: &'static str, who: &str) {
    if let Some(armed) = ARMED.get()
        && armed.place == place
        && (armed.who.is_empty() || armed.who == who)
        && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_place_that_there_is_can_be_armed() {
        for bad in ["", "commit.before", "commit.before:0", "commit.before:x", "nowhere:1"] {
            assert!(arm(bad).is_err(), "{bad}");
        }
        // Far away: passing it must not end the tests.
        assert_eq!(arm("sink.after:1000000"), Ok(()));
        hit("sink.after");
        assert!(arm("sink.after:1").is_err(), "once per process");
    }
}
