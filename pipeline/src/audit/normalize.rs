//! Normalize: bodies on `events.raw`, split into items; each forwarded item is one row on `signals`, which carries its place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::topics;
use stream::{Log, Offset, TopicPartition};

use super::books::Books;
use super::cut::Cut;
use super::items::items;
use super::letters::Letters;
use super::rows::{IN_LOGS, rows};
use super::{Check, Report};
use crate::scan::scan;

const STAGE: &str = "normalize";

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
            line.bodies += 1;
            // Whether a body can be split at all is the stage's to say; it has to leave a letter about it.
            match letters.whole(STAGE, &input, record.offset.0) {
                true => line.items += 1,
                false => match items(record) {
                    Some(items) => line.items += items,
                    None => line.by_rules += 1,
                },
            }
        })
        .await?;
        book.compare_input(report);
        letters.compare(book, report);
    }
    let complete_from = count_rows(log, cut, books, report).await?;
    for book in books.values().filter(|book| book.stage == STAGE) {
        let first = complete_from.get(&book.input.partition).copied().unwrap_or(0);
        for (at, line) in book.lines.iter().enumerate() {
            let expected = line.record.counts.forwarded + line.produced();
            if at >= first && line.range().0 >= book.from() && line.rows_out != expected {
                let detail = format!(
                    "items forwarded from here, against the rows on {} that came from here",
                    topics::SIGNALS
                );
                report.differs(
                    STAGE,
                    &book.input,
                    line.range(),
                    Check::Outputs,
                    (expected, line.rows_out),
                    detail,
                );
            }
        }
    }
    Ok(())
}

/// Counts every row of `signals` at the range it came from. By input partition: the first range all of whose rows must be
/// there. Where retention has dropped the beginning of an output partition, that is the one behind the first seen there.
async fn count_rows(
    log: &Arc<dyn Log>,
    cut: &Cut,
    books: &mut Books,
    report: &mut Report,
) -> anyhow::Result<BTreeMap<u32, usize>> {
    let mut complete_from: BTreeMap<u32, usize> = BTreeMap::new();
    for output in cut.partitions(topics::SIGNALS) {
        let bounds = cut.bounds(&output);
        let mut first_seen: BTreeMap<u32, usize> = BTreeMap::new();
        let mut strays: Option<(Offset, u64)> = None;
        scan(log, &output, bounds.start, bounds.end, |record| {
            if record.header(stream::progress::KIND_HEADER).is_some() {
                return ControlFlow::Continue(());
            }
            for row in rows(&record.value).unwrap_or_default() {
                let (partition, offset, _) = row.place;
                // Those of templates are its audit's.
                if partition & IN_LOGS != 0 {
                    continue;
                }
                let Some(book) = books.get_mut(&(STAGE.to_owned(), partition)) else {
                    strays.get_or_insert((record.offset, 0)).1 += 1;
                    continue;
                };
                match book.line_at(offset) {
                    Some(line) => {
                        book.lines[line].rows_out += 1;
                        first_seen.entry(partition).or_insert(line);
                    }
                    None if offset < book.from() && !book.whole => {}
                    None => strays.get_or_insert((record.offset, 0)).1 += 1,
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        if let Some((offset, rows)) = strays {
            let detail = "rows whose raw record no accounting record holds; the first of them stands here";
            let range = (offset.0, offset.0 + 1);
            report.differs(STAGE, &output, range, Check::Outputs, (0, rows), detail);
        }
        if cut.kept(&output).start > cut.origin(&output) {
            note_cut_off(&output, report);
            for book in books.values().filter(|book| book.stage == STAGE) {
                let partition = book.input.partition;
                let from = first_seen.get(&partition).map_or(book.lines.len(), |line| line + 1);
                let complete = complete_from.entry(partition).or_default();
                *complete = (*complete).max(from);
            }
        }
    }
    Ok(complete_from)
}

fn note_cut_off(output: &TopicPartition, report: &mut Report) {
    report.note(format!(
        "{STAGE}: {output} has lost its beginning; outputs are compared from the first range behind it"
    ));
}
