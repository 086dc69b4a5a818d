//! Correlate: rows on `transitions`; facts on `incidents` and messages on `notifications`, which are produced and not forwarded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::{IncidentId, topics};
use serde::Deserialize;
use stream::{Log, TopicPartition};

use super::books::Books;
use super::cut::Cut;
use super::letters::Letters;
use super::rows::rows;
use super::{Check, Report};
use crate::scan::scan;

const STAGE: &str = "correlate";

/// Of a fact, what tells whether one is missing.
#[derive(Deserialize)]
struct Fact {
    incident: Incident,
}

#[derive(Deserialize)]
struct Incident {
    id: IncidentId,
    revision: u64,
}

pub async fn audit(
    log: &Arc<dyn Log>,
    cut: &Cut,
    books: &mut Books,
    letters: &Letters,
    report: &mut Report,
) -> anyhow::Result<()> {
    for book in books.values_mut().filter(|book| book.stage == STAGE) {
        let input = book.input.clone();
        book.recount(log, cut, report, |record, _, line| {
            line.items += match rows(&record.value) {
                Some(rows) => rows.len() as u64,
                None => u64::from(letters.whole(STAGE, &input, record.offset.0)),
            };
        })
        .await?;
        book.compare_input(report);
        letters.compare(book, report);
    }
    let mut facts = 0;
    for output in cut.partitions(topics::INCIDENTS) {
        facts += revisions(log, cut, &output, report).await?;
    }
    let mut messages = 0;
    for output in cut.partitions(topics::NOTIFICATIONS) {
        let bounds = cut.bounds(&output);
        scan(log, &output, bounds.start, bounds.end, |record| {
            messages += u64::from(record.header(stream::progress::KIND_HEADER).is_none());
            ControlFlow::Continue(())
        })
        .await?;
    }
    let of_stage = || books.values().filter(|book| book.stage == STAGE);
    for (topic, cause, found) in [
        (topics::INCIDENTS, "fact", facts),
        (topics::NOTIFICATIONS, "notification", messages),
    ] {
        if !cut.whole(topic) || !of_stage().all(|book| book.whole) {
            report.note(format!(
                "{STAGE}: records on {topic} not counted, retention has dropped some or their accounts"
            ));
            continue;
        }
        let said = |line: &super::books::Line| line.record.counts.produced.get(cause).copied().unwrap_or(0);
        let expected: u64 = of_stage().map(|book| book.sum(said)).sum();
        if expected != found {
            let end = cut.partitions(topic).first().map_or(0, |first| cut.bounds(first).end.0);
            let at = TopicPartition::new(topic, 0);
            let detail = format!("{cause}s accounted for in all partitions, against the records on all of {topic}");
            report.differs(STAGE, &at, (0, end), Check::Outputs, (expected, found), detail);
        }
    }
    Ok(())
}

/// Counts the facts of one partition; each must carry the revision behind the one before, of its incident.
async fn revisions(log: &Arc<dyn Log>, cut: &Cut, output: &TopicPartition, report: &mut Report) -> anyhow::Result<u64> {
    // Facts that were copied count for their revisions only.
    let (bounds, origin) = (cut.kept(output), cut.origin(output));
    let whole = cut.complete(topics::INCIDENTS);
    let mut newest: BTreeMap<IncidentId, (u64, u64)> = BTreeMap::new();
    let mut facts = 0;
    scan(log, output, bounds.start, bounds.end, |record| {
        if record.header(stream::progress::KIND_HEADER).is_some() {
            return ControlFlow::Continue(());
        }
        facts += u64::from(record.offset >= origin);
        let Ok(fact) = serde_json::from_slice::<Fact>(&record.value) else {
            return ControlFlow::Continue(());
        };
        let (id, revision) = (fact.incident.id, fact.incident.revision);
        let before = newest.insert(id, (revision, record.offset.0));
        let expected = match before {
            Some((revision, _)) => revision + 1,
            None if whole => 1,
            None => revision,
        };
        if revision != expected {
            let range = (before.map_or(bounds.start.0, |(_, at)| at), record.offset.0 + 1);
            let detail = format!("revisions of incident {id}");
            report.differs(STAGE, output, range, Check::Revisions, (expected, revision), detail);
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(facts)
}
