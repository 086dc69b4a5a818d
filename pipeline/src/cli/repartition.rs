//! `aegis repartition`: its arguments, and how the answer looks.

use std::io::{self, Write};

use clap::Args;

use super::render::{self, Screen, Table, table::Value};
use crate::repartition::{Outcome, Summary};

/// Move records and state to another number of partitions
///
/// Reads everything that waits, rewrites the keyed topics into a new generation with N partitions, divides the state of the stages
/// among them, lets the tables and the archive stand where they stood, and switches. Nothing may run on the log meanwhile. The
/// old topics are left as they are until the switch, and kept no longer than signals are afterwards. Killed anywhere, the same
/// command goes on; until it is finished or given up nothing starts.
///
/// `events.raw` has no key and is not rewritten: on Kafka it may get more partitions at any time, also while aegis runs.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis repartition --partitions 8 --dry-run   what would be moved
  aegis repartition --partitions 8             then set topics.partitions = 8 and start
  aegis repartition                            goes on with what was begun
  aegis repartition --abandon                  gives up what was begun

Exits with 0 when done, or when there is nothing to do; 1 when it could not (what was there is as it was), 2 when it is unclear how
many, 4 when there is nothing to move or to give up, 5 when an aegis runs or the log does not answer, 7 when the books of the
old topics do not balance.")]
pub struct RepartitionArgs {
    /// Partitions of every keyed topic afterwards [default: those of the repartition that was begun]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: Option<u32>,
    /// Tell what would be moved, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Give up the repartition that was begun
    #[arg(long, conflicts_with_all = ["partitions", "dry_run", "unbalanced"])]
    pub abandon: bool,
    /// Go on although `aegis audit conservation` finds something in the old topics
    #[arg(long)]
    pub unbalanced: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Shows the answer.
pub fn show(summary: &Summary, json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        return render::json_line(summary, out);
    }
    if matches!(summary.outcome, Outcome::Planned | Outcome::Moved) {
        let mut table = Table::new(["topic", "offsets", "partitions"]);
        for topic in &summary.topics {
            table.row(vec![
                Value::text(topic.topic.as_str()),
                Value::number(topic.records),
                Value::text(format!("{} -> {}", topic.partitions_before, topic.partitions)),
            ]);
        }
        table.write(screen.stdout, out)?;
    }
    let Summary {
        generation,
        partitions,
        held,
        ..
    } = summary;
    match summary.outcome {
        Outcome::Planned if summary.resumed => {
            writeln!(
                out,
                "this would go on where an earlier one was stopped; nothing was changed"
            )?;
        }
        Outcome::Planned => writeln!(
            out,
            "this would be moved, and what comes in before; nothing was changed"
        )?,
        Outcome::Moved => writeln!(
            out,
            "generation {generation} has {partitions} partitions; {held} held items went along. \
             Set topics.partitions = {partitions} and start"
        )?,
        Outcome::NothingToDo => writeln!(
            out,
            "every keyed topic has {partitions} partitions already: nothing to do"
        )?,
        Outcome::Abandoned => writeln!(
            out,
            "given up: generation {generation} with {partitions} partitions goes on as it was"
        )?,
    }
    out.flush()
}
