//! Deterministic simulation: one seed drives log, clock, sinks, snapshot store and faults around the very drivers and
//! tasks of the product.
//!
//! ```text
//!              ┌── process 0 ──┐  ┌── process 1 ──┐     each: the plan's stages and sinks, run_stage and run_sink
//!   script ──► │ drivers       │  │ drivers       │ ◄── weather: what every operation meets, drawn from the seed
//!              └──────┬────────┘  └──────┬────────┘
//!                 one log, one snapshot store, one store per sink, one clock     (survive a crash, within their rules)
//! ```
//!
//! A [`Plan`] is operators, sinks and a timed script of input. [`simulate`] runs it under the weather of a seed until the
//! faults are over and everything is read, and then holds the result against every one of the
//! [invariants](crate::invariants). The same seed is the same run, byte for byte; a failing one says how to replay it.
//!
//! What it does not simulate: the bytes of a log's files (the embedded log has a test of its own that drops unsynced
//! writes), a broker's protocol, threads. Time inside one turn of a task stands still.

pub mod dice;
mod disturb;
mod examine;
pub mod executor;
mod lives;
mod log;
mod outside;
mod plan;
mod process;
mod report;
mod run;
mod snapshots;
mod store;
mod straight;
mod weather;
mod world;

pub use dice::Dice;
pub use executor::{Executor, SimClock};
pub use outside::{RUBBISH, answer_to};
pub use plan::{Contents, Plan, PlanStage, Row, Step};
pub use report::{Failure, Outcome};
pub use run::{simulate, simulate_calm};
