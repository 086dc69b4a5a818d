//! `aegis audit conservation`: counts everything once more, and compares with the accounting records.
//!
//! Every stage writes down, with each commit, what range of its input it read and what became of every item (KERNEL rule 7).
//! The audit believes none of it. It decodes the input topics with code of its own (`items`, `rows`; it shares none with the
//! operators) and checks, per stage, input partition and range:
//!
//! | check | what must hold |
//! |---|---|
//! | `gap`, `overlap` | the ranges tile the input: no data outside them, none in two of them |
//! | `balance` | items in + released = forwarded + merged + suppressed + late + dead-lettered + held |
//! | `bodies`, `items` | what the decoder counts in the range is what the record says came in |
//! | `outputs` | what the record says went out stands on the output topic |
//! | `dead_letters`, `late` | what was refused or late stands on those topics |
//! | `merged_digest` | the ids of all items, less those that went out, sum up to the digest of the merged ones |
//! | `held` | nothing was released that was not held |
//! | `revisions` | the facts about an incident have every revision, once |
//!
//! How the outputs find back to their input: a signal carries the place of its raw record, and keeps it through dedupe. Log lines that
//! went on do not, so for templates their number is compared, per partition. Facts
//! about incidents do not, so for correlate the number of facts and notifications is compared, and a lost fact shows by its
//! revision.
//!
//! Audited is the current generation of topics, from where it opened: what was copied out of the one before is in the books of
//! that one, which had to balance when it was closed (`repartition`). Items that were held then are an opening balance.
//!
//! Not decided, and said so: the digest of a range in which something was held, released, suppressed, refused or produced
//! (whose ids nobody wrote down); what retention has dropped, with the offset from which the audit could begin.
//!
//! Memory: about 60 bytes per signal that the log still holds, and about 500 per commit. The log may be in use: the audit looks at
//! a moment between two commits (`cut`), and at nothing after it.

mod books;
mod correlate;
mod cut;
mod dedupe;
mod items;
mod letters;
mod normalize;
mod produced;
mod response;
mod rows;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream::{BoxFuture, Log, TopicPartition};
use tokio::time::Instant;

pub(crate) use books::is_item_of;
use cut::Cut;
use letters::Letters;

use crate::cli::Exit;

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub balanced: bool,
    /// One per stage and input partition.
    pub stages: Vec<Audited>,
    pub findings: Vec<Finding>,
    /// What could not be decided, and why.
    pub notes: Vec<String>,
}

/// What was audited of one stage and input partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    pub stage: String,
    pub topic: String,
    pub partition: u32,
    /// The offsets that were audited: `from` inclusive, `to` exclusive.
    pub from: u64,
    pub to: u64,
    /// Commits in it.
    pub commits: u64,
    /// As counted by the audit.
    pub bodies: u64,
    pub items: u64,
    /// As written down by the stage.
    pub forwarded: u64,
    pub merged: u64,
    pub suppressed: u64,
    pub late: u64,
    pub dead_lettered: u64,
    /// Held and not released yet.
    pub held: u64,
    pub produced: u64,
    /// Data records that the stage has not read yet.
    pub unread: u64,
}

/// Something that does not balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub stage: String,
    /// Where to look.
    pub topic: String,
    pub partition: u32,
    /// Offsets there: `from` inclusive, `to` exclusive.
    pub from: u64,
    pub to: u64,
    pub check: Check,
    /// What should be there, by the accounting record where that says it.
    pub expected: String,
    /// What the audit counted.
    pub found: String,
    pub detail: String,
}

/// See the table in the module's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    Gap,
    Overlap,
    Balance,
    Bodies,
    Items,
    Outputs,
    DeadLetters,
    Late,
    MergedDigest,
    Held,
    Revisions,
}

impl Check {
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Gap => "gap",
            Check::Overlap => "overlap",
            Check::Balance => "balance",
            Check::Bodies => "bodies",
            Check::Items => "items",
            Check::Outputs => "outputs",
            Check::DeadLetters => "dead_letters",
            Check::Late => "late",
            Check::MergedDigest => "merged_digest",
            Check::Held => "held",
            Check::Revisions => "revisions",
        }
    }
}

/// Audits the whole log. Changes nothing.
pub fn conservation(log: &Arc<dyn Log>) -> BoxFuture<'_, anyhow::Result<Report>> {
    Box::pin(audited(log))
}

async fn audited(log: &Arc<dyn Log>) -> anyhow::Result<Report> {
    let (mut tries, patience) = (0, Instant::now() + OPEN);
    while tries < TRIES {
        let cut = Cut::take(log).await?;
        let mut report = at_moment(log, &cut).await?;
        // What retention took meanwhile would be missed as if somebody had lost it.
        if !cut.stands(log).await? {
            tries += 1;
        } else if report.balanced || cut.settled() {
            return Ok(report);
        } else if Instant::now() >= patience {
            report.note("transactions were open at every look: what differs may be theirs, or hidden behind them");
            return Ok(report);
        } else {
            tokio::time::sleep(AGAIN).await;
        }
    }
    Err(Exit::Unavailable.because("retention drops records faster than they can be counted: audit again later"))
}

/// Audits while retention is at work before giving up.
const TRIES: u32 = 5;
/// How long something that differs is looked at again while transactions are open. One that a crash left takes its timeout (15 s by
/// default), and up to 10 s more until a broker looks for those that are over it.
const OPEN: Duration = Duration::from_secs(60);
/// Between two looks: as long as a commit takes.
const AGAIN: Duration = Duration::from_millis(100);

async fn at_moment(log: &Arc<dyn Log>, cut: &Cut) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut books = books::read(log, cut, &mut report).await?;
    let letters = Letters::read(log, cut).await?;
    normalize::audit(log, cut, &mut books, &letters, &mut report).await?;
    templates::audit(log, cut, &mut books, &letters, &mut report).await?;
    dedupe::audit(log, cut, &mut books, &letters, &mut report).await?;
    correlate::audit(log, cut, &mut books, &letters, &mut report).await?;
    response::audit(log, cut, &mut books, &letters, &mut report).await?;
    letters::late(log, cut, &books, &mut report).await?;
    if cut.generation() > 0 {
        report.note(format!(
            "generation {} of the topics, from its opening; the one before balanced when it was closed, or was closed with --unbalanced",
            cut.generation()
        ));
    }
    for book in books.values() {
        report.stages.push(book.audited());
    }
    report
        .findings
        .sort_by(|a, b| (&a.stage, a.partition, a.from, a.check).cmp(&(&b.stage, b.partition, b.from, b.check)));
    report.balanced = report.findings.is_empty();
    Ok(report)
}

impl Report {
    /// `found` is not what `expected` says, in `[from, to)` of `at`.
    fn differs(
        &mut self,
        stage: &str,
        at: &TopicPartition,
        (from, to): (u64, u64),
        check: Check,
        (expected, found): (impl ToString, impl ToString),
        detail: impl Into<String>,
    ) {
        self.findings.push(Finding {
            stage: stage.to_owned(),
            topic: at.topic.to_string(),
            partition: at.partition,
            from,
            to,
            check,
            expected: expected.to_string(),
            found: found.to_string(),
            detail: detail.into(),
        });
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
