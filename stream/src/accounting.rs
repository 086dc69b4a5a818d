//! Conservation: every input item gets exactly one disposition, counted per stage, partition and commit.
//!
//! The unit is an item (an element of a split body, later a signal). The identity that must hold at every commit is
//! `items_in + released == forwarded + merged + suppressed + late + dead_lettered + held`, where `released` are items
//! held by an earlier commit that got their final disposition now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log::Offset;

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It went on (as itself, or as the row it turned into).
    Forwarded,
    /// It said nothing new; it is counted in another item. `id` enters the digest of merged items.
    Merged { id: u128 },
    /// A rule said so.
    Suppressed { rule: &'static str },
    /// It came when what it would have met may be gone; it lies on topic `late`, whole.
    Late { cause: &'static str },
    /// It was refused; its bytes are in the dead letters.
    DeadLettered,
    /// The operator keeps it and owes a disposition.
    Held,
}

/// Counts of one stage and partition since its last commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Bodies read, for a stage that splits them.
    pub bodies: u64,
    pub items_in: u64,
    pub forwarded: u64,
    pub merged: u64,
    pub suppressed: BTreeMap<String, u64>,
    pub late: u64,
    /// The late ones by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late_by: BTreeMap<String, u64>,
    pub dead_lettered: u64,
    /// Items newly held in this range.
    pub held: u64,
    /// Items held earlier whose final disposition is counted in this range.
    pub released: u64,
    /// Rows that came from a timer or a join rather than from an item, by cause.
    pub produced: BTreeMap<String, u64>,
    /// Items that arrived behind the watermark but could still be taken in, as amendments.
    pub amended: u64,
    /// Offsets of the range that the log no longer had when this stage came to read them (retention ran ahead of it). They
    /// are offsets, not items: nobody can tell any more what stood there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped: u64,
    /// Order-independent digest of the ids of merged items: wrapping sum of each id's halves, xored.
    pub merged_digest: u64,
}

impl Accounting {
    /// Count one input item and what became of it.
    pub fn item(&mut self, disposition: Disposition) {
        self.items_in += 1;
        self.dispose(disposition);
    }

    /// A held item gets its final disposition.
    pub fn release(&mut self, disposition: Disposition) {
        self.released += 1;
        self.dispose(disposition);
    }

    /// A row that no single item turned into.
    pub fn produce(&mut self, cause: &'static str) {
        *self.produced.entry(cause.to_owned()).or_default() += 1;
    }

    fn dispose(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Forwarded => self.forwarded += 1,
            Disposition::Merged { id } => {
                self.merged += 1;
                self.merged_digest = self.merged_digest.wrapping_add(id as u64 ^ (id >> 64) as u64);
            }
            Disposition::Suppressed { rule } => count(&mut self.suppressed, rule),
            Disposition::Late { cause } => {
                self.late += 1;
                count(&mut self.late_by, cause);
            }
            Disposition::DeadLettered => self.dead_lettered += 1,
            Disposition::Held => self.held += 1,
        }
    }

    /// Whether the identity of the module header holds.
    pub fn balanced(&self) -> bool {
        let disposed = self.forwarded
            + self.merged
            + self.suppressed.values().sum::<u64>()
            + self.late
            + self.dead_lettered
            + self.held;
        self.items_in + self.released == disposed
    }

    pub fn is_empty(&self) -> bool {
        *self == Accounting::default()
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One more under `name`.
fn count(by: &mut BTreeMap<String, u64>, name: &'static str) {
    match by.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            by.insert(name.to_owned(), 1);
        }
    }
}

/// One record of the accounting topic (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountingRecord {
    pub schema: u32,
    pub stage: String,
    pub topic: String,
    pub partition: u32,
    /// The range of input positions: `from` inclusive, `to` exclusive.
    pub from: Offset,
    pub to: Offset,
    #[serde(flatten)]
    pub counts: Accounting,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance() {
        let mut a = Accounting::default();
        a.item(Disposition::Held);
        a.item(Disposition::Merged { id: 7 });
        a.item(Disposition::Suppressed { rule: "r" });
        a.item(Disposition::Late { cause: "c" });
        assert!(a.balanced());
        a.release(Disposition::Forwarded);
        assert!(a.balanced());
        a.forwarded += 1;
        assert!(!a.balanced());
    }
}
