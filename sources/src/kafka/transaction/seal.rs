//! Ends what a broker left open.
//!
//! A broker that dies can forget to write the end of a transaction: Apache Kafka (seen with 4.3.1) skips the markers of
//! partitions that have no leader at the moment it sends them, takes them for deleted, and calls the transaction complete.
//! A single node that comes back from a crash has such a moment each time. Nobody reads past the records of that
//! transaction then, and nobody is told the positions it moved, for ever.
//!
//! A broker that stood still for longer than its session is fenced when it goes on, without any connection breaking, and skips the
//! markers of what it answers in that moment. So an answer alone is no proof: what took long, was aborted or is the last of a
//! member is looked at as well. Markers are written behind the answer and get a second ([`MARKERS`]) to appear.
//!
//! A partition keeps one open transaction per producer id, and the next end that this producer writes there ends it. So
//! after trouble a member looks, before it writes anything else, whether the ends of its own last transactions are there,
//! and where one is missing sends a transaction over the same partitions with the same verdict: a seal. The transactional
//! id gives a new producer the same producer id.
//!
//! ```text
//!              last commit (answered)         attempt (not answered well)
//!  coordinator ── complete? ── no ──► commit seal      cannot have begun
//!                     └─────── yes ─► nothing          abort seal; if its commit was asked for: as the positions say
//! ```
//!
//! At most one of the two is open, because the coordinator lets the second begin only when it holds the first for complete.
//!
//! What it cannot mend: what a member left whose process ended together with the broker. Then a person aborts the
//! transaction with Kafka's `kafka-transactions.sh`; [`super::super::consumer`] says so when it waits for positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{LogError, Offset, TopicPartition};
use tokio::time::Instant;

use super::super::convert::{offset, partition_number, raw_offset, seal_for};
use super::Transactor;
use super::steps::{AGAIN, Failure, Positions, Sending, again, queue, send_positions};

/// For one seal: a healthy broker takes milliseconds.
const SEAL: Duration = Duration::from_secs(10);
/// For the markers of what was answered: a healthy broker takes milliseconds.
const MARKERS: Duration = Duration::from_secs(1);

/// What a transaction wrote and moved: enough to see later whether its end is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// Per output partition the first offset, once all its records were acknowledged.
    pub first: BTreeMap<TopicPartition, Option<i64>>,
    pub positions: Vec<(TopicPartition, Offset)>,
    /// The positions are those from before: they are named so that the group's generation is checked.
    pub repeats: bool,
    /// The request to commit was sent.
    pub asked: bool,
    /// The group may hold positions of it back until its end.
    pub pending: bool,
    /// The request to abort was answered.
    pub aborted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Commit,
    Abort,
}

/// What the log shows of a transaction.
#[derive(Debug, Default)]
struct Seen {
    /// Its first record there is the first that readers may not see.
    open: BTreeSet<TopicPartition>,
    /// Readers are past it.
    ended: BTreeSet<TopicPartition>,
    /// Another transaction is open before it.
    hidden: BTreeSet<TopicPartition>,
    positions: Moved,
}

/// Where the group stands, against the positions of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Moved {
    /// The transaction moves none.
    #[default]
    None,
    /// Not there yet.
    Before,
    /// Exactly there.
    Here,
    /// Somebody moved on.
    Beyond,
}

/// What is to be done about the end of a transaction.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// Nothing: it is there.
    There,
    /// It is missing here.
    Seal {
        verdict: Verdict,
        partitions: BTreeSet<TopicPartition>,
        positions: Vec<(TopicPartition, Offset)>,
    },
    /// Nobody can tell while another transaction is open before it.
    Hidden(BTreeSet<TopicPartition>),
}

impl Trace {
    /// The end of a commit that was answered well.
    fn as_committed(&self, seen: &Seen) -> Ending {
        if seen.positions == Moved::Before || !seen.open.is_empty() {
            return self.commit_seal(seen);
        }
        // Outputs and positions end together: one that has its end tells of those that cannot be seen.
        if seen.ended.is_empty() && seen.positions == Moved::None && !seen.hidden.is_empty() {
            return Ending::Hidden(seen.hidden.clone());
        }
        Ending::There
    }

    /// The end of what was begun and never asked to commit. Only an abort that was answered can have left it everywhere, and
    /// that can be seen only of partitions whose first record is known.
    fn as_aborted(&self, seen: &Seen) -> Ending {
        if self.shows_its_abort() && self.first.keys().all(|partition| seen.ended.contains(partition)) {
            return Ending::There;
        }
        Ending::Seal {
            verdict: Verdict::Abort,
            partitions: self.first.keys().cloned().collect(),
            positions: self.positions.clone(),
        }
    }

