//! The world around the processes: what outlives them, and the rules of a run.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::executor::{Executor, SimClock};
use super::log::SimLog;
use super::outside::Outside;
use super::plan::Plan;
use super::process::Process;
use super::report::Trace;
use super::snapshots::SnapshotFiles;
use super::store::{Store, Stores};
use super::weather::{Draw, Op, Weather};
use crate::driver::Runtime;
use crate::health::Health;
use crate::invariants::{ENDS, EVENT_TIME_GOES_ON, Violation};
use crate::log::membership::lock;

/// What outlives processes, and the rules of this run.
pub struct World {
    pub plan: Plan,
    pub executor: Executor,
    pub log: SimLog,
    pub snapshots: SnapshotFiles,
    stores: Stores,
    pub outside: Outside,
    pub weather: Mutex<Weather>,
    pub trace: Mutex<Trace>,
    /// The stop of each process's present life.
    pub lives: Mutex<Vec<(CancellationToken, CancellationToken)>>,
    snapshot_every: Duration,
    /// No process starts any more.
    pub over: AtomicBool,
    /// Processes that take part at all, and those that are up now.
    pub alive: AtomicUsize,
    pub up: AtomicUsize,
    pub scripted: AtomicBool,
    pub changed: Notify,
}

impl World {
    pub fn new(plan: Plan, weather: Weather, buffered: bool, snapshot_every: Duration) -> Arc<World> {
        Arc::new(World {
            executor: Executor::default(),
            log: SimLog::new(&plan.topics, buffered),
            plan,
            snapshots: SnapshotFiles::default(),
            stores: Stores::default(),
            outside: Outside::default(),
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
    pub fn drained(&self) -> Result<(), Violation> {
        let (up, alive) = (self.up.load(Ordering::SeqCst), self.alive.load(Ordering::SeqCst));
        ENDS.check(up == alive, || format!("{up} of {alive} processes are up"))?;
        for stage in &self.plan.stages {
            for partition in self.log.partitions_of(&stage.input) {
                let (at, end) = (self.log.committed(&stage.group(), &partition), self.log.end(&partition));
                ENDS.check(at.unwrap_or_default() == end, || {
                    format!("{} stands at {at:?} of {end:?} in {partition}", stage.name)
                })?;
            }
        }
        for (sink, topics) in &self.plan.sinks {
            for partition in topics.iter().flat_map(|topic| self.log.partitions_of(topic)) {
                let at = self.with_store(sink, |store| store.positions.get(&partition).copied());
                let end = self.log.end(&partition);
                ENDS.check(at.unwrap_or_default() == end, || {
                    format!("sink {sink} stands at {at:?} of {end:?} in {partition}")
                })?;
            }
        }
        Ok(())
    }

    /// Whether every stage has told the event time at which the plan's result is final, in every partition of its output.
    pub fn told(&self) -> Result<(), Violation> {
        for stage in &self.plan.stages {
            let writers = self.log.partitions_of(&stage.input).len();
            for partition in self.log.partitions_of(&stage.output) {
                let told = self.log.told(&partition, writers);
                EVENT_TIME_GOES_ON.check(told >= self.plan.final_at, || {
                    format!(
                        "{} has told {told} in {partition}, not {}",
                        stage.name, self.plan.final_at
                    )
                })?;
            }
        }
        Ok(())
    }
}
