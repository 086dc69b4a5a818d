//! The accounting records of each stage and input partition, in order, and what the audit counts beside each.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::topics;
use stream::accounting::AccountingRecord;
use stream::progress::{FOR_HEADER, KIND_HEADER, REDRIVE};
use stream::{Log, Offset, Record, TopicPartition};

use super::cut::Cut;
use super::{Audited, Check, Report};
use crate::scan::scan;
use crate::topology::STAGES;

/// By stage and input partition.
pub type Books = BTreeMap<(String, u32), Book>;

/// All that one stage wrote down about one input partition.
#[derive(Debug)]
pub struct Book {
    pub stage: String,
    pub input: TopicPartition,
    /// In the order of the log.
    pub lines: Vec<Line>,
    /// Whether the first line is the first that was ever written, and nothing of the input is gone.
    pub whole: bool,
    /// Where this generation of topics begins in the input, and what was held then.
    origin: Offset,
    opening: u64,
    /// The first line whose input is all there.
    first: usize,
    unread: u64,
}

/// One accounting record, and what the audit counted in its range.
#[derive(Debug)]
pub struct Line {
    pub record: AccountingRecord,
    pub bodies: u64,
    pub items: u64,
    /// Bodies of which the rules of `[normalize.json]` decide how many items they hold: not counted in `items`.
    pub by_rules: u64,
    /// Sum over the ids of the items, as the stage sums up merged ones.
    pub ids_in: u64,
    /// Rows of the output that came from an item of this range: how many, and their ids, each item once.
    pub rows_out: u64,
    pub ids_out: u64,
}

impl Line {
    pub fn range(&self) -> (u64, u64) {
        (self.record.from.0, self.record.to.0)
    }

    pub fn suppressed(&self) -> u64 {
        self.record.counts.suppressed.values().sum()
    }

    pub fn produced(&self) -> u64 {
        self.record.counts.produced.values().sum()
    }

    /// Whether it is known of every item of this range what became of it: it went on in this commit, or was merged.
    pub fn plain(&self) -> bool {
        let counts = &self.record.counts;
        self.suppressed() == 0
            && self.produced() == 0
            && counts.held == 0
            && counts.released == 0
            && counts.late == 0
            && counts.dead_lettered == 0
    }
}

