//! Everything a running Aegis stands on, opened from the configuration: log, snapshots, clock, stores, sinks.

use std::sync::Arc;

use ::agents::compliance::Policies;
use anyhow::Context as _;
use model::remediation::Switch;
use sinks::Notify;
use sinks::archive::{ArchiveSink, Flush};
use sinks::notify::Quiet;
use sinks::remediate::Remediate;
use sinks::sql::{SqlSink, Store};
use sinks::worker::Worker;
use sources::embedded::EmbeddedLog;
use sources::kafka::KafkaLog;
use stream::driver::{Mode, Runtime, run_sink};
use stream::health::Health;
use stream::snapshot::SnapshotStore;
use stream::time::WallClock;
use stream::{Log, LogError, Sink};
use tokio_util::sync::CancellationToken;
use tools::act::Act;
use tools::observe::Observe;

use crate::cli::Exit;
use crate::config::{Config, LogKind};
use crate::generations::{self, GenerationLog, GenerationSink, History, Layout, What};
use crate::silences::{self, SilenceDesk};
use crate::similar::Similar;
use crate::topology::{Drive, STAGES, Topology, dead_letters};
use crate::upgrade;
use crate::workers::{AgentsWork, ComplianceWork, OwnLogs};

/// An opened installation. One per process and data folder.
pub struct World {
    pub config: Config,
    pub topology: Topology,
    pub runtime: Runtime,
    pub store: Store,
    /// The embedded log, where that is the log: retention is ours to enforce.
    pub embedded: Option<EmbeddedLog>,
    /// The log by its own names; the runtime's shows those of the generation.
    pub raw: Arc<dyn Log>,
    /// What agents may look at.
    pub observe: Observe,
    /// What the executor may do.
    act: Arc<Act>,
    pub policies: Arc<Policies>,
    /// Asks the archive of this process to write what waits.
    pub flush: Arc<Flush>,
    /// Past incidents that are like one; `None` where no vectors are kept.
    pub similar: Option<Similar>,
}

/// An opened log.
pub struct OpenLog {
    /// As the current generation sees it.
    pub log: Arc<dyn Log>,
    /// By its own names.
    pub raw: Arc<dyn Log>,
    pub embedded: Option<EmbeddedLog>,
    pub history: History,
    /// The current generation.
    pub layout: Layout,
}

impl OpenLog {
    /// Refuses to start on topics that are being moved, or are not as the configuration or the topology says. Writes nothing.
    pub async fn startable(&self, config: &Config) -> anyhow::Result<()> {
        self.history.refuse_open()?;
        let (recorded, configured) = (self.layout.keyed(), config.partitions());
        if recorded != configured {
            return Err(Exit::Configuration.because(format!(
                "not started, nothing was written: topics.partitions is {configured}, and the topology of this log has {recorded}: \
                 set topics.partitions = {recorded}, or move records and state with `aegis repartition --partitions {configured}`"
            )));
        }
        generations::require_counts(self.log.as_ref(), &self.layout)
            .await
            .context("not started, nothing was written")
    }
}

