//! `aegis upgrade`: its arguments, and how the answer looks.

use std::io::{self, Write};

use clap::Args;

use super::render::{self, Screen, Table, table::Value};
use crate::config::LogKind;
use crate::upgrade::{Report, Verdict};

/// Tell whether this program can take over the state that is there
///
/// For each stage and partition: the newest snapshot, the logic version and settings that made it, whether it stands exactly at the
/// committed offset, and what `aegis run` would do. Nothing is changed. With the embedded log the daemon must be stopped, because one
/// process owns the folder; with Kafka the committed offsets are asked for and the snapshot folder is read.
///
/// To upgrade: stop the running program with SIGTERM (it drains, commits and snapshots), check with the new program, start it.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  aegis upgrade --check                          in the folder where the old program ran
  aegis upgrade --check --config /etc/aegis.toml
  aegis upgrade --check --json | jq .partitions[].verdict

Exits with 0 when `aegis run` would start, 1 when it would refuse (each refusal says what to do), 4 when there is no data folder,
5 when the log does not answer or another process holds it.")]
pub struct UpgradeArgs {
    /// Look, change nothing (the only thing this command does: migrations run at the start)
    #[arg(long, required = true)]
    pub check: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Shows the answer.
pub fn show(report: &Report, json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        return render::json_line(report, out);
    }
    let format = report
        .log_format
        .map(|format| format!(" format {format}"))
        .unwrap_or_default();
    writeln!(
        out,
        "{}log{format}, topics of generation {} with {} partitions",
        match report.log {
            LogKind::Embedded => "embedded ",
            LogKind::Kafka => "Kafka ",
        },
        report.generation,
        report.keyed_partitions
    )?;
    let mut table = Table::new([
        "stage",
        "partition",
        "committed",
        "snapshot",
        "format",
        "logic",
        "verdict",
    ]);
    for one in &report.partitions {
        let snapshot = one.snapshot.as_ref();
        let number = |n: Option<u64>| n.map_or_else(|| Value::text("-"), Value::number);
        let logic = match snapshot {
            Some(found) if found.logic_version != one.logic_version => {
                format!("{} -> {}", found.logic_version, one.logic_version)
            }
            _ => one.logic_version.to_string(),
        };
        let colour = match one.verdict {
            Verdict::Refused => anstyle::AnsiColor::Red,
            Verdict::AsIs => anstyle::AnsiColor::Green,
            _ => anstyle::AnsiColor::Yellow,
        };
        table.row(vec![
            Value::text(one.stage),
            Value::number(one.partition),
            number(one.committed),
            number(snapshot.map(|found| found.offset)),
            number(snapshot.map(|found| u64::from(found.format))),
            Value::text(logic),
            Value::text(one.verdict.words()).color(colour),
        ]);
    }
    table.write(screen.stdout, out)?;
    let mut said = std::collections::BTreeSet::new();
    for one in report.partitions.iter().filter(|one| one.verdict != Verdict::AsIs) {
        if said.insert((one.stage, one.detail.as_str())) {
            writeln!(out, "{}/{}: {}", one.stage, one.partition, one.detail)?;
        }
    }
    if let Some(refusal) = &report.refused {
        writeln!(out, "{refusal}")?;
    }
    let verdict = if report.starts {
        "aegis run starts"
    } else {
        "aegis run would refuse to start"
    };
    writeln!(out, "{verdict}")?;
    out.flush()
}
