//! The stream kernel: logs, operators, the runner of a partition task, snapshots and conservation.
//!
//! The kernel knows nothing of incidents. It promises, for any operator written against it:
//!
//! * state is a pure function of the log: an operator reads no clock, no randomness and does no I/O;
//! * outputs, progress, accounting and consumed positions are committed together or not at all;
//! * every input item gets exactly one [`accounting::Disposition`];
//! * a watermark never passes what an upstream partition may still send, nor what the operator still owes.
//!
//! What it does not do: it spawns nothing and sleeps nowhere outside [`driver`]; [`task`] is a state
//! machine without I/O that a simulator can drive as well as tokio can.

// Time is an argument here: see clippy.toml.
#![deny(clippy::disallowed_methods)]

pub mod accounting;
pub mod call;
pub mod driver;
pub mod failpoint;
pub mod health;
pub mod human;
pub mod invariants;
pub mod log;
pub mod operator;
pub mod partition;
pub mod progress;
pub mod secret;
pub mod simulation;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod state;
pub mod task;
pub mod time;
pub mod trace;

/// A future in a box. Whoever waits for a future compiles it: entries of a crate that hand out boxes are compiled there, once, and not anew in
/// each program and each test that calls them.
pub use futures::future::BoxFuture;

pub use accounting::{Accounting, Disposition};
pub use call::{Call, CallError, CallLimits};
pub use log::{
    Commit, CommitError, Log, LogError, LogId, Member, MemberEvent, NewRecord, Offset, Reader, Record, TopicPartition,
    TopicSpec,
};
pub use operator::{Context, Operator, Reject, RowBuffer};
pub use partition::partition_for;
pub use progress::Progress;
pub use sink::{Sink, SinkBatch, SinkError, SinkReject};
pub use source::{Ingress, IngressError, Source};
pub use state::{HoppingWindows, SessionWindows, Table, Timers, Windows};
pub use time::{Clock, Instant};
