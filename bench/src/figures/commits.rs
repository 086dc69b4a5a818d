//! What commits cost: normalize, then dedupe, each alone over the whole of its input, as the product commits (after
//! 100 ms or 8 MiB) and with the same outputs in commits of 64 MiB.
//!
//! On Kafka the clock runs from the start of the stage, so that joining the group (some seconds) is in both sides: the
//! input must be long enough.

use std::path::PathBuf;
use std::sync::Arc;

use model::topics;
use operators::dedupe::Dedupe;
use operators::normalize::Normalize;
use serde_json::{Value, json};

use super::Sides;
use super::gathering::Gathering;
use crate::LogArguments;
use crate::case::chain::Chain;
use crate::case::{POLICY, lines, log_name, read};
use crate::measure::timed;

#[derive(clap::Args)]
pub struct Arguments {
    /// A folder with alerts.jsonl, made by `bench generate`.
    folder: PathBuf,
    #[command(flatten)]
    log: LogArguments,
    /// Runs of each side.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let alerts = read(&arguments.folder, "alerts.jsonl")?;
    let (mut normalize, mut dedupe) = (Sides::default(), Sides::default());
    for _ in 0..arguments.rounds {
        for gathered in [true, false] {
            let mut chain = Chain::open(&arguments.log, POLICY).await?;
            let mut feeder = chain.feeder();
            for line in lines(&alerts) {
                feeder.push(line).await?;
            }
            feeder.finish().await?;
            if gathered {
                chain.runtime.log = Arc::new(Gathering(chain.runtime.log.clone()));
            }
            let first = chain.to_end(topics::EVENTS_RAW, topics::SIGNALS, chain.ingress(), || {
                Normalize::new(Default::default())
            });
            let (first, ()) = timed(first).await?;
            let second = chain.to_end(topics::SIGNALS, topics::TRANSITIONS, chain.downstream(), || {
                Dedupe::new(&Default::default())
            });
            let (second, ()) = timed(second).await?;
            for (sides, took) in [(&mut normalize, first), (&mut dedupe, second)] {
                if gathered {
                    sides.baseline.push(took);
                } else {
                    sides.measured.push(took);
                }
            }
        }
    }
    Ok(json!({
        "figure": "commits", "aim": "cost <= 0.05", "log": log_name(arguments.log.log),
        "alerts": lines(&alerts).count(), "partitions": arguments.log.partitions,
        "normalize": normalize.shown(), "dedupe": dedupe.shown(),
    }))
}
