//! Webhooks per second at the doors of a running `aegis`, each durable before it is answered, with the sender on the same machine:
//! alerts one by one in signed bodies (Grafana's scheme), and alerts in batches (Alertmanager's). Beside them, in the same run, a real
//! Alertmanager's API takes the same alerts, which it keeps in memory.

mod bodies;
mod load;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use world::demo::Process;
use world::free_addresses;

use crate::measure::{cpu_by_thread, cpu_time, quantile, rounded};
use bodies::Kind;
use load::Load;

#[derive(clap::Args)]
pub struct Arguments {
    /// Requests with one alert each.
    #[arg(long, default_value_t = 100_000)]
    single: usize,
    /// Alerts that come in batches.
    #[arg(long, default_value_t = 500_000)]
    batched: usize,
    /// Alerts of one batch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    batch: u16,
    /// Connections that send alerts one by one at the same time, each waiting for its answers.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The same for batches. What is under way is answered after as long as its rate takes for it: 64 batches of 100, at 50,000 alerts/s, are
    /// 128 ms on average whatever receives them.
    #[arg(long, default_value_t = 16)]
    batch_connections: usize,
    /// Roles of the process; without it, all: the alerts are then worked on while they come in.
    #[arg(long)]
    roles: Option<String>,
    /// The binary to measure; by default the one beside this program.
    #[arg(long)]
    aegis: Option<PathBuf>,
    /// An Alertmanager to measure beside it.
    #[arg(long, env = "AEGIS_TEST_ALERTMANAGER_BIN")]
    alertmanager: Option<PathBuf>,
    /// More of `aegis.toml`, from a table's head on: another log, for example.
    #[arg(long)]
    settings: Option<PathBuf>,
}

const SECRET: &str = "the-secret-of-the-bench";
/// Longest until a program answers.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir()?;
    let mut shown = json!({
        "figure": "webhooks",
        "aim": "single >= 10000/s, batched >= 50000 alerts/s, p99 <= 100 ms, durable, the sender on the same cores",
        "connections": arguments.connections, "batch_connections": arguments.batch_connections, "batch": arguments.batch,
        "roles": arguments.roles.as_deref().unwrap_or("all"),
    });
    {
        let to = start_aegis(arguments, folder.path()).await?;
        shown["single"] = measured(&to, Kind::Grafana(SECRET), arguments.single, 1, arguments.connections).await?;
        shown["batched"] = in_batches(arguments, &to, Kind::Webhook).await?;
    }
    if let Some(program) = &arguments.alertmanager {
        let to = start_alertmanager(program, folder.path()).await?;
        shown["alertmanager_single"] = measured(&to, Kind::Api, arguments.single, 1, arguments.connections).await?;
        shown["alertmanager_batched"] = in_batches(arguments, &to, Kind::Api).await?;
    }
    Ok(shown)
}

/// A running program that takes requests.
struct Receiver {
    process: Process,
    address: SocketAddr,
}

async fn in_batches(arguments: &Arguments, to: &Receiver, kind: Kind) -> anyhow::Result<Value> {
    let requests = arguments.batched / usize::from(arguments.batch);
    measured(
        to,
        kind,
        requests,
        usize::from(arguments.batch),
        arguments.batch_connections,
    )
    .await
}

/// `requests` of `alerts` each, over so many connections. They are made before the clock starts.
async fn measured(
    to: &Receiver,
    kind: Kind,
    requests: usize,
    alerts: usize,
    connections: usize,
) -> anyhow::Result<Value> {
    let address = to.address;
    let made = (0..requests).map(|nth| bodies::request(kind, address, nth * alerts, alerts));
    let load = Load::new(connections, made.collect::<anyhow::Result<_>>()?);
    let (own, threads) = (cpu_time(), cpu_by_thread(to.process.id()));
    let began = Instant::now();
    let answers = tokio::task::spawn_blocking(move || load.run(address)).await??;
    let seconds = began.elapsed().as_secs_f64();
    let per_request = |cpu: Duration| rounded(cpu.as_secs_f64() * 1e6 / requests as f64);
    let sender = per_request(cpu_time() - own);
    let used = cpu_by_thread(to.process.id()).into_iter().map(|(name, cpu)| {
        let before = threads.get(&name).copied().unwrap_or_default();
        (name, cpu.saturating_sub(before))
    });
    let used: BTreeMap<String, Duration> = used.filter(|(_, cpu)| !cpu.is_zero()).collect();
    let taken = answers.iter().filter(|answer| answer.taken).count();
    ensure!(taken > 0, "no request to {address} was taken");
    let times: Vec<f64> = answers.iter().map(|answer| answer.seconds * 1_000.0).collect();
    Ok(json!({
        "requests": requests, "not_taken": requests - taken, "seconds": rounded(seconds),
        "requests_per_second": (taken as f64 / seconds).round(),
        "alerts_per_second": ((taken * alerts) as f64 / seconds).round(),
        "p50_ms": rounded(quantile(&times, 0.5)), "p99_ms": rounded(quantile(&times, 0.99)),
        "max_ms": rounded(quantile(&times, 1.0)),
        "cpu_us_per_request": {
            "sender": sender, "receiver": per_request(used.values().sum()),
            "receiver_by_thread": used.into_iter().map(|(name, cpu)| (name, per_request(cpu))).collect::<BTreeMap<_, _>>(),
        },
    }))
}

async fn start_aegis(arguments: &Arguments, folder: &Path) -> anyhow::Result<Receiver> {
    let [dispatcher, gateway] = free_addresses()?;
    let more = match &arguments.settings {
        Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
        None => String::new(),
    };
    let config = folder.join("aegis.toml");
    let data = folder.join("data");
    std::fs::write(
        &config,
        format!(
            "[data]\ndir = \"{}\"\n[dispatcher]\nlisten = \"{dispatcher}\"\n[dispatcher.grafana]\nsecrets = [\"{SECRET}\"]\n\
             [gateway]\nlisten = \"{gateway}\"\n[sql]\nenabled = false\n[mcp]\nenabled = false\n[dashboard]\nenabled = false\n[live]\nenabled = false\n{more}",
            data.display()
        ),
    )?;
    let program = match &arguments.aegis {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("aegis"),
    };
    let mut command = Command::new(program);
    command.arg("--config").arg(&config).arg("run");
    if let Some(roles) = &arguments.roles {
        command.args(["--roles", roles]);
    }
    let process = Process::start("aegis", &mut command, folder)?;
    listening(process, dispatcher).await
}

async fn start_alertmanager(program: &Path, folder: &Path) -> anyhow::Result<Receiver> {
    let [address] = free_addresses()?;
    let config = folder.join("alertmanager.yml");
    // JSON is YAML. It notifies nobody.
    let route = json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]});
    std::fs::write(&config, route.to_string())?;
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=");
    let process = Process::start("alertmanager", &mut command, folder)?;
    listening(process, address).await
}

async fn listening(mut process: Process, address: SocketAddr) -> anyhow::Result<Receiver> {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        process.require()?;
        ensure!(began.elapsed() < PATIENCE, "nothing listens at {address}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Receiver { process, address })
}
