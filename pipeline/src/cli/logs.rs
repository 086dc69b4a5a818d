//! `aegis logs` and `aegis templates`: their arguments.

use chrono::{DateTime, Utc};
use clap::Args;
use model::Level;
use sql::logs::LogQuery;
use stream::human::HumanDuration;

/// Show log lines of a service
///
/// Reads the archive; a running aegis writes there what it has first. The newest lines that match are shown, oldest first.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis logs --service checkout --since 15m
  aegis logs --service checkout --since 1h --level error
  aegis logs --text \"out of memory\" --since 2026-11-23T10:00:00Z --until 2026-11-23T11:00:00Z
  aegis logs --template 8f14e45fceea167a --limit 20
  aegis logs --service checkout --json | jq -r .text")]
pub struct LogsArgs {
    #[command(flatten)]
    pub which: WhichLines,
    /// Only lines of this template (see `aegis templates`)
    #[arg(long, value_name = "ID")]
    pub template: Option<String>,
    /// Only lines of this trace
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// List the templates of log lines with their counts
///
/// A template is what a program writes, with the parts that differ left out. Those with the most lines come first.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis templates --service checkout
  aegis templates --since 1h --level error
  aegis templates --json | jq -r '[.lines, .pattern] | @tsv'")]
pub struct TemplatesArgs {
    #[command(flatten)]
    pub which: WhichLines,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Which lines are meant.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichLines {
    /// Only of this service
    #[arg(long)]
    pub service: Option<String>,
    /// Only of this environment
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Only of this tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Only from then on: a time (RFC 3339), or how long ago (15m, 2h)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub since: Option<Moment>,
    /// Only before then
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub until: Option<Moment>,
    /// Only of this level or worse: trace, debug, info, warn, error, fatal
    #[arg(long)]
    pub level: Option<Level>,
    /// Only with this in the text, in any case
    #[arg(long)]
    pub text: Option<String>,
}

/// A time, or how long before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(i64),
    Ago(std::time::Duration),
}

impl Moment {
    /// Microseconds since the epoch.
    pub fn at(self, now: DateTime<Utc>) -> i64 {
        match self {
            Moment::At(at) => at,
            Moment::Ago(ago) => now.timestamp_micros() - i64::try_from(ago.as_micros()).unwrap_or(i64::MAX),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Moment::At(time.timestamp_micros()));
    }
    let ago = text.parse::<HumanDuration>();
    ago.map(|ago| Moment::Ago(ago.get()))
        .map_err(|_| format!("{text:?} is neither a time such as 2026-11-23T10:00:00Z nor a duration such as 15m"))
}

impl WhichLines {
    /// As a query, at `now`.
    pub fn query(&self, now: DateTime<Utc>, limit: u32) -> LogQuery {
        LogQuery {
            tenant: self.tenant.clone(),
            environment: self.env.clone(),
            service: self.service.clone(),
            from: self.since.map(|moment| moment.at(now)),
            until: self.until.map(|moment| moment.at(now)),
            level: self.level,
            text: self.text.clone(),
            limit: limit as usize,
            ..LogQuery::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Moment::At(1_000_000)));
        assert_eq!(moment("15m"), Ok(Moment::Ago(std::time::Duration::from_secs(900))));
        assert!(moment("yesterday").is_err());
        let now = DateTime::from_timestamp(1_000, 0).unwrap_or_default();
        assert_eq!(Moment::Ago(std::time::Duration::from_secs(100)).at(now), 900_000_000);
    }
}
