//! Dead letters: what was refused, looked at, sent once more, or dropped.
//!
//! Topic `dead-letter` is the one place where this is kept. It is only appended to: a letter that was sent again or dropped has
//! a fact behind it ([`model::LetterFact`]). Everything here works on a log, so it is the same on the embedded log of a
//! stopped Aegis, inside a running one (asked through its control socket), and on Kafka.
//!
//! It promises:
//! * a letter's bytes are found also where another letter carries them (the first one of a record does, for all);
//! * to send again and to write down that it was done is one commit: neither happens without the other;
//! * a letter that was dealt with is left alone unless the caller insists, also when two people ask at once: whoever
//!   changes letters owns their partitions in group `aegis.dead-letters`.
//!
//! Not here: the SQL table `dead_letters`, which the sink fills from the same records.
//!
//! | file | what |
//! |---|---|
//! | `scan` | walks the topic: letters with their status |
//! | `redrive` | letters to the record that sends them again (pure) |
//! | `seat` | who may change letters now, and the commit that does |
//! | `desk` | what can be asked for: list, show, act |
//! | `door` | the desk behind the control socket, and how to ask it |
//! | `api` | the desk behind the REST API |

mod api;
mod desk;
mod door;
mod redrive;
mod scan;
mod seat;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use model::{LetterFact, topics};
use serde::{Deserialize, Serialize};

pub use api::DeskLetters;
pub use desk::Desk;
pub use door::{Office, routes};

/// Where a letter stands on topic `dead-letter`. Written `dead-letter/PARTITION/OFFSET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LetterId {
    pub partition: u32,
    pub offset: u64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", topics::DEAD_LETTER, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text
            .strip_prefix(topics::DEAD_LETTER)
            .and_then(|rest| rest.strip_prefix('/'))
            .unwrap_or(text);
        let read = place
            .split_once('/')
            .and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
        match read {
            Some((partition, offset)) => Ok(LetterId { partition, offset }),
            None => Err(format!(
                "{text:?} is no letter: they are named {}/PARTITION/OFFSET, see `aegis dead-letters list`",
                topics::DEAD_LETTER
            )),
        }
    }
}

impl From<LetterId> for String {
    fn from(id: LetterId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for LetterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing yet.
    #[default]
    Open,
    /// Sent once more.
    Replayed,
    /// Somebody decided that it needs nothing more.
    Dropped,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Replayed => "replayed",
            Status::Dropped => "dropped",
        }
    }
}

/// Which letters. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// `dedupe`, `sink.sql`; `sink` is every sink.
    pub stage: Option<String>,
    pub reason: Option<String>,
    /// Refused records that were received at or after this.
    pub since: Option<DateTime<Utc>>,
    pub status: Option<Status>,
    /// Only these, if any are named.
    pub ids: Vec<LetterId>,
}

/// A letter, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: LetterId,
    pub status: Status,
    pub stage: String,
    pub reason: String,
    pub detail: String,
    /// JSON pointer of the offending field.
    pub field: Option<String>,
    /// Where the refused record stands.
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    /// Which element of its body.
    pub index: Option<u32>,
    pub received_at: DateTime<Utc>,
    pub attempt: u32,
    /// Where the bytes stood when they were refused first, if this was not the first time.
    pub first_refused: Option<String>,
    /// The letter that carries the bytes; none when that one is gone from the log.
    pub bytes_in: Option<LetterId>,
    /// What was done, oldest first.
    pub facts: Vec<LetterFact>,
}

/// A letter with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    #[serde(flatten)]
    pub entry: Entry,
    /// As they were kept: what was redacted stays redacted.
    pub headers: Vec<(String, String)>,
    /// The record's value; `null` when the bytes are gone.
    pub body_base64: Option<String>,
}

/// What to do about letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Deed {
    Replay,
    Drop { because: String },
}

/// A letter to do something about, as [`Desk::select`] found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub id: LetterId,
    pub bytes_in: Option<LetterId>,
}

/// A letter that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub id: LetterId,
    pub because: String,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Letters dealt with.
    pub letters: u64,
    /// Records appended for them: letters of one record are sent again together.
    pub records: u64,
    pub skipped: Vec<Skipped>,
}

impl Outcome {
    pub fn add(&mut self, other: Outcome) {
        self.letters += other.letters;
        self.records += other.records;
        self.skipped.extend(other.skipped);
    }
}

/// Letters that go through a desk in one piece. Higher: more of them on the heap at once, and more to do again when a commit
/// fails; lower: a commit for fewer letters.
pub const PIECE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = LetterId {
            partition: 3,
            offset: 17,
        };
        assert_eq!(id.to_string(), "dead-letter/3/17");
        for text in ["dead-letter/3/17", "3/17"] {
            assert_eq!(text.parse(), Ok(id));
        }
        for text in ["", "3", "3/", "/3/17", "dead-letter/3", "late/3/17", "3/17/1", "-1/2"] {
            let problem = text.parse::<LetterId>().unwrap_err();
            assert!(problem.contains("dead-letter/PARTITION/OFFSET"), "{problem}");
        }
    }
}
