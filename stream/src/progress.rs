//! Progress: event time across stages.
//!
//! Only the ingress stage meets the wall clock. It keeps one highest event time per sender and appends [`Progress`]
//! records to every partition of its output; each later stage keeps the newest Progress per upstream partition and takes
//! the minimum. An upstream partition never heard from holds the watermark; one that said "idle" does not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::{NewRecord, Record};
use crate::state::{StateCell, StateError};
use crate::time::Instant;

/// Header that marks a record of the kernel's own among data records.
pub const KIND_HEADER: &str = "aegis-kind";
/// Its value for a Progress record.
pub const PROGRESS: &str = "progress";
/// Its value for a record sent once more to the one reader that had refused it, named by [`FOR_HEADER`].
pub const REDRIVE: &str = "redrive";
/// Header that names the reader of a [`REDRIVE`].
pub const FOR_HEADER: &str = "aegis-for";

/// What a stage says to the next about one of its input partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub stage: String,
    /// Input partition of the stage that speaks.
    pub partition: u32,
    /// No row before this time will follow from that partition (rows that do are late).
    pub watermark: Instant,
    /// Nothing is coming from there: do not wait for it. Only the ingress stage says so.
    pub idle: bool,
    /// The ingress tick that this derives from.
    pub tick_at: Option<Instant>,
}

impl Progress {
    pub fn to_record(&self) -> NewRecord {
        NewRecord {
            key: None,
            value: serde_json::to_vec(self).map(Bytes::from).unwrap_or_default(),
            headers: vec![(KIND_HEADER.to_owned(), Bytes::from_static(PROGRESS.as_bytes()))],
            timestamp: self.tick_at.unwrap_or_default(),
        }
    }
}

/// Records of the kernel's own are not data: they carry the header [`KIND_HEADER`].
pub fn is_data(record: &Record) -> bool {
    record.header(KIND_HEADER).is_none()
}

/// Whether `record` is data for `reader`, a stage or a sink (`sink.NAME`). Beside what is data for everybody that is a
/// record sent once more after `reader` alone had refused it: the others of the topic have taken it already.
pub fn is_data_for(record: &Record, reader: &str) -> bool {
    match record.header(KIND_HEADER) {
        None => true,
        Some(kind) => {
            kind.as_ref() == REDRIVE.as_bytes()
                && record
                    .header(FOR_HEADER)
                    .is_some_and(|name| name.as_ref() == reader.as_bytes())
        }
    }
}

/// Reads a Progress record; `None` for anything else.
pub fn progress_of(record: &Record) -> Option<Progress> {
    if record.header(KIND_HEADER)?.as_ref() != PROGRESS.as_bytes() {
        return None;
    }
    serde_json::from_slice(&record.value).ok()
}

/// The newest word of every upstream partition of a stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Upstreams {
    /// Index = upstream partition.
    heard: Vec<Option<(Instant, bool)>>,
    watermark: Option<Instant>,
}

impl Upstreams {
    pub fn new(partitions: u32) -> Self {
        Upstreams {
            heard: vec![None; partitions as usize],
            watermark: None,
        }
    }

    /// Takes one record in; returns the new watermark if it rose. Watermarks never fall.
    pub fn hear(&mut self, progress: &Progress) -> Option<Instant> {
        let slot = self.heard.get_mut(progress.partition as usize)?;
        let before = slot.map_or(Instant::MIN, |(at, _)| at);
        *slot = Some((before.max(progress.watermark), progress.idle));
        if self.heard.iter().any(Option::is_none) {
            return None;
        }
        let busy = self
            .heard
            .iter()
            .flatten()
            .filter(|(_, idle)| !idle)
            .map(|(at, _)| *at)
            .min();
        let all_idle = self.heard.iter().flatten().map(|(at, _)| *at).max();
        let next = busy.or(all_idle)?;
        if self.watermark.is_none_or(|at| next > at) {
            self.watermark = Some(next);
            return Some(next);
        }
        None
    }

    /// Event time so far; [`Instant::MIN`] before every upstream partition was heard.
    pub fn watermark(&self) -> Instant {
        self.watermark.unwrap_or(Instant::MIN)
    }
}

impl StateCell for Upstreams {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        *self = postcard::from_bytes(bytes)?;
        Ok(())
    }

    fn entries(&self) -> usize {
        self.heard.len()
    }
}

/// The ingress stage's view of its senders.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Senders {
    /// Highest event time, and when (wall clock) the sender was last heard.
    seen: BTreeMap<String, (Instant, Instant)>,
    watermark: Option<Instant>,
}

/// How the ingress stage turns senders into a watermark.
#[derive(Clone, Copy, Debug)]
pub struct IngressPolicy {
    /// How far behind its sender's newest event a row may be and still be on time.
    pub lateness: Duration,
    /// A sender silent for this long does not hold the watermark.
    pub idle_after: Duration,
    /// Senders kept; beyond it the longest silent one is forgotten.
    pub max_senders: usize,
}

