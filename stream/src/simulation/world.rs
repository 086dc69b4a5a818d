//! The world around the processes: who lives when, who dies, and when it is over.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::examine::examine;
use super::executor::{Executor, SimClock, Stuck};
use super::log::SimLog;
use super::plan::{Contents, Plan, dead_letters};
use super::process::Process;
use super::report::{Failure, Outcome, Trace};
use super::snapshots::SnapshotFiles;
use super::store::{SimSink, Store, Stores};
use super::straight::straight_run;
use super::weather::{Draw, Op, Weather};
use crate::driver::{Mode, Runtime, run_sink};
use crate::health::Health;
use crate::invariants::{ENDS, NO_STOP, Violation};
use crate::log::membership::lock;
use crate::log::{Offset, TopicPartition};

/// Turns of a run at most. The longest sound ones take a tenth of it.
const MOST_TURNS: u64 = 5_000_000;
/// How long the processes may take to read everything once the faults are over. Longer than any delay that the weather
/// draws, with the pauses behind it.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// What outlives processes, and the rules of this run.
pub struct World {
    pub plan: Plan,
    pub executor: Executor,
    pub log: SimLog,
    pub snapshots: Mutex<SnapshotFiles>,
    stores: Stores,
    weather: Mutex<Weather>,
    trace: Mutex<Trace>,
    /// The stop of each process's present life.
    lives: Mutex<Vec<(CancellationToken, CancellationToken)>>,
    snapshot_every: Duration,
    /// No process starts any more.
    over: AtomicBool,
    /// Processes that take part at all, and those that are up now.
    alive: AtomicUsize,
    up: AtomicUsize,
    scripted: AtomicBool,
    changed: Notify,
}

impl World {
    pub fn new(plan: Plan, weather: Weather, buffered: bool, snapshot_every: Duration) -> Arc<World> {
        Arc::new(World {
            executor: Executor::default(),
            log: SimLog::new(&plan.topics, buffered),
            plan,
            snapshots: Mutex::default(),
            stores: Stores::default(),
            weather: Mutex::new(weather),
            trace: Mutex::default(),
            lives: Mutex::default(),
            snapshot_every,
            over: AtomicBool::new(false),
            alive: AtomicUsize::new(0),
            up: AtomicUsize::new(0),
            scripted: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub fn draw(&self, op: Op) -> Draw {
        lock(&self.weather).draw(self.executor.now(), op)
    }

    pub fn below(&self, n: usize) -> usize {
        lock(&self.weather).dice().below(n)
    }

    /// How many records a fetch hands out at most: results must not depend on the cut.
    pub fn cut(&self) -> usize {
        match self.below(3) {
            0 => usize::MAX,
            _ => 1 + self.below(6),
        }
    }

    /// How long a zombie sleeps.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.below(20_000) as u64)
    }

    pub fn note(&self, line: &str, fault: bool) {
        let mut trace = lock(&self.trace);
        trace.note(self.executor.now(), line);
        trace.faults += u64::from(fault);
    }

    pub fn violated(&self, violation: Violation) {
        self.note(&format!("VIOLATION {violation}"), false);
        lock(&self.trace).violations.push(violation);
    }

    pub fn sound(&self) -> bool {
        lock(&self.trace).violations.is_empty()
    }

    pub fn with_store<R>(&self, name: &'static str, act: impl FnOnce(&mut Store) -> R) -> R {
        self.stores.with(name, act)
    }

    pub fn runtime(self: &Arc<Self>, process: &Process) -> Runtime {
        Runtime {
            log: Arc::new(process.clone()),
            snapshots: Arc::new(process.clone()),
            clock: Arc::new(SimClock {
                executor: self.executor.clone(),
                start: self.plan.starts_at,
            }),
            health: Health::default(),
            snapshot_every: self.snapshot_every,
        }
    }

    /// Whether everybody is up and all is read: every stage at the end of its input, every store at the end of its topics.
    fn drained(&self) -> Result<(), String> {
        let (up, alive) = (self.up.load(Ordering::SeqCst), self.alive.load(Ordering::SeqCst));
        if up < alive {
            return Err(format!("{up} of {alive} processes are up"));
        }
        for stage in &self.plan.stages {
            for partition in self.log.partitions_of(&stage.input) {
                let (at, end) = (self.log.committed(&stage.group(), &partition), self.log.end(&partition));
                if at.unwrap_or_default() != end {
                    return Err(format!("{} stands at {at:?} of {end:?} in {partition}", stage.name));
                }
            }
        }
        for (sink, topics) in &self.plan.sinks {
            for partition in topics.iter().flat_map(|topic| self.log.partitions_of(topic)) {
                let at = self.with_store(sink, |store| store.positions.get(&partition).copied());
                let end = self.log.end(&partition);
                if at.unwrap_or_default() != end {
                    return Err(format!("sink {sink} stands at {at:?} of {end:?} in {partition}"));
                }
            }
        }
        Ok(())
    }
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

/// A process: lives, dies or is stopped, stays away for a while, and comes back.
async fn live(world: Arc<World>, number: usize) {
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
        let driver = (stage.run)(runtime.clone(), Mode::Live, stop.clone());
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
            let broken = lock(&world.snapshots).beyond(stage.name, partition.partition, end);
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
                world.violated(crate::invariants::SINK_ONCE.broken(detail));
            }
        }
    }
}

