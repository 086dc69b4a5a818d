//! Whether the books balance, all the time: every accounting record that is written is added up again, and must begin where the one before
//! it ended. `aegis audit conservation` counts the items too, with a decoder of its own; this is what alerts stand on.
//!
//! It reads what is written from its start on, keeps no position, and is needed by nobody.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::topics;
use stream::accounting::AccountingRecord;
use stream::log::Topic;
use stream::{Log, LogId, Offset, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

/// By stage, topic and partition of what was counted.
type Book = (String, String, u32);

/// See the module's header.
pub struct Books {
    log: Arc<dyn Log>,
    ends: BTreeMap<Book, Offset>,
}

impl Books {
    pub fn new(log: Arc<dyn Log>) -> Self {
        // So that they are there before anything is wrong.
        metrics::counter!("aegis_conservation_checked_total").increment(0);
        for kind in ["sum", "gap", "unreadable"] {
            metrics::counter!("aegis_conservation_mismatches_total", "kind" => kind).increment(0);
        }
        Books {
            log,
            ends: BTreeMap::new(),
        }
    }

    /// What is wrong with it.
    fn fault(&mut self, record: &AccountingRecord) -> Option<&'static str> {
        let book = (record.stage.clone(), record.topic.clone(), record.partition);
        let before = self.ends.insert(book, record.to);
        if !record.counts.balanced() {
            return Some("sum");
        }
        before.is_some_and(|end| end != record.from).then_some("gap")
    }
}

#[async_trait]
impl Sink for Books {
    fn name(&self) -> &str {
        "books"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![topics::ACCOUNTING.into()]
    }

    async fn position(&mut self, _: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        // Another process may have read on meanwhile.
        self.ends.clear();
        let bounds = self.log.bounds(partition).await;
        let bounds = bounds.map_err(|error| SinkError::Unavailable {
            sink: self.name().to_owned(),
            cause: error.to_string(),
        })?;
        Ok(Some(bounds.end))
    }

    async fn write(&mut self, _: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        for batch in batches {
            for record in batch
                .records
                .iter()
                .filter(|record| record.header(stream::progress::KIND_HEADER).is_none())
            {
                metrics::counter!("aegis_conservation_checked_total").increment(1);
                let read = serde_json::from_slice::<AccountingRecord>(&record.value);
                let (fault, what) = match &read {
                    Ok(read) => (self.fault(read), format!("{read:?}")),
                    Err(error) => (Some("unreadable"), error.to_string()),
                };
                if let Some(kind) = fault {
                    metrics::counter!("aegis_conservation_mismatches_total", "kind" => kind).increment(1);
                    let offset = record.offset.0;
                    tracing::error!(kind, from = %batch.partition, offset, what, "the books do not balance: `aegis audit conservation`");
                }
            }
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use stream::{Accounting, Disposition};

    use super::*;

    fn record(stage: &str, from: u64, to: u64, items: &[Disposition]) -> AccountingRecord {
        let mut counts = Accounting::default();
        items.iter().for_each(|item| counts.item(*item));
        AccountingRecord {
            schema: 1,
            stage: stage.to_owned(),
            topic: "signals".to_owned(),
            partition: 0,
            from: Offset(from),
            to: Offset(to),
            counts,
        }
    }

    #[test]
    fn sums_and_gaps() {
        let mut books = Books::new(Arc::new(stream::log::memory::MemoryLog::default()));
        let good = [Disposition::Forwarded, Disposition::Held];
        assert_eq!(books.fault(&record("dedupe", 0, 4, &good)), None);
        assert_eq!(books.fault(&record("dedupe", 4, 5, &good)), None);
        assert_eq!(books.fault(&record("correlate", 100, 105, &good)), None);
        assert_eq!(books.fault(&record("dedupe", 6, 7, &good)), Some("gap"));
        assert_eq!(books.fault(&record("dedupe", 6, 7, &good)), Some("gap"), "twice");
        let mut lost = record("dedupe", 7, 8, &good);
        lost.counts.items_in += 1;
        assert_eq!(books.fault(&lost), Some("sum"));
        assert_eq!(books.fault(&record("dedupe", 8, 9, &good)), None);
    }
}
