//! What works beside the pipeline: the agents' steps, the policies of compliance, and the store of log lines that they may ask when no Loki is configured.

mod agents;
mod compliance;
mod own_logs;
mod stop;

pub use agents::AgentsWork;
pub use compliance::{ComplianceWork, authentic};
pub use own_logs::OwnLogs;
pub use stop::{is_order, switch};
