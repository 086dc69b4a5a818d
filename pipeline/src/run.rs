//! `aegis run`: every role in one process, until SIGINT or SIGTERM.
//!
//! Shutdown goes downstream: first the doors close (requests in flight are answered), then each stage commits what it
//! has read, then the sinks write what they have taken. What is left in the log is there at the next start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use dashboard::Dashboard;
use gateway::{Changes, Gateway, Readiness, Shown};
use metrics_exporter_prometheus::PrometheusHandle;
use model::topics;
use shared::Shared;
use sinks::notify::{Http, Quiet};
use sinks::sql::{RetentionSettings, SqlSink};
use sources::kubernetes::KubernetesSource;
use sources::webhook::WebhookSource;
use stream::driver::{Mode, run_sink};
use stream::{BoxFuture, Ingress, Sink, Source};
use telemetry::Telemetry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tools::redact::redact_named;

use crate::answers::SlackAnswers;
use crate::books::Books;
use crate::cli::{Role, RunArgs};
use crate::compliance::ComplianceDesk;
use crate::config::Config;
use crate::control::{self, Door};
use crate::duty::Duty;
use crate::gaps::GapCloser;
use crate::heartbeat::Heartbeat;
use crate::letters::DeskLetters;
use crate::live_endpoint;
use crate::logging;
use crate::map::Map;
use crate::mcp_endpoint;
use crate::orders::LogOrders;
use crate::queries::TableQueries;
use crate::readiness::watch_health;
use crate::reads::{CachedReads, StoreReads};
use crate::recollection::StoreRecollection;
use crate::retention;
use crate::similar;
use crate::sql_endpoint::SqlEndpoint;
use crate::telling::TellingSink;
use crate::threads::OwnThreads;
use crate::topology::{Drive, STAGES, dead_letters};
use crate::traces;
use crate::vitals;
use crate::watch;
use crate::workers;
use crate::world::World;

/// Bytes that may wait for their sync before senders are told to come back. Higher: more heap under a slow disk.
const INGRESS_LIMIT: usize = 64 << 20;

/// Rows of an answer to `POST /api/v1/sql`: more make pages slow, and are for `aegis sql`.
const DASHBOARD_ROWS: usize = 5_000;

/// Where a running Aegis listens; `None` for a role that this process does not have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses {
    pub dispatcher: Option<SocketAddr>,
    /// For OTLP over gRPC; `None` also where no address is set for it.
    pub otlp_grpc: Option<SocketAddr>,
    pub gateway: Option<SocketAddr>,
    /// SQL over PostgreSQL's wire protocol.
    pub sql: Option<SocketAddr>,
    /// The Model Context Protocol.
    pub mcp: Option<SocketAddr>,
    /// The page for people.
    pub dashboard: Option<SocketAddr>,
}

/// One layer of the process: it stops as a whole, after the layers above it.
struct Layer {
    name: &'static str,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Layer {
    fn new(name: &'static str) -> Self {
        Layer {
            name,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let mut result = Ok(());
        while let Some(joined) = self.tasks.join_next().await {
            let one = joined.unwrap_or_else(|panic| Err(anyhow::anyhow!("{} panicked: {panic}", self.name)));
            result = result.and(one);
        }
        result.with_context(|| format!("while stopping the {}", self.name))
    }
}

/// Runs until `stop`; `started` is told the addresses once everything listens.
pub fn run<'a>(
    world: World,
    roles: &'a RunArgs,
    prometheus: PrometheusHandle,
    stop: CancellationToken,
    started: Started<'a>,
) -> BoxFuture<'a, anyhow::Result<()>> {
    Box::pin(run_until(world, roles, prometheus, stop, started))
}

/// Told once where everything listens.
pub type Started<'a> = Box<dyn FnOnce(Addresses) + Send + 'a>;

