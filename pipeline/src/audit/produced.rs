//! What stages say they produced, against the records that are there.

use stream::TopicPartition;

use super::books::{Books, Line};
use super::cut::Cut;
use super::{Check, Report};

/// Compares the sum over `stages` of what was produced as `cause` with the `found` records of `topic`.
pub fn compare(
    cut: &Cut,
    books: &Books,
    stages: &[&str],
    (topic, cause): (&str, &str),
    found: u64,
    report: &mut Report,
) {
    let of_stages = || books.values().filter(|book| stages.contains(&book.stage.as_str()));
    let named = stages.join(" and ");
    if !cut.whole(topic) || !of_stages().all(|book| book.whole) {
        return report.note(format!(
            "{named}: records on {topic} not counted, retention has dropped some or their accounts"
        ));
    }
    let said = |line: &Line| line.record.counts.produced.get(cause).copied().unwrap_or(0);
    let expected: u64 = of_stages().map(|book| book.sum(said)).sum();
    if expected != found {
        let end = cut.partitions(topic).first().map_or(0, |first| cut.bounds(first).end.0);
        let at = TopicPartition::new(topic, 0);
        let detail = format!("{cause}s accounted for in all partitions, against the records on all of {topic}");
        report.differs(&named, &at, (0, end), Check::Outputs, (expected, found), detail);
    }
}
