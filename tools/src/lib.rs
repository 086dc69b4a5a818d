//! The systems beside Aegis, as tools.
//!
//! `observe` and `act` are different worlds: an agent is given [`observe::Observe`], which cannot change anything; what changes
//! something takes a `model::approval::Approved` and lives in [`act`], which `sinks::remediate` alone holds.
//!
//! ```text
//! settings ─ connect::observe ─► Observe { prometheus, loki, slack, github, jira, kubernetes::Observer, plans }   agents, MCP, REST
//!          └ connect::act ─────► Act { kubernetes::Actor, github::Writer, jira::Writer }                     the executor alone
//! ```
//!
//! Every call keeps a deadline, takes in a bounded number of bytes, follows no redirect, is never repeated by itself, and hides
//! secrets in what it answers ([`redact`]).

pub mod act;
pub mod catalog;
pub mod connect;
pub mod error;
pub mod github;
mod hash;
pub mod jira;
pub mod kubernetes;
pub mod loki;
pub mod observe;
pub mod prometheus;
pub mod redact;
pub mod settings;
pub mod slack;
pub mod terraform;
pub mod wire;
mod written;

pub use error::ToolError;
pub use settings::ToolsSettings;