    /// Whether the log can tell that the end of an abort is there.
    fn shows_its_abort(&self) -> bool {
        self.aborted && !self.pending && self.first.values().all(Option::is_some)
    }

    /// The end of a commit that was asked for without an answer: as far as any end was written, that end counts. `shown`:
    /// readers get some of its records.
    fn as_unanswered(&self, seen: &Seen, shown: bool) -> Ending {
        if seen.open.is_empty() && seen.hidden.is_empty() && seen.positions != Moved::Before {
            Ending::There
        } else if shown || seen.positions == Moved::Here {
            self.commit_seal(seen)
        } else {
            self.as_aborted(seen)
        }
    }

    /// Only where the end is missing; positions that are there must not be sent again, as somebody may have moved on.
    fn commit_seal(&self, seen: &Seen) -> Ending {
        let missing = seen.positions == Moved::Before || (self.repeats && !seen.open.is_empty());
        Ending::Seal {
            verdict: Verdict::Commit,
            partitions: seen.open.union(&seen.hidden).cloned().collect(),
            positions: if missing { self.positions.clone() } else { Vec::new() },
        }
    }
}

/// What `look` finds, with time for an end that is still `to_come`: a commit and an abort are answered before their markers
/// are written. Who sealed at once would often do so for nothing, and might send positions beyond which somebody is already.
fn patiently(to_come: bool, look: impl Fn() -> Result<Ending, LogError>) -> Result<Ending, String> {
    let until = Instant::now() + MARKERS;
    loop {
        let ending = look().map_err(|error| error.to_string())?;
        if ending == Ending::There || !to_come || Instant::now() >= until {
            return Ok(ending);
        }
        std::thread::sleep(AGAIN);
    }
}

impl Transactor {
    /// After this, everything that this member's transactions wrote has its end. Does nothing without a reason to look:
    /// a connection that broke, a producer that had to be given up, or a doubt ([`Transactor::doubt`]).
    pub(super) fn mend(&mut self) -> Result<(), String> {
        if !self.loose() {
            return Ok(());
        }
        self.prepare().map_err(|error| error.to_string())?;
        if let Some(producer) = &self.producer {
            // Before looking: what breaks meanwhile is a reason to look once more.
            producer.context().steady();
        }
        let mended = self.look_and_seal();
        if mended.is_err()
            && let Some(producer) = &self.producer
        {
            producer.context().shake();
        }
        mended
    }

    /// Whether the end of something may be missing.
    pub(super) fn loose(&self) -> bool {
        let shaken = self
            .producer
            .as_ref()
            .is_none_or(|producer| producer.context().shaken());
        shaken && (self.last.is_some() || self.attempt.is_some())
    }

    fn look_and_seal(&mut self) -> Result<(), String> {
        if let Some(last) = self.last.clone() {
            let ending = patiently(true, || Ok(last.as_committed(&self.look(&last)?)))?;
            self.carry_out(ending)?;
        }
        if let Some(attempt) = self.attempt.clone() {
            let ending = patiently(attempt.shows_its_abort(), || self.ending(&attempt))?;
            let committed = matches!(
                ending,
                Ending::Seal {
                    verdict: Verdict::Commit,
                    ..
                }
            );
            self.carry_out(ending)?;
            if committed {
                self.last = Some(attempt);
            }
            self.attempt = None;
        }
        self.unseen = false;
        self.looked = Instant::now();
        Ok(())
    }

    fn ending(&self, attempt: &Trace) -> Result<Ending, LogError> {
        let seen = self.look(attempt)?;
        if !attempt.asked {
            return Ok(attempt.as_aborted(&seen));
        }
        let mut shown = false;
        for partition in &seen.ended {
            if let Some(Some(first)) = attempt.first.get(partition) {
                shown |= self.inner.catalog.shows(partition, *first)?;
            }
        }
        Ok(attempt.as_unanswered(&seen, shown))
    }

    fn carry_out(&mut self, ending: Ending) -> Result<(), String> {
        match ending {
            Ending::There => Ok(()),
            Ending::Seal {
                verdict,
                partitions,
                positions,
            } => self.seal(verdict, &partitions, &positions),
            Ending::Hidden(partitions) => Err(format!(
                "another transaction is open before our last one: {partitions:?}"
            )),
        }
    }

