//! What flows through Aegis: signals, transitions, incidents, and the payloads of every topic.
//!
//! Pure data. No I/O, no clock, no randomness: ids derive from content, times are arguments.

// Time is an argument here: see clippy.toml.
#![deny(clippy::disallowed_methods)]

pub mod action;
pub mod approval;
pub mod batch;
pub mod buffers;
pub mod command;
pub mod compliance;
pub mod dead_letter;
pub mod evidence;
pub mod ids;
pub mod incident;
pub mod investigation;
pub mod kubernetes;
pub mod ledger;
pub mod logs;
pub mod notification;
pub mod proposal;
pub mod raw;
pub mod remediation;
pub mod severity;
pub mod signal;
pub mod signing;
pub mod silence;
pub mod topics;
pub mod trace;
pub mod weakness;

pub use action::{Action, ActionKind, Workload, WorkloadKind};
pub use batch::{BatchError, SignalBatch, SignalBatchBuilder};
pub use buffers::held_bytes;
pub use compliance::{ComplianceRecord, Verdict};
pub use dead_letter::{DeadLetter, LetterDone, LetterFact};
pub use ids::{CanonicalKey, EpisodeId, IncidentId, SignalId};
pub use incident::{Fact, Incident, IncidentEvent, Member, Status, Suspect};
pub use logs::{Level, LogBatch, LogLine, TemplateRef};
pub use notification::Notification;
pub use proposal::Proposal;
pub use raw::RawEvent;
pub use severity::Severity;
pub use signal::{Origin, Signal, SignalKind, SignalRow, SignalState, Transition, TransitionKind};
pub use signing::Signer;
pub use weakness::Weakness;
