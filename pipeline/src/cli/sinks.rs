//! `aegis sinks`: its arguments, and how the answers look.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::render::{self, Screen, Table, table::Value};
use crate::rebuild::Summary;
use crate::standings::Standing;

/// Where the sinks stand, and make their tables anew
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis sinks list
  aegis sinks rebuild sql"
)]
pub struct SinksArgs {
    #[command(subcommand)]
    pub command: SinksCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum SinksCommand {
    List(SinksListArgs),
    Rebuild(RebuildArgs),
}

/// Show the position of every sink, receiver and worker, and what is still before it
///
/// Works with and without a running aegis, and on Kafka.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis sinks list
  aegis sinks list --json | jq -r 'select(.lag > 0) | [.sink, .topic, .partition, .lag] | @tsv'

Exits with 0; with 4 when nothing ever ran on the data folder.")]
pub struct SinksListArgs {
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Fill the tables of a sink anew from the log, and put them in place at once
///
/// Reads the log into tables beside those in use, and then changes the rows in one transaction: until then everybody reads the old
/// ones, and if it is killed they are as they were. No aegis may write to the tables meanwhile. Grants, indexes and views of
/// yours stay, and so do incidents.metadata and what was told to receivers. Alone `sql` can be rebuilt.
///
/// The log holds signals for a week unless topics.retention says otherwise. Where it does not hold everything this is refused, and
/// names what is missing; --partial does it all the same.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis sinks rebuild sql
  aegis sinks rebuild sql --partial --json

Exits with 0 when done; 1 when the log does not hold everything or it could not (the tables are as they were), 4 when there is no such
sink, 5 when an aegis runs or the log or the database does not answer.")]
pub struct RebuildArgs {
    /// The sink, as `aegis sinks list` names it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Also when the log no longer holds everything: what it lost is lost to the tables too
    #[arg(long)]
    pub partial: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Shows where sinks stand.
pub fn show_list(standings: &[Standing], json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        for standing in standings {
            render::json_line(standing, out)?;
        }
        return out.flush();
    }
    let mut table = Table::new(["sink", "partition", "next", "end", "lag", "lost"]);
    for one in standings {
        table.row(vec![
            Value::text(one.sink.as_str()),
            Value::text(format!("{}/{}", one.topic, one.partition)),
            one.next.map_or_else(|| Value::text("-"), Value::number),
            Value::number(one.end),
            Value::number(one.lag),
            Value::number(one.lost),
        ]);
    }
    table.write(screen.stdout, out)?;
    out.flush()
}

/// Shows what a rebuild did.
pub fn show_rebuilt(summary: &Summary, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        return render::json_line(summary, out);
    }
    for missing in &summary.missing {
        writeln!(
            out,
            "note: the log no longer holds {}/{} before offset {}",
            missing.topic, missing.partition, missing.first
        )?;
    }
    writeln!(
        out,
        "the tables of {} hold {} offsets of the log; {} records are refused as before",
        summary.sink, summary.offsets, summary.refused
    )?;
    out.flush()
}
