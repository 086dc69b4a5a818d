//! What stands on `dead-letter` and `late`, counted by where it came from.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{DeadLetter, topics};
use stream::progress::KIND_HEADER;
use stream::{Log, TopicPartition, partition_for};

use super::books::{Book, Books};
use super::cut::Cut;
use super::{Check, Report};
use crate::scan::scan;

/// Letters of each refused record.
#[derive(Debug, Default)]
pub struct Letters {
    of: BTreeMap<(String, TopicPartition, u64), Count>,
    /// Partitions of `dead-letter` that lost their beginning.
    cut_off: Vec<u32>,
    partitions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    letters: u64,
    /// One of them is about the whole record.
    whole: bool,
}

impl Letters {
    pub async fn read(log: &Arc<dyn Log>, cut: &Cut) -> anyhow::Result<Self> {
        let partitions = cut.partitions(topics::DEAD_LETTER);
        let mut letters = Letters {
            partitions: partitions.len() as u32,
            ..Letters::default()
        };
        for partition in partitions {
            let bounds = cut.bounds(&partition);
            if cut.kept(&partition).start > cut.origin(&partition) {
                letters.cut_off.push(partition.partition);
            }
            scan(log, &partition, bounds.start, bounds.end, |record| {
                if record.header(KIND_HEADER).is_none()
                    && let Ok(letter) = serde_json::from_slice::<DeadLetter>(&record.value)
                {
                    let from = TopicPartition::new(letter.topic, letter.partition);
                    let count = letters.of.entry((letter.stage, from, letter.offset)).or_default();
                    count.letters += 1;
                    count.whole |= letter.index.is_none();
                }
                ControlFlow::Continue(())
            })
            .await?;
        }
        Ok(letters)
    }

    /// Whether all of the record at `offset` was refused by `stage`.
    pub fn whole(&self, stage: &str, from: &TopicPartition, offset: u64) -> bool {
        let key = (stage.to_owned(), from.clone(), offset);
        self.of.get(&key).is_some_and(|count| count.whole)
    }

    /// Compares the letters of each range with the number of items it says were refused.
    pub fn compare(&self, book: &Book, report: &mut Report) {
        let stands_in = partition_for(book.input.to_string().as_bytes(), self.partitions.max(1));
        if self.cut_off.contains(&stands_in) {
            let input = &book.input;
            return report.note(format!(
                "{} on {input}: dead letters not compared, {}/{stands_in} has lost its beginning",
                book.stage,
                topics::DEAD_LETTER
            ));
        }
        for line in book.auditable() {
            let (from, to) = line.range();
            let place = |offset| (book.stage.clone(), book.input.clone(), offset);
            let found: u64 = match from < to {
                true => self
                    .of
                    .range(place(from)..place(to))
                    .map(|(_, count)| count.letters)
                    .sum(),
                false => 0,
            };
            if found != line.record.counts.dead_lettered {
                let expected = line.record.counts.dead_lettered;
                let detail = "items accounted for as refused, against the dead letters that came from there";
                report.differs(
                    &book.stage,
                    &book.input,
                    (from, to),
                    Check::DeadLetters,
                    (expected, found),
                    detail,
                );
            }
        }
    }
}

/// Late rows have lost their way to the range that they fell out of; their number by stage is compared.
pub async fn late(log: &Arc<dyn Log>, cut: &Cut, books: &Books, report: &mut Report) -> anyhow::Result<()> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for partition in cut.partitions(topics::LATE) {
        let bounds = cut.bounds(&partition);
        scan(log, &partition, bounds.start, bounds.end, |record| {
            if let Some(stage) = record.header("aegis-stage") {
                *found.entry(String::from_utf8_lossy(stage).into_owned()).or_default() += 1;
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    let mut said: BTreeMap<&str, u64> = BTreeMap::new();
    for book in books.values() {
        *said.entry(&book.stage).or_default() += book.sum(|line| line.record.counts.late);
    }
    let complete = cut.whole(topics::LATE) && books.values().all(|book| book.whole);
    for (stage, expected) in said {
        let found = found.get(stage).copied().unwrap_or(0);
        if complete && found != expected {
            let detail = "late rows accounted for in all partitions, against the records on topic late";
            let at = TopicPartition::new(topics::LATE, 0);
            report.differs(stage, &at, (0, 0), Check::Late, (expected, found), detail);
        }
    }
    Ok(())
}
