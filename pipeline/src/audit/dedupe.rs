//! Dedupe: rows on `signals`; what went on is a row on `transitions` that still carries the place of its raw record.
//!
//! A row may be sent on later than in the commit that read it (a parked resolve), and an end may be sent on a second time (when
//! its firing comes after it). So ranges in which nothing of that kind was counted are compared one by one, and the whole
//! partition by its sums.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::topics;
use stream::{Log, Offset, TopicPartition};

use super::books::{Book, Books, Line};
use super::cut::Cut;
use super::letters::Letters;
use super::rows::{Place, rows};
use super::{Check, Report};
use crate::scan::scan;

const STAGE: &str = "dedupe";

/// Where a signal was read.
struct Read {
    partition: u32,
    /// `None`: nobody accounts for it (found elsewhere), or it has not been read yet.
    line: Option<u32>,
    sent_on: bool,
}

pub async fn audit(
    log: &Arc<dyn Log>,
    cut: &Cut,
    books: &mut Books,
    letters: &Letters,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut signals: HashMap<Place, Read> = HashMap::new();
    copied(log, cut, &mut signals).await?;
    for book in books.values_mut().filter(|book| book.stage == STAGE) {
        let input = book.input.clone();
        book.recount(log, cut, report, |record, at, line| match rows(&record.value) {
            Some(rows) => {
                line.items += rows.len() as u64;
                for row in rows {
                    line.ids_in = line.ids_in.wrapping_add(row.id);
                    let read = Read {
                        partition: input.partition,
                        line: at.map(|at| at as u32),
                        sent_on: false,
                    };
                    signals.insert(row.place, read);
                }
            }
            None => line.items += u64::from(letters.whole(STAGE, &input, record.offset.0)),
        })
        .await?;
        book.compare_input(report);
        letters.compare(book, report);
    }
    // Rows on the output, by input partition, repetitions included.
    let mut sent: HashMap<u32, u64> = HashMap::new();
    for output in cut.partitions(topics::TRANSITIONS) {
        let bounds = cut.bounds(&output);
        let mut strays: Option<(Offset, u64)> = None;
        scan(log, &output, bounds.start, bounds.end, |record| {
            if record.header(stream::progress::KIND_HEADER).is_some() {
                return ControlFlow::Continue(());
            }
            for row in rows(&record.value).unwrap_or_default() {
                let Some(read) = signals.get_mut(&row.place) else {
                    strays.get_or_insert((record.offset, 0)).1 += 1;
                    continue;
                };
                *sent.entry(read.partition).or_default() += 1;
                if std::mem::replace(&mut read.sent_on, true) {
                    continue;
                }
                let book = books.get_mut(&(STAGE.to_owned(), read.partition));
                if let (Some(at), Some(book)) = (read.line, book) {
                    let line = &mut book.lines[at as usize];
                    line.rows_out += 1;
                    line.ids_out = line.ids_out.wrapping_add(row.id);
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        if cut.complete(topics::SIGNALS) || cut.generation() == 0 {
            stray_rows(&output, strays, books, report);
        }
    }
    let outputs_whole = cut.whole(topics::TRANSITIONS);
    for book in books.values().filter(|book| book.stage == STAGE) {
        if !outputs_whole {
            report.note(format!(
                "{STAGE} on {}: outputs and digests not compared, {} has lost its beginning",
                book.input,
                topics::TRANSITIONS
            ));
            continue;
        }
        compare_ranges(book, report);
        if book.whole {
            compare_sums(book, sent.get(&book.input.partition).copied().unwrap_or(0), report);
        }
    }
    Ok(())
}

/// The signals of the generation before: what was held of them may still be sent on.
async fn copied(log: &Arc<dyn Log>, cut: &Cut, signals: &mut HashMap<Place, Read>) -> anyhow::Result<()> {
    for input in cut.partitions(topics::SIGNALS) {
        let (from, to) = (cut.kept(&input).start, cut.origin(&input));
        scan(log, &input, from, to, |record| {
            for row in rows(&record.value).unwrap_or_default() {
                let read = Read {
                    partition: input.partition,
                    line: None,
                    sent_on: false,
                };
                signals.insert(row.place, read);
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    Ok(())
}

/// A row without a signal is one too many, unless retention took the signal.
fn stray_rows(output: &TopicPartition, strays: Option<(Offset, u64)>, books: &Books, report: &mut Report) {
    let whole = books.values().filter(|book| book.stage == STAGE).all(|book| book.whole);
    if let (Some((offset, rows)), true) = (strays, whole) {
        let detail = format!(
            "rows that no row on {} led to; the first of them stands here",
            topics::SIGNALS
        );
        report.differs(
            STAGE,
            output,
            (offset.0, offset.0 + 1),
            Check::Outputs,
            (0, rows),
            detail,
        );
    }
}

fn compare_ranges(book: &Book, report: &mut Report) {
    let mut undecided = 0;
    for line in book.auditable() {
        if !line.plain() {
            undecided += 1;
            continue;
        }
        let counts = &line.record.counts;
        if line.rows_out != counts.forwarded {
            let detail = format!(
                "items forwarded from here, against the rows on {} that came from here",
                topics::TRANSITIONS
            );
            let (expected, found) = (counts.forwarded, line.rows_out);
            report.differs(
                STAGE,
                &book.input,
                line.range(),
                Check::Outputs,
                (expected, found),
                detail,
            );
        }
        let merged = line.ids_in.wrapping_sub(line.ids_out);
        if merged != counts.merged_digest {
            digest_differs(book, line.range(), merged, counts.merged_digest, report);
        }
    }
    if undecided > 0 {
        report.note(format!(
            "{STAGE} on {}: {undecided} of {} ranges held, released, suppressed, refused or produced something; \
             their outputs and digests are compared in sum only",
            book.input,
            book.auditable().len()
        ));
    }
}

fn compare_sums(book: &Book, sent: u64, report: &mut Report) {
    let sum = |count: &dyn Fn(&Line) -> u64| book.sum(count);
    let expected = sum(&|line| line.record.counts.forwarded) + sum(&Line::produced);
    let found_before = report.findings.iter().any(|finding| {
        finding.stage == STAGE && finding.check == Check::Outputs && finding.partition == book.input.partition
    });
    // Said already, and more precisely.
    if expected != sent && !found_before {
        let detail = format!(
            "items forwarded and rows produced, against the rows on {} that came from here",
            topics::TRANSITIONS
        );
        report.differs(
            STAGE,
            &book.input,
            first_short(book),
            Check::Outputs,
            (expected, sent),
            detail,
        );
    }
    // What was held from the generation before may be released in this one, and its ids are none of this one's.
    let open = book.opening() > 0 || sum(&|line| line.record.counts.held) != sum(&|line| line.record.counts.released);
    let unknown = open
        || book
            .lines
            .iter()
            .any(|line| line.suppressed() > 0 || line.record.counts.dead_lettered > 0 || line.record.counts.late > 0);
    if unknown {
        return report.note(format!(
            "{STAGE} on {}: the digest's sum is not decided, the ids of what is held, suppressed or refused are not known",
            book.input
        ));
    }
    let wrapping = |count: &dyn Fn(&Line) -> u64| book.lines.iter().map(count).fold(0u64, u64::wrapping_add);
    let merged = wrapping(&|line| line.ids_in).wrapping_sub(wrapping(&|line| line.ids_out));
    let said = wrapping(&|line| line.record.counts.merged_digest);
    let digest_found = report.findings.iter().any(|finding| {
        finding.stage == STAGE && finding.check == Check::MergedDigest && finding.partition == book.input.partition
    });
    if merged != said && !digest_found {
        let range = (book.from(), book.lines.last().map_or(0, |line| line.range().1));
        digest_differs(book, range, merged, said, report);
    }
}

/// The first range up to which fewer rows went out than were said to: what is missing belongs there, or before.
fn first_short(book: &Book) -> (u64, u64) {
    let (mut expected, mut found) = (0u64, 0u64);
    for line in &book.lines {
        expected += line.record.counts.forwarded;
        found += line.rows_out;
        if expected > found {
            return (book.from(), line.range().1);
        }
    }
    (book.from(), book.lines.last().map_or(0, |line| line.range().1))
}

fn digest_differs(book: &Book, range: (u64, u64), counted: u64, said: u64, report: &mut Report) {
    let shown = (format!("{said:016x}"), format!("{counted:016x}"));
    let detail = "digest of the items accounted for as merged, against the ids of the rows that did not go on";
    report.differs(STAGE, &book.input, range, Check::MergedDigest, shown, detail);
}
