//! What a stage tells of its commits and of what it could not read: counters, and a word where a person should know.

use crate::accounting::Accounting;
use crate::log::{Offset, TopicPartition};
use crate::task::PartitionCommit;
use crate::time::Instant;

/// A commit of one partition is through.
pub(super) fn committed(stage: &'static str, commit: &PartitionCommit, counts: &Accounting, now: Instant) {
    let records: usize = commit.outputs.iter().map(|(_, records)| records.len()).sum();
    metrics::counter!("aegis_stage_records_total", "stage" => stage, "direction" => "out").increment(records as u64);
    if let Some(newest) = commit.outputs.iter().flat_map(|(_, r)| r).map(|r| r.timestamp).max()
        && newest.0 > 0
        && commit.position.is_some()
    {
        metrics::histogram!("aegis_stage_latency_seconds", "stage" => stage).record(now.since(newest).as_secs_f64());
    }
    let items = |disposition: &'static str, n: u64| {
        if n > 0 {
            metrics::counter!("aegis_stage_items_total", "stage" => stage, "disposition" => disposition).increment(n);
        }
    };
    items("in", counts.items_in);
    items("forwarded", counts.forwarded);
    items("merged", counts.merged);
    items("suppressed", counts.suppressed.values().sum());
    items("late", counts.late);
    for (cause, n) in &counts.late_by {
        metrics::counter!("aegis_stage_late_total", "stage" => stage, "cause" => cause.clone()).increment(*n);
    }
    items("dead_lettered", counts.dead_lettered);
    items("held", counts.held);
    items("released", counts.released);
    items("amended", counts.amended);
}

/// Records that retention took before a stage, or its state, had seen them (ADR 12): the stage goes on at the log's start,
/// because alerts that still come matter more than those that are gone, but says how many are missing.
pub(super) fn gaps(
    stage: &'static str,
    partition: &TopicPartition,
    committed: Option<Offset>,
    start: Offset,
    restored_at: Option<Offset>,
) {
    let Some(committed) = committed else { return };
    if committed < start {
        let gone = start.0 - committed.0;
        tracing::error!(stage, %partition, committed = committed.0, start = start.0, gone, "the log no longer has the committed position: going on at its start; the accounting records name the gap");
        metrics::counter!("aegis_stage_skipped_records_total", "stage" => stage).increment(gone);
    }
    let state_at = restored_at.unwrap_or_default();
    if state_at < start.min(committed) {
        let gone = start.min(committed).0 - state_at.0;
        tracing::error!(stage, %partition, snapshot = state_at.0, start = start.0, gone, "the state cannot be restored in full: the log starts after the newest usable snapshot; raise the retention of this topic or take snapshots more often");
        metrics::counter!("aegis_stage_state_gap_records_total", "stage" => stage).increment(gone);
    }
}
