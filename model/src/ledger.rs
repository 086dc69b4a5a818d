//! The ledger: an entry for every fact of a remediation, each chained to the one before it by its hash. It holds digests and no
//! bytes, so that bytes can be erased while the chain still verifies.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::action::hex;

/// The hash before the first entry.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Payload of `ledger` (JSON, schema 1). Key: the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub schema: u32,
    /// `remediations-3`: one chain per partition of the topic it tells about.
    pub chain: String,
    /// 0 for the first.
    pub sequence: u64,
    pub previous: String,
    pub at: DateTime<Utc>,
    /// The fact's name.
    pub kind: String,
    /// The proposal; nil for the stop switch.
    pub subject: Uuid,
    /// Who did it.
    pub by: String,
    /// Offset, in its partition, of the record that the entry is about; `None` where the gate itself wrote it in the same commit.
    pub offset: Option<u64>,
    /// Hex SHA-256 of that record's value.
    pub digest: String,
    /// Hex SHA-256 over everything above.
    pub hash: String,
}

/// What an entry is made of, besides its place in the chain.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub at: DateTime<Utc>,
    pub kind: &'a str,
    pub subject: Uuid,
    pub by: &'a str,
    pub offset: Option<u64>,
    pub record: &'a [u8],
}

/// Where a chain stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub next: u64,
    pub head: String,
}

impl Default for Chain {
    fn default() -> Self {
        Chain {
            next: 0,
            head: GENESIS.to_owned(),
        }
    }
}

impl Chain {
    /// Makes the next entry.
    pub fn append(&mut self, chain: &str, entry: Entry<'_>) -> LedgerEntry {
        let mut made = LedgerEntry {
            schema: LedgerEntry::SCHEMA,
            chain: chain.to_owned(),
            sequence: self.next,
            previous: self.head.clone(),
            at: entry.at,
            kind: entry.kind.to_owned(),
            subject: entry.subject,
            by: entry.by.to_owned(),
            offset: entry.offset,
            digest: digest(entry.record),
            hash: String::new(),
        };
        made.hash = made.computed_hash();
        self.next += 1;
        self.head.clone_from(&made.hash);
        made
    }
}

/// Hex SHA-256.
pub fn digest(record: &[u8]) -> String {
    hex(&Sha256::digest(record))
}

impl LedgerEntry {
    pub const SCHEMA: u32 = 1;

    /// The hash that the entry should have.
    pub fn computed_hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(b"ledger@1");
        part(self.chain.as_bytes());
        part(&self.sequence.to_le_bytes());
        part(self.previous.as_bytes());
        part(&self.at.timestamp_micros().to_le_bytes());
        part(self.kind.as_bytes());
        part(self.subject.as_bytes());
        part(self.by.as_bytes());
        part(&self.offset.map_or(u64::MAX, |offset| offset).to_le_bytes());
        part(self.digest.as_bytes());
        hex(&hash.finalize())
    }

    /// What is wrong with `self` as the entry behind `chain`; moves `chain` on when nothing is.
    pub fn verify(&self, chain: &mut Chain) -> Result<(), LedgerFault> {
        let fault = |problem| LedgerFault {
            chain: self.chain.clone(),
            sequence: self.sequence,
            problem,
        };
        if self.sequence != chain.next {
            return Err(fault("its number does not follow the one before it"));
        }
        if self.previous != chain.head {
            return Err(fault("it does not name the hash of the one before it"));
        }
        if self.hash != self.computed_hash() {
            return Err(fault("its hash is not that of its content"));
        }
        chain.next += 1;
        chain.head.clone_from(&self.hash);
        Ok(())
    }
}

/// A ledger that does not verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ledger {chain}, entry {sequence}: {problem}")]
pub struct LedgerFault {
    pub chain: String,
    pub sequence: u64,
    pub problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<LedgerEntry> {
        let mut chain = Chain::default();
        (0..4u64)
            .map(|n| {
                chain.append(
                    "remediations-0",
                    Entry {
                        at: DateTime::from_timestamp(1_700_000_000 + n as i64, 0).unwrap(),
                        kind: "granted",
                        subject: Uuid::nil(),
                        by: "human:ada",
                        offset: Some(n),
                        record: &n.to_le_bytes(),
                    },
                )
            })
            .collect()
    }

    fn verify(entries: &[LedgerEntry]) -> Result<(), LedgerFault> {
        let mut chain = Chain::default();
        entries.iter().try_for_each(|entry| entry.verify(&mut chain))
    }

    #[test]
    fn an_untouched_ledger_verifies() {
        assert_eq!(verify(&entries()), Ok(()));
    }

    #[test]
    fn every_touch_shows() {
        let check = |touch: fn(&mut Vec<LedgerEntry>)| {
            let mut entries = entries();
            touch(&mut entries);
            assert!(verify(&entries).is_err());
        };
        check(|all| all[1].by = "human:mallory".into());
        check(|all| all[1].digest = digest(b"other"));
        check(|all| all[1].offset = None);
        check(|all| all[2].kind = "denied".into());
        check(|all| {
            all.remove(1);
        });
        check(|all| all.swap(1, 2));
        // Also when the hash is made to fit.
        check(|all| {
            all[1].by = "human:mallory".into();
            all[1].hash = all[1].computed_hash();
        });
    }
}
