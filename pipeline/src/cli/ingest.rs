//! `aegis ingest`: its arguments.

use clap::{Args, ValueEnum};

/// Take recorded alerts or log lines in from files
///
/// A file holds one webhook body, one recorded request, or one of either per line; or log lines: a body of OTLP or Loki, or plain text. A running aegis on the same data folder takes
/// them over; without one, this command opens the folder, works everything off on the clock of the files' own times and
/// ends. The files of one call are one replay, in any order; those of separate calls are late for each other where they lie too far apart.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis ingest alerts.json
  aegis ingest --from alertmanager recorded/*.json
  aegis ingest --from github --event deployment_status delivery.json
  aegis ingest --from pagerduty recorded/*.json
  aegis ingest --from json --mapper statuspage incident.json
  kubectl logs relay | aegis ingest --from events -
  aegis ingest --from lines --service checkout /var/log/checkout.log
  aegis ingest --close storm.jsonl        and close what is still open in event time

Exits with 6 when part of the input was refused (see `aegis dead-letters list`).")]
pub struct IngestArgs {
    /// Who sent it
    #[arg(long, value_enum, default_value_t, value_name = "SENDER")]
    pub from: Sender,
    /// What GitHub called the event (X-GitHub-Event), with --from github; without it each body says what it is
    #[arg(long, value_name = "NAME", value_parser = event_name)]
    pub event: Option<String>,
    /// The rules that read the bodies ([normalize.json.NAME]), with --from json; without it each becomes an info signal
    #[arg(long, value_name = "NAME", value_parser = mapper_name)]
    pub mapper: Option<String>,
    /// Whose lines they are, with --from lines
    #[arg(long, required_if_eq("from", "lines"))]
    pub service: Option<String>,
    /// Files, or - for standard input
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<String>,
    /// Move event time past the lateness bound at the end, so that open windows close
    #[arg(long)]
    pub close: bool,
    /// The summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// As GitHub writes them.
fn event_name(text: &str) -> Result<String, &'static str> {
    let fits = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("names of events are lower-case letters, digits and underscores, like workflow_run")
    }
}

/// As they stand in addresses.
fn mapper_name(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("names of mappers are 1 to 64 letters, digits, - or _")
    }
}

/// Whose bodies the files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sender {
    /// The shape of each body decides
    #[default]
    Auto,
    /// Alertmanager's webhook, version 4
    Alertmanager,
    /// What Prometheus posts to Alertmanager's API v2
    AlertmanagerApi,
    Grafana,
    Github,
    /// Events and workloads of Kubernetes, lists of them, and recorded watches
    Kubernetes,
    /// PagerDuty's Events API v2: alerts and changes
    Pagerduty,
    /// CloudEvents
    Events,
    /// JSON of anybody, by rules
    Json,
    /// Flat JSON, an object per alert or deployment
    Flat,
    /// Log lines: bodies of OTLP
    Otlp,
    /// Log lines: bodies of Loki's push
    Loki,
    /// Log lines: plain text, of one service
    Lines,
}

impl IngestArgs {
    /// What the bodies are stored under; empty leaves it to their shape. A usage error where options do not fit together.
    pub fn stored_as(&self) -> Result<String, &'static str> {
        match (self.from, &self.mapper) {
            (Sender::Json, Some(name)) => Ok(format!("json/{name}")),
            (_, Some(_)) => Err("--mapper goes with --from json"),
            (from, None) => Ok(from.decoder().to_owned()),
        }
    }
}

impl Sender {
    /// The decoder's name; empty leaves it to the shape of the body.
    pub fn decoder(self) -> &'static str {
        match self {
            Sender::Auto => "",
            Sender::Alertmanager => "alertmanager",
            Sender::AlertmanagerApi => "alertmanager-api",
            Sender::Grafana => "grafana",
            Sender::Github => "github",
            Sender::Kubernetes => "kubernetes",
            Sender::Pagerduty => "pagerduty",
            Sender::Events => "events",
            Sender::Json => "json",
            Sender::Flat => "flat",
            Sender::Otlp => "otlp",
            Sender::Loki => "loki",
            Sender::Lines => "lines",
        }
    }
}
