//! Straight runs: the same drivers, one process, no faults, everything there from the start. What a run with faults is
//! held against.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::plan::{Contents, Plan, PlanStage};
use super::process::Process;
use super::snapshots::SnapshotState;
use super::weather::Weather;
use super::world::World;
use crate::driver::Mode;
use crate::invariants::{ASKED_ONCE, ENDS, Violation};
use crate::log::{NewRecord, Record};

/// What one stage makes of an input: records by partition, and the state at its end by input partition.
pub struct Straight {
    pub contents: Contents,
    pub states: BTreeMap<(String, u32), SnapshotState>,
    pub broken: Option<Violation>,
}

/// The whole plan over its script.
pub fn straight_run(plan: &Plan) -> Straight {
    let mut input = Contents::new();
    for step in &plan.script {
        let records = input.entry(step.to.clone()).or_default();
        records.extend(step.records.iter().cloned().map(as_record));
    }
    run(plan, &plan.stages, input).1
}

/// One stage over an input that a run with faults left behind.
/// The answers to its questions stand in that input.
pub fn straight_stage(plan: &Plan, stage: &PlanStage, contents: &Contents) -> Straight {
    let input = contents
        .iter()
        .filter(|(partition, _)| partition.topic == stage.input)
        .map(|(partition, records)| (partition.clone(), records.clone()))
        .collect();
    let (world, mut straight) = run(plan, std::slice::from_ref(stage), input);
    let asked = ASKED_ONCE.check(world.outside.silent(), || {
        format!("{} asks what was answered before", stage.name)
    });
    straight.broken = straight.broken.or(asked.err());
    straight
}

fn run(plan: &Plan, stages: &[PlanStage], input: Contents) -> (Arc<World>, Straight) {
    let world = World::new(plan.clone(), Weather::calm(), false, Duration::from_secs(86_400));
    for (partition, records) in input {
        let records = records.into_iter().map(as_new).collect();
        // The plan's own topics: they exist.
        let _ = world.log.append(&partition, records);
    }
    let mut broken = None;
    for stage in stages {
        let process = Process {
            world: world.clone(),
            name: "straight".into(),
            crash: CancellationToken::new(),
        };
        let past = Some(Duration::from_secs(86_400));
        let (runtime, outside) = (world.runtime(&process), Arc::new(process.clone()));
        let driver = (stage.run)(runtime, outside, Mode::ToEnd { past }, CancellationToken::new());
        let ended = Arc::new(AtomicBool::new(false));
        let (ending, told) = (ended.clone(), world.clone());
        world.executor.spawn(async move {
            if let Err(error) = driver.await {
                told.violated(ENDS.broken(format!("straight run: {error}")));
            }
            ending.store(true, Ordering::SeqCst);
        });
        let stuck = world
            .executor
            .run(&mut Dice::new(0), u64::MAX, || ended.load(Ordering::SeqCst));
        if stuck.is_err() || !world.sound() {
            broken = Some(ENDS.broken(format!(
                "the straight run of {} does not end well: {stuck:?}",
                stage.name
            )));
            break;
        }
    }
    let mut states = BTreeMap::new();
    for stage in stages {
        for partition in world.log.partitions_of(&stage.input) {
            let last = world.snapshots.last(plan, stage.name, partition.partition);
            states.extend(last.map(|last| ((stage.name.to_owned(), partition.partition), last)));
        }
    }
    let straight = Straight {
        contents: world.log.contents(),
        states,
        broken,
    };
    (world, straight)
}

fn as_new(record: Record) -> NewRecord {
    NewRecord {
        key: record.key,
        value: record.value,
        headers: record.headers,
        timestamp: record.timestamp,
    }
}

fn as_record(record: NewRecord) -> Record {
    Record {
        offset: Default::default(),
        key: record.key,
        value: record.value,
        headers: record.headers,
        timestamp: record.timestamp,
    }
}
