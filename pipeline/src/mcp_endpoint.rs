//! The MCP server of a running aegis: its desk over the store, the SQL engine, the observing tools, the log's orders and the readiness.

mod beside;
mod overview;
mod proposals;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use gateway::{Queries, Readiness};
use mcp::{Audit, Desk, Limits, McpServer, Runbooks};

use crate::orders::LogOrders;
use crate::reads::CachedReads;
use crate::world::World;

pub use beside::Beside;
pub use overview::Standings;
pub use proposals::LogProposals;

/// The log of calls in the data folder.
pub fn calls_path(data_dir: &Path) -> PathBuf {
    data_dir.join("mcp-calls.jsonl")
}

/// Listens.
pub async fn open(
    world: &World,
    reads: Arc<CachedReads>,
    orders: LogOrders,
    readiness: Readiness,
    queries: Arc<dyn Queries>,
) -> anyhow::Result<McpServer> {
    let (config, settings) = (&world.config, &world.config.mcp);
    let path = calls_path(&config.data.dir);
    let audit = Audit::open(&path, settings.audit_size.0);
    let audit = audit.with_context(|| format!("cannot open the log of MCP calls {}", path.display()))?;
    let desk = Desk {
        incidents: reads.clone(),
        responses: reads,
        queries,
        overview: Arc::new(Standings::new(world, readiness)),
        // A further family of observing tools is one more line.
        observing: vec![Arc::new(Beside::new(world.observe.clone()))],
        proposals: Arc::new(LogProposals { orders }),
        runbooks: Runbooks::new(settings.runbooks.clone(), settings.max_runbook.0),
        audit: Arc::new(audit),
        limits: Limits::new(settings.requests_per_minute, settings.max_calls),
        redact: tools::redact::redact_json,
        max_answer: settings.max_answer.as_usize(),
        call_timeout: settings.call_timeout.get(),
    };
    let server = McpServer::bind(settings.clone(), &config.gateway, Arc::new(desk), &config.data.dir);
    Ok(server.await?)
}
