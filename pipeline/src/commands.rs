//! What the commands do, between the command line and the parts of the pipeline.

mod ask;
mod audit;
mod compliance;
mod dead_letters;
mod lines;
mod logs;
mod mcp;
mod propose;
mod repartition;
mod response;
mod silences;
mod similar;
mod sinks;

use std::io::{self, Write as _};

use ::sinks::sql::{IncidentFilter, Store};
use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use stream::failpoint;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cli::render::{self, Format, Progress};
use crate::cli::{DemoArgs, Exit, IncidentsArgs, IngestArgs, RunArgs, Session, UpgradeArgs, Work, upgrade};
use crate::config::{Config, LogKind};
use crate::run::{Addresses, signalled};
use crate::sql_endpoint;
use crate::topology::Topology;
use crate::upgrade::report;
use crate::world::{World, open_log, snapshots_of};
use crate::{demo, ingest, run};

/// Carries out a command that needs the pipeline.
pub fn carry_out(session: Session, work: Work) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match work {
            Work::Run(arguments) => run_command(session, arguments).await,
            Work::Demo(arguments) => demo_command(session, arguments).await,
            Work::Ingest(arguments) => ingest_command(session, arguments).await,
            Work::Incidents(arguments) => incidents_command(session, arguments).await,
            Work::Logs(arguments) => lines::logs(session, arguments).await,
            Work::Templates(arguments) => lines::templates(session, arguments).await,
            Work::Sql(arguments) => ask::carry_out(session, arguments).await,
            Work::Mcp(arguments) => mcp::carry_out(session, arguments).await,
            Work::Runs(arguments) => response::runs(session, arguments).await,
            Work::Remediation(arguments) => response::remediation(session, arguments).await,
            Work::Silences(arguments) => silences::carry_out(session, arguments).await,
            Work::Propose(arguments) => propose::carry_out(session, arguments).await,
            Work::Approve(arguments) => response::approve(session, arguments).await,
            Work::Deny(arguments) => response::deny(session, arguments).await,
            Work::Ledger(arguments) => response::ledger(session, arguments).await,
            Work::Compliance(arguments) => compliance::carry_out(session, arguments).await,
            Work::Audit(arguments) => audit::carry_out(session, arguments).await,
            Work::DeadLetters(arguments) => dead_letters::carry_out(session, arguments).await,
            Work::Upgrade(arguments) => upgrade_command(session, arguments).await,
            Work::Repartition(arguments) => repartition::carry_out(session, arguments).await,
            Work::Sinks(arguments) => sinks::carry_out(session, arguments).await,
            Work::Similar(arguments) => similar::similar(session, arguments).await,
            Work::Models(arguments) => similar::models(session, arguments).await,
        }
    })
}

/// Buckets for latencies in seconds: from an in-process hop to a stalled broker.
const LATENCY_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

fn recorder() -> anyhow::Result<PrometheusHandle> {
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), LATENCY_BUCKETS)?;
    Ok(builder.install_recorder()?)
}

/// A token that is cancelled by the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        if signalled().await.is_ok() {
            told.cancel();
        }
        if signalled().await.is_ok() {
            tracing::error!("second signal: ending at once");
            std::process::exit(130);
        }
    });
    stop
}

/// Set by the crash tests alone: where this process is to end. See [`stream::failpoint`].
const FAILPOINT_VARIABLE: &str = "AEGIS_TEST_FAILPOINT";

fn arm_failpoint() -> anyhow::Result<()> {
    match std::env::var(FAILPOINT_VARIABLE) {
        Ok(place) => failpoint::arm(&place).map_err(anyhow::Error::msg),
        Err(_) => Ok(()),
    }
}

async fn run_command(session: Session, arguments: RunArgs) -> anyhow::Result<Exit> {
    arm_failpoint()?;
    let stop = stop_on_signal();
    let metrics = recorder()?;
    let world = World::open(&session.config).await?;
    let started = Box::new(|addresses: Addresses| {
        let shown = |address: Option<std::net::SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
        tracing::info!(
            dispatcher = shown(addresses.dispatcher),
            otlp_grpc = shown(addresses.otlp_grpc),
            gateway = shown(addresses.gateway),
            sql = shown(addresses.sql),
            mcp = shown(addresses.mcp),
            dashboard = shown(addresses.dashboard),
            "aegis runs"
        );
    });
    run::run(world, &arguments, metrics, stop, started).await?;
    Ok(Exit::Done)
}

async fn demo_command(session: Session, arguments: DemoArgs) -> anyhow::Result<Exit> {
    let mut config = session.config.clone();
    let listening = [
        &mut config.dispatcher.listen,
        &mut config.gateway.listen,
        &mut config.sql.listen,
        &mut config.mcp.listen,
        &mut config.dashboard.listen,
    ];
    for listen in listening.into_iter().chain(&mut config.dispatcher.otlp_grpc_listen) {
        let port = listen.port().checked_add(arguments.port_offset);
        listen.set_port(port.context("--port-offset leads beyond port 65535")?);
    }
    let stop = stop_on_signal();
    let metrics = recorder()?;
    let world = World::open(&config).await?;
    let screen = session.screen.clone();
    let bar = Progress::bytes("storm", None, &screen);
    let progress = |_sent: u64, size: u64| bar.add(size);
    let (keep, json) = (arguments.keep, arguments.json);
    let ending = stop.clone();
    let data_dir = config.data.dir.display().to_string();
    demo::demo(world, metrics, stop, progress, |summary| {
        bar.finish();
        let mut out = io::stdout().lock();
        let shown = if json {
            render::json_line(&summary, &mut out)
        } else {
            demo::show(&summary, &data_dir, keep, &screen, &mut out)
        };
        if shown.is_err() || !keep {
            ending.cancel();
        }
    })
    .await?;
    Ok(Exit::Done)
}