/// What operators and machines do: planned restarts, kill -9, sessions that expire, retention.
async fn disturb(world: Arc<World>, mut dice: Dice, until: Duration) {
    let every = 1 + dice.below(20) as u64;
    let (kills, stops, expiries, trims) = (dice.chance(50), dice.chance(50), dice.chance(50), dice.chance(40));
    while world.executor.now() < until {
        let pause = Duration::from_millis(200 + dice.below(every as usize * 1_000) as u64);
        world.executor.sleep(pause).await;
        if world.executor.now() >= until {
            break;
        }
        let number = dice.below(lock(&world.lives).len());
        match dice.below(4) {
            0 if kills => {
                world.note(&format!("kill p{number}"), true);
                lock(&world.lives)[number].1.cancel();
            }
            1 if stops => {
                world.note(&format!("stop p{number}"), true);
                lock(&world.lives)[number].0.cancel();
            }
            2 if expiries => expire(&world, &mut dice),
            3 if trims => trim(&world),
            _ => {}
        }
    }
}

fn expire(world: &World, dice: &mut Dice) {
    let groups = world.log.groups.all();
    let Some((name, group)) = dice.pick(&groups) else {
        return;
    };
    let mut group = lock(group);
    if let Some(member) = dice.pick(&group.members()).copied() {
        group.expire(member);
        drop(group);
        world.note(&format!("session of {member} in {name} expires"), true);
        world.log.changed.notify_waiters();
    }
}

/// Retention: what lies before two snapshots of every stage, and before every store.
fn trim(world: &World) {
    let mut limits: std::collections::BTreeMap<TopicPartition, Offset> = Default::default();
    for stage in &world.plan.stages {
        for partition in world.log.partitions_of(&stage.input) {
            let at = lock(&world.snapshots).second_newest(stage.name, partition.partition);
            let limit = limits.entry(partition).or_insert(Offset(u64::MAX));
            *limit = (*limit).min(at.unwrap_or_default());
        }
    }
    for (sink, topics) in &world.plan.sinks {
        for partition in topics.iter().flat_map(|topic| world.log.partitions_of(topic)) {
            let at = world.with_store(sink, |store| store.positions.get(&partition).copied());
            if let Some(limit) = limits.get_mut(&partition) {
                *limit = (*limit).min(at.unwrap_or_default());
            }
        }
    }
    for (partition, to) in limits {
        if to > Offset(0) {
            world.note(&format!("{partition} is trimmed to {}", to.0), false);
            world.log.trim(&partition, to);
        }
    }
}

/// Waits until everything is read, twice in a row; says so when it takes too long.
async fn read_all(world: &World) -> bool {
    let deadline = world.executor.now() + PATIENCE;
    let mut in_a_row = 0;
    while in_a_row < 2 {
        world.executor.sleep(Duration::from_millis(700)).await;
        match world.drained() {
            Ok(()) => in_a_row += 1,
            Err(_) if world.executor.now() < deadline => in_a_row = 0,
            Err(behind) => {
                world.violated(ENDS.broken(behind));
                return false;
            }
        }
    }
    true
}

/// Waits until the script is told, the faults are over and everything is read; then stops everybody.
async fn conduct(world: Arc<World>, calm_from: Duration) {
    let quiet = calm_from.saturating_sub(world.executor.now());
    world.executor.sleep(quiet).await;
    while !world.scripted.load(Ordering::SeqCst) {
        world.executor.sleep(Duration::from_secs(1)).await;
    }
    // Once to have everybody back and reading; then, where event time follows the clock, as long as it takes to close what
    // is open; then again.
    if read_all(&world).await {
        world.executor.sleep(world.plan.settle).await;
        read_all(&world).await;
    }
    world.over.store(true, Ordering::SeqCst);
    for (stop, _) in lock(&world.lives).iter() {
        stop.cancel();
    }
}

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
