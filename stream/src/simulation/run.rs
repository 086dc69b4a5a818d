//! A run from its first record to its examination.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::dice::Dice;
use super::disturb::disturb;
use super::examine::examine;
use super::executor::Stuck;
use super::lives::live;
use super::plan::{Contents, Plan};
use super::report::{Failure, Outcome};
use super::straight::straight_run;
use super::weather::Weather;
use super::world::World;
use crate::invariants::{ENDS, NO_STOP};
use crate::log::membership::lock;

/// Turns of a run at most. The longest sound ones take a tenth of it.
const MOST_TURNS: u64 = 5_000_000;
/// How long the processes may take to read everything once the faults are over. Longer than any delay that the weather
/// draws, with the pauses behind it.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// Runs the plan under the weather of `seed`.
pub fn simulate(seed: u64, make: impl Fn(&mut Dice) -> Plan) -> Result<Outcome, Failure> {
    let mut dice = Dice::new(seed);
    let plan = make(&mut dice.fork());
    let script_ends = plan.script.last().map_or(Duration::ZERO, |step| step.at);
    let calm_from = script_ends + Duration::from_secs(5 + dice.below(60) as u64);
    let processes = 1 + usize::from(dice.chance(50));
    let buffered = processes == 1 && dice.chance(75);
    let snapshot_every = Duration::from_millis(500 + dice.below(10_000) as u64);
    let weather = Weather::drawn(dice.fork(), calm_from);
    let world = World::new(plan, weather, buffered, snapshot_every);
    world.executor.spawn(disturb(world.clone(), dice.fork(), calm_from));
    run(&world, seed, dice, processes, calm_from).map(|(outcome, _)| outcome)
}

/// Runs the plan in one process without any fault; the seed decides how tasks interleave and where fetches cut. Also
/// returns all that was written.
pub fn simulate_calm(seed: u64, make: impl Fn(&mut Dice) -> Plan) -> Result<(Outcome, Contents), Failure> {
    let mut dice = Dice::new(seed);
    let plan = make(&mut dice.fork());
    let world = World::new(plan, Weather::still(dice.fork()), false, Duration::from_secs(30));
    run(&world, seed, dice, 1, Duration::ZERO)
}

fn run(
    world: &Arc<World>,
    seed: u64,
    mut dice: Dice,
    processes: usize,
    calm_from: Duration,
) -> Result<(Outcome, Contents), Failure> {
    world.alive.store(processes, Ordering::SeqCst);
    lock(&world.lives).resize_with(processes, Default::default);
    let executor = world.executor.clone();
    executor.spawn(produce(world.clone()));
    for number in 0..processes {
        executor.spawn(live(world.clone(), number));
    }
    executor.spawn(conduct(world.clone(), calm_from));
    let ended = executor.run(&mut dice, MOST_TURNS, || {
        world.alive.load(Ordering::SeqCst) == 0 || !world.sound()
    });
    match ended {
        Ok(()) => {}
        Err(Stuck::Deadlock) => world.violated(ENDS.broken("nobody can go on and nobody waits for a time")),
        Err(Stuck::TooManyTurns) => world.violated(ENDS.broken("no end in sight")),
    }
    if world.sound() {
        let straight = straight_run(&world.plan);
        for broken in examine(world, &straight) {
            world.violated(broken);
        }
    }
    let contents = world.log.contents();
    let mut trace = lock(&world.trace);
    for (partition, records) in &contents {
        trace.take(partition.to_string().as_bytes());
        for record in records {
            trace.take(&record.value);
        }
    }
    if !trace.violations.is_empty() {
        return Err(Failure {
            plan: world.plan.name,
            seed,
            violations: trace.violations.clone(),
            last: trace.last(),
        });
    }
    let outcome = Outcome {
        digest: trace.digest(),
        faults: trace.faults,
        crashes: trace.crashes,
        turns: executor.turns(),
        simulated: executor.now(),
    };
    Ok((outcome, contents))
}

/// Brings the script in, at its times.
async fn produce(world: Arc<World>) {
    for step in world.plan.script.clone() {
        let wait = step.at.saturating_sub(world.executor.now());
        world.executor.sleep(wait).await;
        if let Err(error) = world.log.append(&step.to, step.records) {
            world.violated(NO_STOP.broken(format!("the script cannot append: {error}")));
        }
    }
    world.scripted.store(true, Ordering::SeqCst);
}

/// Waits until everything is read and event time is where the result is final, twice in a row; says so when it takes too
/// long.
async fn read_all(world: &World) {
    let deadline = world.executor.now() + PATIENCE;
    let mut in_a_row = 0;
    while in_a_row < 2 {
        world.executor.sleep(Duration::from_millis(700)).await;
        match world.drained().and_then(|()| world.told()) {
            Ok(()) => in_a_row += 1,
            Err(_) if world.executor.now() < deadline => in_a_row = 0,
            Err(behind) => return world.violated(behind),
        }
    }
}

/// Waits until the script is told, the faults are over and everything is read; then stops everybody.
async fn conduct(world: Arc<World>, calm_from: Duration) {
    let quiet = calm_from.saturating_sub(world.executor.now());
    world.executor.sleep(quiet).await;
    while !world.scripted.load(Ordering::SeqCst) {
        world.executor.sleep(Duration::from_secs(1)).await;
    }
    read_all(&world).await;
    world.over.store(true, Ordering::SeqCst);
    for (stop, _) in lock(&world.lives).iter() {
        stop.cancel();
    }
}