async fn run_until(
    world: World,
    roles: &RunArgs,
    prometheus: PrometheusHandle,
    stop: CancellationToken,
    started: Started<'_>,
) -> anyhow::Result<()> {
    let threads = OwnThreads::of_stages().context("starting the threads of the stages")?;
    let telemetry = Telemetry::start(&world.config.telemetry, logging::shipped(), redact_named)?;
    let mut doors = Layer::new("doors");
    let mut stages = Layer::new("stages");
    let mut outlets = Layer::new("sinks");
    // The gateway answers until the end: it tells how the shutdown goes.
    let mut last = Layer::new("gateway");

    let shared = Shared::open(&world.config.shared)?;
    let changes = Changes::new(shared.pubsub.clone());
    let (listening, closing) = (changes.clone(), last.stop.clone());
    last.tasks.spawn(async move {
        listening.run(closing).await;
        Ok(())
    });
    if shared.spans_instances() {
        let (shared, health, closing) = (shared.clone(), world.runtime.health.clone(), last.stop.clone());
        last.tasks.spawn(async move {
            watch::redis(shared, health, closing).await;
            Ok(())
        });
    }
    let mut sinks = match roles.has(Role::Sinks) {
        true => world.sinks()?,
        false => Vec::new(),
    };
    let tells = |sink: Box<dyn Sink>| match sink.name() == SqlSink::NAME {
        true => TellingSink::over(sink, changes.clone()),
        false => sink,
    };
    sinks = sinks.into_iter().map(tells).collect();
    let looked_at = roles.has(Role::Gateway) || roles.has(Role::Dispatcher);
    let runtime = &world.runtime;
    let map = Arc::new(Map::new(
        runtime.log.clone(),
        runtime.health.clone(),
        runtime.clock.clone(),
        world.topology.signer.clone(),
        prometheus.clone(),
    ));
    if looked_at {
        let (map, closing) = (map.clone(), last.stop.clone());
        last.tasks.spawn(async move {
            map.keep(closing).await;
            Ok(())
        });
    }
    let silences = world.silences();
    let (keeping, closing) = (silences.clone(), last.stop.clone());
    last.tasks.spawn(async move {
        keeping.keep(closing).await;
        Ok(())
    });
    let seen_at = world.config.gateway.seen_at(world.config.dashboard.listen);
    let live = match looked_at && world.config.live.enabled {
        true => {
            let door = gateway::Door::new(&seen_at, shared.sessions.clone(), changes.clone());
            let live = live_endpoint::open(&world, &shared, door, map.clone(), last.stop.clone()).await?;
            Some(Arc::new(live))
        }
        false => None,
    };
    if let Some(live) = live.clone() {
        last.tasks.spawn(async move {
            live.run().await;
            Ok(())
        });
    }
    let mut duty = |job: &str| {
        let (duty, keeping) = Duty::of(job, &shared, &world.store, last.stop.clone());
        last.tasks.spawn(async move {
            keeping.await;
            Ok(())
        });
        duty
    };
    if roles.has(Role::Workers) {
        let switch = workers::switch(&world.runtime.log, &world.topology.signer).await?;
        let quiet: Arc<dyn Quiet> = silences.clone();
        sinks.extend(world.workers(&world.topology.layout, switch, &quiet)?);
    }
    for sink in sinks {
        let (runtime, stop) = (world.runtime.clone(), outlets.stop.clone());
        let running = async move { Ok(run_sink(sink, dead_letters(), runtime, Mode::Live, stop).await?) };
        outlets.tasks.spawn_on(running, threads.handle());
    }
    let mut aside: Vec<Box<dyn Sink>> = Vec::new();
    if roles.has(Role::Sinks) {
        aside.push(Box::new(Books::new(world.runtime.log.clone())));
        if let Some(telemetry) = telemetry.as_ref().filter(|_| world.config.telemetry.traces) {
            let stop = outlets.stop.clone();
            let stands_on = (world.store.clone(), &world.runtime);
            let knows = (world.topology.signer.clone(), &world.topology.layout);
            let settings = &world.config.telemetry;
            aside.push(traces::sink(settings, telemetry.spans.clone(), stands_on, knows, stop));
        }
    }
    for sink in aside {
        let (runtime, stop) = (world.runtime.clone(), outlets.stop.clone());
        let running = async move {
            traces::run_aside(sink, &runtime, stop).await;
            Ok(())
        };
        outlets.tasks.spawn_on(running, threads.handle());
    }
    if let (Some(similar), true) = (world.similar.clone(), roles.has(Role::Sinks)) {
        let (runtime, layout) = (world.runtime.clone(), world.topology.layout.clone());
        let closing = outlets.stop.clone();
        let keeping = async move {
            similar::keep(similar, runtime, layout, closing).await;
            Ok(())
        };
        outlets.tasks.spawn_on(keeping, threads.handle());
    }
    if roles.has(Role::Sinks) && world.config.store.retention != RetentionSettings::default() {
        let (store, settings) = (world.store.clone(), world.config.store.retention);
        let (clock, closing) = (world.runtime.clock.clone(), outlets.stop.clone());
        let duty = duty("retention");
        outlets.tasks.spawn(async move {
            retention::forget_rows(store, settings, clock, duty, closing).await;
            Ok(())
        });
    }
    for stage in STAGES.iter().filter(|stage| roles.has(role_of(stage.name))) {
        let drive = Drive {
            runtime: world.runtime.clone(),
            mode: Mode::Live,
            stop: stages.stop.clone(),
        };
        let running = stage.run(&world.topology, &world.config, drive);
        let running = async move { running.await.with_context(|| format!("stage {}", stage.name)) };
        stages.tasks.spawn_on(running, threads.handle());
    }

    let orders = LogOrders {
        log: world.runtime.log.clone(),
        store: world.store.clone(),
        clock: world.runtime.clock.clone(),
        observe: world.observe.clone(),
        signer: world.topology.signer.clone(),
    };
    let compliance = ComplianceDesk {
        log: world.runtime.log.clone(),
        signer: world.topology.signer.clone(),
        policies: world.policies.clone(),
    };
    let ingress = Ingress::open(world.runtime.log.clone(), topics::EVENTS_RAW, INGRESS_LIMIT).await?;
    let to_doors = ingress.clone();
    let logs = Ingress::open(world.runtime.log.clone(), topics::LOGS, INGRESS_LIMIT).await?;
    let health = &world.runtime.health;
    health.watch("doors", ingress.waits());
    health.watch("doors for log lines", logs.waits());
    let mut addresses = Addresses::default();
    if roles.has(Role::Dispatcher) {
        let answers = SlackAnswers {
            orders: orders.clone(),
            http: Http::new().map_err(anyhow::Error::msg)?,
            similar: world.similar.clone(),
        };
        let dispatcher = WebhookSource::bind(world.config.dispatcher.clone()).await?;
        let dispatcher = dispatcher.with_logs(logs.clone());
        let mut dispatcher = dispatcher.with_answers(Arc::new(answers));
        if let Some(live) = &live {
            dispatcher = dispatcher.with_routes(live.routes());
        }
        addresses.dispatcher = Some(dispatcher.local_addr());
        map.dispatcher_at(dispatcher.local_addr());
        addresses.otlp_grpc = dispatcher.grpc_addr();
        if world.config.sources.kubernetes.configured() {
            let store = world.store.clone();
            let watch = KubernetesSource::new(
                world.config.sources.kubernetes.clone(),
                Arc::new(StoreRecollection { store }),
                world.runtime.health.clone(),
            );
            let watch = watch.with_clock(world.runtime.clock.clone());
            let (ingress, closing) = (ingress.clone(), doors.stop.clone());
            let running = async move { Box::new(watch).run(ingress, closing).await.map_err(anyhow::Error::msg) };
            doors.tasks.spawn(running);
        }
        for closer in GapCloser::all(&world.config, &ingress, &world.runtime.clock, &mut duty)? {
            let closing = doors.stop.clone();
            doors.tasks.spawn(async move {
                closer.run(closing).await;
                Ok(())
            });
        }
        let (ingress, closing) = (ingress.clone(), doors.stop.clone());
        doors.tasks.spawn(async move {
            Box::new(dispatcher)
                .run(ingress, closing)
                .await
                .map_err(anyhow::Error::msg)
        });
    }
    // Its lock says that this process alone owns the folder; with Kafka several processes may share a machine and
    // each has a folder of its own.
    let door = Door {
        ingress,
        logs,
        intake: world.config.dispatcher.logs.clone(),
        archive: (world.config.archive.enabled && roles.has(Role::Sinks)).then(|| world.flush.clone()),
        clock: world.runtime.clock.clone(),
        health: world.runtime.health.clone(),
        log: world.runtime.log.clone(),
        orders: orders.clone(),
        compliance: compliance.clone(),
        silences: silences.clone(),
        layout: world.topology.layout.clone(),
        archive_dir: archive_dir(&world.config),
        similar: world.similar.clone(),
    };
    let (data_dir, closing) = (world.config.data.dir.clone(), doors.stop.clone());
    doors
        .tasks
        .spawn(async move { control::serve(&data_dir, door, closing).await });

    let readiness = Readiness::new(world.config.readiness.bounds());
    if roles.has(Role::Gateway) {
        // One instance alone has nobody to share answers with, and who reads what he has just written wants it there.
        let ttl = match world.config.shared.redis_url.expose().is_empty() {
            true => std::time::Duration::ZERO,
            false => world.config.shared.cache_ttl.get(),
        };
        let reads = StoreReads::new(world.store.clone()).with_similar(world.similar.clone());
        let reads = Arc::new(CachedReads::new(reads, &shared, ttl, changes.clone()));
        let mut recent = None;
        let mut endpoint = None;
        if world.config.sql.enabled {
            let opened = SqlEndpoint::open(&world).await?;
            recent = Some(opened.recent());
            endpoint = Some(opened);
        }
        let queries = |max_rows| {
            Arc::new(TableQueries::new(
                &world.config,
                recent.clone(),
                world.flush.clone(),
                max_rows,
            ))
        };
        let shown = Shown {
            metrics: prometheus,
            readiness: readiness.clone(),
            incidents: reads.clone(),
            responses: reads.clone(),
            orders: Arc::new(orders.clone()),
            letters: Arc::new(DeskLetters::new(world.runtime.log.clone(), world.runtime.clock.clone())),
            silences,
            sessions: shared.sessions.clone(),
            changes: changes.clone(),
            compliance: Arc::new(compliance),
            pipeline: map,
            queries: queries(DASHBOARD_ROWS),
        };
        if world.config.dashboard.enabled {
            let mut beside = gateway::api(&seen_at, shown.clone())?;
            if let Some(live) = &live {
                beside = beside.merge(live.routes());
            }
            let page = Dashboard::bind(&world.config.dashboard, beside).await?;
            addresses.dashboard = Some(page.local_addr());
            let closing = last.stop.clone();
            last.tasks.spawn(async move { Ok(page.serve(closing).await?) });
        }
        let gateway = Gateway::bind(world.config.gateway.clone(), shown).await?;
        addresses.gateway = Some(gateway.local_addr());
        let closing = last.stop.clone();
        last.tasks.spawn(async move { Ok(gateway.serve(closing).await?) });
        if let Some(endpoint) = endpoint {
            addresses.sql = Some(endpoint.local_addr()?);
            let closing = last.stop.clone();
            last.tasks.spawn(endpoint.serve(closing));
        }
        if world.config.mcp.enabled {
            let queries = queries(usize::try_from(world.config.mcp.max_rows).unwrap_or(usize::MAX));
            let server = mcp_endpoint::open(&world, reads, orders, readiness.clone(), queries).await?;
            addresses.mcp = Some(server.local_addr());
            let closing = last.stop.clone();
            last.tasks.spawn(async move { Ok(server.serve(closing).await?) });
        }
    }
    if let Some(dispatcher) = addresses.dispatcher
        && let Some(heartbeat) = Heartbeat::new(&world, dispatcher, &readiness)?
    {
        let closing = doors.stop.clone();
        doors.tasks.spawn(async move {
            heartbeat.run(closing).await;
            Ok(())
        });
    }
    let (data_dir, clock) = (world.config.data.dir.clone(), world.runtime.clock.clone());
    let store = roles.has(Role::Gateway).then(|| world.store.clone());
    let closing = last.stop.clone();
    last.tasks.spawn(async move {
        vitals::tell(store, &data_dir, clock.as_ref(), closing).await;
        Ok(())
    });
    let (health, closing) = (world.runtime.health.clone(), last.stop.clone());
    last.tasks.spawn(async move {
        watch_health(health, readiness, closing).await;
        Ok(())
    });
    if let Some(log) = world.embedded.clone() {
        let (runtime, closing) = (world.runtime.clone(), last.stop.clone());
        let layout = world.topology.layout.clone();
        last.tasks.spawn(async move {
            retention::keep(log, runtime, layout, closing).await;
            Ok(())
        });
    } else {
        let (log, layout, closing) = (
            world.runtime.log.clone(),
            world.topology.layout.clone(),
            last.stop.clone(),
        );
        last.tasks
            .spawn(async move { watch::partitions(log, layout, closing).await });
        let closing = doors.stop.clone();
        doors.tasks.spawn(async move {
            watch::ingress(to_doors, closing).await;
            Ok(())
        });
    }

    started(addresses);
    // A layer without tasks (a role that this process does not have) ends nothing.
    let failed = tokio::select! {
        () = stop.cancelled() => None,
        Some(early) = doors.tasks.join_next() => Some(early),
        Some(early) = stages.tasks.join_next() => Some(early),
        Some(early) = outlets.tasks.join_next() => Some(early),
        Some(early) = last.tasks.join_next() => Some(early),
    };
    let failed = match failed {
        None => Ok(()),
        Some(Ok(Ok(()))) => Err(anyhow::anyhow!("a part of the process ended by itself")),
        Some(Ok(Err(error))) => Err(error),
        Some(Err(panic)) => Err(anyhow::anyhow!("a part of the process panicked: {panic}")),
    };
    tracing::info!("stopping: closing the doors, committing, writing");
    let mut result = failed;
    for layer in [doors, stages, outlets, last] {
        let stopped = layer.stop().await;
        result = result.and(stopped);
    }
    if let Some(telemetry) = telemetry {
        telemetry.close().await;
    }
    let synced = world.runtime.log.sync().await;
    world.runtime.log.close().await;
    world.close().await?;
    synced?;
    result
}

/// Resolves at SIGINT or SIGTERM.
pub async fn signalled() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The archive's folder, where one is kept.
fn archive_dir(config: &Config) -> Option<PathBuf> {
    config.archive.enabled.then(|| config.archive.path_in(&config.data.dir))
}

/// The role that a stage belongs to.
fn role_of(stage: &str) -> Role {
    match stage {
        "normalize" => Role::Normalize,
        "templates" => Role::Templates,
        "dedupe" => Role::Dedupe,
        "crew" => Role::Crew,
        "gate" => Role::Gate,
        _ => Role::Correlate,
    }
}
