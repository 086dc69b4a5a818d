//! Walks topic `dead-letter`: what was done about which letter, and the letters themselves.
//!
//! Two walks, because a fact stands behind its letter. Memory: the facts (a letter that nobody touched costs nothing), and
//! per reader and input partition the place of the bytes last seen. Bodies are never gathered.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{DeadLetter, LetterDone, LetterFact, dead_letter, topics};
use stream::progress::KIND_HEADER;
use stream::{Log, LogError, Offset, Record, TopicPartition};

use super::{Entry, Filter, LetterId, Status};
use crate::scan::scan;

/// What was done about letters, as far as the log was read.
#[derive(Debug, Default)]
pub struct Facts {
    by_letter: BTreeMap<LetterId, Vec<LetterFact>>,
    /// Next offset to read, by partition.
    read_to: Vec<Offset>,
}

impl Facts {
    /// Reads what was appended since. Returns the end of each partition up to which everything is known.
    pub async fn catch_up(&mut self, log: &Arc<dyn Log>) -> Result<&[Offset], LogError> {
        let partitions = log.partitions(topics::DEAD_LETTER).await?;
        self.read_to.resize(partitions as usize, Offset(0));
        for (number, read_to) in self.read_to.iter_mut().enumerate() {
            let partition = TopicPartition::new(topics::DEAD_LETTER, number as u32);
            let bounds = log.bounds(&partition).await?;
            let by_letter = &mut self.by_letter;
            scan(log, &partition, (*read_to).max(bounds.start), bounds.end, |record| {
                if let Some(fact) = fact_of(record) {
                    let id = LetterId {
                        partition: number as u32,
                        offset: fact.letter,
                    };
                    by_letter.entry(id).or_default().push(fact);
                }
                ControlFlow::Continue(())
            })
            .await?;
            *read_to = bounds.end.max(*read_to);
        }
        Ok(&self.read_to)
    }

    pub fn of(&self, id: LetterId) -> &[LetterFact] {
        self.by_letter.get(&id).map_or(&[], Vec::as_slice)
    }

    pub fn status(&self, id: LetterId) -> Status {
        match self.of(id).last().map(|fact| &fact.done) {
            None => Status::Open,
            Some(LetterDone::Replayed { .. }) => Status::Replayed,
            Some(LetterDone::Dropped { .. }) => Status::Dropped,
        }
    }
}

fn fact_of(record: &Record) -> Option<LetterFact> {
    if record.header(KIND_HEADER)?.as_ref() != LetterFact::KIND.as_bytes() {
        return None;
    }
    serde_json::from_slice(&record.value).ok()
}

/// Reads a letter; `None` for records of the kernel's own, facts, and what somebody else wrote there.
pub fn letter_of(record: &Record) -> Option<DeadLetter> {
    if record.header(KIND_HEADER).is_some() {
        return None;
    }
    serde_json::from_slice(&record.value).ok()
}

/// Shows `each` the letters that `filter` lets through, partition by partition, oldest first.
pub async fn letters(
    log: &Arc<dyn Log>,
    facts: &Facts,
    filter: &Filter,
    mut each: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), LogError> {
    for (number, end) in facts.read_to.iter().enumerate() {
        let number = number as u32;
        if !filter.ids.is_empty() && !filter.ids.iter().any(|id| id.partition == number) {
            continue;
        }
        let partition = TopicPartition::new(topics::DEAD_LETTER, number);
        let start = log.bounds(&partition).await?.start;
        let mut carriers = Carriers::default();
        let mut enough = false;
        scan(log, &partition, start, *end, |record| {
            let Some(letter) = letter_of(record) else {
                return ControlFlow::Continue(());
            };
            let id = LetterId {
                partition: number,
                offset: record.offset.0,
            };
            let bytes_in = carriers.of(id, &letter);
            if !filter.takes(id, &letter, facts) {
                return ControlFlow::Continue(());
            }
            let flow = each(entry(id, letter, bytes_in, facts));
            enough = flow.is_break();
            flow
        })
        .await?;
        if enough {
            return Ok(());
        }
    }
    Ok(())
}

impl Filter {
    fn takes(&self, id: LetterId, letter: &DeadLetter, facts: &Facts) -> bool {
        let stage = |wanted: &String| {
            letter
                .stage
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        (self.ids.is_empty() || self.ids.contains(&id))
            && self.stage.as_ref().is_none_or(stage)
            && self.reason.as_ref().is_none_or(|wanted| letter.reason == *wanted)
            && self.since.is_none_or(|at| letter.received_at >= at)
            && self.status.is_none_or(|wanted| facts.status(id) == wanted)
    }
}

/// Which letter carried the bytes last. Letters of one record follow each other among those of one reader and input
/// partition: a task refuses them in one go, and they go to one partition of the topic.
#[derive(Default)]
struct Carriers(BTreeMap<(String, String, u32), (u64, LetterId)>);

impl Carriers {
    fn of(&mut self, id: LetterId, letter: &DeadLetter) -> Option<LetterId> {
        let from = (letter.stage.clone(), letter.topic.clone(), letter.partition);
        match self.0.get(&from) {
            // Also of an empty record: its first letter has no bytes and is the carrier all the same.
            Some((offset, carrier)) if *offset == letter.offset && letter.body_base64.is_empty() => Some(*carrier),
            // The carrier lies before the log's start, unless this is the first letter of an empty record. Either way
            // the index tells: a follower is one of several, so it has one.
            _ if letter.body_base64.is_empty() && letter.index.is_some() => None,
            _ => {
                self.0.insert(from, (letter.offset, id));
                Some(id)
            }
        }
    }
}

fn entry(id: LetterId, letter: DeadLetter, bytes_in: Option<LetterId>, facts: &Facts) -> Entry {
    let first_refused = letter
        .headers
        .iter()
        .rev()
        .find(|(name, _)| name == dead_letter::header::ORIGIN)
        .map(|(_, value)| value.clone());
    Entry {
        id,
        status: facts.status(id),
        stage: letter.stage,
        reason: letter.reason,
        detail: letter.detail,
        field: letter.field,
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        index: letter.index,
        received_at: letter.received_at,
        attempt: letter.attempt,
        first_refused,
        bytes_in,
        facts: facts.of(id).to_vec(),
    }
}