    fn look(&self, trace: &Trace) -> Result<Seen, LogError> {
        let mut seen = Seen::default();
        for (partition, first) in &trace.first {
            let Some(first) = first.and_then(offset) else { continue };
            let end = self.inner.catalog.bounds(partition)?.end;
            let group = match end.cmp(&first) {
                std::cmp::Ordering::Greater => &mut seen.ended,
                std::cmp::Ordering::Equal => &mut seen.open,
                std::cmp::Ordering::Less => &mut seen.hidden,
            };
            group.insert(partition.clone());
        }
        for (partition, position) in trace.positions.iter().filter(|_| !trace.repeats) {
            let stands = self.inner.catalog.applied(&self.group, partition)?;
            let moved = match stands.map(|at| at.cmp(position)) {
                None | Some(std::cmp::Ordering::Less) => Moved::Before,
                Some(std::cmp::Ordering::Equal) => Moved::Here,
                Some(std::cmp::Ordering::Greater) => Moved::Beyond,
            };
            // They move together; the one that tells most counts.
            seen.positions = match (seen.positions, moved) {
                (Moved::Here, _) | (_, Moved::Here) => Moved::Here,
                (Moved::Beyond, _) | (_, Moved::Beyond) => Moved::Beyond,
                _ => Moved::Before,
            };
        }
        Ok(seen)
    }

    /// One transaction that says nothing, over `partitions` and, if there are positions, the group's.
    fn seal(
        &mut self,
        verdict: Verdict,
        partitions: &BTreeSet<TopicPartition>,
        positions: &[(TopicPartition, Offset)],
    ) -> Result<(), String> {
        if partitions.is_empty() && positions.is_empty() {
            return Ok(());
        }
        tracing::info!(
            group = self.group,
            ?verdict,
            ?partitions,
            ?positions,
            "ending a transaction whose end a broker may have lost"
        );
        metrics::counter!("aegis_kafka_seals_total", "group" => self.group.clone(), "verdict" => match verdict {
            Verdict::Commit => "commit",
            Verdict::Abort => "abort",
        })
        .increment(1);
        let sealed = self.try_seal(verdict, partitions, positions);
        sealed.map_err(|failure| {
            // A new one ends what this one began.
            self.give_up();
            format!("ending an open transaction: {}", failure.cause())
        })
    }

