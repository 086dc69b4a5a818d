//! `bench`: generators, end-to-end cases and figures, on the product's own decoder, kernel, operators and logs.
//!
//! What each figure means, and against what it is measured, stands in `bench/README.md`.

mod case;
mod demo_oom;
mod figures;
mod generate;
mod keys;
mod logs;
mod measure;
mod snapshots;
mod storm;
mod templates;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use figures::{checkpoints, commits, latency, moving, poison, query, source, store, webhooks};

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
    Snapshots(snapshots::Arguments),
    /// What commits cost: stages with their commits, beside the same outputs in few large ones.
    Commits(commits::Arguments),
    /// What a snapshot every second costs a stage of which one percent changes, beside the same stage without.
    Checkpoints(checkpoints::Arguments),
    /// The Kafka source up to the raw batch, beside a bare client loop that drops its messages.
    Source(source::Arguments),
    /// Queries over ten million archived signals, beside DuckDB on the same files.
    ///
    /// Prints one JSON line. The archive takes about 1 GB of disk and stays in FOLDER.
    Query(query::Arguments),
    /// What records cost that cannot be read, beside the same input without.
    Poison(poison::Arguments),
    /// From an alert in the log to its incident, hop by hop, at half of the rate that the chain can take.
    Latency(latency::Arguments),
    /// How long a partition with much state pauses when it moves, by plan and after a crash (Kafka).
    Move(moving::Arguments),
    /// Signed and batched webhooks at the doors of a running aegis, beside a real Alertmanager's API.
    Webhooks(webhooks::Arguments),
    /// The SQL sink on PostgreSQL, beside a bare COPY of the same rows.
    Store(store::Arguments),
    /// One process of `bench move`, which starts it.
    #[command(hide = true)]
    MoveMember(moving::MemberArguments),
    /// Log lines through the stage templates, as shipped: lines per CPU second. Prints one JSON line.
    Templates {
        #[arg(long, default_value_t = 1_000_000)]
        lines: usize,
        /// Lines to use, over and over, instead of made ones.
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Write the demo's storm (one capture per line).
    Storm { file: PathBuf },
    /// One incident from its cause to its postmortem, shown stage by stage; exits with 1 unless every point of it holds.
    ///
    /// A real aegis, Prometheus (with two hours of past) and Alertmanager on ports of their own in a throw-away folder, beside
    /// stand-ins for Kubernetes, Loki and Slack. `make demo-oom` installs and builds what it needs.
    DemoOom(demo_oom::Arguments),
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
    #[command(flatten)]
    pub log: LogArguments,
}

#[derive(clap::Args, Clone)]
pub struct LogArguments {
    #[arg(long, value_enum, default_value_t = LogKind::Memory)]
    pub log: LogKind,
    /// Partitions of every topic.
    #[arg(long, default_value_t = 2)]
    pub partitions: u32,
    #[command(flatten)]
    pub broker: BrokerArguments,
}

#[derive(clap::Args, Clone)]
pub struct BrokerArguments {
    /// Bootstrap servers, for what runs on Kafka.
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
    let outcome = carry_out(&runtime, Arguments::parse().command);
    runtime.block_on(logs::forget());
    outcome
}

fn carry_out(runtime: &tokio::runtime::Runtime, command: Command) -> anyhow::Result<()> {
    let line = match command {
        Command::Generate { folder, alerts, seed } => serde_json::to_value(generate::generate(alerts, &folder, seed)?)?,
        Command::Core(arguments) => return runtime.block_on(case::core(&arguments)),
        Command::Pipeline(arguments) => return runtime.block_on(case::pipeline(&arguments)),
        Command::Snapshots(arguments) => runtime.block_on(snapshots::run(arguments))?,
        Command::Commits(arguments) => runtime.block_on(commits::run(&arguments))?,
        Command::Checkpoints(arguments) => runtime.block_on(checkpoints::run(&arguments))?,
        Command::Source(arguments) => runtime.block_on(source::run(&arguments))?,
        Command::Poison(arguments) => runtime.block_on(poison::run(&arguments))?,
        Command::Latency(arguments) => runtime.block_on(latency::run(&arguments))?,
        Command::Move(arguments) => runtime.block_on(moving::run(&arguments))?,
        Command::Query(arguments) => runtime.block_on(query::run(&arguments))?,
        Command::Webhooks(arguments) => runtime.block_on(webhooks::run(&arguments))?,
        Command::Store(arguments) => runtime.block_on(store::run(&arguments))?,
        Command::MoveMember(arguments) => return runtime.block_on(moving::member(&arguments)),
        Command::Templates { lines, file } => templates::run(lines, file.as_deref())?,
        Command::DemoOom(arguments) => return runtime.block_on(demo_oom::run(&arguments)),
        Command::World { listen, scenario } => return runtime.block_on(serve_world(listen, scenario)),
        Command::Storm { file } => return Ok(std::fs::write(file, storm::lines().join("\n") + "\n")?),
    };
    println!("{line}");
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
