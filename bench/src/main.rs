//! `bench`: generators and end-to-end cases, on the product's own decoder, kernel, operators and logs.

mod case;
mod generate;
mod measure;
mod snapshots;
mod storm;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

/// Generators and end-to-end benchmarks of Aegis.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write alerts.jsonl, deploys.jsonl and the reference answer expected.json into a folder.
    Generate {
        folder: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        alerts: u64,
        #[arg(long, default_value_t = 7)]
        seed: u64,
    },
    /// Decode, window_dedupe and interval_join over a folder of alerts.jsonl and deploys.jsonl.
    ///
    /// Prints one JSON line; exits 1 when expected.json is there and the answer differs.
    Core(CaseArguments),
    /// Normalize, dedupe and correlate, as shipped, over the alerts of a folder.
    Pipeline(CaseArguments),
    /// A large table into a snapshot, one percent of it into a delta, and both back, beside a plain read of the files.
    ///
    /// Prints one JSON line. Ten million keys take about 4 GiB of memory and 1 GB of disk.
    Snapshots {
        #[arg(long, default_value_t = 10_000_000)]
        keys: u64,
        /// Where the snapshots go; kept afterwards. Without it a temporary folder.
        #[arg(long)]
        folder: Option<PathBuf>,
    },
    /// Write the demo's storm (one capture per line).
    Storm { file: PathBuf },
    /// Stand-ins for the systems beside Aegis, until interrupted: Kubernetes, Loki, Slack, an exporter for Prometheus.
    ///
    /// One address for all: the API server and Loki at its root, metrics at /metrics, Slack at /api, faults at /_world/faults.
    World {
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// A scenario as JSON; without it, a service that runs out of memory and one whose newest release fails.
        #[arg(long)]
        scenario: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub struct CaseArguments {
    pub folder: PathBuf,
    #[arg(long, value_enum, default_value_t = LogKind::Memory)]
    pub log: LogKind,
    /// Partitions of every topic.
    #[arg(long, default_value_t = 2)]
    pub partitions: u32,
    /// Bootstrap servers for `--log kafka`.
    #[arg(long, env = "AEGIS_TEST_KAFKA", default_value = "127.0.0.1:9092")]
    pub kafka: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogKind {
    Memory,
    Embedded,
    Kafka,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match Arguments::parse().command {
        Command::Generate { folder, alerts, seed } => {
            println!(
                "{}",
                serde_json::to_string(&generate::generate(alerts, &folder, seed)?)?
            );
        }
        Command::Core(arguments) => runtime.block_on(case::core(&arguments))?,
        Command::Pipeline(arguments) => runtime.block_on(case::pipeline(&arguments))?,
        Command::Snapshots { keys, folder } => println!("{}", runtime.block_on(snapshots::run(keys, folder))?),
        Command::World { listen, scenario } => runtime.block_on(serve_world(listen, scenario))?,
        Command::Storm { file } => std::fs::write(file, storm::lines().join("\n") + "\n")?,
    }
    Ok(())
}

async fn serve_world(listen: SocketAddr, scenario: Option<PathBuf>) -> anyhow::Result<()> {
    let scenario = match scenario {
        None => world::Scenario::default(),
        Some(file) => {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no scenario", file.display()))?
        }
    };
    let world = world::World::new(scenario);
    let running = world
        .start(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    println!("the world is at {}", running.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
