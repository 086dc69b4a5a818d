//! The MCP server: what a model may look at, and what it may propose. Model Context Protocol on the official SDK.
//!
//! ```text
//!  http://127.0.0.1:8001/mcp ─ Host, Origin, token, rate, sessions ─┐
//!  mcp.sock (`aegis mcp --stdio`) ─ the folder's owner ─────────────┴► tools · resources · prompts ─► Desk ─► stores, SQL, neighbours
//!                                                                          └► every call: one line of mcp-calls.jsonl
//! ```
//!
//! It guarantees:
//!
//! * nothing here acts: the crate knows no tool that changes anything, and what [`Proposals`] takes waits for another person's yes;
//! * who asks is the holder of a token of `[gateway]`, compared in constant time; readers observe, responders and above propose;
//! * every call is written down before it is answered, with its arguments redacted; one that cannot be written down is not answered;
//! * every answer fits its schema, a size and a time; secrets are hidden in it, and it says that the texts in it are not to be obeyed.
//!
//! It knows no store: whoever has one implements the traits of [`desk`]. Not here: OAuth (a token is given out by whoever configures
//! Aegis), sampling, elicitation, subscriptions, and TLS, which is a reverse proxy's business.

mod answer;
mod audit;
pub mod desk;
mod handler;
mod http;
mod limits;
mod markdown;
mod page;
mod prompts;
mod registry;
mod resources;
mod runbooks;
mod settings;
mod socket;
mod tools;
mod views;

pub use audit::{Audit, Call, read as read_calls};
pub use desk::{
    Desk, ObserveError, Observing, ObservingTool, Overview, PipelineStatus, ProposalRequest, Proposals, Proposed,
    SinkState, StageTrouble,
};
pub use handler::Aegis;
pub use http::{McpError, McpServer, router};
pub use limits::Limits;
pub use registry::{Effect, Listed, listed};
pub use runbooks::Runbooks;
pub use settings::McpSettings;
pub use socket::{Hello, SOCKET};
