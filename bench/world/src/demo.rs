//! One incident from its cause to its postmortem: a real `aegis` beside a real Prometheus and Alertmanager, and the world's stand-ins.
//!
//! ```text
//!   minutes before   40 release   25 traffic ×3   15 memory begins to rise   4 the heap is exhausted   0 Prometheus starts, a rule fires
//! ```
//!
//! The past comes in by the doors that everybody uses: metrics as blocks that `promtool` makes before Prometheus starts, earlier
//! incidents by `aegis ingest`, log lines by a push to Loki, the release as a signed webhook of the GitHub
//! stand-in, which sends it. From then on Prometheus scrapes
//! the world, in which memory falls only where pods are replaced.
//!
//! The command `bench demo-oom` and the tests run the same [`Site`] and hold it against the same [`Check`]s; a changed [`Story`] must
//! change what they find.

mod checks;
mod look;
mod past;
mod programs;
mod site;
mod stages;
mod story;

pub use checks::{Check, checks};
pub use look::Look;
pub use programs::{Process, Programs};
pub use site::{Options, Policy, Site};
pub use stages::{Stage, over, stages};
pub use story::{Story, Trouble};
