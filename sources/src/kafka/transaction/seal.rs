//! Ends what a broker left open.
//!
//! A broker that dies can forget to write the end of a transaction: Apache Kafka (seen with 4.3.1) skips the markers of
//! partitions that have no leader at the moment it sends them, takes them for deleted, and calls the transaction complete.
//! A single node that comes back from a crash has such a moment each time. Nobody reads past the records of that
//! transaction then, and nobody is told the positions it moved, for ever.
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

use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{LogError, Offset, TopicPartition};
use tokio::time::Instant;

use super::super::convert::{offset, partition_number, raw_offset, seal_for};
use super::Transactor;
use super::steps::{Failure, Sending, again, queue};

/// For one seal: a healthy broker takes milliseconds.
const SEAL: std::time::Duration = std::time::Duration::from_secs(10);

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

impl Transactor {
    /// After this, everything that this member's transactions wrote has its end. Does nothing without a reason to look:
    /// a connection that broke, or a producer that had to be given up.
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
            let seen = self.look(&last).map_err(|error| error.to_string())?;
            if seen.positions == Moved::Before || !seen.open.is_empty() {
                self.seal(Verdict::Commit, &seen.open_or_hidden(), seen.missing(&last))?;
            } else if seen.ended.is_empty() && seen.positions == Moved::None && !seen.hidden.is_empty() {
                return Err(format!(
                    "another transaction is open before our last one: {:?}",
                    seen.hidden
                ));
            }
        }
        if let Some(attempt) = self.attempt.clone() {
            match self.verdict(&attempt).map_err(|error| error.to_string())? {
                None => {}
                Some((Verdict::Abort, _)) => {
                    let all = attempt.first.keys().cloned().collect();
                    self.seal(Verdict::Abort, &all, &attempt.positions)?;
                }
                Some((Verdict::Commit, seen)) => {
                    self.seal(Verdict::Commit, &seen.open_or_hidden(), seen.missing(&attempt))?;
                    self.last = Some(attempt);
                }
            }
            self.attempt = None;
        }
        Ok(())
    }

    /// How the attempt must end; `None` when it surely has its end everywhere.
    fn verdict(&self, attempt: &Trace) -> Result<Option<(Verdict, Seen)>, LogError> {
        if !attempt.asked {
            return Ok(Some((Verdict::Abort, Seen::default())));
        }
        // Asked to commit without an answer: as far as its end was written anywhere, that end counts.
        let seen = self.look(attempt)?;
        if seen.open.is_empty() && seen.hidden.is_empty() && seen.positions != Moved::Before {
            return Ok(None);
        }
        let mut committed = seen.positions == Moved::Here;
        for partition in &seen.ended {
            if let Some(Some(first)) = attempt.first.get(partition) {
                committed |= self.inner.catalog.shows(partition, *first)?;
            }
        }
        let verdict = if committed { Verdict::Commit } else { Verdict::Abort };
        Ok(Some((verdict, seen)))
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
            self.producer = None;
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
        producer
            .begin_transaction()
            .map_err(|error| super::steps::failure("beginning", &error))?;
        let mut sending = Sending::new();
        for partition in partitions {
            let number = partition_number(partition).map_err(|error| refused(error.to_string()))?;
            let batch = sending.batch(partition, 1);
            queue(producer, deadline, || seal_for(&partition.topic, number, batch.clone()))?;
        }
        sending.all().acknowledged(&mut BTreeMap::new(), deadline)?;
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
            let sent = again(deadline, "sending positions", |wait| {
                producer.send_offsets_to_transaction(&offsets, &metadata, wait)
            });
            match (verdict, sent) {
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

impl Seen {
    fn open_or_hidden(&self) -> BTreeSet<TopicPartition> {
        self.open.union(&self.hidden).cloned().collect()
    }

    /// The positions of `trace` that wait for its end. Those that are there already must not be sent again: somebody may
    /// have moved on.
    fn missing<'a>(&self, trace: &'a Trace) -> &'a [(TopicPartition, Offset)] {
        let wait = self.positions == Moved::Before || (trace.repeats && !self.open.is_empty());
        if wait { &trace.positions } else { &[] }
    }
}
