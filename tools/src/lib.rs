//! The systems beside Aegis, as tools.
//!
//! `observe` and `act` are different worlds: an agent is given [`observe::Observe`], which cannot change anything; what changes
//! something takes a `model::approval::Approved` and lives in `act`, which `sinks::remediate` alone holds.

pub mod error;
pub mod observe;

pub use error::ToolError;
