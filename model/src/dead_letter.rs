//! A dead letter: what a stage refused, whole, with why and where from.

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

    /// The refused bytes.
    pub fn body(&self) -> Result<Vec<u8>, base64::DecodeError> {
        STANDARD.decode(&self.body_base64)
    }
}
