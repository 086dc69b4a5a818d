//! Everything a running Aegis stands on, opened from the configuration: log, snapshots, clock, stores, sinks.

use std::sync::Arc;

use anyhow::Context as _;
use sinks::Notify;
use sinks::archive::ArchiveSink;
use sinks::sql::{SqlSink, Store};
use sinks::worker::Worker;
use sources::embedded::EmbeddedLog;
use sources::kafka::KafkaLog;
use stream::driver::{Mode, Runtime, run_sink};
use stream::health::Health;
use stream::snapshot::SnapshotStore;
use stream::time::WallClock;
use stream::{Log, Sink};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, LogKind};
use crate::topology::{Drive, STAGES, Topology, dead_letters};
use crate::upgrade;

/// An opened installation. One per process and data folder.
pub struct World {
    pub config: Config,
    pub topology: Topology,
    pub runtime: Runtime,
    pub store: Store,
    /// The embedded log, where that is the log: retention is ours to enforce.
    pub embedded: Option<EmbeddedLog>,
}

impl World {
    /// Opens the log (making topics that are missing), the snapshot folder and the SQL store (migrating it). State that this
    /// program cannot take over is refused before any of that is written.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let data_dir = &config.data.dir;
        std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make data folder {}", data_dir.display()))?;
        let (log, embedded) = open_log(config).await?;
        let topology = Topology::new(config);
        let snapshots: Arc<dyn SnapshotStore> = Arc::new(config.snapshots.open(data_dir));
        upgrade::refuse_early(config, &topology, log.as_ref(), &snapshots).await?;
        log.ensure_topics(&topology.topics(config)).await?;
        let store = config.store.open(data_dir).await?;
        store.migrate().await?;
        let runtime = Runtime {
            log,
            snapshots,
            clock: Arc::new(WallClock),
            health: Health::default(),
            snapshot_every: config.data.snapshot_every.get(),
        };
        Ok(World {
            config: config.clone(),
            topology,
            runtime,
            store,
            embedded,
        })
    }

    /// The sinks of this run: one line each.
    pub fn sinks(&self) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(SqlSink::new(self.store.clone()))];
        if self.config.archive.enabled {
            let folder = self.config.archive.path_in(&self.config.data.dir);
            sinks.push(Box::new(ArchiveSink::open(&folder, self.config.archive.clone())?));
        }
        for notify in Notify::all(&self.config.notify, &self.store, &self.runtime.clock).map_err(anyhow::Error::msg)? {
            let worker = Worker::new(notify, self.store.clone(), self.runtime.log.clone());
            sinks.push(Box::new(worker));
        }
        Ok(sinks)
    }

    /// Runs every stage, then every sink, until nothing is left to read.
    pub async fn run_to_end(&self, mode: Mode, stop: CancellationToken) -> anyhow::Result<()> {
        for stage in STAGES {
            let drive = Drive {
                runtime: self.runtime.clone(),
                mode,
                stop: stop.clone(),
            };
            stage
                .run(&self.topology, &self.config, drive)
                .await
                .with_context(|| format!("stage {}", stage.name))?;
        }
        self.project(mode, stop).await
    }

    /// Runs every sink until nothing is left to read.
    pub async fn project(&self, mode: Mode, stop: CancellationToken) -> anyhow::Result<()> {
        for sink in self.sinks()? {
            let name = sink.name().to_owned();
            run_sink(sink, dead_letters(), self.runtime.clone(), mode, stop.clone())
                .await
                .with_context(|| format!("sink {name}"))?;
        }
        Ok(())
    }

    /// Lets go of the stores.
    pub async fn close(self) -> anyhow::Result<()> {
        self.store.close().await;
        Ok(())
    }
}

/// The log of a configuration; its topics are as they are.
pub async fn open_log(config: &Config) -> anyhow::Result<(Arc<dyn Log>, Option<EmbeddedLog>)> {
    match config.log.kind {
        LogKind::Embedded => {
            let log = EmbeddedLog::open(config.data.dir.join("log"), config.log.embedded.clone()).await?;
            Ok((Arc::new(log.clone()), Some(log)))
        }
        LogKind::Kafka => Ok((KafkaLog::open_prefixed(config.log.kafka.clone()).await?, None)),
    }
}
