//! What the stages did since a moment, summed from the accounting records that they wrote since.

use std::sync::Arc;
use std::time::Duration;

use model::topics;
use stream::accounting::AccountingRecord;
use stream::{Log, LogError, Offset, TopicPartition};

/// The end of the accounting topic at some moment, per partition.
pub struct Mark(Vec<Offset>);

/// Counts of the stages since a [`Mark`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub signals: u64,
    /// Signals that said nothing new.
    pub repeats: u64,
    /// Signals that fell behind the watermark.
    pub late: u64,
    pub dead_lettered: u64,
}

impl Mark {
    /// Now.
    pub async fn now(log: &Arc<dyn Log>) -> Result<Self, LogError> {
        let mut ends = Vec::new();
        for partition in 0..log.partitions(topics::ACCOUNTING).await? {
            ends.push(
                log.bounds(&TopicPartition::new(topics::ACCOUNTING, partition))
                    .await?
                    .end,
            );
        }
        Ok(Mark(ends))
    }

    /// Everything accounted since.
    pub async fn totals(&self, log: &Arc<dyn Log>) -> Result<Totals, LogError> {
        let mut totals = Totals::default();
        for (partition, from) in self.0.iter().enumerate() {
            let partition = TopicPartition::new(topics::ACCOUNTING, partition as u32);
            let end = log.bounds(&partition).await?.end;
            let mut at = *from;
            let mut reader = log.reader(&partition, at).await?;
            while at < end {
                let (records, next) = reader.read(1000, Duration::from_secs(5)).await?;
                for record in &records {
                    // Records of other schema versions are not ours to sum.
                    if let Ok(record) = serde_json::from_slice::<AccountingRecord>(&record.value) {
                        totals.add(&record);
                    }
                }
                if records.is_empty() && next == at {
                    break;
                }
                at = next;
            }
        }
        Ok(totals)
    }
}

impl Totals {
    fn add(&mut self, record: &AccountingRecord) {
        let counts = &record.counts;
        match record.stage.as_str() {
            "templates" => {
                self.signals += counts.produced.values().sum::<u64>();
                self.dead_lettered += counts.dead_lettered;
            }
            "normalize" => {
                self.signals += counts.forwarded;
                self.dead_lettered += counts.dead_lettered;
            }
            "dedupe" => {
                self.repeats += counts.merged;
                self.late += counts.amended + counts.late;
            }
            _ => {}
        }
    }
}
