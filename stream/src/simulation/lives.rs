//! Processes: they live, die or are stopped, stay away for a while, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::plan::dead_letters;
use super::process::Process;
use super::store::SimSink;
use super::world::World;
use crate::driver::{Mode, run_sink};
use crate::invariants::{NO_STOP, SINK_ONCE};
use crate::log::membership::lock;

/// A process: lives, dies or is stopped, stays away for a while, and comes back.
pub async fn live(world: Arc<World>, number: usize) {
    let mut life = 0;
    while !world.over.load(Ordering::SeqCst) {
        let process = Process {
            world: world.clone(),
            name: format!("p{number}.{life}").into(),
            crash: CancellationToken::new(),
        };
        let stop = CancellationToken::new();
        if let Some(entry) = lock(&world.lives).get_mut(number) {
            *entry = (stop.clone(), process.crash.clone());
        }
        world.note(&format!("{} starts", process.name), false);
        world.up.fetch_add(1, Ordering::SeqCst);
        one_life(&world, &process, &stop).await;
        world.up.fetch_sub(1, Ordering::SeqCst);
        let crashed = process.crash.is_cancelled() && !stop.is_cancelled();
        world.note(&format!("{} is gone", process.name), false);
        if crashed {
            lock(&world.trace).crashes += 1;
            maybe_power_cut(&world);
        }
        life += 1;
        if world.over.load(Ordering::SeqCst) {
            break;
        }
        let downtime = lock(&world.weather).downtime();
        world.executor.sleep(downtime).await;
    }
    world.alive.fetch_sub(1, Ordering::SeqCst);
    world.changed.notify_waiters();
}

/// Runs all drivers of a process until it dies, fails, or has stopped.
async fn one_life(world: &Arc<World>, process: &Process, stop: &CancellationToken) {
    let running = Arc::new(AtomicUsize::new(0));
    let runtime = world.runtime(process);
    for stage in &world.plan.stages {
        let driver = (stage.run)(runtime.clone(), Arc::new(process.clone()), Mode::Live, stop.clone());
        let named = stage.name;
        start(world, process, stop, &running, named, async move {
            driver.await.map_err(|error| error.to_string())
        });
    }
    for (name, topics) in &world.plan.sinks {
        let sink = SimSink {
            process: process.clone(),
            name,
            topics: topics.clone(),
        };
        let driver = run_sink(
            Box::new(sink),
            dead_letters(),
            runtime.clone(),
            Mode::Live,
            stop.clone(),
        );
        start(world, process, stop, &running, name, async move {
            driver.await.map_err(|error| error.to_string())
        });
    }
    loop {
        let changed = world.changed.notified();
        if running.load(Ordering::SeqCst) == 0 {
            return;
        }
        changed.await;
    }
}

fn start(
    world: &Arc<World>,
    process: &Process,
    stop: &CancellationToken,
    running: &Arc<AtomicUsize>,
    named: &'static str,
    driver: impl Future<Output = Result<(), String>> + Send + 'static,
) {
    running.fetch_add(1, Ordering::SeqCst);
    let (world_of_task, process, stop, running) = (world.clone(), process.clone(), stop.clone(), running.clone());
    world.executor.spawn(async move {
        let world = world_of_task;
        // The driver is dropped at the end of this statement, before the process counts as gone.
        let ended = {
            let driver = driver;
            tokio::select! {
                biased;
                () = process.crash.cancelled() => None,
                ended = driver => Some(ended),
            }
        };
        match ended {
            Some(Err(error)) if !stop.is_cancelled() => {
                world.violated(NO_STOP.broken(format!("{named} of {}: {error}", process.name)));
            }
            Some(Ok(())) if !stop.is_cancelled() => {
                world.violated(NO_STOP.broken(format!("{named} of {} ended unasked", process.name)));
            }
            _ => {}
        }
        running.fetch_sub(1, Ordering::SeqCst);
        world.changed.notify_waiters();
    });
}

/// The machine goes down with the process, if it is the only one: a broker's machine is another.
fn maybe_power_cut(world: &World) {
    if !world.log.buffered() || world.below(2) == 0 {
        return;
    }
    let gone = world.log.power_cut(lock(&world.weather).dice());
    world.note(&format!("power cut, {gone} commits lost"), true);
    for stage in &world.plan.stages {
        for partition in world.log.partitions_of(&stage.input) {
            let end = world.log.end(&partition);
            let broken = world.snapshots.beyond(stage.name, partition.partition, end);
            broken.into_iter().for_each(|broken| world.violated(broken));
        }
    }
    for (sink, topics) in &world.plan.sinks {
        for partition in topics.iter().flat_map(|topic| world.log.partitions_of(topic)) {
            let (end, at) = (
                world.log.end(&partition),
                world.with_store(sink, |store| store.positions.get(&partition).copied()),
            );
            if at.is_some_and(|at| at > end) {
                let detail =
                    format!("sink {sink} stands at {at:?} of {partition}, which a power cut left {end:?} long");
                world.violated(SINK_ONCE.broken(detail));
            }
        }
    }
}
