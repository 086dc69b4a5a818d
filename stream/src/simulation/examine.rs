//! Looks at what a run left behind, from its beginning, and holds it against the invariants.

use std::collections::BTreeMap;

use super::plan::{ACCOUNTING, Contents, Plan, PlanStage, Row};
use super::snapshots::{SnapshotState, difference};
use super::store::complete;
use super::straight::{Straight, straight_stage};
use super::world::World;
use crate::accounting::AccountingRecord;
use crate::call::Answer;
use crate::driver::IDENTITY_HEADER;
use crate::invariants::{
    BALANCE, DURABLE, EXACTLY_ONCE, ONE_DISPOSITION, SAME_RESULT, STATE, TILING, Violation, WATERMARK,
};
use crate::log::{Record, Topic, TopicPartition};
use crate::progress::{Upstreams, is_data, progress_of};

/// How often each row stands in a topic's partition.
type Rows = BTreeMap<(TopicPartition, String), i64>;

/// Everything that is found broken.
pub fn examine(world: &World, straight: &Straight) -> Vec<Violation> {
    let plan = &world.plan;
    let contents = world.log.contents();
    let mut found = Vec::new();
    found.extend(straight.broken.clone());
    found.extend(scripted(plan, &contents).err());
    found.extend(same_result(plan, &contents, straight).err());
    found.extend(stages_once(world, &contents).err());
    for stage in &plan.stages {
        found.extend(accounted(plan, stage, &contents).err());
        if plan.punctual || stage.upstream.is_some() {
            found.extend(on_time(plan, stage, &contents).err());
        }
    }
    for (sink, topics) in &plan.sinks {
        found.extend(
            world
                .with_store(sink, |store| complete(world, sink, store, topics))
                .err(),
        );
    }
    found
}

/// The script stands in the log as it was appended.
fn scripted(plan: &Plan, contents: &Contents) -> Result<(), Violation> {
    let mut stood: BTreeMap<&TopicPartition, _> = BTreeMap::new();
    for (partition, records) in contents {
        // Answers stand between the lines.
        let scripted = records.iter().filter(|record| Answer::key_of(record).is_none());
        stood.insert(partition, scripted);
    }
    for step in &plan.script {
        for record in &step.records {
            let found = stood.get_mut(&step.to).and_then(Iterator::next);
            DURABLE.check(found.is_some_and(|found| found.value == record.value), || {
                format!(
                    "{}: {:?} stands where the script goes on",
                    step.to,
                    found.map(|found| found.offset)
                )
            })?;
        }
    }
    Ok(())
}

fn same_result(plan: &Plan, contents: &Contents, straight: &Straight) -> Result<(), Violation> {
    let result = (plan.result)(contents);
    let expected = match &plan.expected {
        Some(expected) => expected.clone(),
        None => (plan.result)(&straight.contents),
    };
    SAME_RESULT.check(result == expected, || first_difference(&expected, &result))
}

fn first_difference(expected: &str, found: &str) -> String {
    let mut expected: Vec<&str> = expected.lines().collect();
    let mut extra: Vec<&str> = Vec::new();
    for line in found.lines() {
        match expected.iter().position(|other| *other == line) {
            Some(at) => drop(expected.remove(at)),
            None => extra.push(line),
        }
    }
    let show = |lines: &[&str]| lines.iter().take(3).copied().collect::<Vec<_>>().join(" ; ");
    format!(
        "{} missing ({}), {} too many ({})",
        expected.len(),
        show(&expected),
        extra.len(),
        show(&extra)
    )
}

/// Each stage, over the input that it really had, wrote what one straight run writes and ended in the same state.
fn stages_once(world: &World, contents: &Contents) -> Result<(), Violation> {
    let plan = &world.plan;
    let mut expected = Rows::new();
    let mut found = Rows::new();
    let inputs: Vec<&Topic> = plan.script.iter().map(|step| &step.to.topic).collect();
    let counted = |partition: &TopicPartition| &*partition.topic != ACCOUNTING && !inputs.contains(&&partition.topic);
    for stage in &plan.stages {
        let straight = straight_stage(plan, stage, contents);
        if let Some(broken) = straight.broken {
            return Err(broken);
        }
        for (partition, records) in straight.contents.iter().filter(|(partition, _)| counted(partition)) {
            if partition.topic != stage.input {
                count(plan, partition, records, &mut expected);
            }
        }
        if stage.upstream.is_some() {
            same_states(world, stage, &straight.states)?;
        }
    }
    for (partition, records) in contents.iter().filter(|(partition, _)| counted(partition)) {
        count(plan, partition, records, &mut found);
    }
    for (row, n) in &mut expected {
        *n -= found.remove(row).unwrap_or(0);
    }
    let missing = expected.iter().find(|(_, n)| **n > 0);
    let twice = expected.iter().find(|(_, n)| **n < 0);
    EXACTLY_ONCE.check(missing.is_none() && twice.is_none() && found.is_empty(), || {
        format!(
            "missing {missing:?}, twice {twice:?}, from nowhere {:?}",
            found.first_key_value()
        )
    })
}

