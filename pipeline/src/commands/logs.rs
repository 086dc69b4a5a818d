//! Which log a command about the log looks at: that of a running aegis through its socket, or the log itself.

use std::sync::Arc;

use stream::Log;

use crate::cli::Exit;
use crate::config::{Config, LogKind};
use crate::control::Client;
use crate::world::open_log;

/// How to get at the log.
pub enum Reach {
    /// The embedded log belongs to a running process.
    Daemon(Client),
    /// Nobody holds it, or it is one that many may use.
    Open(Arc<dyn Log>),
}

/// Never makes a log: where nothing ever ran there is nothing to look at.
pub async fn reach(config: &Config) -> anyhow::Result<Reach> {
    if config.log.kind == LogKind::Embedded {
        if let Some(client) = Client::connect(&config.data.dir).await {
            return Ok(Reach::Daemon(client));
        }
        exists(config)?;
    }
    Ok(Reach::Open(open_log(config).await?.log))
}

/// Refuses a data folder without a log.
pub fn exists(config: &Config) -> anyhow::Result<()> {
    let folder = config.data.dir.join("log");
    if config.log.kind == LogKind::Embedded && !folder.exists() {
        let problem = format!(
            "there is no log at {} yet: start with `aegis demo`, `aegis run` or `aegis ingest`",
            folder.display()
        );
        return Err(Exit::NotFound.because(problem));
    }
    Ok(())
}
