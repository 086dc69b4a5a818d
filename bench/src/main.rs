//! `bench`: generators and end-to-end cases, on the product's own decoder, kernel, operators and logs.

mod case;
mod generate;
mod measure;
mod snapshots;
mod storm;
mod templates;

use std::path::PathBuf;

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
        Command::Templates { lines, file } => println!("{}", templates::run(lines, file.as_deref())?),
        Command::Storm { file } => std::fs::write(file, storm::lines().join("\n") + "\n")?,
    }
    Ok(())
}
