//! Whether the books balance, all the time: every accounting record that is written is added up again, and between two of a stage there may
//! be no data. `aegis audit conservation` counts the items too, with a decoder of its own; this is what alerts stand on.
//!
//! | kind | meaning |
//! |---|---|
//! | `sum` | items in and out do not add up |
//! | `gap` | data that no record holds: records without data (progress, a broker's markers) need none |
//! | `overlap` | a range was accounted for before |
//! | `unreadable` | not an accounting record |
//!
//! It reads what is written from its start on, keeps no position, and is needed by nobody.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use model::topics;
use stream::accounting::AccountingRecord;
use stream::log::Topic;
use stream::{Log, LogError, LogId, Offset, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

use crate::audit::is_item_of;
use crate::scan::scan;

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
        for kind in ["sum", "gap", "overlap", "unreadable"] {
            metrics::counter!("aegis_conservation_mismatches_total", "kind" => kind).increment(0);
        }
        Books {
            log,
            ends: BTreeMap::new(),
        }
    }

    /// What is wrong with it.
    async fn fault(&mut self, record: &AccountingRecord) -> Result<Option<&'static str>, LogError> {
        let book = (record.stage.clone(), record.topic.clone(), record.partition);
        let before = self.ends.insert(book, record.to);
        if !record.counts.balanced() {
            return Ok(Some("sum"));
        }
        let end = before.unwrap_or(record.from);
        if record.from < end {
            return Ok(Some("overlap"));
        }
        let input = TopicPartition::new(record.topic.clone(), record.partition);
        let mut passed_over = false;
        scan(&self.log, &input, end, record.from, |between| {
            passed_over = is_item_of(between, &record.stage);
            if passed_over {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
        Ok(passed_over.then_some("gap"))
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
                    Ok(read) => {
                        let fault = self.fault(read).await.unwrap_or_else(|error| {
                            tracing::warn!(%error, stage = read.stage, "whether data was passed over could not be looked at");
                            None
                        });
                        (fault, format!("{read:?}"))
                    }
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
    use stream::log::memory::MemoryLog;
    use stream::{Accounting, Disposition, NewRecord, progress};

    use super::*;

    const GOOD: [Disposition; 2] = [Disposition::Forwarded, Disposition::Held];

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

    /// Books beside a log whose input has progress at the offsets below `data`, and items from there on.
    async fn books(progress: u64, items: u64) -> Books {
        let log = MemoryLog::default();
        log.ensure_topics(&[stream::TopicSpec {
            name: "signals".into(),
            partitions: 1,
            retention: stream::log::Retention::default(),
        }])
        .await
        .unwrap();
        let told = NewRecord {
            headers: vec![(progress::KIND_HEADER.to_owned(), progress::PROGRESS.into())],
            ..NewRecord::default()
        };
        let mut records = vec![told; progress as usize];
        records.extend(vec![NewRecord::default(); items as usize]);
        log.append(&TopicPartition::new("signals", 0), records).await.unwrap();
        Books::new(Arc::new(log))
    }

    #[tokio::test]
    async fn sums_gaps_and_overlaps() {
        let mut books = books(0, 20).await;
        let mut lost = record("dedupe", 7, 8, &GOOD);
        lost.counts.items_in += 1;
        for (record, fault) in [
            (record("dedupe", 0, 4, &GOOD), None),
            (record("dedupe", 4, 5, &GOOD), None),
            (record("correlate", 10, 15, &GOOD), None),
            (record("dedupe", 6, 7, &GOOD), Some("gap")),
            (record("dedupe", 6, 7, &GOOD), Some("overlap")),
            (lost, Some("sum")),
            (record("dedupe", 8, 9, &GOOD), None),
        ] {
            assert_eq!(books.fault(&record).await.unwrap(), fault, "{record:?}");
        }
    }

    #[tokio::test]
    async fn records_without_data_leave_no_gap() {
        let mut books = books(10, 5).await;
        assert_eq!(books.fault(&record("dedupe", 0, 1, &GOOD)).await.unwrap(), None);
        assert_eq!(books.fault(&record("dedupe", 10, 11, &GOOD)).await.unwrap(), None);
        assert_eq!(
            books.fault(&record("dedupe", 12, 13, &GOOD)).await.unwrap(),
            Some("gap")
        );
    }
}
