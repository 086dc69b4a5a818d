//! What works beside the pipeline: the agents' steps, and the store of log lines that they may ask when no Loki is configured.

mod agents;
mod own_logs;
mod stop;

pub use agents::AgentsWork;
pub use own_logs::OwnLogs;
pub use stop::switch;