/// Rows of data records; dead letters of sinks are looked at with the sinks.
fn count(plan: &Plan, partition: &TopicPartition, records: &[Record], into: &mut Rows) {
    for record in records.iter().filter(|record| is_data(record)) {
        if record.header(IDENTITY_HEADER).is_some() {
            continue;
        }
        let rows = (plan.rows)(&partition.topic, record).unwrap_or_else(|| vec![unreadable(record)]);
        for row in rows {
            *into.entry((partition.clone(), row.text)).or_default() += 1;
        }
    }
}

fn unreadable(record: &Record) -> Row {
    Row {
        text: format!("{:?}", record.value),
        at: None,
    }
}

fn same_states(
    world: &World,
    stage: &PlanStage,
    expected: &BTreeMap<(String, u32), SnapshotState>,
) -> Result<(), Violation> {
    for ((name, partition), expected) in expected {
        let Some(last) = world.snapshots.last(&world.plan, name, *partition) else {
            continue;
        };
        // A last snapshot that was torn or refused leaves an older one: there is nothing to compare it with.
        if last.offset == expected.offset {
            STATE.check(last.cells == expected.cells, || {
                format!(
                    "{}/{partition}@{}: {}",
                    stage.name,
                    last.offset.0,
                    difference(&expected.cells, &last.cells)
                )
            })?;
        }
    }
    Ok(())
}

/// Balance, tiling, and each item once.
fn accounted(plan: &Plan, stage: &PlanStage, contents: &Contents) -> Result<(), Violation> {
    let mut ranges: BTreeMap<u32, Vec<AccountingRecord>> = BTreeMap::new();
    for (_, records) in contents.iter().filter(|(partition, _)| &*partition.topic == ACCOUNTING) {
        for record in records.iter().filter(|record| is_data(record)) {
            let read: AccountingRecord = serde_json::from_slice(&record.value)
                .map_err(|error| BALANCE.broken(format!("an accounting record cannot be read: {error}")))?;
            if read.stage == stage.name {
                ranges.entry(read.partition).or_default().push(read);
            }
        }
    }
    for (partition, records) in contents.iter().filter(|(partition, _)| partition.topic == stage.input) {
        let ranges = ranges.remove(&partition.partition).unwrap_or_default();
        one_partition(plan, stage, partition, records, ranges)?;
    }
    Ok(())
}

fn one_partition(
    plan: &Plan,
    stage: &PlanStage,
    partition: &TopicPartition,
    input: &[Record],
    mut ranges: Vec<AccountingRecord>,
) -> Result<(), Violation> {
    ranges.sort_by_key(|range| range.from);
    let items = |from: u64, to: u64| -> u64 {
        let range = input
            .get(from as usize..(to as usize).min(input.len()))
            .unwrap_or_default();
        let rows = |record: &Record| (plan.rows)(&partition.topic, record).map_or(1, |rows| rows.len() as u64);
        range.iter().filter(|record| is_data(record)).map(rows).sum()
    };
    let place = format!("{} over {partition}", stage.name);
    let (mut at, mut held, mut released, mut read) = (0, 0, 0, 0);
    for range in &ranges {
        BALANCE.check(range.counts.balanced(), || {
            format!("{place} {}..{}: {:?}", range.from.0, range.to.0, range.counts)
        })?;
        TILING.check(range.from.0 >= at && items(at, range.from.0) == 0, || {
            format!(
                "{place}: {}..{} follows a range that ends at {at}",
                range.from.0, range.to.0
            )
        })?;
        ONE_DISPOSITION.check(range.counts.items_in == items(range.from.0, range.to.0), || {
            format!(
                "{place} {}..{}: {} items counted, {} stand there",
                range.from.0,
                range.to.0,
                range.counts.items_in,
                items(range.from.0, range.to.0)
            )
        })?;
        at = range.to.0.max(at);
        held += range.counts.held;
        released += range.counts.released;
        read += range.counts.items_in;
    }
    let end = input.len() as u64;
    TILING.check(items(at, end) == 0, || {
        format!("{place}: nothing accounts for {at}..{end}")
    })?;
    ONE_DISPOSITION.check(released <= held && read == items(0, end), || {
        format!(
            "{place}: {read} of {} items, held {held}, released {released}",
            items(0, end)
        )
    })
}

/// No row of the stage's output stands behind the watermark that a reader has heard there. (A word by itself may go back:
/// after a restart a task says again what it surely knows, and a reader keeps the highest.)
fn on_time(plan: &Plan, stage: &PlanStage, contents: &Contents) -> Result<(), Violation> {
    // As many tasks write there as the stage has input partitions.
    let writers = contents
        .keys()
        .filter(|partition| partition.topic == stage.input)
        .count();
    for (partition, records) in contents.iter().filter(|(partition, _)| partition.topic == stage.output) {
        let mut heard = Upstreams::new(writers as u32);
        for record in records {
            if let Some(progress) = progress_of(record) {
                heard.hear(&progress);
                continue;
            }
            for row in (plan.rows)(&partition.topic, record).unwrap_or_default() {
                WATERMARK.check(row.at.is_none_or(|at| at >= heard.watermark()), || {
                    format!(
                        "{partition}@{}: a row of {:?} behind {}",
                        record.offset.0,
                        row.at,
                        heard.watermark()
                    )
                })?;
            }
        }
    }
    Ok(())
}