impl Default for IngressPolicy {
    fn default() -> Self {
        IngressPolicy {
            lateness: Duration::from_secs(300),
            idle_after: Duration::from_secs(30),
            max_senders: 10_000,
        }
    }
}

impl Senders {
    pub fn observe(&mut self, sender: &str, at: Instant, now: Instant, policy: &IngressPolicy) {
        match self.seen.get_mut(sender) {
            Some(state) => *state = (state.0.max(at), now),
            None => {
                if self.seen.len() >= policy.max_senders {
                    let oldest = self
                        .seen
                        .iter()
                        .min_by_key(|(_, (_, last))| *last)
                        .map(|(name, _)| name.clone());
                    oldest.map(|name| self.seen.remove(&name));
                }
                self.seen.insert(sender.to_owned(), (at, now));
            }
        }
    }

    /// The watermark at wall-clock time `now`, and whether every sender is idle. Never falls. A sender can be idle only
    /// when the input is `drained`: what still waits in the log may be its.
    pub fn tick(&mut self, now: Instant, drained: bool, policy: &IngressPolicy) -> (Instant, bool) {
        let busy = self
            .seen
            .values()
            .filter(|(_, last)| !drained || now.since(*last) < policy.idle_after)
            .map(|(at, _)| at.saturating_sub(policy.lateness))
            .min();
        match busy {
            Some(next) => (self.raise(next), false),
            None if drained => (
                self.raise(now.saturating_sub(policy.lateness).saturating_sub(policy.idle_after)),
                true,
            ),
            None => (self.watermark.unwrap_or(Instant::MIN), false),
        }
    }

    /// The watermark when the input has ended (replay clock): as far as the senders got, less the lateness they may still
    /// use; with `past`, this far past their newest event instead, so that windows of that width close.
    pub fn end(&mut self, past: Option<Duration>, policy: &IngressPolicy) -> Option<Instant> {
        let highest = self.seen.values().map(|(at, _)| *at).max()?;
        let next = match past {
            Some(past) => highest.saturating_add(past),
            None => highest.saturating_sub(policy.lateness),
        };
        Some(self.raise(next))
    }

    fn raise(&mut self, next: Instant) -> Instant {
        let raised = self.watermark.map_or(next, |at| at.max(next));
        self.watermark = Some(raised);
        raised
    }
}

impl StateCell for Senders {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        *self = postcard::from_bytes(bytes)?;
        Ok(())
    }

    fn entries(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(partition: u32, watermark: i64, idle: bool) -> Progress {
        Progress {
            stage: "s".into(),
            partition,
            watermark: Instant(watermark),
            idle,
            tick_at: None,
        }
    }

    #[test]
    fn a_partition_never_heard_from_holds_the_watermark() {
        let mut up = Upstreams::new(2);
        assert_eq!(up.hear(&progress(0, 10, false)), None);
        assert_eq!(up.hear(&progress(1, 4, false)), Some(Instant(4)));
        assert_eq!(up.hear(&progress(1, 2, false)), None, "it never falls");
        assert_eq!(
            up.hear(&progress(1, 4, true)),
            Some(Instant(10)),
            "an idle one does not hold it"
        );
    }

    #[test]
    fn one_silent_sender_stalls_nobody() {
        let policy = IngressPolicy {
            lateness: Duration::from_micros(5),
            idle_after: Duration::from_micros(10),
            ..IngressPolicy::default()
        };
        let mut senders = Senders::default();
        senders.observe("slow", Instant(20), Instant(100), &policy);
        senders.observe("quick", Instant(100), Instant(100), &policy);
        assert_eq!(senders.tick(Instant(100), true, &policy), (Instant(15), false));
        senders.observe("quick", Instant(112), Instant(112), &policy);
        assert_eq!(
            senders.tick(Instant(112), false, &policy),
            (Instant(15), false),
            "not while input waits"
        );
        assert_eq!(senders.tick(Instant(112), true, &policy), (Instant(107), false));
        assert_eq!(senders.tick(Instant(200), true, &policy), (Instant(185), true));
    }
    #[test]
    fn a_redrive_is_data_for_the_one_it_names() {
        let record = |headers: &[(&str, &str)]| Record {
            offset: crate::log::Offset(0),
            key: None,
            value: Bytes::new(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            timestamp: Instant(0),
        };
        let check = |headers: &[(&str, &str)], reader, expected| {
            assert_eq!(is_data_for(&record(headers), reader), expected, "{headers:?} {reader}");
        };
        check(&[], "dedupe", true);
        check(&[(KIND_HEADER, PROGRESS)], "dedupe", false);
        check(&[(KIND_HEADER, REDRIVE)], "dedupe", false);
        check(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")], "dedupe", true);
        check(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")], "sink.sql", false);
        assert!(!is_data(&record(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")])));
    }
}
