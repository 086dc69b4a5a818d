//! The SQL endpoint of a running aegis: the wire protocol's server on threads of its own, over the tables, the archive and what is
//! newest on the log.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use model::topics;
use sinks::archive::columns;
use sql::{Engine, EngineOptions, Recent, SqlSourceConfig};
use stream::secret::Secret;
use stream::{Log, LogError, Offset, Record, TopicPartition};
use tokio_util::sync::CancellationToken;
use wire::Server;

use crate::config::{Config, own_secret};
use crate::threads::OwnThreads;
use crate::world::World;

/// The password of an installation that configures none, in the data folder.
const PASSWORD: &str = "sql-password";
/// How far back on the log the newest signals begin: enough for what the tables do not have yet after a start.
const BACK: u64 = 10_000;
/// Records asked for at once, and how long one wait for them is.
const RECORDS: usize = 1_000;
const WAIT: Duration = Duration::from_millis(500);
/// Before a partition that cannot be read is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// See the module's header.
pub struct SqlEndpoint {
    server: Server,
    threads: OwnThreads,
    log: Arc<dyn Log>,
    recent: Recent,
}

impl SqlEndpoint {
    /// Listens.
    pub async fn open(world: &World) -> anyhow::Result<Self> {
        let (config, settings) = (&world.config, &world.config.sql);
        let threads = settings.threads as usize;
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let recent = Recent::new(bytes(settings.recent.0));
        let options = EngineOptions {
            memory_bytes: bytes(settings.memory.0),
            max_rows: bytes(settings.max_rows),
            threads: Some(threads),
        };
        let engine = Engine::open_with(source(config), archive(config), options).await?;
        let engine = engine.with_recent(recent.clone());
        let server = Server::bind(settings, &password(config)?, &engine).await;
        Ok(SqlEndpoint {
            server: server.map_err(anyhow::Error::msg)?,
            threads: OwnThreads::of_queries(threads).context("starting the threads of the SQL endpoint")?,
            log: world.runtime.log.clone(),
            recent,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server.local_addr()
    }

    /// The newest signals, as they are read off the log while it serves.
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        for number in 0..self.log.partitions(topics::SIGNALS).await? {
            let partition = TopicPartition::new(topics::SIGNALS, number);
            let feeding = feed(self.log.clone(), partition, self.recent.clone(), stop.clone());
            // Not on the threads of queries: who reads the log at their priority could hold a lock that its writer waits for.
            tokio::spawn(feeding);
        }
        let serving = self.threads.handle().spawn(self.server.serve(stop));
        serving.await.context("the SQL endpoint")
    }
}

/// Where the tables are.
pub fn source(config: &Config) -> SqlSourceConfig {
    SqlSourceConfig {
        url: config.store.url_in(&config.data.dir),
        password: config.store.password.clone(),
    }
}

/// Where the archive is, if there is one.
pub fn archive(config: &Config) -> Option<std::path::PathBuf> {
    config.archive.enabled.then(|| config.archive.path_in(&config.data.dir))
}

/// That of the configuration, or that of the data folder, which is made if it is missing.
fn password(config: &Config) -> anyhow::Result<Secret> {
    if let Some(password) = &config.sql.password {
        return Ok(password.clone());
    }
    let path = config.data.dir.join(PASSWORD);
    own_secret::make(&path)?;
    let text = own_secret::read(&path)?;
    let text = text.with_context(|| format!("the password {} went away", path.display()))?;
    Ok(Secret::from(text.as_str()))
}

/// Reads one partition of the log into `recent`, until `stop`.
async fn feed(log: Arc<dyn Log>, partition: TopicPartition, recent: Recent, stop: CancellationToken) {
    while let Some(ended) = stop
        .run_until_cancelled(follow(log.as_ref(), &partition, &recent))
        .await
    {
        // What it held may have a hole behind it now.
        recent.forget(partition.partition);
        if let Err(error) = ended {
            tracing::warn!(%partition, %error, "the newest signals are read again later");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow(log: &dyn Log, partition: &TopicPartition, recent: &Recent) -> Result<(), LogError> {
    let bounds = log.bounds(partition).await?;
    let mut at = Offset(bounds.end.0.saturating_sub(BACK).max(bounds.start.0));
    let mut reader = log.reader(partition, at).await?;
    loop {
        let (records, next) = reader.read(RECORDS, WAIT).await?;
        let mut from = at.0;
        for record in &records {
            recent.push(partition.partition, from, record.offset.0 + 1, rows(partition, record));
            from = record.offset.0 + 1;
        }
        if from < next.0 {
            recent.push(partition.partition, from, next.0, None);
        }
        at = next;
    }
}

/// `None` for what is no signal, or cannot be read: the sink tells of that.
fn rows(partition: &TopicPartition, record: &Record) -> Option<arrow::array::RecordBatch> {
    if record.header(stream::progress::KIND_HEADER).is_some() {
        return None;
    }
    columns::signals(partition.partition, record).ok()
}
