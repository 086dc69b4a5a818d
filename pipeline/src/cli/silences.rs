//! `aegis silences`: its arguments, and how silences look.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand};
use gateway::SilenceView;
use model::{IncidentId, Severity};
use uuid::Uuid;

use super::render::{self, Screen, Table, table::Value};

/// Hold back what people are told about certain incidents, for a while
///
/// While a silence holds, nothing about the incidents that it names goes to Slack, PagerDuty or a webhook. Incidents are still made,
/// investigated and shown. When it is over, what is still open is told; what ends a page that was sent is told all the same.
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis silences add --service checkout --for 2h --because \"the database moves\"
  aegis silences list
  aegis silences end 019b1f0c-7a55-7b5e-9a55-3f1d5a0a6e11"
)]
pub struct SilencesArgs {
    #[command(subcommand)]
    pub command: SilencesCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum SilencesCommand {
    List(SilencesListArgs),
    Add(SilencesAddArgs),
    End(SilencesEndArgs),
}

/// List silences, the one declared last first
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis silences list
  aegis silences list --incident 0198f0c2-7a55-7b5e-9a55-3f1d5a0a6e11      what holds back messages about it now
  aegis silences list --all --json | jq -r '[.state, .comment] | @tsv'")]
pub struct SilencesListArgs {
    /// Also those that ended in the last thirty days
    #[arg(long)]
    pub all: bool,
    /// Only those that hold for this incident now
    #[arg(long, value_name = "ID")]
    pub incident: Option<Uuid>,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Declare a silence
///
/// An incident must meet every kind of criterion that is given; of one kind, one of those given. At least one is needed. Needs a running aegis
/// on the embedded log; with Kafka it is written to the log.
#[derive(Clone, Debug, Args)]
#[command(
    group = ArgGroup::new("end").required(true).args(["lasts", "until"]),
    after_help = "\
Examples:
  aegis silences add --service checkout --service cart --for 2h --because \"the database moves\"
  aegis silences add --environment staging --severity warning --for 1d --because \"load test\"
  aegis silences add --title \"disk full\" --from 2026-12-01T22:00:00Z --until 2026-12-02T02:00:00Z --because \"new disks\"

Exits with 1 when it cannot be meant so, and says which part."
)]
pub struct SilencesAddArgs {
    /// Only this incident
    #[arg(long, value_name = "ID")]
    pub incident: Vec<Uuid>,
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    #[arg(long, value_name = "NAME")]
    pub environment: Vec<String>,
    /// info, warning or critical
    #[arg(long, value_name = "LEVEL")]
    pub severity: Vec<Severity>,
    /// The incident's title has this in it
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// How long: 30m, 2h, 1d
    #[arg(long = "for", id = "lasts", value_name = "DURATION")]
    pub lasts: Option<String>,
    /// Until when
    #[arg(long, value_name = "TIME")]
    pub until: Option<DateTime<Utc>>,
    /// From when [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<DateTime<Utc>>,
    /// Why, for whoever wonders
    #[arg(long, value_name = "REASON")]
    pub because: String,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

impl SilencesAddArgs {
    pub fn body(self) -> gateway::SilenceBody {
        gateway::SilenceBody {
            incidents: self.incident.into_iter().map(IncidentId).collect(),
            services: self.service,
            environments: self.environment,
            severities: self.severity,
            title: self.title,
            starts_at: self.from,
            ends_at: self.until,
            duration: self.lasts,
            comment: self.because,
        }
    }
}

/// End a silence before its time
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis silences end 019b1f0c-7a55-7b5e-9a55-3f1d5a0a6e11

Exits with 4 when there is no such silence, with 1 when it has ended already.")]
pub struct SilencesEndArgs {
    #[arg(value_name = "ID")]
    pub id: Uuid,
}

/// Shows silences.
pub fn show_silences(silences: &[SilenceView], json: bool, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if json {
        return silences.iter().try_for_each(|one| render::json_line(one, out));
    }
    if silences.is_empty() && screen.stdout.terminal {
        return writeln!(out, "no silences");
    }
    let mut table = Table::new(["id", "state", "silenced", "from", "until", "by", "comment"]);
    for one in silences {
        table.row(vec![
            Value::text(one.id.to_string()),
            Value::text(&one.state),
            Value::text(criteria(one)),
            Value::text(one.starts_at.format("%Y-%m-%d %H:%M").to_string()),
            Value::text(one.ends_at.format("%Y-%m-%d %H:%M").to_string()),
            Value::text(&one.by),
            Value::text(&one.comment),
        ]);
    }
    table.write(screen.stdout, out)
}

/// `service api|cart, severity warning`.
fn criteria(one: &SilenceView) -> String {
    let incidents: Vec<String> = one.incidents.iter().map(|id| id.0.to_string()).collect();
    let severities: Vec<String> = one.severities.iter().map(|one| one.as_str().to_owned()).collect();
    let title: Vec<String> = one.title.iter().map(|text| format!("{text:?}")).collect();
    let lists = [
        ("incident", &incidents),
        ("service", &one.services),
        ("environment", &one.environments),
        ("severity", &severities),
        ("title", &title),
    ];
    let said = lists.iter().filter(|(_, words)| !words.is_empty());
    let said: Vec<String> = said
        .map(|(name, words)| format!("{name} {}", words.join("|")))
        .collect();
    said.join(", ")
}
