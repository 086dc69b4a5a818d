//! Templates: batches on `logs`, each of as many items as it has lines; every line that is forwarded stands on `lines`, and every
//! signal that is produced is one row on `signals`, which carries the place of the line that made it.

use std::ops::ControlFlow;
use std::sync::Arc;

use model::topics;
use serde::Deserialize;
use serde::de::IgnoredAny;
use stream::{Log, Record};

use super::books::{Book, Books, Line};
use super::cut::Cut;
use super::letters::Letters;
use super::rows::{IN_LOGS, rows};
use super::{Check, Report};
use crate::scan::scan;

const STAGE: &str = "templates";

/// A batch of lines, as far as it can be counted.
#[derive(Deserialize)]
struct Batch {
    lines: Vec<IgnoredAny>,
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
            match letters.whole(STAGE, &input, record.offset.0) {
                // Whether a batch can be read at all is the stage's to say; it has to leave a letter about it.
                true => line.items += 1,
                false => {
                    line.bodies += 1;
                    line.items += items(record);
                }
            }
        })
        .await?;
        book.compare_input(report);
        letters.compare(book, report);
    }
    signals(log, cut, books, report).await?;
    lines(log, cut, books, report).await
}

/// Lines of a batch; of one that is sent again, those it is sent for.
fn items(record: &Record) -> u64 {
    let listed = record
        .header("aegis-items")
        .and_then(|list| std::str::from_utf8(list).ok());
    match listed {
        Some(list) => list.split(',').count() as u64,
        None => serde_json::from_slice::<Batch>(&record.value).map_or(0, |batch| batch.lines.len() as u64),
    }
}

/// Rows on `signals`, each at the range it came from.
async fn signals(log: &Arc<dyn Log>, cut: &Cut, books: &mut Books, report: &mut Report) -> anyhow::Result<()> {
    for output in cut.partitions(topics::SIGNALS) {
        let bounds = cut.bounds(&output);
        scan(log, &output, bounds.start, bounds.end, |record| {
            if record.header(stream::progress::KIND_HEADER).is_some() {
                return ControlFlow::Continue(());
            }
            for row in rows(&record.value).unwrap_or_default() {
                let (partition, offset, _) = row.place;
                let book = books.get_mut(&(STAGE.to_owned(), partition & !IN_LOGS));
                if let (true, Some(book)) = (partition & IN_LOGS != 0, book)
                    && let Some(line) = book.line_at(offset)
                {
                    book.lines[line].rows_out += 1;
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    let whole = cut.whole(topics::SIGNALS);
    for book in books.values().filter(|book| book.stage == STAGE) {
        if !whole {
            let lost = topics::SIGNALS;
            report.note(format!(
                "{STAGE} on {}: signals not compared, {lost} has lost its beginning",
                book.input
            ));
            continue;
        }
        for line in book.auditable().iter().filter(|line| line.rows_out != line.produced()) {
            let detail = "log patterns told from here, against the rows on signals that came from here";
            let numbers = (line.produced(), line.rows_out);
            report.differs(STAGE, &book.input, line.range(), Check::Outputs, numbers, detail);
        }
    }
    Ok(())
}

/// Lines on `lines`, in sum: they do not say where they came from.
async fn lines(log: &Arc<dyn Log>, cut: &Cut, books: &Books, report: &mut Report) -> anyhow::Result<()> {
    let of_stage = || books.values().filter(|book| book.stage == STAGE);
    if !cut.whole(topics::LINES) || !of_stage().all(|book| book.whole) {
        report.note(format!("{STAGE}: lines not compared, retention has dropped some"));
        return Ok(());
    }
    let mut found = 0;
    for output in cut.partitions(topics::LINES) {
        let bounds = cut.bounds(&output);
        scan(log, &output, bounds.start, bounds.end, |record| {
            if record.header(stream::progress::KIND_HEADER).is_none() {
                found += serde_json::from_slice::<Batch>(&record.value).map_or(0, |batch| batch.lines.len() as u64);
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    let forwarded = |book: &Book| book.sum(|line: &Line| line.record.counts.forwarded);
    let expected: u64 = of_stage().map(forwarded).sum();
    if let (true, Some(book)) = (expected != found, of_stage().next()) {
        let range = (book.from(), book.lines.last().map_or(0, |line| line.range().1));
        let detail = "lines forwarded in all partitions, against those on topic lines";
        report.differs(STAGE, &book.input, range, Check::Outputs, (expected, found), detail);
    }
    Ok(())
}
