//! `aegis demo`: `aegis run`, plus a recorded storm through the real webhook, then a summary of what became of it.

mod storm;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use sinks::sql::{IncidentFilter, IncidentRow};
use stream::secret::Secret;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::cli::RunArgs;
use crate::cli::render::{self, Format, Screen};
use crate::run::{Addresses, Started, run};
use crate::totals::Mark;
use crate::world::World;

pub use storm::Storm;

/// What the storm came to.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Summary {
    /// Notifications sent, and alerts in them.
    pub notifications: u64,
    pub alerts: u64,
    /// Alerts that said nothing new.
    pub repeats: u64,
    pub incidents: Vec<IncidentRow>,
    pub dispatcher: Option<SocketAddr>,
    pub gateway: Option<SocketAddr>,
    pub dashboard: Option<SocketAddr>,
    /// From the first notification until everything stood in the tables.
    pub seconds: f64,
}

/// Runs everything, plays the storm, tells `done`, and goes on until `stop`. `progress` is told how many
/// notifications are sent, and the size of the last one.
pub async fn demo(
    world: World,
    prometheus: PrometheusHandle,
    stop: CancellationToken,
    progress: impl Fn(u64, u64),
    done: impl FnOnce(Summary),
) -> anyhow::Result<()> {
    let store = world.store.clone();
    let health = world.runtime.health.clone();
    let token = world.config.dispatcher_token().cloned();
    let log = world.runtime.log.clone();
    let mark = Mark::now(&log).await?;
    let began_at = world.runtime.clock.now();
    let storm = Storm::ending_at(began_at);
    let (tell, told) = tokio::sync::oneshot::channel();
    let started = Box::new(move |addresses| {
        // The receiver only goes away when the demo itself was dropped.
        let _ = tell.send(addresses);
    });
    let running = tokio::spawn(run_everything(world, prometheus, stop.clone(), started));
    let Ok(addresses) = told.await else {
        return running.await?;
    };
    let began = tokio::time::Instant::now();
    play(&storm, addresses, token.as_ref(), &stop, progress).await?;
    if settled(&health, &stop).await {
        let totals = mark.totals(&log).await?;
        let from = began_at
            .saturating_sub(storm.length() + Duration::from_secs(60))
            .to_datetime();
        let mut incidents = store.incidents(&IncidentFilter::default(), 100, 0).await?;
        incidents.retain(|incident| incident.created_at >= from);
        done(Summary {
            notifications: storm.bodies.len() as u64,
            alerts: storm.alerts,
            repeats: totals.repeats,
            incidents,
            dispatcher: addresses.dispatcher,
            gateway: addresses.gateway,
            dashboard: addresses.dashboard,
            seconds: began.elapsed().as_secs_f64(),
        });
    }
    running.await?
}

async fn run_everything(
    world: World,
    prometheus: PrometheusHandle,
    stop: CancellationToken,
    started: Started<'static>,
) -> anyhow::Result<()> {
    run(world, &RunArgs::default(), prometheus, stop, started).await
}

async fn play(
    storm: &Storm,
    to: Addresses,
    token: Option<&Secret>,
    stop: &CancellationToken,
    progress: impl Fn(u64, u64),
) -> anyhow::Result<()> {
    let address = to.dispatcher.context("this process has no dispatcher")?;
    let stream = TcpStream::connect(address)
        .await
        .context("the dispatcher does not answer")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    for (sent, body) in storm.bodies.iter().enumerate() {
        if stop.is_cancelled() {
            break;
        }
        loop {
            let mut request = http::Request::post("/webhooks/alertmanager")
                .header(http::header::HOST, address.to_string())
                .header(http::header::CONTENT_TYPE, "application/json");
            if let Some(token) = token {
                request = request.header(http::header::AUTHORIZATION, format!("Bearer {}", token.expose()));
            }
            sender.ready().await?;
            let answer = sender.send_request(request.body(Full::new(body.clone()))?).await?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            if status == http::StatusCode::SERVICE_UNAVAILABLE {
                // As a sender does: the same again, later.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            if !status.is_success() {
                bail!(
                    "the dispatcher refused a notification ({status}): {}",
                    String::from_utf8_lossy(&text)
                );
            }
            break;
        }
        progress(sent as u64 + 1, body.len() as u64);
    }
    connection.abort();
    Ok(())
}

/// Waits until every stage and sink has read everything, twice in a row. `false` when stopped.
async fn settled(health: &stream::health::Health, stop: &CancellationToken) -> bool {
    let mut calm = 0;
    while calm < 3 {
        let partitions = health.partitions();
        let lag: u64 = partitions.values().map(|partition| partition.lag).sum();
        calm = if lag == 0 && !partitions.is_empty() {
            calm + 1
        } else {
            0
        };
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(stream::driver::TICK) => {}
        }
    }
    true
}

/// The summary for people.
pub fn show(
    summary: &Summary,
    data_dir: &str,
    keeps_running: bool,
    screen: &Screen,
    out: &mut impl Write,
) -> io::Result<()> {
    let incidents = summary.incidents.len() as u64;
    writeln!(
        out,
        "\n{} alerts in {} notifications became {} incidents in {:.1} s; {} alerts said nothing new.\n",
        summary.alerts, summary.notifications, incidents, summary.seconds, summary.repeats
    )?;
    render::incidents(&summary.incidents, Format::Table, screen, out)?;
    let option = if data_dir == "./aegis-data" {
        String::new()
    } else {
        format!(" --data-dir {data_dir}")
    };
    writeln!(out, "\nWhere to look:")?;
    writeln!(
        out,
        "  aegis{option} incidents ID              members, reasons, timeline"
    )?;
    writeln!(
        out,
        "  aegis{option} sql \"select severity, count(*) from incidents group by 1\""
    )?;
    if !keeps_running {
        writeln!(
            out,
            "  aegis{option} run                       then http://127.0.0.1:3000: the dashboard"
        )?;
    }
    if keeps_running {
        let shown = |address: Option<SocketAddr>| address.map(|a| a.to_string()).unwrap_or_default();
        writeln!(out, "  http://{}    the dashboard", shown(summary.dashboard))?;
        writeln!(out, "  http://{}/api/v1/incidents and /metrics", shown(summary.gateway))?;
        writeln!(
            out,
            "  webhooks: http://{}/webhooks/alertmanager",
            shown(summary.dispatcher)
        )?;
        writeln!(out, "\nRunning until Ctrl-C.")?;
    }
    out.flush()
}