/// Reads the accounting topic and checks each record by itself, and each book for gaps and overlaps.
pub async fn read(log: &Arc<dyn Log>, cut: &Cut, report: &mut Report) -> anyhow::Result<Books> {
    let mut books = Books::new();
    for stage in STAGES {
        for input in cut.partitions(stage.input) {
            let key = (stage.name.to_owned(), input.partition);
            books.insert(key, Book::new(stage.name, input));
        }
    }
    let mut strangers: BTreeMap<String, u64> = BTreeMap::new();
    for partition in cut.partitions(topics::ACCOUNTING) {
        let bounds = cut.bounds(&partition);
        scan(log, &partition, bounds.start, bounds.end, |record| {
            let read: Result<AccountingRecord, _> = serde_json::from_slice(&record.value);
            let place = read
                .as_ref()
                .ok()
                .map(|record| (record.stage.clone(), record.partition));
            match (read, place.and_then(|place| books.get_mut(&place))) {
                (Ok(record), Some(book)) => book.lines.push(Line {
                    record,
                    bodies: 0,
                    items: 0,
                    by_rules: 0,
                    ids_in: 0,
                    rows_out: 0,
                    ids_out: 0,
                }),
                (Ok(record), None) => *strangers.entry(record.stage).or_default() += 1,
                (Err(_), _) => *strangers.entry("(unreadable)".to_owned()).or_default() += 1,
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    for (stage, records) in strangers {
        report.note(format!(
            "{records} accounting records of {stage}, which is no stage of this program: not audited"
        ));
    }
    let kept = cut.whole(topics::ACCOUNTING);
    for book in books.values_mut() {
        book.open(cut, kept, report);
    }
    Ok(books)
}

impl Book {
    fn new(stage: &str, input: TopicPartition) -> Self {
        Book {
            stage: stage.to_owned(),
            input,
            lines: Vec::new(),
            whole: false,
            origin: Offset(0),
            opening: 0,
            first: 0,
            unread: 0,
        }
    }

    /// What can be said of the records alone.
    fn open(&mut self, cut: &Cut, accounting_whole: bool, report: &mut Report) {
        self.origin = cut.origin(&self.input);
        self.opening = cut.held(&self.stage, self.input.partition);
        let start = cut.bounds(&self.input).start.0;
        self.first = self.lines.iter().take_while(|line| line.range().0 < start).count();
        self.whole = accounting_whole && start == self.origin.0;
        if !self.whole && cut.position(&self.stage, self.input.partition) > self.origin {
            report.note(format!(
                "{} on {}: audited from offset {}; retention has dropped what was before",
                self.stage,
                self.input,
                self.from()
            ));
        }
        let mut reached = self.lines.first().map_or(0, |line| line.range().0);
        let mut held = i128::from(self.opening);
        for line in &self.lines {
            let (range, counts) = (line.range(), &line.record.counts);
            if range.0 < reached || range.1 < range.0 {
                let overlap = (range.0, reached.max(range.0));
                report.differs(
                    &self.stage,
                    &self.input,
                    overlap,
                    Check::Overlap,
                    (
                        format!("a range from {reached} on"),
                        format!("{}..{}", range.0, range.1),
                    ),
                    "these offsets are accounted for twice",
                );
            }
            reached = reached.max(range.1);
            let came = u128::from(counts.items_in) + u128::from(counts.released);
            let suppressed = u128::from(line.suppressed());
            let went = [
                counts.forwarded,
                counts.merged,
                counts.late,
                counts.dead_lettered,
                counts.held,
            ];
            let went = went.into_iter().map(u128::from).sum::<u128>() + suppressed;
            if came != went {
                let detail = "items in and released, against what became of them";
                report.differs(&self.stage, &self.input, range, Check::Balance, (came, went), detail);
            }
            held += i128::from(counts.held) - i128::from(counts.released);
            if self.whole && held < 0 {
                let detail = "more was released up to here than was ever held";
                report.differs(
                    &self.stage,
                    &self.input,
                    range,
                    Check::Held,
                    ("0 or more", held),
                    detail,
                );
                held = 0;
            }
        }
    }

    /// The first offset that can be audited.
    pub fn from(&self) -> u64 {
        let first = self.lines.get(self.first);
        first.map_or(self.origin.0, |line| line.range().0)
    }

    /// Items that were held when this generation began.
    pub fn opening(&self) -> u64 {
        self.opening
    }

    /// The lines whose input is all there.
    pub fn auditable(&self) -> &[Line] {
        &self.lines[self.first..]
    }

    /// The line that accounts for `offset`.
    pub fn line_at(&self, offset: u64) -> Option<usize> {
        // Ends rise, also where ranges overlap; of two that hold an offset the earlier one is meant.
        let at = self.lines.partition_point(|line| line.range().1 <= offset);
        self.lines.get(at).filter(|line| line.range().0 <= offset).map(|_| at)
    }

    /// Reads the input: `each` is shown every data record and its line. Data that no line accounts for is found here.
    pub async fn recount(
        &mut self,
        log: &Arc<dyn Log>,
        cut: &Cut,
        report: &mut Report,
        mut each: impl FnMut(&Record, Option<usize>, &mut Line),
    ) -> anyhow::Result<()> {
        let bounds = cut.bounds(&self.input);
        let position = cut.position(&self.stage, self.input.partition).0;
        // Where all records are there, what stands before the first range must be accounted for as well.
        let from = if self.whole { self.origin.0 } else { self.from() };
        let mut gaps: Vec<(u64, u64, u64)> = Vec::new();
        let mut nowhere = Line::nowhere(&self.input);
        let mut unread = 0;
        let input = self.input.clone();
        let stage = self.stage.clone();
        scan(log, &input, Offset(from).max(bounds.start), bounds.end, |record| {
            if !is_item_of(record, &stage) {
                return ControlFlow::Continue(());
            }
            let offset = record.offset.0;
            match self.line_at(offset) {
                Some(line) => each(record, Some(line), &mut self.lines[line]),
                None if offset >= position => {
                    unread += 1;
                    each(record, None, &mut nowhere);
                }
                None => {
                    each(record, None, &mut nowhere);
                    match gaps.last_mut() {
                        Some((_, to, records)) if self.lines_between(*to, offset) == 0 => {
                            (*to, *records) = (offset + 1, *records + 1);
                        }
                        _ => gaps.push((offset, offset + 1, 1)),
                    }
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        self.unread = unread;
        for (from, to, records) in gaps {
            let found = format!("{records} data records");
            let detail = format!("{stage} has read past them, and no accounting record holds them");
            report.differs(&stage, &input, (from, to), Check::Gap, ("no data", found), detail);
        }
        Ok(())
    }

    fn lines_between(&self, from: u64, to: u64) -> usize {
        let index = |offset| self.lines.partition_point(|line| line.range().0 < offset);
        index(to) - index(from)
    }

    /// Compares what the decoder counted with what was written down, line by line. Items of a range that holds bodies split by rules are
    /// compared with what came of them only: the rules of then may not be those of now.
    pub fn compare_input(&self, report: &mut Report) {
        let by_rules = self.auditable().iter().filter(|line| line.by_rules > 0).count();
        if by_rules > 0 {
            report.note(format!(
                "{} on {}: {by_rules} of {} ranges hold JSON that rules split; their items are not counted anew",
                self.stage,
                self.input,
                self.auditable().len()
            ));
        }
        for line in self.auditable() {
            let said = &line.record.counts;
            let mut check = |check, said: u64, counted: u64, what: &str| {
                if said != counted {
                    let detail = format!("{what} accounted for, against those in the input");
                    report.differs(&self.stage, &self.input, line.range(), check, (said, counted), detail);
                }
            };
            if *self.input.topic == *topics::EVENTS_RAW {
                check(Check::Bodies, said.bodies, line.bodies, "bodies");
            }
            if line.by_rules == 0 {
                check(Check::Items, said.items_in, line.items, "items");
            }
        }
    }

    pub fn sum(&self, count: impl Fn(&Line) -> u64) -> u64 {
        self.lines.iter().map(count).sum()
    }

    pub fn audited(&self) -> Audited {
        let lines = self.auditable();
        let sum = |count: &dyn Fn(&Line) -> u64| lines.iter().map(count).sum::<u64>();
        Audited {
            stage: self.stage.clone(),
            topic: self.input.topic.to_string(),
            partition: self.input.partition,
            from: self.from(),
            to: lines.last().map_or(self.from(), |line| line.range().1),
            commits: lines.len() as u64,
            bodies: sum(&|line| line.bodies),
            items: sum(&|line| match line.by_rules {
                0 => line.items,
                _ => line.record.counts.items_in,
            }),
            forwarded: sum(&|line| line.record.counts.forwarded),
            merged: sum(&|line| line.record.counts.merged),
            suppressed: sum(&Line::suppressed),
            late: sum(&|line| line.record.counts.late),
            dead_lettered: sum(&|line| line.record.counts.dead_lettered),
            held: (self.opening + sum(&|line| line.record.counts.held))
                .saturating_sub(sum(&|line| line.record.counts.released)),
            produced: sum(&Line::produced),
            unread: self.unread,
        }
    }
}

impl Line {
    /// For what no line accounts for.
    fn nowhere(input: &TopicPartition) -> Line {
        Line {
            record: AccountingRecord {
                schema: 1,
                stage: String::new(),
                topic: input.topic.to_string(),
                partition: input.partition,
                from: Offset(0),
                to: Offset(0),
                counts: stream::Accounting::default(),
            },
            bodies: 0,
            items: 0,
            by_rules: 0,
            ids_in: 0,
            rows_out: 0,
            ids_out: 0,
        }
    }
}

/// Whether `record` is data for `stage`: what has no kind, and what was sent again for this stage alone.
pub(crate) fn is_item_of(record: &Record, stage: &str) -> bool {
    let named = |name: &str| {
        record
            .headers
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_ref())
    };
    match named(KIND_HEADER) {
        None => true,
        Some(kind) => kind == REDRIVE.as_bytes() && named(FOR_HEADER) == Some(stage.as_bytes()),
    }
}