impl World {
    /// Opens the log (making topics that are missing), the snapshot folder and the SQL store (migrating it). State that this
    /// program cannot take over, an unfinished repartition, and keyed topics with other numbers of partitions than the topology
    /// says are refused before any of that is written.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let data_dir = &config.data.dir;
        std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make data folder {}", data_dir.display()))?;
        let opened = open_log(config).await?;
        opened.startable(config).await?;
        config.signing.make_key(config)?;
        let topology = Topology::of(config, &opened.layout, config.signer()?);
        let snapshots = snapshots_of(config, &opened.layout);
        upgrade::refuse_early(config, &topology, opened.log.as_ref(), &snapshots).await?;
        let mut specs = topology.topics(config);
        for spec in &mut specs {
            // It may have got more since.
            if *spec.name == *model::topics::EVENTS_RAW {
                match opened.log.partitions(&spec.name).await {
                    Ok(found) => spec.partitions = found,
                    Err(LogError::UnknownTopic(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        opened.log.ensure_topics(&specs).await?;
        silences::ensure_topic(&opened.raw).await?;
        if opened.history.current.is_none() {
            generations::write(&opened.raw, What::Founded(opened.layout.clone())).await?;
        }
        World::assemble(config, opened, topology, snapshots).await
    }

    /// Opens what is there for the drain before a repartition: keyed topics may have any number of partitions. Makes no topics.
    pub async fn open_to_drain(config: &Config, opened: OpenLog) -> anyhow::Result<Self> {
        let topology = Topology::of(config, &opened.layout, config.signer()?).draining();
        let snapshots = snapshots_of(config, &opened.layout);
        upgrade::refuse_early(config, &topology, opened.log.as_ref(), &snapshots).await?;
        World::assemble(config, opened, topology, snapshots).await
    }

    async fn assemble(
        config: &Config,
        opened: OpenLog,
        topology: Topology,
        snapshots: Arc<dyn SnapshotStore>,
    ) -> anyhow::Result<Self> {
        let OpenLog { log, raw, embedded, .. } = opened;
        let data_dir = &config.data.dir;
        let store = config.store.open(data_dir).await?;
        store.migrate().await?;
        let runtime = Runtime {
            log,
            snapshots,
            clock: Arc::new(WallClock),
            health: Health::default(),
            snapshot_every: config.data.snapshot_every.get(),
        };
        let flush = Arc::new(Flush::default());
        let mut observe = tools::connect::observe(&config.tools).await?;
        if observe.logs.is_none() && config.archive.enabled {
            observe.logs = Some(Arc::new(OwnLogs::new(config, flush.clone())));
        }
        let act = Arc::new(tools::connect::act(&config.tools).await?);
        let policies =
            Policies::load(&config.compliance).map_err(|faults| Exit::Configuration.because(faults.join("; ")))?;
        let similar = Similar::open(config, &store)?;
        Ok(World {
            config: config.clone(),
            topology,
            observe,
            act,
            policies: Arc::new(policies),
            runtime,
            store,
            embedded,
            raw,
            flush,
            similar,
        })
    }

    /// The sinks of this run: one line each.
    pub fn sinks(&self) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        self.sinks_of(&self.topology.layout)
    }

    /// The silences of this installation. Somebody must keep it.
    pub fn silences(&self) -> Arc<SilenceDesk> {
        let (log, store) = (self.runtime.log.clone(), self.store.clone());
        let (clock, signer) = (self.runtime.clock.clone(), self.topology.signer.clone());
        Arc::new(SilenceDesk::new(log, store, clock, signer))
    }

    /// What works on records of generation `layout` and writes its answers to the log; one line each. `switch`: how the stop switch
    /// stands; `quiet` knows the silences.
    pub fn workers(
        &self,
        layout: &Layout,
        switch: Switch,
        quiet: &Arc<dyn Quiet>,
    ) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let (log, clock) = (self.runtime.log.clone(), self.runtime.clock.clone());
        let (signer, observe) = (self.topology.signer.clone(), self.observe.clone());
        let agents = AgentsWork::new(
            self.config.agents.clone(),
            observe.clone(),
            clock.clone(),
            signer.clone(),
        );
        let compliance = ComplianceWork::new((*self.policies).clone(), clock.clone(), signer.clone());
        let executor = Remediate::new(self.act.clone(), observe, clock, signer, log.clone(), switch);
        let mut workers: Vec<Box<dyn Sink>> = vec![
            Box::new(Worker::new(agents, self.store.clone(), log.clone())),
            Box::new(Worker::new(executor, self.store.clone(), log.clone())),
        ];
        if self.config.compliance.enabled {
            workers.push(Box::new(Worker::new(compliance, self.store.clone(), log.clone())));
        }
        for notify in
            Notify::all(&self.config.notify, &self.store, &self.runtime.clock, quiet).map_err(anyhow::Error::msg)?
        {
            workers.push(Box::new(Worker::new(notify, self.store.clone(), log.clone())));
        }
        Ok(workers
            .into_iter()
            .map(|sink| GenerationSink::over(sink, layout))
            .collect())
    }

    /// The sinks as they write the records of generation `layout`.
    pub fn sinks_of(&self, layout: &Layout) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let tables = SqlSink::new(self.store.clone()).believing(self.topology.signer.clone());
        let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(tables)];
        if self.config.archive.enabled {
            let folder = self.config.archive.path_in(&self.config.data.dir);
            let archive = ArchiveSink::open(&folder, self.config.archive.clone())?;
            sinks.push(Box::new(archive.with_flush(self.flush.clone())));
        }
        Ok(sinks
            .into_iter()
            .map(|sink| GenerationSink::over(sink, layout))
            .collect())
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

/// The log of a configuration as its current generation sees it; its topics are as they are.
pub async fn open_log(config: &Config) -> anyhow::Result<OpenLog> {
    let (raw, embedded): (Arc<dyn Log>, _) = match config.log.kind {
        LogKind::Embedded => {
            let log = EmbeddedLog::open(config.data.dir.join("log"), config.log.embedded.clone()).await?;
            (Arc::new(log.clone()), Some(log))
        }
        LogKind::Kafka => (KafkaLog::open_prefixed(config.log.kafka.clone()).await?, None),
    };
    let history = History::read(&raw).await?;
    let layout = history.layout(&raw, config.partitions()).await?;
    Ok(OpenLog {
        log: GenerationLog::over(raw.clone(), &layout),
        raw,
        embedded,
        history,
        layout,
    })
}

/// The snapshots of a generation: its offsets begin anew, so it has a folder of its own.
pub fn snapshots_of(config: &Config, layout: &Layout) -> Arc<dyn SnapshotStore> {
    Arc::new(config.snapshots.open_generation(&config.data.dir, layout.generation))
}
