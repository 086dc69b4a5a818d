//! The agents. Each is a function over an evidence snapshot with observing tools: it returns findings, each with its citations, and
//! says what it could not learn. None of them can change anything.
//!
//! ```text
//! request ─► gather (asks the tools, keeps the time) ─► facts ─► decide (pure) ─► output ─► [model: words only] ─► result
//! ```
//!
//! The decisions are deterministic: the same evidence and the same answers of the tools lead to the same output. A language model,
//! where one is configured, may add words; a claim of it that cites nothing is dropped.
//!
//! What the tools answer is untrusted text. It is counted, quoted in citations and shown; no namespace, name or number of an action
//! ever comes from it: see [`subject`] and [`fixer`].

pub mod change_point;
pub mod compliance;
pub mod compliance_checker;
pub mod deployed;
pub mod expression;
pub mod findings;
pub mod fixer;
pub mod gather;
pub mod lines;
pub mod log_analyst;
pub mod measure;
pub mod metric_correlator;
pub mod pods;
pub mod postmortem;
pub mod proposed;
pub mod reasoner;
mod run;
pub mod security_auditor;
pub mod settings;
pub mod subject;
pub mod symptom;
pub mod text;
pub mod triage;
pub mod unmeasured;

pub use run::run;
pub use settings::AgentSettings;