async fn ingest_command(session: Session, arguments: IngestArgs) -> anyhow::Result<Exit> {
    let sizes = arguments
        .files
        .iter()
        .map(|file| std::fs::metadata(file).map(|m| m.len()).ok());
    let bar = Progress::bytes("ingest", sizes.sum::<Option<u64>>(), &session.screen);
    let stored_as = arguments
        .stored_as()
        .map_err(|problem| Exit::Usage.because(problem.to_owned()))?;
    let summary = ingest::ingest(
        &session.config,
        &stored_as,
        arguments.event.as_deref().unwrap_or_default(),
        arguments.service.as_deref().unwrap_or_default(),
        &arguments.files,
        arguments.close,
        &|bytes| bar.add(bytes),
    )
    .await;
    bar.finish();
    let summary = summary?;
    let mut out = io::stdout().lock();
    if arguments.json {
        render::json_line(&summary, &mut out)?;
    } else {
        summary.show(&mut out)?;
    }
    Ok(if summary.dead_lettered > 0 {
        Exit::InPart
    } else {
        Exit::Done
    })
}

/// The store as it stands. Missing means that nothing ever ran here.
async fn existing_store(config: &Config) -> anyhow::Result<Store> {
    let url = config.store.url_in(&config.data.dir);
    if let Some(path) = url.strip_prefix("sqlite://")
        && !std::path::Path::new(path).exists()
    {
        let problem =
            format!("there are no tables at {path} yet: start with `aegis demo`, `aegis run` or `aegis ingest`");
        return Err(Exit::NotFound.because(problem));
    }
    let store = config.store.open(&config.data.dir).await?;
    // Also an older program's tables can be read: they are brought up to date first.
    store.migrate().await?;
    Ok(store)
}

async fn incidents_command(session: Session, arguments: IncidentsArgs) -> anyhow::Result<Exit> {
    let store = existing_store(&session.config).await?;
    let format = Format::of(arguments.json, false);
    let mut out = io::stdout().lock();
    match &arguments.id {
        None => {
            let filter = IncidentFilter {
                status: arguments
                    .status
                    .as_deref()
                    .and_then(|word| serde_json::from_value(word.into()).ok()),
                severity: arguments.severity,
                service: arguments.service.clone(),
                ..IncidentFilter::default()
            };
            let rows = store.incidents(&filter, arguments.limit, 0).await?;
            render::incidents(&rows, format, &session.screen, &mut out)?;
        }
        Some(id) => {
            let found = match Uuid::parse_str(id) {
                Ok(id) => store.incident(id).await?,
                Err(_) => {
                    return Err(Exit::Usage.because(format!(
                        "{id:?} is no incident id: they are UUIDs, see `aegis incidents`"
                    )));
                }
            };
            let Some(detail) = found else {
                return Err(Exit::NotFound.because(format!("there is no incident {id}")));
            };
            render::incident(&detail, format, &session.screen, &mut out)?;
        }
    }
    out.flush()?;
    store.close().await;
    Ok(Exit::Done)
}

/// Answers queries over the tables and the archive as they are.
async fn engine(config: &Config, options: sql::EngineOptions) -> anyhow::Result<sql::Engine> {
    existing_store(config).await?.close().await;
    let (source, archive) = (sql_endpoint::source(config), sql_endpoint::archive(config));
    Ok(sql::Engine::open_with(source, archive, options).await?)
}

async fn upgrade_command(session: Session, arguments: UpgradeArgs) -> anyhow::Result<Exit> {
    let config = &session.config;
    // Looking must not make what is not there.
    let folder = match config.log.kind {
        LogKind::Embedded => config.data.dir.join("log"),
        LogKind::Kafka => config.data.dir.clone(),
    };
    if !folder.exists() {
        let problem = format!(
            "there is no {}: nothing ran here yet, any version may start",
            folder.display()
        );
        return Err(Exit::NotFound.because(problem));
    }
    let opened = open_log(config).await?;
    let (topology, snapshots) = (
        Topology::of(config, &opened.layout, config.signer()?),
        snapshots_of(config, &opened.layout),
    );
    let mut report = report(config, &topology, opened.log.as_ref(), &snapshots, true).await?;
    if let Err(refusal) = opened.startable(config).await {
        (report.starts, report.refused) = (false, Some(format!("{refusal:#}")));
    }
    upgrade::show(&report, arguments.json, &session.screen, &mut io::stdout().lock())?;
    Ok(if report.starts { Exit::Done } else { Exit::Failed })
}
