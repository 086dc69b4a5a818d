//! What records cost that cannot be read: normalize over alerts of which one in a thousand is rubbish, and over the same
//! alerts alone. One in a million is too rare to be seen on a clock; its cost is a thousandth of what is measured.

use std::path::PathBuf;

use bytes::Bytes;
use model::topics;
use operators::normalize::Normalize;
use serde_json::{Value, json};

use super::Sides;
use crate::LogArguments;
use crate::case::chain::Chain;
use crate::case::{POLICY, lines, log_name, read};
use crate::measure::{rounded, timed};

#[derive(clap::Args)]
pub struct Arguments {
    /// A folder with alerts.jsonl, made by `bench generate`.
    folder: PathBuf,
    #[command(flatten)]
    log: LogArguments,
    /// Runs of each side.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// One poison record to so many good ones.
const GOOD_PER_POISON: usize = 1_000;

pub async fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let alerts = read(&arguments.folder, "alerts.jsonl")?;
    let mut sides = Sides::default();
    let mut letters = 0u64;
    for _ in 0..arguments.rounds {
        for poisoned in [false, true] {
            let chain = Chain::open(&arguments.log, POLICY).await?;
            let mut feeder = chain.feeder();
            for (nth, line) in lines(&alerts).enumerate() {
                if poisoned && nth % GOOD_PER_POISON == 0 {
                    // As long as its neighbours, and torn in the middle.
                    feeder.push(Bytes::copy_from_slice(&line[..line.len() - 2])).await?;
                }
                feeder.push(line).await?;
            }
            feeder.finish().await?;
            let stage = chain.to_end(topics::EVENTS_RAW, topics::SIGNALS, chain.ingress(), || {
                Normalize::new(Default::default())
            });
            let (took, ()) = timed(stage).await?;
            if !poisoned {
                sides.baseline.push(took);
                continue;
            }
            sides.measured.push(took);
            letters = 0;
            chain
                .read_all(topics::DEAD_LETTER, |_| {
                    letters += 1;
                    Ok(())
                })
                .await?;
        }
    }
    let count = lines(&alerts).count();
    anyhow::ensure!(
        letters == count.div_ceil(GOOD_PER_POISON) as u64,
        "{letters} dead letters for {count} alerts"
    );
    let (cost, cpu_cost) = sides.costs();
    // In parts of a million: a thousandth of a percent.
    let per_million = |cost: f64| rounded(cost * GOOD_PER_POISON as f64);
    Ok(json!({
        "figure": "poison", "aim": "one in a million costs < 1 %", "log": log_name(arguments.log.log), "alerts": count,
        "dead_letters": letters, "one_in_a_thousand": sides.shown(),
        "one_in_a_million_ppm": per_million(cost), "one_in_a_million_cpu_ppm": per_million(cpu_cost),
    }))
}
