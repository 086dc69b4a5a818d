//! One thread, a clock that jumps, and tasks whose order the dice decide.
//!
//! Time stands still while any task can run and then jumps to the next timer, so an outage of minutes costs nothing.
//! Among the tasks that can run, the dice pick the next: each seed is another interleaving, and the same seed is the
//! same one. Tokio's primitives that need no runtime (`Notify`, `CancellationToken`) work here; its timers and its
//! threads do not, and the kernel uses neither (see [`crate::Clock`]).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;

use super::dice::Dice;
use crate::log::membership::lock;
use crate::time::{Clock, Instant};

/// The simulated time and the queue of what can run. Clones share it.
#[derive(Clone, Default)]
pub struct Executor {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    next_task: u64,
    next_timer: u64,
    ready: Vec<u64>,
    spawned: Vec<(u64, BoxFuture<'static, ()>)>,
    timers: BTreeMap<(Duration, u64), Waker>,
    polls: u64,
}

/// Why a run ended without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Nobody can run and nobody waits for a time.
    Deadlock,
    /// More turns than a sound run takes.
    TooManyTurns,
}

impl Executor {
    /// Another task; it takes part from the next turn on.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = lock(&self.shared.state);
        let id = state.next_task;
        state.next_task += 1;
        state.spawned.push((id, Box::pin(task)));
        state.ready.push(id);
    }

    /// Simulated time since the start.
    pub fn now(&self) -> Duration {
        lock(&self.shared.state).now
    }

    /// Turns taken so far.
    pub fn turns(&self) -> u64 {
        lock(&self.shared.state).polls
    }

    pub fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let until = self.now().saturating_add(span);
        Box::pin(Sleep {
            executor: self.clone(),
            until,
            timer: None,
        })
    }

    /// Runs all tasks until `done` says so.
    pub fn run(&self, dice: &mut Dice, most_turns: u64, done: impl Fn() -> bool) -> Result<(), Stuck> {
        let mut tasks: BTreeMap<u64, BoxFuture<'static, ()>> = BTreeMap::new();
        while !done() {
            let Some(id) = self.next(dice, &mut tasks)? else {
                continue;
            };
            let Some(task) = tasks.get_mut(&id) else { continue };
            let waker = Waker::from(Arc::new(TaskWaker {
                id,
                shared: self.shared.clone(),
            }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                tasks.remove(&id);
            }
            if self.turns() > most_turns {
                return Err(Stuck::TooManyTurns);
            }
        }
        Ok(())
    }

    /// The next task to run. `None` when only time moved.
    fn next(&self, dice: &mut Dice, tasks: &mut BTreeMap<u64, BoxFuture<'static, ()>>) -> Result<Option<u64>, Stuck> {
        let mut state = lock(&self.shared.state);
        tasks.extend(state.spawned.drain(..));
        if !state.ready.is_empty() {
            let at = dice.below(state.ready.len());
            state.polls += 1;
            return Ok(Some(state.ready.remove(at)));
        }
        let Some((&(at, _), _)) = state.timers.first_key_value() else {
            return Err(Stuck::Deadlock);
        };
        state.now = state.now.max(at);
        let mut due = Vec::new();
        while let Some(entry) = state.timers.first_entry().filter(|entry| entry.key().0 <= at) {
            due.push(entry.remove());
        }
        drop(state);
        due.into_iter().for_each(Waker::wake);
        Ok(None)
    }
}

struct TaskWaker {
    id: u64,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.shared.state);
        if !state.ready.contains(&self.id) {
            state.ready.push(self.id);
        }
    }
}

struct Sleep {
    executor: Executor,
    until: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.executor.shared.clone();
        let mut state = lock(&shared.state);
        if state.now >= self.until {
            if let Some(timer) = self.timer.take() {
                state.timers.remove(&(self.until, timer));
            }
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            state.next_timer += 1;
            state.next_timer
        });
        state.timers.insert((self.until, timer), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            lock(&self.executor.shared.state).timers.remove(&(self.until, timer));
        }
    }
}

/// The wall clock of a simulation: a fixed day, plus simulated time.
#[derive(Clone)]
pub struct SimClock {
    pub executor: Executor,
    pub start: Instant,
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.start.saturating_add(self.executor.now())
    }

    fn monotonic(&self) -> Duration {
        self.executor.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        self.executor.sleep(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_passes_at_once_and_sleepers_wake_in_order() {
        let executor = Executor::default();
        let woken = Arc::new(Mutex::new(Vec::new()));
        for hours in [3, 1, 2] {
            let (executor_of_task, woken) = (executor.clone(), woken.clone());
            executor.spawn(async move {
                executor_of_task.sleep(Duration::from_secs(3600 * hours)).await;
                lock(&woken).push((hours, executor_of_task.now().as_secs()));
            });
        }
        let done = || lock(&woken).len() == 3;
        assert_eq!(executor.run(&mut Dice::new(1), 1_000, done), Ok(()));
        assert_eq!(*lock(&woken), [(1, 3600), (2, 7200), (3, 10_800)]);
    }

    #[test]
    fn waiting_for_nothing_is_a_deadlock() {
        let executor = Executor::default();
        executor.spawn(std::future::pending());
        assert_eq!(executor.run(&mut Dice::new(1), 1_000, || false), Err(Stuck::Deadlock));
    }
}
