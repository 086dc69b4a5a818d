//! Crew and gate: every record of `incidents` and of `remediations` is one item. What they produce is counted where nobody else writes:
//! messages on `notifications` (with correlate's), and the ledger.

use std::ops::ControlFlow;
use std::sync::Arc;

use model::topics;
use stream::Log;

use super::books::Books;
use super::cut::Cut;
use super::letters::Letters;
use super::{Report, produced};
use crate::scan::scan;

const CREW: &str = "crew";
const GATE: &str = "gate";

pub async fn audit(
    log: &Arc<dyn Log>,
    cut: &Cut,
    books: &mut Books,
    letters: &Letters,
    report: &mut Report,
) -> anyhow::Result<()> {
    for book in books
        .values_mut()
        .filter(|book| [CREW, GATE].contains(&book.stage.as_str()))
    {
        book.recount(log, cut, report, |_, _, line| line.items += 1).await?;
        book.compare_input(report);
        letters.compare(book, report);
    }
    for (stages, topic, cause) in [
        (&["correlate", CREW][..], topics::NOTIFICATIONS, "notification"),
        (&[GATE], topics::LEDGER, "ledger"),
    ] {
        let mut found = 0;
        for output in cut.partitions(topic) {
            let bounds = cut.bounds(&output);
            scan(log, &output, bounds.start, bounds.end, |record| {
                found += u64::from(record.header(stream::progress::KIND_HEADER).is_none());
                ControlFlow::Continue(())
            })
            .await?;
        }
        produced::compare(cut, books, stages, (topic, cause), found, report);
    }
    Ok(())
}
