//! A dead letter: what a stage refused, whole, with why and where from; and what was done about it.
//!
//! Both stand on topic `dead-letter`, which is only ever appended to. What was done is a [`LetterFact`] behind the letter, in
//! the same partition; its record carries the header `aegis-kind` with [`LetterFact::KIND`], so that readers who know
//! letters only pass it by. The newest fact about a letter is its status; a letter without one is open.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Payload of `dead-letter` (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub schema: u32,
    /// The stage that refused.
    pub stage: String,
    /// Machine-readable: `malformed_json`, `wrong_type`, `missing_field`, …
    pub reason: String,
    /// For people: field, place, remedy.
    pub detail: String,
    /// JSON pointer of the offending field, when there is one.
    pub field: Option<String>,
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    /// Which item of a split body, when only one was refused.
    pub index: Option<u32>,
    pub received_at: DateTime<Utc>,
    /// How often these bytes were tried, this time included: one more than the replays that led here.
    pub attempt: u32,
    pub headers: Vec<(String, String)>,
    /// The record's value, base64 (it may be anything). When several elements of one record are refused, the first letter
    /// (by place in this topic) carries the bytes for all; the others of the same topic, partition and offset are empty.
    pub body_base64: String,
}

impl DeadLetter {
    pub const SCHEMA: u32 = 1;

    pub fn encode_body(body: &[u8]) -> String {
        STANDARD.encode(body)
    }

    pub fn decode_body(body_base64: &str) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(body_base64)
    }

    /// The refused bytes.
    pub fn body(&self) -> Result<Vec<u8>, base64::DecodeError> {
        Self::decode_body(&self.body_base64)
    }
}

/// Headers of a record that was sent once more.
pub mod header {
    /// Which try this is, decimal, from 2.
    pub const ATTEMPT: &str = "aegis-attempt";
    /// Where the bytes stood when they were refused first: `topic/partition/offset`.
    pub const ORIGIN: &str = "aegis-origin";
    /// The letters that it is sent again for: `dead-letter/partition/offset`, separated by commas.
    pub const LETTERS: &str = "aegis-letters";
    /// The elements of the body that were refused, decimal, separated by commas. The others were taken then, and are not
    /// to be taken again. Absent: all of the body.
    pub const ITEMS: &str = "aegis-items";
    /// The above. A record that is sent again gets them afresh.
    pub const ALL: &[&str] = &[ATTEMPT, ORIGIN, LETTERS, ITEMS];
}

/// What was done about a letter (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterFact {
    pub schema: u32,
    /// The letter's offset; its partition is the one that this stands in.
    pub letter: u64,
    #[serde(flatten)]
    pub done: LetterDone,
    pub at: DateTime<Utc>,
}

/// The two ways of dealing with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum LetterDone {
    /// Its bytes were appended to this partition, in the same commit as this fact. Refused again, they make another letter.
    Replayed {
        topic: String,
        partition: u32,
        attempt: u32,
    },
    /// Somebody decided that it needs nothing more.
    Dropped { because: String },
}

impl LetterFact {
    pub const SCHEMA: u32 = 1;
    /// Value of the header `aegis-kind`.
    pub const KIND: &'static str = "letter-fact";
}

impl LetterDone {
    /// The letter's status from here on.
    pub fn status(&self) -> &'static str {
        match self {
            LetterDone::Replayed { .. } => "replayed",
            LetterDone::Dropped { .. } => "dropped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_as_they_stand_in_the_log() {
        let check = |done, json: &str| {
            let fact = LetterFact {
                schema: LetterFact::SCHEMA,
                letter: 17,
                done,
                at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            };
            assert_eq!(serde_json::to_string(&fact).unwrap(), json);
            assert_eq!(serde_json::from_str::<LetterFact>(json).unwrap(), fact);
        };
        check(
            LetterDone::Replayed {
                topic: "events.raw".into(),
                partition: 3,
                attempt: 2,
            },
            r#"{"schema":1,"letter":17,"fact":"replayed","topic":"events.raw","partition":3,"attempt":2,"at":"2023-11-14T22:13:20Z"}"#,
        );
        check(
            LetterDone::Dropped {
                because: "a test".into(),
            },
            r#"{"schema":1,"letter":17,"fact":"dropped","because":"a test","at":"2023-11-14T22:13:20Z"}"#,
        );
    }
}
