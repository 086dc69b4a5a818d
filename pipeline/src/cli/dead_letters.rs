//! `aegis dead-letters`: its arguments.

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand};
use stream::human::HumanDuration;

use crate::letters::{LetterId, Status};

/// Look at what was refused, send it once more, or drop it
///
/// Whatever a stage or a sink refuses is kept whole on topic `dead-letter`, with the reason and where it came from. Works with
/// and without a running aegis, and on Kafka. A letter is named as `list` shows it: dead-letter/PARTITION/OFFSET.
#[derive(Clone, Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  aegis dead-letters list --status open
  aegis dead-letters show dead-letter/0/17
  aegis dead-letters replay --reason unknown_shape
  aegis dead-letters drop dead-letter/0/17 --because \"a test of ours\""
)]
pub struct DeadLettersArgs {
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

#[derive(Clone, Debug, Subcommand)]
pub enum DeadLettersCommand {
    List(ListArgs),
    Show(ShowArgs),
    Replay(ReplayArgs),
    Drop(DropArgs),
}

/// List letters, newest first
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis dead-letters list
  aegis dead-letters list --stage normalize --reason missing_field --since 2h
  aegis dead-letters list --since 2026-11-01T00:00:00Z --limit 1000
  aegis dead-letters list --json | jq -r 'select(.attempt > 1) | .id'

Exits with 0, also when there are none; with 4 when nothing ever ran on the data folder.")]
pub struct ListArgs {
    #[command(flatten)]
    pub which: Which,
    /// Only with this status
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// Filters that list, replay and drop have in common.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Only of this stage; `sink` is every sink
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
    /// Only refused for this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only received since: a time (RFC 3339), or how long ago (90s, 2h, 3d)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
}

/// Show one letter with all that is known of it
///
/// Bytes are shown as text where they are text, and else in hexadecimal. Headers that were redacted when they came in stay so.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  aegis dead-letters show dead-letter/0/17
  aegis dead-letters show 0/17 --raw > body.json
  aegis dead-letters show 0/17 --json | jq .headers

Exits with 4 when there is no such letter, or --raw is asked for and its bytes are gone.")]
pub struct ShowArgs {
    /// The letter
    #[arg(value_name = "ID")]
    pub id: LetterId,
    /// Write the refused bytes to standard output, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// Send letters once more through the pipeline
///
/// The bytes are appended to the topic that they came from, with headers that say where they stood and which try this is. What
/// is refused again becomes another letter, of attempt 2 or more. Of a body of which only some elements were refused, only
/// those are taken. Each letter is sent once: sent or dropped ones are left alone without --again. Without a running aegis on
/// an embedded log this command works everything off and then says what came of it.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["ids", "all", "stage", "reason", "since"]), after_help = "\
Examples:
  aegis dead-letters replay dead-letter/0/17 dead-letter/2/4
  aegis dead-letters replay --reason unknown_shape
  aegis dead-letters replay --stage sink --since 1d
  aegis dead-letters replay --all --json

Exits with 4 when a letter that was named does not exist, and with 6 when some were left alone or refused again.")]
pub struct ReplayArgs {
    #[command(flatten)]
    pub what: What,
    /// Also what was sent again or dropped already
    #[arg(long)]
    pub again: bool,
    /// The outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// Mark letters as dealt with
///
/// They stay on the topic, with who they were; they are not open any more.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["ids", "all", "stage", "reason", "since"]), after_help = "\
Examples:
  aegis dead-letters drop dead-letter/0/17 --because \"a test of ours\"
  aegis dead-letters drop --reason unknown_sender --because \"the old relay is gone\"

Exits with 4 when a letter that was named does not exist, and with 6 when some were left alone.")]
pub struct DropArgs {
    #[command(flatten)]
    pub what: What,
    /// Why; it is kept with the letter
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub because: String,
    /// The outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// The letters to do something about.
#[derive(Clone, Debug, Default, Args)]
pub struct What {
    /// These letters
    #[arg(value_name = "ID", conflicts_with_all = ["all", "stage", "reason", "since"])]
    pub ids: Vec<LetterId>,
    /// Every open letter
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub which: Which,
}

/// A moment, given as such or by how long ago it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    At(DateTime<Utc>),
    Ago(HumanDuration),
}

impl Since {
    pub fn before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Since::At(at) => *at,
            Since::Ago(ago) => stream::Instant::from_datetime(now)
                .saturating_sub(ago.get())
                .to_datetime(),
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(Since::At(at.with_timezone(&Utc)));
        }
        text.parse()
            .map(Since::Ago)
            .map_err(|_| format!("{text:?} is neither a time such as 2026-11-01T00:00:00Z nor a span such as 2h or 3d"))
    }
}
