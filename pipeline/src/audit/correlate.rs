//! Correlate: rows and commands on `transitions`; facts on `incidents`, which are produced and not forwarded. Its messages are counted
//! with those of the crew, on the same topic ([`super::response`]).

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
use super::{Check, Report, produced};
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
                // A command is one item, whatever became of it.
                _ if record.header(topics::header::TYPE).is_some() => 1,
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
    produced::compare(cut, books, &[STAGE], (topics::INCIDENTS, "fact"), facts, report);
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
        let others = [stream::progress::KIND_HEADER, topics::header::TYPE];
        if others.iter().any(|name| record.header(name).is_some()) {
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