    fn try_seal(
        &self,
        verdict: Verdict,
        partitions: &BTreeSet<TopicPartition>,
        positions: &[(TopicPartition, Offset)],
    ) -> Result<(), Failure> {
        let refused = |cause: String| Failure::Fatal { cause, fenced: false };
        let producer = self
            .producer
            .as_ref()
            .ok_or_else(|| refused("no producer".to_owned()))?;
        let deadline = Instant::now() + SEAL;
        let lost = || self.inner.catalog.has_lost(producer.client());
        producer
            .begin_transaction()
            .map_err(|error| super::steps::failure("beginning", &error))?;
        let mut sending = Sending::new();
        for partition in partitions {
            let number = partition_number(partition).map_err(|error| refused(error.to_string()))?;
            let batch = sending.batch(partition, 1);
            queue(producer, deadline, || seal_for(&partition.topic, number, batch.clone()))?;
        }
        sending.all().acknowledged(&mut BTreeMap::new(), deadline, lost)?;
        if !positions.is_empty() {
            let mut offsets = TopicPartitionList::with_capacity(positions.len());
            for (partition, position) in positions {
                let number = partition_number(partition).map_err(|error| refused(error.to_string()))?;
                offsets
                    .add_partition_offset(&partition.topic, number, RawOffset::Offset(raw_offset(*position)))
                    .map_err(|error| refused(error.to_string()))?;
            }
            // As nobody's member: the one that moved them may be none any more.
            let metadata = self.inner.catalog.nobody_in(&self.group);
            let metadata = metadata.map_err(|error| refused(error.to_string()))?;
            let positions = Arc::new(Positions { offsets, metadata });
            match (verdict, send_positions(producer, positions, deadline, lost)) {
                (_, Ok(())) => {}
                // The group's partition is part of the transaction before the positions are sent, and that is enough.
                (Verdict::Abort, Err(Failure::Abort { .. } | Failure::Stale { .. })) => {}
                (_, Err(failure)) => return Err(failure),
            }
        }
        match verdict {
            Verdict::Commit => again(deadline, "committing", |wait| producer.commit_transaction(wait)),
            Verdict::Abort => again(deadline, "aborting", |wait| producer.abort_transaction(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(numbers: &[u32]) -> BTreeSet<TopicPartition> {
        numbers.iter().map(|n| TopicPartition::new("out", *n)).collect()
    }

    fn trace() -> Trace {
        Trace {
            first: places(&[0, 1]).into_iter().map(|place| (place, Some(7))).collect(),
            positions: vec![(TopicPartition::new("in", 0), Offset(3))],
            ..Trace::default()
        }
    }

    fn seen(open: &[u32], ended: &[u32], hidden: &[u32], positions: Moved) -> Seen {
        Seen {
            open: places(open),
            ended: places(ended),
            hidden: places(hidden),
            positions,
        }
    }

    /// `None`: its end is there. Otherwise the verdict, where, and whether positions go along.
    #[track_caller]
    fn check(ending: Ending, expected: Option<(Verdict, &[u32], bool)>) {
        let found = match ending {
            Ending::There => None,
            Ending::Seal {
                verdict,
                partitions,
                positions,
            } => Some((verdict, partitions, !positions.is_empty())),
            Ending::Hidden(partitions) => panic!("{partitions:?}"),
        };
        assert_eq!(found, expected.map(|(verdict, at, moves)| (verdict, places(at), moves)));
    }

    #[test]
    fn an_answered_commit_ends_as_one() {
        use Moved::{Before, Beyond, Here, None as Nowhere};
        let check = |seen: Seen, expected| check(trace().as_committed(&seen), expected);
        check(seen(&[], &[0, 1], &[], Here), None);
        check(seen(&[], &[0, 1], &[], Beyond), None);
        check(seen(&[0, 1], &[], &[], Before), Some((Verdict::Commit, &[0, 1], true)));
        // Some ends were written before the broker died; somebody who moved on is not set back.
        check(seen(&[1], &[0], &[], Here), Some((Verdict::Commit, &[1], false)));
        check(seen(&[1], &[0], &[], Beyond), Some((Verdict::Commit, &[1], false)));
        check(seen(&[], &[0, 1], &[], Before), Some((Verdict::Commit, &[], true)));
        // Behind another open transaction: what can be seen tells of the rest.
        check(seen(&[], &[], &[0, 1], Here), None);
        check(seen(&[], &[1], &[0], Nowhere), None);
        check(seen(&[1], &[], &[0], Before), Some((Verdict::Commit, &[0, 1], true)));
        let hidden = trace().as_committed(&seen(&[], &[], &[0, 1], Nowhere));
        assert_eq!(hidden, Ending::Hidden(places(&[0, 1])));
    }

    #[test]
    fn what_repeats_positions_ends_them_with_its_outputs() {
        let repeating = Trace {
            repeats: true,
            ..trace()
        };
        let ending = repeating.as_committed(&seen(&[0, 1], &[], &[], Moved::None));
        check(ending, Some((Verdict::Commit, &[0, 1], true)));
        check(repeating.as_committed(&seen(&[], &[0, 1], &[], Moved::None)), None);
    }

    #[test]
    fn an_unanswered_commit_ends_as_far_as_any_end_was_written() {
        use Moved::{Before, Here};
        let check = |seen: Seen, shown, expected| check(trace().as_unanswered(&seen, shown), expected);
        check(seen(&[], &[0, 1], &[], Here), true, None);
        check(
            seen(&[0, 1], &[], &[], Before),
            false,
            Some((Verdict::Abort, &[0, 1], true)),
        );
        check(
            seen(&[0], &[1], &[], Before),
            false,
            Some((Verdict::Abort, &[0, 1], true)),
        );
        check(seen(&[0], &[1], &[], Before), true, Some((Verdict::Commit, &[0], true)));
        check(
            seen(&[0, 1], &[], &[], Here),
            false,
            Some((Verdict::Commit, &[0, 1], false)),
        );
        check(
            seen(&[], &[0, 1], &[], Before),
            true,
            Some((Verdict::Commit, &[], true)),
        );
    }

    #[test]
    fn what_was_never_asked_for_ends_as_an_abort() {
        let sealed: Option<(Verdict, &[u32], bool)> = Some((Verdict::Abort, &[0, 1], true));
        let ended = || seen(&[], &[0, 1], &[], Moved::Before);
        check(trace().as_aborted(&ended()), sealed);
        let aborted = Trace {
            aborted: true,
            ..trace()
        };
        check(aborted.as_aborted(&ended()), None);
        check(aborted.as_aborted(&seen(&[1], &[0], &[], Moved::Before)), sealed);
        // Not acknowledged, so nobody can see where it begins.
        check(aborted.as_aborted(&seen(&[], &[0], &[], Moved::Before)), sealed);
        let pending = Trace {
            pending: true,
            ..aborted
        };
        check(pending.as_aborted(&ended()), sealed);
    }
}
